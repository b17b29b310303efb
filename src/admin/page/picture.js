
// What there is: figures, connections, who holds the exit, servers, forecast.

// --- The lead

function headline(state, at) {
  const { picture, receipt } = state;
  if (!picture) return ["Connecting", "Waiting for the first word from the process."];
  if (receipt) {
    const lost = receipt.lost === 0 ? "Nothing was lost." : `${number(receipt.lost)} lost.`;
    return [`Drained in ${span(receipt.duration_ms)}`, `${lost} The receipt below says who was told what.`];
  }
  const left = inFlight(state);
  if (announcing(state)) {
    const refuse = Math.max(0, state.progress.deadlines.refuse_in_ms - since(state, state.progressAt, at));
    return ["Draining: announced", `Readiness fails, so that traffic goes elsewhere; everything is still served. It can be cancelled for ${span(refuse)} more.`];
  }
  if (drains(state)) {
    const rest = `${number(left)} in flight on ${plural(connections(state), "connection")}`;
    const heir = picture.status.successor === null ? "" : ` Process ${picture.status.successor} has taken over.`;
    return [`Draining: ${state.progress.stage}`, `${rest}. ${STAGE_MEANS[state.progress.stage] ?? ""}${heir}`];
  }
  const alone = picture.status.listeners.filter((one) => one.stage !== null).map((one) => one.name);
  const drained = alone.length > 0 ? ` On its own course: ${alone.length > 1 ? "listeners" : "listener"} ${list(alone)}.` : "";
  if (picture.status.phase === "active") return ["Serving", `No drain is under way. A drain takes this process away so that its clients notice as little as can be; the timeline shows how.${drained}`];
  return [`The process is ${picture.status.phase}`, drained];
}

function drawLead(state, at) {
  const [head, sub] = headline(state, at);
  put(byId("headline"), head);
  put(byId("subline"), isPast(state) ? `As last heard: ${sub}` : sub);
  if (!state.picture) return;
  const { status, forecast } = state.picture;
  put(byId("who"), `process ${status.pid}, version ${status.version}, up ${span(status.uptime_ms + since(state, state.pictureAt, at))}`);
  put(byId("f-flight"), number(inFlight(state)));
  put(byId("f-flight-note"), counts(inFlightBy(state), PROTOCOLS) || "no request, stream or tunnel");
  put(byId("f-connections"), number(connections(state)));
  put(byId("f-connections-note"), `on ${plural(status.listeners.length, "listener")}`);
  drawEnd(state, at, forecast);
}

function drawEnd(state, at, forecast) {
  const { receipt } = state;
  if (receipt) {
    const end = receipt.started_unix_ms + receipt.duration_ms;
    fillFigure("lasts", "The drain took", span(receipt.duration_ms), `${whole(bounds(receipt.plan).cut + receipt.extended_ms)} were planned at most`);
    fillFigure("exit", "It was over at", clock(end), "then the process exits");
    return;
  }
  const left = Math.max(0, forecast.duration_ms - (drains(state) ? since(state, state.pictureAt, at) : 0));
  const unknown = forecast.all.unknown > 0 ? `not counting ${number(forecast.all.unknown)} of which nothing is known` : "by the forecast";
  fillFigure("lasts", drains(state) ? "Over in about" : "A drain would take about", span(left), unknown);
  const exit = latestExit(state, at);
  fillFigure("exit", drains(state) ? "Exit at the latest" : "If it began now, exit by", exit === null ? "–" : clock(exit), "by the plan");
}

function fillFigure(id, name, value, says) {
  put(byId(`f-${id}-name`), name);
  put(byId(`f-${id}`), value);
  put(byId(`f-${id}-note`), says);
}

// --- Who holds the exit

