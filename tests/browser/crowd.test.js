// Five thousand connections: what the page costs must not grow with them.

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { Scene, says } from "./support/scene.js";
import { Clients } from "./support/traffic.js";
import { until } from "./support/wait.js";

const MANY = 5000;
/** Elements of the document: what a page with fifty holders and a full feed needs. */
const ELEMENTS = 1500;

let scene;
after(() => scene?.end());

/** Keeps account of the tasks that hold up the page's thread, and of its frames. */
function observe() {
  window.account = { long: [], frames: [] };
  new PerformanceObserver((entries) => window.account.long.push(...entries.getEntries().map((one) => one.duration))).observe({ type: "longtask" });
  let last = performance.now();
  const frame = (now) => {
    window.account.frames.push(now - last);
    last = now;
    requestAnimationFrame(frame);
  };
  requestAnimationFrame(frame);
}

const elements = (page) => page.evaluate(() => document.querySelectorAll("*").length);

test("five thousand connections come and go before a page of bounded size", async (t) => {
  scene = await Scene.start({ announce: "1s", spread: "1s", http: "60s" });
  const page = await scene.look();
  await says(page, "#headline", /^Serving$/);
  const few = await elements(page);
  await page.evaluate(observe);

  const crowds = [new Clients(scene.proxy), new Clients(scene.proxy)];
  const ask = async (clients, count) => {
    for (let at = 0; at < count; at += 1) await clients.ask("/hold");
  };
  await Promise.all(crowds.map((clients) => ask(clients, MANY / 2)));
  await says(page, "#f-connections", /^5,000$/);
  await says(page, "#f-flight", /^5,000$/);
  await says(page, "#holders-more", /And 4,950 more/);
  assert.equal(await page.locator("#holders tr").count(), 50);
  await says(page, ".pools li", /5,000 in flight/);
  const many = await elements(page);
  assert.ok(many < ELEMENTS, `${many} elements`);

  // Half of them leave, one by one, while the page looks on; then all of them.
  let left = MANY;
  while (left > MANY / 2) {
    scene.letGo(50);
    left -= 100;
    await until("fewer to be in flight", async () => (await scene.proxy.get("/v1/status")).in_flight.http1 <= left);
  }
  await says(page, "#f-flight", /^2,500$/);
  await page.locator("#do-drain").press("Enter");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await says(page, "#headline", /^Draining: finish$/);
  assert.ok((await elements(page)) < ELEMENTS);
  scene.letGo();
  await says(page, "#verdict", /of 2,500 requests, streams and tunnels 2,500 finished/);

  const { long, frames } = await page.evaluate(() => window.account);
  const worst = (values) => Math.round(Math.max(0, ...values));
  t.diagnostic(`elements: ${few} at first, ${many} at most; tasks over 50 ms: ${long.length}, the longest ${worst(long)} ms; frames: ${frames.length}, the longest wait ${worst(frames)} ms`);
  assert.deepEqual(scene.account.errors, []);
  for (const clients of crowds) clients.close();
});
