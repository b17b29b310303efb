// The parts of the page that need no document: reading events, the state that
// they make, the course of a drain.

import assert from "node:assert/strict";
import { test } from "node:test";
import { source } from "./support/source.js";

const page = source(
  ["words.js", "state.js", "stream.js", "timeline.js", "picture.js"],
  ["EventReader", "fresh", "apply", "course", "elapsed", "latestExit", "pools", "unitOf", "span", "whole", "sentence", "pauseAfter", "inFlight", "announcing"],
);

/** Objects of another realm, as ours. */
const plain = (value) => JSON.parse(JSON.stringify(value));

const PLAN = {
  announce_ms: 5000,
  spread_ms: 2000,
  farewell_ms: 2000,
  finish: { http_ms: 20000, grpc_ms: 20000, websocket_ms: 10000, tcp_ms: 20000 },
};

function progress(more) {
  return { draining: false, phase: "active", stage: null, elapsed_ms: null, stages: [], connections: 0, in_flight: {}, deadlines: null, plan: PLAN, ...more };
}

function picture(more) {
  return { status: { instance: "a", pid: 1, phase: "active", stage: null, in_flight: { http1: 2 }, connections: 3, listeners: [], ...more }, longest_ms: 27500, connections: [], holders: [] };
}

function begun() {
  const state = page.fresh();
  const data = { at_unix_ms: 1000, role: "operator", progress: progress(), picture: picture(), receipt: null };
  page.apply(state, { name: "snapshot", id: null, data }, 0);
  return state;
}

/** A drain that has been in `finish` for three seconds. */
function draining() {
  const state = begun();
  const stages = [
    { stage: "announce", began_ms: 0, ended_ms: 5000 },
    { stage: "refuse", began_ms: 5000, ended_ms: 5020 },
    { stage: "retire", began_ms: 5000, ended_ms: 7000 },
    { stage: "finish", began_ms: 7000, ended_ms: 10000 },
  ];
  const farewell = { http1: 15000, http2: 15000, grpc: 15000, websocket: 5000, tcp: 15000 };
  const deadlines = { refuse_in_ms: 0, farewell_in_ms: farewell, cut_in_ms: 17000 };
  const data = { at_unix_ms: 11000, ...progress({ draining: true, phase: "draining", stage: "finish", elapsed_ms: 10000, stages, deadlines }) };
  page.apply(state, { name: "progress", id: null, data }, 10000);
  return state;
}

test("events are read however they are cut", () => {
  const text = ':\n\nretry: 1000\nevent: snapshot\ndata: {"a":1}\n\nevent: stage\nid: 7-3\ndata: {"b":\ndata: 2}\n\nevent: late';
  for (let size = 1; size <= text.length; size += 1) {
    const reader = new page.EventReader();
    const events = [];
    for (let at = 0; at < text.length; at += size) events.push(...reader.push(text.slice(at, at + size)));
    assert.deepEqual(plain(events), [
      { name: "snapshot", id: null, data: { a: 1 } },
      { name: "stage", id: "7-3", data: { b: 2 } },
    ]);
  }
});

test("a stage is done, under way or to come, and now goes on between two views", () => {
  const state = draining();
  const { stages, now, total } = page.course(state, 11000);
  const how = Object.fromEntries(stages.map((one) => [one.stage, one.how]));
  assert.deepEqual(how, { announce: "done", refuse: "done", retire: "done", finish: "under way", farewell: "to come", cut: "to come" });
  assert.equal(now, 11000);
  assert.equal(total, 27000);
  assert.deepEqual(plain(stages[3]), { stage: "finish", how: "under way", planned: [7000, 25000], real: [7000, 11000] });
  assert.deepEqual(plain(stages[4].planned), [15000, 27000], "the first protocol's deadline begins it");
  assert.equal(page.latestExit(state, 11000), 28000);
});

test("of a process that is heard no more nothing goes on", () => {
  const state = draining();
  state.link = "broken";
  assert.equal(page.elapsed(state, 60000), 10000);
});

test("without a drain the plan is shown, and the exit moves with the time", () => {
  const state = begun();
  const { stages, now, total } = page.course(state, 0);
  assert.ok(stages.every((one) => one.how === "to come" && one.real === null));
  assert.equal(now, null);
  assert.equal(total, 27000);
  assert.equal(page.latestExit(state, 0), 28500);
  assert.equal(page.latestExit(state, 4000), 32500);
});