function drawHolders(state) {
  const { holders, holders_omitted: more } = state.picture;
  show(byId("holders-section"), state.receipt === null);
  put(byId("holders-about"), holdersAbout(state));
  show(byId("holders-box"), holders.length > 0);
  each(byId("holders"), keyed(holders), ([key]) => key, () => row(6, [3]), (made, [, one]) => fill(made, holderCells(one, state)));
  show(byId("holders-more"), more > 0);
  put(byId("holders-more"), `And ${number(more)} more, each younger than these.`);
}

function holdersAbout(state) {
  if (state.picture.holders.length === 0) return "Nothing is in flight: nothing holds the exit.";
  return drains(state)
    ? "What is still in flight, the oldest first. The process waits for these."
    : "What is in flight, the oldest first. In a drain that began now, the process would wait for these.";
}

// Several streams of one connection are told apart by their place in it.
function keyed(holders) {
  const seen = new Map();
  return holders.map((one) => {
    const place = seen.get(one.connection) ?? 0;
    seen.set(one.connection, place + 1);
    return [`${one.connection}.${place}`, one];
  });
}

function holderCells(one, state) {
  const where = one.route ? `${one.listener}, ${one.route}` : one.listener;
  const doing = `${protocol(one.protocol)}: ${DOING[one.doing] ?? one.doing}`;
  return [one.peer, where, doing, span(one.age_ms), endsBy(one, state), otherwise(one, state)];
}

function endsBy(one, state) {
  if (one.ends_in_ms === null) return BASIS[one.basis] ?? "not known";
  const at = clock(state.picture.at_unix_ms + one.ends_in_ms);
  return `about ${at}, ${BASIS[one.basis]}`;
}

function otherwise(one, state) {
  const at = clock(state.picture.at_unix_ms + one.deadline_ms);
  const told = TOLD[one.told] ?? one.told;
  return one.verdict === "cut" ? `${at}: cut, its client does not read` : `${at}: ${told}`;
}

// --- Forecast

function drawForecast(state) {
  const { forecast } = state.picture;
  show(byId("forecast-section"), state.receipt === null);
  show(byId("forecast-box"), forecast.all.in_flight > 0);
  put(byId("forecast-about"), forecastAbout(forecast));
  const rows = Object.entries(forecast.protocols);
  if (rows.length !== 1) rows.push(["all", forecast.all]);
  each(byId("forecast"), rows, ([name]) => name, () => row(6, [1, 2, 3, 4, 5]), (made, [name, one]) => {
    fill(made, [name === "all" ? "All" : protocol(name), ...[one.in_flight, one.finish, one.farewell, one.cut, one.unknown].map(number)]);
  });
}

function forecastAbout(forecast) {
  const { all } = forecast;
  const when = forecast.draining ? "From here on" : "If a drain began now";
  if (all.in_flight === 0) return `${when}, there would be nothing to wait for.`;
  const parts = [];
  if (all.finish > 0) parts.push(`${number(all.finish)} would finish`);
  if (all.farewell > 0) parts.push(`${number(all.farewell)} would be told to leave`);
  if (all.cut > 0) parts.push(`${number(all.cut)} would be cut`);
  if (all.unknown > 0) parts.push(`of ${number(all.unknown)} nothing is known yet`);
  return `${when}, of ${number(all.in_flight)} in flight ${list(parts)}.`;
}

// --- Connections

// For each listener its protocols, and for each of these how many connections
// there are of each kind. Pure.
function pools(picture) {
  const listeners = new Map(picture.status.listeners.map((one) => [one.name, { ...one, rows: new Map() }]));
  for (const { listener, protocol: name, state, count } of picture.connections) {
    if (!listeners.has(listener)) listeners.set(listener, { name: listener, address: "", phase: "terminated", stage: null, rows: new Map() });
    const { rows } = listeners.get(listener);
    if (!rows.has(name)) rows.set(name, { flight: 0, idle: 0, half: 0, closing: 0 });
    rows.get(name)[KINDS[state] ?? "half"] += count;
  }
  return [...listeners.values()];
}

