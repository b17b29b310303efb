
// The wire: /v1/events by fetch(), because EventSource cannot send a token.

const SILENCE = 25000;
const FIRST_PAUSE = 500;
const LONGEST_PAUSE = 15000;

// Reads server-sent events (WHATWG HTML, section 9.2.6) from text in pieces.
class EventReader {
  #rest = "";

  // The events that this piece completes.
  push(text) {
    this.#rest += text;
    const blocks = this.#rest.split("\n\n");
    this.#rest = blocks.pop();
    return blocks.map(readBlock).filter((event) => event !== null);
  }
}

function readBlock(block) {
  const event = { name: "message", id: null, data: null };
  const lines = [];
  for (const line of block.split("\n")) {
    const colon = line.indexOf(":");
    if (colon < 1) continue;
    const value = line.slice(colon + 1).replace(/^ /, "");
    const field = line.slice(0, colon);
    if (field === "event") event.name = value;
    if (field === "id") event.id = value;
    if (field === "data") lines.push(value);
  }
  if (lines.length === 0) return null;
  event.data = JSON.parse(lines.join("\n"));
  return event;
}

// What a request carries: the field that only this page sends, and the token.
function fields(token, more = {}) {
  const own = { "X-Ebbtide-Page": "1", ...more };
  return token ? { ...own, Authorization: `Bearer ${token}` } : own;
}

function pauseAfter(tries) {
  return Math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** Math.min(tries, 10));
}

// Why a response is not what was asked for, in its own words.
async function trouble(response) {
  try {
    const problem = await response.json();
    return problem.detail ?? problem.title;
  } catch {
    return `it answered ${response.status}`;
  }
}

// Listen for as long as it goes. Resolves to the status that was refused, or 0.
async function hear(token, lastId, wire) {
  const headers = fields(token, { Accept: "text/event-stream" });
  if (lastId) headers["Last-Event-ID"] = lastId;
  const options = { headers, cache: "no-store", credentials: "same-origin", redirect: "error" };
  const response = await fetch("/v1/events", options);
  if (!response.ok) {
    wire.refused(await trouble(response));
    return response.status;
  }
  const reader = response.body.getReader();
  const text = new TextDecoder();
  const events = new EventReader();
  for (;;) {
    const { done, value } = await orSilence(reader);
    if (done) return 0;
    wire.bytes();
    for (const event of events.push(text.decode(value, { stream: true }))) wire.event(event);
  }
}

// The next bytes; the end if none come for so long that nobody can be there.
async function orSilence(reader) {
  let timer;
  const silence = new Promise((resolve) => {
    timer = setTimeout(resolve, SILENCE, null);
  });
  const read = await Promise.race([reader.read(), silence]);
  clearTimeout(timer);
  if (read !== null) return read;
  reader.cancel().catch(() => {});
  return { done: true };
}

// Listen for ever: again after each end, later after each try in vain.
async function follow(wire) {
  let tries = 0;
  for (;;) {
    let status = 0;
    wire.opening();
    try {
      status = await hear(wire.token(), wire.lastId(), wire);
    } catch {
      // The network's word for it says nothing that helps.
    }
    if (status === 401) {
      await wire.needToken();
      continue;
    }
    tries = wire.wasHeard() ? 0 : tries + 1;
    await wire.pause(pauseAfter(tries));
  }
}
