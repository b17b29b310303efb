
// Words and numbers as people read them. Nothing here knows of the document.

const STAGES = ["announce", "refuse", "retire", "finish", "farewell", "cut"];

const STAGE_MEANS = {
  announce: "Readiness fails, so that traffic goes elsewhere. All is still served.",
  refuse: "Listeners close. There is no way back.",
  retire: "Clients are told to send no more requests.",
  finish: "What is in flight runs on to its own end.",
  farewell: "What is left is told to leave, in its own protocol.",
  cut: "What did not leave is closed by force, and counted.",
};

const PROTOCOLS = {
  http1: "HTTP/1.1",
  http2: "HTTP/2",
  grpc: "gRPC",
  websocket: "WebSocket",
  tcp: "TCP",
};

const DOING = {
  silent: "has sent nothing",
  proxy_header: "in its PROXY header",
  tls_handshake: "in its TLS handshake",
  preface: "in its HTTP/2 preface",
  half_head: "in a request head",
  idle: "idle",
  awaiting: "waits for the server",
  sending: "gets its response",
  events: "open event stream",
  blocked: "its client does not read",
  tunnel: "open tunnel",
};

const TOLD = {
  fin: "connection closed, no request had begun",
  tls_alert: "TLS alert in its handshake",
  half_head: "503: its request head was incomplete",
  unanswered: "503, try again elsewhere",
  truncated: "its response ended, visibly incomplete",
  event_stream: "its event stream ended after a whole event",
  grpc_trailers_only: "gRPC UNAVAILABLE, try again elsewhere",
  grpc_trailers: "gRPC UNAVAILABLE at the end of the stream",
  reset: "HTTP/2 stream reset",
  websocket_close: "WebSocket Close 1001, going away",
  half_close: "tunnel closed on both sides",
};

const WHY = {
  deadline: "its deadline came",
  client_not_reading: "its client did not read",
  did_not_leave: "it was told, and stayed",
  no_request: "it sent no whole request in time",
  operator: "an operator ended the drain at once",
  server_drained: "its server was drained",
};

const BASIS = {
  length: "by what is left of it",
  timeout: "its client waits no longer",
  history: "as others on its route",
  endless: "not by itself",
  unknown: "not known",
};

// Connections' states in the four kinds that the picture has.
const KINDS = {
  in_flight: "flight",
  idle: "idle",
  closing: "closing",
  accepted: "half",
  proxy_header: "half",
  tls_handshake: "half",
  preface: "half",
  head: "half",
};

const KIND_NAMES = { flight: "in flight", idle: "idle", half: "half-open", closing: "closing" };

const numbers = new Intl.NumberFormat("en");

function number(value) {
  return numbers.format(value);
}

function plural(count, one, many = one + "s") {
  return `${number(count)} ${count === 1 ? one : many}`;
}

// A length of time, in so many words as it has weight.
function span(ms) {
  const seconds = Math.max(0, ms) / 1000;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 120) return `${Math.round(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 120) return `${minutes} min`;
  const hours = Math.round(minutes / 60);
  return hours < 48 ? `${hours} h` : `${Math.round(hours / 24)} days`;
}

// How long something took, which may have been a moment.
function lasted(ms) {
  return ms < 95 ? `${Math.round(ms)} ms` : span(ms);
}

// The same without a part of a second, for what is planned.
function whole(ms) {
  const seconds = ms / 1000;
  return seconds < 120 && seconds % 1 === 0 ? `${seconds} s` : span(ms);
}

// A time of day, in the reader's zone.
function clock(unixMs) {
  const date = new Date(unixMs);
  const two = (value) => String(value).padStart(2, "0");
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}

function protocol(name) {
  return name === null ? "not known yet" : PROTOCOLS[name] ?? name;
}

function list(words) {
  if (words.length < 2) return words.join("");
  return `${words.slice(0, -1).join(", ")} and ${words.at(-1)}`;
}

// Counts by their names, those that there are.
function counts(byName, words) {
  const there = Object.entries(byName).filter(([, count]) => count > 0);
  return list(there.map(([name, count]) => `${number(count)} ${words[name] ?? name}`));
}

function sum(values) {
  return values.reduce((all, value) => all + value, 0);
}

// What a piece of news says, and how much it weighs: those that matter to who
// does not look are said aloud.
function sentence(name, data) {
  const whom = data.listener ? `listener ${data.listener}` : "the process";
  switch (name) {
    case "phase":
      return { text: `The process is ${data.phase}.` };
    case "drain":
      return { text: `A drain of ${whom} began${by(data.trigger)}.`, aloud: true };
    case "stage":
      return { text: stageSentence(data), aloud: data.listener === null };
    case "cancelled":
      return { text: `The drain of ${whom} was taken back.`, aloud: true };
    case "extended":
      return { text: `What is in flight on ${whom} got ${whole(data.by_ms)} more.`, aloud: true };
    case "drained":
      return { text: `The drain of listener ${data.listener} is over.`, aloud: true };
    case "server":
      return { text: serverSentence(data), aloud: true };
    case "reload":
      return { text: `A reload: ${data.result}. ${data.text}` };
    case "handover":
      return { text: `Process ${data.successor} has taken over.`, aloud: true };
    case "predecessor":
      return { text: `Process ${data.pid}, which went before, ${data.gone ? "has left" : "still has work in flight"}.` };
    case "ended":
      return { text: endedSentence(data) };
    case "receipt":
      return { text: "The receipt is there." };
    case "terminated":
      return { text: `The process has said its last word.${data.verdict ? ` ${data.verdict}` : ""}`, aloud: true };
    case "lost":
      return { text: `${plural(data.count, "event")} came and went unheard; this page was too slow. What it shows is of now.` };
    default:
      return { text: name };
  }
}

function by(trigger) {
  const words = { api: ", asked for by the admin interface", sigterm: ", by SIGTERM", sigint: ", by SIGINT" };
  return trigger ? words[trigger] ?? `, by ${trigger}` : "";
}

function stageSentence(data) {
  const where = data.listener ? ` (listener ${data.listener})` : "";
  return `Stage ${data.stage}${where}: ${STAGE_MEANS[data.stage] ?? ""}`;
}

function serverSentence(data) {
  const name = `Server ${data.server} of ${data.upstream}`;
  if (data.removed) return `${name} is in no config any more.`;
  return `${name} is ${health(data)}, ${data.state}.`;
}

// In a word: up, unless it does not get its whole share.
function health(server) {
  if (!server.up) return "down";
  return server.standing === "serving" ? "up" : server.standing;
}

function endedSentence(data) {
  const parts = [];
  const told = sum(Object.values(data.farewells));
  const cut = sum(Object.values(data.cuts));
  const how = Object.entries(data.farewells).map(([kind, count]) => `${number(count)} × ${TOLD[kind] ?? kind}`);
  if (told > 0) parts.push(`Told to leave: ${how.join("; ")}.`);
  if (cut > 0) parts.push(`Cut: ${number(cut)}.`);
  return parts.join(" ");
}