const BLOCKS = 64;

// How many connections a block stands for, so that the longest row fits.
function unitOf(listeners) {
  const longest = Math.max(1, ...listeners.flatMap((one) => [...one.rows.values()].map((kinds) => sum(Object.values(kinds)))));
  let unit = 1;
  while (longest / unit > BLOCKS) unit *= String(unit).startsWith("2") ? 2.5 : 2;
  return unit;
}

function drawConnections(state) {
  const listeners = pools(state.picture);
  const unit = unitOf(listeners);
  put(byId("connections-about"), unit === 1 ? "Each block is one connection." : `Each block is ${number(unit)} connections, or the rest of them.`);
  each(byId("listeners"), listeners, (one) => one.name, makeListener, (box, one) => updateListener(box, one, unit, state));
}

function makeListener(one) {
  const box = element("section", "listener");
  const head = element("h3");
  head.append(element("span", "", one.name), element("span", "faint"), element("span", "badge"));
  const drain = element("button", "small", "Drain…");
  drain.type = "button";
  drain.setAttribute("aria-label", `Drain listener ${one.name}`);
  drain.addEventListener("click", () => askListener(one.name));
  head.append(drain);
  const none = element("p", "note", "No connections.");
  const rows = element("ul", "pools");
  rows.setAttribute("aria-label", `Connections of listener ${one.name}`);
  box.append(head, none, rows);
  return box;
}

function updateListener(box, one, unit, state) {
  const [head, none, rows] = box.children;
  put(head.children[1], one.address);
  const stage = one.phase === "terminated" ? "closed" : one.stage ? `draining: ${one.stage}` : "open";
  put(head.children[2], stage);
  mark(head.children[2], "stage", one.phase === "terminated" || one.stage ? "draining" : "open");
  updateListenerAct(head.children[3], one, state);
  show(none, one.rows.size === 0);
  each(rows, [...one.rows], ([name]) => String(name), makePools, (item, [name, kinds]) => updatePools(item, name, kinds, unit));
}

function makePools() {
  const item = element("li");
  const bar = element("span", "bar");
  bar.setAttribute("aria-hidden", "true");
  for (const kind of Object.keys(KIND_NAMES)) bar.append(element("span", `pool ${kind}`));
  item.append(element("span", "spoken"), element("span", "counted"), bar);
  return item;
}

function updatePools(item, name, kinds, unit) {
  const [spoken, counted, bar] = item.children;
  put(spoken, protocol(name));
  Object.keys(KIND_NAMES).forEach((kind, at) => place(bar.children[at], "--blocks", String(Math.ceil(kinds[kind] / unit))));
  put(counted, counts(kinds, KIND_NAMES) || "none");
}

// --- Upstream servers

function drawServers(state) {
  const servers = state.picture.status.upstreams.flatMap((upstream) => upstream.servers.map((server) => ({ upstream: upstream.name, ...server })));
  each(byId("servers"), servers, (one) => `${one.upstream}/${one.name}`, makeServer, (made, one) => {
    fill(made, [one.upstream, one.name, `${HEALTH_MARKS[health(one)] ?? "◆"} ${health(one)}`, SERVER_STATES[one.state] ?? one.state, number(one.in_flight)]);
    mark(made.children[2], "up", String(one.up));
    mark(made.children[3], "state", one.state);
    updateServerAct(made.children[5].firstElementChild, one, state);
  });
}

const HEALTH_MARKS = { up: "●", down: "▼" };

const SERVER_STATES = {
  serving: "serving",
  draining: "draining: gets nothing new",
  returning: "coming back",
  drained: "drained: out until taken back",
};

function makeServer(one) {
  const made = row(6, [4]);
  const act = element("button", "small");
  act.type = "button";
  act.addEventListener("click", () => askServer(one.upstream, one.name));
  made.children[5].append(act);
  return made;
}
