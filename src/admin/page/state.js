
// What is known of the process. Events come in; nothing here knows of the
// document or of the wire. Times `at` are the browser's, in milliseconds.

const FEED = 100;

function fresh() {
  return {
    // "opening", "live", "silent", "broken" or "ended".
    link: "opening",
    // What the last try came to, in words.
    trouble: "",
    // When something was heard last, and when it will be tried again.
    heardAt: null,
    retryAt: null,
    role: null,
    progress: null,
    progressAt: 0,
    picture: null,
    pictureAt: 0,
    receipt: null,
    // The last word of the process.
    over: null,
    // A process that was at this address before, if it left a receipt.
    former: null,
    feed: [],
    lastId: null,
  };
}

// Take an event in. Returns what is to be said aloud, or nothing.
function apply(state, event, at) {
  const { name, id, data } = event;
  state.heardAt = at;
  if (id) {
    if (id === state.lastId) return null;
    state.lastId = id;
  }
  switch (name) {
    case "snapshot":
      return applySnapshot(state, data, at);
    case "progress":
      state.progress = data;
      state.progressAt = at;
      return null;
    case "picture":
      state.picture = data;
      state.pictureAt = at;
      // A drain that was taken back has no progress any more.
      if (!isDraining(state) && state.progress?.draining && state.over === null) settle(state);
      return null;
    case "receipt":
      state.receipt = data;
      break;
    case "terminated":
      state.over = data;
      break;
    case "cancelled":
      if (data.listener === null) settle(state);
      break;
  }
  return note(state, name, data);
}

function applySnapshot(state, data, at) {
  const before = state.picture?.status;
  const now = data.picture.status;
  const another = before !== undefined && before.instance !== now.instance;
  if (another) {
    state.former = state.receipt ? { pid: before.pid, receipt: state.receipt } : state.former;
  }
  Object.assign(state, {
    link: "live",
    trouble: "",
    role: data.role,
    progress: { ...data.progress, at_unix_ms: data.at_unix_ms },
    progressAt: at,
    picture: { ...data.picture, at_unix_ms: data.at_unix_ms },
    pictureAt: at,
    receipt: data.receipt,
    over: null,
  });
  if (!another) return null;
  const text = `Another process answers here now: ${now.pid} in place of ${before.pid}.`;
  push(state, data.at_unix_ms, text);
  return text;
}

function note(state, name, data) {
  const said = sentence(name, data);
  push(state, data.at_unix_ms, said.text);
  return said.aloud ? said.text : null;
}

function push(state, at, text) {
  state.feed.unshift({ key: (state.feed[0]?.key ?? 0) + 1, at, text });
  state.feed.length = Math.min(state.feed.length, FEED);
}

function settle(state) {
  const progress = state.progress;
  if (progress) state.progress = { ...progress, draining: false, stage: null, stages: [], elapsed_ms: null, deadlines: null };
}

function isDraining(state) {
  const status = state.picture?.status;
  return Boolean(status && status.stage !== null && status.phase !== "terminated");
}

function drains(state) {
  return Boolean(state.progress?.draining) && !state.receipt;
}

function announcing(state) {
  return drains(state) && state.progress.stage === "announce" && state.progress.phase === "active";
}

// Whether what is shown was so, and nobody says that it still is.
function isPast(state) {
  return state.link === "silent" || state.link === "broken";
}

// So much of the time since it was heard as may be counted on: what was heard of
// a process that is not there any more stands still.
function since(state, heard, at) {
  const until = state.link === "live" ? at : state.heardAt ?? heard;
  return Math.max(0, until - heard);
}

function elapsed(state, at) {
  if (state.receipt) return state.receipt.duration_ms;
  if (!drains(state)) return null;
  return state.progress.elapsed_ms + since(state, state.progressAt, at);
}

// A drain's progress may be newer than the picture.
function newest(state) {
  return state.progress && state.progressAt > state.pictureAt ? state.progress : state.picture?.status;
}

// What is in flight by now, by protocol.
function inFlightBy(state) {
  return state.receipt?.complete ? {} : newest(state)?.in_flight ?? {};
}

function inFlight(state) {
  return sum(Object.values(inFlightBy(state)));
}

function connections(state) {
  return state.receipt?.complete ? 0 : newest(state)?.connections ?? 0;
}

// When the process exits at the latest, since the Unix epoch; for a drain that
// began now if none is under way.
function latestExit(state, at) {
  const progress = state.progress;
  if (!progress) return null;
  if (progress.deadlines) return progress.at_unix_ms + progress.deadlines.cut_in_ms;
  const picture = state.picture;
  return picture.at_unix_ms + since(state, state.pictureAt, at) + picture.longest_ms;
}

// Where the stages of a plan lie, from its beginning, in milliseconds.
function bounds(plan) {
  const refuse = plan.announce_ms;
  const lengths = Object.values(plan.finish);
  const finish = refuse + Math.max(...lengths);
  return { refuse, first: refuse + Math.min(...lengths), finish, cut: finish + plan.farewell_ms };
}
