// A whole drain, begun, followed and ended with the keyboard alone.

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { origins, tabTo } from "./support/browser.js";
import { Scene, says, stages } from "./support/scene.js";
import { until } from "./support/wait.js";

const begun = [];
after(async () => {
  for (const scene of begun) await scene.end();
});

async function start(times) {
  const scene = await Scene.start(times);
  begun.push(scene);
  return scene;
}

async function press(page, selector) {
  await tabTo(page, selector);
  await page.keyboard.press("Enter");
}

/** Where the now stood in so many frames. */
async function nowOver(page, frames) {
  const seen = await page.locator("#timeline").evaluate(async (list, count) => {
    const places = [];
    while (places.length < count) {
      places.push(list.style.getPropertyValue("--now"));
      await new Promise(requestAnimationFrame);
    }
    return places;
  }, frames);
  return new Set(seen);
}

/** What has the focus, by its id. */
const focused = (page) => page.evaluate(() => document.activeElement?.id);

test("a drain is begun, extended and watched to its receipt by keyboard", async () => {
  const scene = await start({ announce: "1500ms", websocket: "2s", tcp: "2s" });
  await scene.crowd(4);
  const page = await scene.look();
  await says(page, "#headline", /^Serving$/);
  await says(page, "#f-flight", /^11$/);
  assert.match(await page.title(), /^serving: 11 in flight/);

  await press(page, "#do-drain");
  assert.equal(await focused(page), "ask-no", "what changes nothing has the focus");
  const question = await page.locator("#ask-lines").textContent();
  assert.match(question, /11 in flight on \d+ connections; forecast .*, exit at the latest \d\d:\d\d:\d\d/);
  assert.match(question, /For the first 1\.5 s \(announce\) it can be cancelled/);
  await page.keyboard.press("Escape");
  await until("the question to be gone", async () => !(await page.locator("#ask").isVisible()));
  await until("the focus to be back", async () => (await focused(page)) === "do-drain");
  assert.equal((await scene.proxy.get("/v1/drain")).draining, false, "nothing was done");

  await page.keyboard.press("Enter");
  await page.keyboard.press("Tab");
  assert.equal(await focused(page), "ask-yes");
  await page.keyboard.press("Enter");
  await says(page, "#headline", /^Draining: announced$/);
  await until("the focus to have a place", async () => (await focused(page)) === "do-cancel");
  await says(page, "#say", /Stage announce/);
  assert.match(await page.title(), /^announcing: 11 in flight/);

  await says(page, "#headline", /^Draining: (retire|finish)$/);
  await until("finish", async () => (await stages(page)).finish === "under way");
  assert.deepEqual(await stages(page), { announce: "done", refuse: "done", retire: "done", finish: "under way", farewell: "to come", cut: "to come" });
  assert.equal(await page.locator("#do-cancel").isVisible(), false, "there is no way back");
  assert.ok((await nowOver(page, 8)).size > 5, "the now moves with the frames, not with the views");

  await press(page, "#do-extend");
  assert.equal(await focused(page), "ask-value");
  await page.keyboard.press("Control+A");
  await page.keyboard.type("nonsense");
  await page.keyboard.press("Enter");
  await says(page, "#ask-error", /It was not done: .*nonsense/);
  await page.locator("#ask-value").focus();
  await page.keyboard.press("Control+A");
  await page.keyboard.type("1s");
  await page.keyboard.press("Enter");
  await says(page, "#feed", /What is in flight on the process got 1 s more/);

  const holders = page.locator("#holders tr");
  await says(page, "#holders-about", /The process waits for these/);
  assert.match(await holders.first().textContent(), /127\.0\.0\.1:\d+.*waits for the server|open tunnel/);
  await says(page, "#feed", /Told to leave: .*WebSocket Close 1001/);
  await until("four requests and two streams to be left", async () => (await holders.count()) === 6);
  assert.match(await page.title(), /^draining: 6 left/);
  scene.letGo();

  await says(page, "#headline", /^Drained in \d/);
  await says(page, "#verdict", /Nothing was lost: of 11 requests, streams and tunnels 6 finished, 5 were told to leave in their own protocol, 0 were cut/);
  assert.equal(await scene.proxy.exit(), 0);
  await says(page, "#link-text", /^Last heard \d\d:\d\d:\d\d, \d+ s ago; the process has ended, and what stands here is final$/);
  assert.match(await page.title(), /^drained, 0 lost/);
  assert.deepEqual((await stages(page)).cut, "not needed");
  assert.equal(await page.locator("#do-drain, #do-extend, #do-cancel").filter({ visible: true }).count(), 0);
  assert.match(await page.locator("#receipt-told").textContent(), /WebSocket: open tunnel.*its deadline came/);
  assert.deepEqual(origins(scene.account), [new URL(scene.proxy.url).origin], "nothing was asked of anybody else");
  assert.deepEqual(scene.account.errors, []);
});

test("a drain is cancelled while it announces", async () => {
  const scene = await start();
  await scene.crowd(1);
  const page = await scene.look({ colorScheme: "dark", reducedMotion: "reduce" });
  await says(page, "#headline", /^Serving$/);
  await press(page, "#do-drain");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await says(page, "#headline", /^Draining: announced$/);
  assert.equal((await stages(page)).announce, "under way");
  await page.evaluate(() => document.activeElement.blur());
  await press(page, "#do-cancel");
  await says(page, "#ask-title", /^Cancel the drain\?$/);
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await says(page, "#headline", /^Serving$/);
  await says(page, "#feed", /The drain of the process was taken back/);
  assert.equal((await stages(page)).announce, "to come");
  assert.equal((await scene.proxy.get("/v1/drain")).draining, false);
  assert.deepEqual(scene.account.errors, []);
});

test("a server and a listener are drained and taken back", async () => {
  const scene = await start();
  await scene.crowd(2);
  const page = await scene.look();
  const name = scene.one.address;
  const server = page.locator("#servers tr", { hasText: name });
  await server.getByRole("button", { name: `Drain server ${name} of site` }).press("Enter");
  await says(page, "#ask-lines", /It gets nothing new of site from now on; \d in flight on it may finish.*1 other server of site serves on/s);
  await page.keyboard.type("30s");
  await page.keyboard.press("Enter");
  await until("the drain", async () => /draining: gets nothing new/.test(await server.textContent()));
  await server.getByRole("button", { name: `Take back server ${name} of site` }).press("Enter");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await until("its return", async () => /serving/.test(await server.textContent()));

  const listener = page.locator(".listener", { hasText: "db" });
  await listener.getByRole("button", { name: "Drain listener db" }).press("Enter");
  await says(page, "#ask-lines", /The others serve on/);
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await until("the announcement", async () => /draining: announce/.test(await listener.textContent()));
  assert.equal(await page.locator("#headline").textContent(), "Serving");
  await listener.getByRole("button", { name: "Take back listener db" }).press("Enter");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await until("its return", async () => /open/.test(await listener.locator(".badge").textContent()));
  assert.equal((await scene.proxy.get("/v1/drain?listener=db")).draining, false);
  assert.deepEqual(scene.account.errors, []);
});
