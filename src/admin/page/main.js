
// What holds the page together: events change the state, frames draw it.

const SPOKEN_EVERY = 4000;
const QUIET = 5000;

const page = {
  state: fresh(),
  token: null,
  heard: false,
  dirty: true,
  waiting: false,
  said: { at: -SPOKEN_EVERY, queue: [], timer: null },
  wake: null,
};

// --- Said aloud

// At most one sentence in so many seconds, none of them lost but repeated ones.
function say(text) {
  const { said } = page;
  if (said.queue.at(-1) !== text) said.queue.push(text);
  if (said.timer !== null) return;
  const pause = Math.max(0, said.at + SPOKEN_EVERY - performance.now());
  said.timer = setTimeout(() => {
    said.timer = null;
    said.at = performance.now();
    byId("say").textContent = said.queue.splice(0).join(" ");
  }, pause);
}

// --- Drawing

function draw() {
  const { state } = page;
  const at = performance.now();
  const focused = document.activeElement;
  drawLead(state, at);
  drawActs(state);
  drawTimeline(state, at);
  drawReceipt(state);
  drawFeed(state);
  if (state.picture) {
    drawHolders(state);
    drawForecast(state);
    drawConnections(state);
    drawServers(state);
  }
  const lost = focused !== document.body && focused.matches("button") && !isThere(focused);
  if (lost && !byId("ask").open) focusPlace();
}

function drawSoon() {
  page.dirty = true;
  if (page.waiting) return;
  page.waiting = true;
  requestAnimationFrame(frame);
}

const still = matchMedia("(prefers-reduced-motion: reduce)");

function frame() {
  page.waiting = false;
  if (page.dirty) {
    page.dirty = false;
    draw();
  } else {
    drawNow(page.state, performance.now());
  }
  if (page.state.link === "live" && drains(page.state) && !still.matches) {
    page.waiting = true;
    requestAnimationFrame(frame);
  }
}

function title(state) {
  const left = number(inFlight(state));
  if (!state.picture) return "Ebbtide";
  if (state.receipt) return `drained, ${number(state.receipt.lost)} lost – Ebbtide`;
  if (state.link === "broken") return `gone? last heard ${heardClock(state)} – Ebbtide`;
  if (announcing(state)) return `announcing: ${left} in flight – Ebbtide`;
  if (drains(state)) return `draining: ${left} left – Ebbtide`;
  return `serving: ${left} in flight – Ebbtide`;
}

// --- The link

function heardClock(state) {
  return clock(Date.now() - (performance.now() - state.heardAt));
}

function linkText(state) {
  const now = performance.now();
  if (state.heardAt === null) return state.trouble || "Connecting";
  const ago = span(Math.floor((now - state.heardAt) / 1000) * 1000).replace(".0", "");
  const last = `Last heard ${heardClock(state)}, ${ago} ago`;
  switch (state.link) {
    case "live":
      return "Live";
    case "silent":
      return `${last}; the process is silent`;
    case "ended":
      return `${last}; the process has ended, and what stands here is final`;
    default:
      return `${last}; the process is gone or unreachable, and what stands here is what it last said. ${state.trouble}${retryText(state, now)}`;
  }
}

function retryText(state, now) {
  if (state.retryAt === null) return "Trying again.";
  return `Trying again in ${Math.max(1, Math.ceil((state.retryAt - now) / 1000))} s.`;
}

function drawLink() {
  const { state } = page;
  if (state.link === "live" || state.link === "silent") {
    state.link = performance.now() - state.heardAt > QUIET ? "silent" : "live";
  }
  if (byId("link").dataset.link !== state.link) drawSoon();
  mark(byId("link"), "link", state.link);
  mark(document.documentElement, "link", state.link);
  put(byId("link-text"), linkText(state));
  show(byId("again"), page.wake !== null);
  const name = title(state);
  if (document.title !== name) document.title = name;
}

// --- The wire

const wire = {
  token: () => page.token,
  lastId: () => page.state.lastId,
  wasHeard: () => page.heard,
  opening() {
    page.heard = false;
    page.state.retryAt = null;
    drawLink();
  },
  refused(why) {
    page.state.trouble = `It says: ${why}. `;
  },
  bytes() {
    page.state.heardAt = performance.now();
  },
  event(event) {
    page.heard = true;
    const aloud = apply(page.state, event, performance.now());
    if (aloud) say(aloud);
    drawLink();
    drawSoon();
  },
  needToken() {
    return askToken();
  },
  async pause(ms) {
    const { state } = page;
    const before = state.link;
    if (state.heardAt !== null) state.link = state.over || state.receipt ? "ended" : "broken";
    state.retryAt = performance.now() + ms;
    if (before !== state.link && state.link === "broken") say("The process is gone or unreachable. The last state is kept.");
    drawSoon();
    await new Promise((resolve) => {
      page.wake = resolve;
      drawLink();
      setTimeout(resolve, ms);
    });
    page.wake = null;
    state.trouble = "";
  },
};

function askToken() {
  const wrong = page.token !== null;
  put(byId("key-error"), wrong ? "That token was not accepted." : "");
  const box = byId("key");
  if (!box.open) box.showModal();
  byId("key-value").focus();
  return new Promise((resolve) => {
    byId("key-form").onsubmit = (event) => {
      event.preventDefault();
      const token = byId("key-value").value.trim();
      // Nothing else can be sent, so nothing else is one.
      if (!/^[\x21-\x7e]+$/.test(token)) {
        put(byId("key-error"), "A token has letters, digits and signs of ASCII, and no spaces.");
        return;
      }
      page.token = token;
      byId("key-value").value = "";
      box.close();
      resolve();
    };
  });
}

wireActs();
byId("key").addEventListener("cancel", (event) => event.preventDefault());
byId("again").addEventListener("click", () => page.wake?.());
setInterval(() => {
  drawLink();
  if (page.state.link === "live") drawSoon();
}, 500);
follow(wire);
