
// What can be done, each asked again in words before it is.

const ask = { current: null, opener: null };

// How long an answer is waited for.
const LATE = 10000;

async function send(method, path, body) {
  const headers = fields(page.token, body ? { "Content-Type": "application/json" } : {});
  const options = { method, headers, cache: "no-store", credentials: "same-origin", redirect: "error" };
  if (body) options.body = JSON.stringify(body);
  const response = await inTime(fetch(path, options).catch(() => null));
  if (response === null) throw new Error("No answer came. Whether it was done will be seen here.");
  if (!response.ok) throw new Error(`It was not done: ${await trouble(response)}.`);
}

// Nothing, if it does not come: a browser lets requests wait for as long as it
// has no connection for them.
function inTime(answer) {
  return Promise.race([answer, new Promise((resolve) => setTimeout(resolve, LATE, null))]);
}

// Ask whether to do it: `lines` say what will happen, now and as it changes.
function confirmThat(question) {
  ask.current = question;
  ask.opener = document.activeElement;
  put(byId("ask-title"), question.title);
  put(byId("ask-yes"), question.yes);
  put(byId("ask-error"), "");
  show(byId("ask-field"), Boolean(question.field));
  if (question.field) {
    put(byId("ask-label"), question.field.label);
    byId("ask-value").value = question.field.value;
  }
  drawQuestion();
  byId("ask-yes").disabled = false;
  byId("ask").showModal();
  (question.field ? byId("ask-value") : byId("ask-no")).focus();
}

function drawQuestion() {
  if (!ask.current) return;
  each(byId("ask-lines"), ask.current.lines().map((text, at) => [at, text]), ([at]) => at, () => element("p"), (line, [, text]) => put(line, text));
}

async function answered(event) {
  event.preventDefault();
  const question = ask.current;
  if (!question || byId("ask-yes").disabled) return;
  byId("ask-yes").disabled = true;
  put(byId("ask-error"), "");
  try {
    await question.perform(byId("ask-value").value.trim());
    byId("ask").close();
  } catch (error) {
    put(byId("ask-error"), error.message);
    byId("ask-yes").disabled = false;
  }
}

// Focus goes back to what was pressed, or, if that is gone, to its place.
function closed() {
  const opener = ask.opener;
  ask.current = null;
  ask.opener = null;
  drawSoon();
  requestAnimationFrame(() => {
    if (isThere(opener)) opener.focus();
    else focusPlace();
  });
}

function isThere(node) {
  return Boolean(node?.isConnected) && !node.disabled && node.closest("[hidden]") === null;
}

// Where the focus goes when what had it is there no more: to what can be done
// instead, or to what is the case.
function focusPlace() {
  const acts = ["do-cancel", "do-extend", "do-drain"].map(byId);
  (acts.find(isThere) ?? byId("headline")).focus();
}

// --- The process

function drainLines() {
  const { state } = page;
  const { status, forecast, plan = status.plan } = state.picture;
  const at = performance.now();
  const known = forecastAbout(forecast);
  return [
    `${number(inFlight(state))} in flight on ${plural(connections(state), "connection")}; forecast ${span(forecast.duration_ms)}, exit at the latest ${clock(latestExit(state, at))}.`,
    known,
    plan.announce_ms > 0 ? `For the first ${whole(plan.announce_ms)} (announce) it can be cancelled. After that there is no way back.` : "There is no announce stage in the plan: there is no way back.",
  ];
}

function askDrain() {
  confirmThat({
    title: "Drain this process?",
    yes: "Drain it",
    lines: drainLines,
    perform: () => send("POST", "/v1/drain"),
  });
}

function askCancel() {
  confirmThat({
    title: "Cancel the drain?",
    yes: "Cancel the drain",
    lines: () => ["Readiness comes back, and the process serves on as if nothing had been. Hooks that undo what announce did are run."],
    perform: () => send("DELETE", "/v1/drain"),
  });
}

function askExtend() {
  confirmThat({
    title: "Give what is in flight more time?",
    yes: "Give more time",
    field: { label: "How much more, as in 30s or 2m:", value: "30s" },
    lines: () => {
      const exit = latestExit(page.state, performance.now());
      return [
        `The deadlines that are still ahead move by so much; now the exit is at ${clock(exit)} at the latest. Who was told to leave is told nothing else.`,
        "Whoever ends this process from outside (Kubernetes, systemd) is not asked: its own limit stays.",
      ];
    },
    perform: (by) => send("POST", "/v1/drain/extend", { by }),
  });
}

// --- One listener

function listenerNow(name) {
  return page.state.picture.status.listeners.find((one) => one.name === name);
}

