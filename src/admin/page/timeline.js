
// The timeline: where each stage lies, how far it is, and a now that moves.

// Where each stage lies and how far it is. Pure. Times count from the beginning
// of the drain, in milliseconds.
function course(state, at) {
  const plan = state.receipt?.plan ?? state.progress.plan;
  const now = elapsed(state, at);
  const over = state.receipt !== null;
  const spans = spansOf(state);
  const began = Object.fromEntries(spans.map((one) => [one.stage, one.began_ms]));
  const edges = edgesOf(state, plan, began);
  const retired = Math.min(edges.refuse + plan.spread_ms, edges.finish);
  const planned = {
    announce: [0, edges.refuse],
    refuse: [edges.refuse, edges.refuse],
    retire: [edges.refuse, retired],
    finish: [retired, edges.finish],
    farewell: [edges.first, edges.cut],
    cut: [edges.first + plan.farewell_ms, edges.cut],
  };
  const stages = STAGES.map((stage) => {
    const real = spans.find((one) => one.stage === stage);
    const how = howFar(stage, real, spans, state, over);
    const to = real && how === "under way" ? now : real?.ended_ms;
    return { stage, how, planned: planned[stage], real: real ? [real.began_ms, Math.max(to, real.began_ms)] : null };
  });
  const total = Math.max(edges.cut, now ?? 0, 1);
  return { stages, now, total, over, plan, edges, lost: state.receipt?.lost };
}

// The stages that were reached; a cut that cut nobody is none.
function spansOf(state) {
  const { receipt } = state;
  if (receipt) return receipt.stages.filter((one) => one.stage !== "cut" || receipt.lost > 0);
  return drains(state) ? state.progress.stages : [];
}

function edgesOf(state, plan, began) {
  const fixed = bounds(plan);
  const deadlines = state.progress?.deadlines;
  if (!drains(state) || !deadlines) {
    const later = (began.refuse ?? began.retire ?? fixed.refuse) - fixed.refuse + (state.receipt?.extended_ms ?? 0);
    return {
      refuse: began.refuse ?? began.retire ?? fixed.refuse,
      first: began.farewell ?? fixed.first + later,
      finish: fixed.finish + later,
      cut: fixed.cut + later,
    };
  }
  const heard = state.progress.elapsed_ms;
  const left = Object.values(deadlines.farewell_in_ms);
  const cut = heard + deadlines.cut_in_ms;
  const last = Math.max(...left);
  return {
    refuse: began.refuse ?? began.retire ?? heard + deadlines.refuse_in_ms,
    first: began.farewell ?? heard + Math.min(...left),
    // What has come is not said any more; the last one is so long before the cut.
    finish: last > 0 ? heard + last : cut - plan.farewell_ms,
    cut,
  };
}

// One of "to come", "under way", "done", "left out" and "not needed".
function howFar(stage, real, spans, state, over) {
  if (!real) {
    if (over) return "not needed";
    const later = spans.some((one) => STAGES.indexOf(one.stage) > STAGES.indexOf(stage));
    return later ? "left out" : "to come";
  }
  if (over) return "done";
  return real.ended_ms >= state.progress.elapsed_ms ? "under way" : "done";
}

// What stands beside a stage: how far it is, and its clock.
function stageClock(one, { now, over, lost }, draining, past) {
  const [from, to] = one.planned;
  if (one.stage === "cut" && over && lost === 0) return ["– not needed", "there was nothing to cut"];
  switch (one.how) {
    case "done":
      return [`✓ done`, `took ${lasted(one.real[1] - one.real[0])}`];
    case "under way":
      return [past ? "▶ when last heard" : "▶ now", one.stage === "cut" || one.stage === "refuse" ? span(now - one.real[0]) : `${span(Math.max(0, to - now))} left at most`];
    case "left out":
      return ["– left out", ""];
    case "not needed":
      return ["– not needed", over ? "nothing was left" : ""];
    default:
      if (draining) return ["to come", `in ${span(Math.max(0, from - now))} at most`];
      if (one.stage === "refuse") return ["", "a moment"];
      if (one.stage === "cut") return ["", `at +${whole(to)} at the latest`];
      return ["", `until +${whole(to)} at most`];
  }
}

// When each protocol's exchanges are told to leave, from the beginning.
function protocolEnds(state, course) {
  const deadlines = drains(state) ? state.progress.deadlines : null;
  const ends = new Map();
  const add = (name, at) => ends.set(at, [...(ends.get(at) ?? []), name]);
  if (deadlines) {
    const near = (ms) => Math.round((state.progress.elapsed_ms + ms) / 100) * 100;
    for (const [name, left] of Object.entries(deadlines.farewell_in_ms)) {
      if (left > 0 && name !== "http2") add(name === "http1" ? "HTTP" : protocol(name), near(left));
    }
  } else if (!course.over) {
    const names = { http_ms: "HTTP", grpc_ms: "gRPC", websocket_ms: "WebSocket", tcp_ms: "TCP" };
    for (const [name, ms] of Object.entries(course.plan.finish)) add(names[name], course.edges.refuse + ms);
  }
  return [...ends].sort(([one], [other]) => one - other);
}