test("a drain that was taken back leaves nothing of itself", () => {
  const state = begun();
  const stages = [{ stage: "announce", began_ms: 0, ended_ms: 100 }];
  const deadlines = { refuse_in_ms: 4900, farewell_in_ms: { http1: 24900 }, cut_in_ms: 26900 };
  const data = { at_unix_ms: 1100, ...progress({ draining: true, stage: "announce", elapsed_ms: 100, stages, deadlines }) };
  page.apply(state, { name: "progress", id: null, data }, 100);
  assert.ok(page.announcing(state));
  const said = page.apply(state, { name: "cancelled", id: "7-1", data: { at_unix_ms: 1200, listener: null } }, 200);
  assert.equal(said, "The drain of the process was taken back.");
  assert.ok(!page.announcing(state));
  assert.equal(page.course(state, 200).now, null);
});

test("news that come twice are told once, and another process is another", () => {
  const state = begun();
  const stage = { name: "stage", id: "7-1", data: { at_unix_ms: 1, listener: null, stage: "announce" } };
  assert.match(page.apply(state, stage, 1), /^Stage announce/);
  assert.equal(page.apply(state, stage, 2), null);
  assert.equal(state.feed.length, 1);
  state.receipt = { duration_ms: 1 };
  const data = { at_unix_ms: 2, role: "reader", progress: progress(), picture: picture({ instance: "b", pid: 2 }), receipt: null };
  assert.match(page.apply(state, { name: "snapshot", id: null, data }, 3), /2 in place of 1/);
  assert.equal(state.receipt, null);
  assert.equal(state.former.pid, 1, "its receipt is kept");
});

test("the feed and the blocks are bounded", () => {
  const state = begun();
  for (let at = 0; at < 500; at += 1) {
    page.apply(state, { name: "phase", id: `7-${at}`, data: { at_unix_ms: at, phase: "active" } }, at);
  }
  assert.equal(state.feed.length, 100);
  for (const count of [1, 64, 65, 5000, 123456]) {
    const unit = page.unitOf([{ rows: new Map([["http1", { flight: count, idle: 0 }]]) }]);
    assert.ok(count / unit <= 64, `${count}: ${unit}`);
    assert.match(String(unit), /^[125]0*$/);
  }
});

test("connections are summed by listener, protocol and kind", () => {
  const one = picture({ listeners: [{ name: "web", address: "a", phase: "active", stage: null }] });
  one.connections = [
    { listener: "web", protocol: "http1", state: "in_flight", count: 3 },
    { listener: "web", protocol: "http1", state: "head", count: 1 },
    { listener: "web", protocol: null, state: "accepted", count: 2 },
    { listener: "gone", protocol: "tcp", state: "in_flight", count: 1 },
  ];
  const [web, gone] = page.pools(one);
  assert.deepEqual(plain([...web.rows]), [
    ["http1", { flight: 3, idle: 0, half: 1, closing: 0 }],
    [null, { flight: 0, idle: 0, half: 2, closing: 0 }],
  ]);
  assert.equal(gone.phase, "terminated", "a listener that is in no status any more");
});

test("lengths of time are as long as they have to be", () => {
  assert.equal(page.span(-5), "0.0 s");
  assert.equal(page.span(4321), "4.3 s");
  assert.equal(page.span(59600), "60 s");
  assert.equal(page.span(150000), "3 min");
  assert.equal(page.span(3 * 86400000), "3 days");
  assert.equal(page.whole(5000), "5 s");
  assert.equal(page.whole(1500), "1.5 s");
  assert.ok(page.pauseAfter(0) < page.pauseAfter(3));
  assert.equal(page.pauseAfter(100), page.pauseAfter(99));
});

test("each piece of news has a sentence", () => {
  const says = (name, data) => page.sentence(name, { listener: null, ...data }).text;
  assert.equal(says("drain", { trigger: "sigterm" }), "A drain of the process began, by SIGTERM.");
  assert.equal(says("stage", { listener: "db", stage: "refuse" }), "Stage refuse (listener db): Listeners close. There is no way back.");
  assert.equal(says("server", { upstream: "site", server: "a:1", up: false, state: "serving" }), "Server a:1 of site is down, serving.");
  assert.equal(says("ended", { farewells: { reset: 2 }, cuts: { operator: 1 } }), "Told to leave: 2 × HTTP/2 stream reset. Cut: 1.");
  assert.equal(says("lost", { count: 1 }), "1 event came and went unheard; this page was too slow. What it shows is of now.");
});