function askListener(name) {
  const one = listenerNow(name);
  const body = { listener: name };
  if (one.stage === "announce") {
    confirmThat({
      title: `Take listener ${name} back?`,
      yes: "Cancel its drain",
      lines: () => ["Its drain is cancelled, and it serves on."],
      perform: () => send("DELETE", "/v1/drain", body),
    });
    return;
  }
  confirmThat({
    title: `Drain listener ${name}?`,
    yes: "Drain the listener",
    lines: () => [
      `Listener ${name} on ${one.address} goes through the stages of the plan and closes. The others serve on.`,
      `${counts(kindsOf(name), KIND_NAMES) || "No connections"} on it now.`,
      "Until it refuses it can be taken back. It opens again only with a new process, or by a reload.",
    ],
    perform: () => send("POST", "/v1/drain", body),
  });
}

function kindsOf(name) {
  const one = pools(page.state.picture).find((known) => known.name === name);
  const all = { flight: 0, idle: 0, half: 0, closing: 0 };
  for (const kinds of one?.rows.values() ?? []) for (const kind of Object.keys(all)) all[kind] += kinds[kind];
  return all;
}

function updateListenerAct(button, one, state) {
  const alone = one.stage !== null && !isDraining(state);
  const back = alone && one.stage === "announce";
  show(button, mayAct(state) && !isDraining(state) && one.phase === "active" && (one.stage === null || back));
  button.disabled = state.link !== "live";
  put(button, back ? "Take back…" : "Drain…");
  button.setAttribute("aria-label", `${back ? "Take back" : "Drain"} listener ${one.name}`);
}

// --- One server

function serverNow(upstream, name) {
  const known = page.state.picture.status.upstreams.find((one) => one.name === upstream);
  return known?.servers.find((one) => one.name === name);
}

function askServer(upstream, name) {
  const path = `/v1/upstreams/${encodeURIComponent(upstream)}/servers/${encodeURIComponent(name)}/drain`;
  const away = serverNow(upstream, name)?.draining;
  const inFlightOnIt = () => number(serverNow(upstream, name)?.in_flight ?? 0);
  if (away) {
    confirmThat({
      title: `Take server ${name} back?`,
      yes: "Take it back",
      lines: () => [`It gets requests of ${upstream} again, as soon as its health is good. ${inFlightOnIt()} in flight on it.`],
      perform: () => send("DELETE", path),
    });
    return;
  }
  const others = () => page.state.picture.status.upstreams.find((one) => one.name === upstream).servers.filter((one) => one.name !== name && one.up && one.state === "serving");
  confirmThat({
    title: `Drain server ${name}?`,
    yes: "Drain the server",
    field: { label: "Time for what is in flight, as in 30s; empty for that of the plan:", value: "" },
    lines: () => [
      `It gets nothing new of ${upstream} from now on; ${inFlightOnIt()} in flight on it may finish, and get the farewell of their protocol at their deadline.`,
      others().length > 0 ? `${plural(others().length, "other server")} of ${upstream} ${others().length === 1 ? "serves" : "serve"} on.` : `No other server of ${upstream} serves: requests for it will get 503.`,
    ],
    perform: (finish) => send("POST", path, finish ? { finish } : undefined),
  });
}

function updateServerAct(button, one, state) {
  show(button, mayAct(state));
  button.disabled = state.link !== "live";
  put(button, one.draining ? "Take back…" : "Drain…");
  button.setAttribute("aria-label", `${one.draining ? "Take back" : "Drain"} server ${one.name} of ${one.upstream}`);
}

function mayAct(state) {
  return state.role === "operator" && state.receipt === null && state.over === null;
}

function drawActs(state) {
  const may = mayAct(state);
  const serving = state.picture?.status.phase === "active" && !isDraining(state) && !drains(state);
  show(byId("do-drain"), may && serving);
  show(byId("do-cancel"), may && announcing(state));
  show(byId("do-extend"), may && drains(state) && state.progress.stage !== "cut");
  for (const id of ["do-drain", "do-cancel", "do-extend"]) byId(id).disabled = state.link !== "live";
  show(byId("act"), state.receipt === null);
  put(byId("act-note"), state.role === "reader" && state.receipt === null ? "This token may look, and change nothing." : "");
  drawQuestion();
}

function wireActs() {
  byId("do-drain").addEventListener("click", askDrain);
  byId("do-cancel").addEventListener("click", askCancel);
  byId("do-extend").addEventListener("click", askExtend);
  byId("ask-form").addEventListener("submit", answered);
  byId("ask-no").addEventListener("click", () => byId("ask").close());
  byId("ask").addEventListener("close", closed);
}