function makeStage({ stage }) {
  const item = element("li", "stage");
  const name = element("div", "stage-name");
  name.append(element("strong", "", stage), element("span", "means", STAGE_MEANS[stage]));
  if (stage === "announce") name.append(element("span", "means", "Until its end the drain can be cancelled."));
  const track = element("div", "track");
  track.setAttribute("aria-hidden", "true");
  track.append(element("span", "planned"), element("span", "real"), element("span", "now"));
  const side = element("div", "clock");
  side.append(element("strong"), element("span"), element("span", "ends"));
  item.append(name, track, side);
  return item;
}

function updateStage(item, one, shown, state) {
  const share = (ms) => `${((ms / shown.total) * 100).toFixed(2)}%`;
  const [name, track, side] = item.children;
  const [planned, real] = track.children;
  mark(item, "how", one.how);
  place(planned, "--from", share(one.planned[0]));
  place(planned, "--for", share(Math.max(0, one.planned[1] - one.planned[0])));
  mark(planned, "point", String(one.planned[1] <= one.planned[0]));
  show(real, one.real !== null);
  if (one.real) {
    place(real, "--from", share(one.real[0]));
    place(real, "--for", share(one.real[1] - one.real[0]));
  }
  const [how, time] = stageClock(one, shown, drains(state), isPast(state));
  put(side.children[0], how);
  put(side.children[1], time);
  if (one.stage === "finish") {
    const ends = protocolEnds(state, shown);
    const began = startedAt(state);
    const when = (ms) => (began === null ? `+${whole(ms)}` : clock(began + ms));
    put(side.children[2], ends.map(([ms, names]) => `${list(names)} until ${when(ms)}`).join("; "));
  }
  if (one.how === "under way") name.setAttribute("aria-current", "step");
  else name.removeAttribute("aria-current");
}

// When the drain began, since the Unix epoch.
function startedAt(state) {
  if (state.receipt) return state.receipt.started_unix_ms ?? null;
  return drains(state) ? state.progress.at_unix_ms - state.progress.elapsed_ms : null;
}

function timelineAbout(state, shown) {
  if (shown.over) return `The drain took ${span(shown.now)} of the ${whole(shown.edges.cut)} that its plan had. No stage is a pause: it is over when nothing is left.`;
  if (drains(state) && isPast(state)) return "The line is when the process was last heard. What came after that is not known here.";
  if (drains(state)) return "The line is now. Each length is an upper bound: as soon as nothing is left the process exits.";
  return "No drain is under way. This is what one would be like. Each length is an upper bound: as soon as nothing is left the process exits.";
}

function drawAxis(axis, shown, began) {
  const steps = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600, 86400];
  const seconds = shown.total / 1000;
  const labels = Math.max(2, axis.clientWidth / 95);
  const step = steps.find((one) => seconds / one <= labels) ?? seconds;
  const ticks = [];
  for (let at = 0; at <= seconds * (1 - 0.8 / labels); at += step) ticks.push(at);
  each(axis, ticks, (at) => `${at}/${step}`, () => element("span"), (tick, at) => {
    place(tick, "--from", `${(at / seconds) * 100}%`);
    put(tick, began === null ? at === 0 ? "start" : `+${whole(at * 1000)}` : clock(began + at * 1000));
  });
}

function drawTimeline(state, at) {
  if (!state.progress) return;
  const shown = course(state, at);
  put(byId("timeline-about"), timelineAbout(state, shown));
  each(byId("timeline"), shown.stages, (one) => one.stage, makeStage, (item, one) => updateStage(item, one, shown, state));
  mark(byId("timeline"), "moves", String(shown.now !== null && !shown.over));
  drawNow(state, at);
  drawAxis(byId("axis"), shown, startedAt(state));
}

// The line alone, for every frame.
function drawNow(state, at) {
  const now = elapsed(state, at);
  if (now === null) return;
  const edges = edgesOf(state, state.receipt?.plan ?? state.progress.plan, beganOf(state));
  place(byId("timeline"), "--now", `${((now / Math.max(edges.cut, now, 1)) * 100).toFixed(3)}%`);
}

function beganOf(state) {
  const spans = spansOf(state);
  return Object.fromEntries(spans.map((one) => [one.stage, one.began_ms]));
}
