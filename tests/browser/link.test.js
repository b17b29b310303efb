// What the page is told, what it keeps when nobody tells it any more, and who
// may see it.

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { open, origins } from "./support/browser.js";
import { Proxy } from "./support/proxy.js";
import { Scene, says } from "./support/scene.js";
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

test("a process that is gone without a word leaves its last state, labelled", async () => {
  const scene = await start();
  await scene.crowd(3);
  const page = await scene.look();
  await says(page, "#f-flight", /^10$/);
  await page.locator("#do-drain").press("Enter");
  await page.locator("#ask-yes").press("Enter");
  await says(page, "#timeline-about", /^The line is now/);
  const { admin } = scene.proxy;
  scene.proxy.signal("SIGKILL");
  await scene.proxy.exit();
  await says(page, "#link-text", /^Last heard \d\d:\d\d:\d\d, \d+ s ago; the process is gone or unreachable, and what stands here is what it last said\. Trying again/);
  assert.equal(await page.locator("#f-flight").textContent(), "10", "the last state is kept");
  await until("nobody to be there to ask", () => page.locator("#do-cancel").isDisabled());
  await says(page, "#subline", /^As last heard: Readiness fails/);
  await says(page, "#timeline-about", /^The line is when the process was last heard/);
  const now = () => page.locator("#timeline").getAttribute("style");
  const stood = await now();
  await says(page, "#link-text", /[3-9] s ago/);
  assert.equal(await now(), stood, "its time stands still");
  assert.match(await page.title(), /^gone\? last heard/);

  const next = await Proxy.start(scene.config.replace('listen = "127.0.0.1:0"', `listen = "${admin}"`));
  try {
    await page.locator("#again").click();
    await says(page, "#link-text", /^Live$/);
    await says(page, "#feed", /Another process answers here now/);
    await says(page, "#f-flight", /^0$/);
    await until("somebody to be there to ask", () => page.locator("#do-drain").isEnabled());
    assert.deepEqual(scene.account.errors, []);
  } finally {
    await next.cut();
  }
});

test("a token is asked for, kept in memory only and sent with everything", async () => {
  const scene = await start({ admin: 'token = "operate"\nread_token = "look"' });
  await scene.crowd(1);
  const page = await scene.look();
  await page.locator("#key-value").fill("nö token");
  await page.keyboard.press("Enter");
  await says(page, "#key-error", /letters, digits and signs of ASCII/);
  await page.locator("#key-value").fill("wrong");
  await page.keyboard.press("Enter");
  await says(page, "#key-error", /not accepted/);
  await page.locator("#key-value").fill("operate");
  await page.keyboard.press("Enter");
  await says(page, "#headline", /^Serving$/);
  const kept = await page.evaluate(() => [document.cookie, localStorage.length, sessionStorage.length, location.href]);
  assert.deepEqual(kept, ["", 0, 0, scene.proxy.url]);
  await page.locator("#do-drain").press("Enter");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await says(page, "#headline", /^Draining: announced$/);
  const drain = scene.account.requests.find((request) => request.method() === "POST");
  assert.equal((await drain.allHeaders()).authorization, "Bearer operate");
  assert.equal((await scene.proxy.get("/v1/drain", "look")).draining, true);

  const reader = await open(scene.browser, scene.proxy.url);
  await reader.page.locator("#key-value").fill("look");
  await reader.page.keyboard.press("Enter");
  await says(reader.page, "#headline", /^Draining: announced$/);
  await says(reader.page, "#act-note", /may look, and change nothing/);
  assert.equal(await reader.page.locator("main button").filter({ visible: true }).count(), 0);
  await reader.page.reload();
  await until("the question for a token", () => reader.page.locator("#key").isVisible());
});

test("the page runs under its policy, and other pages change nothing", async () => {
  const scene = await start();
  const page = await scene.look();
  await says(page, "#headline", /^Serving$/);
  const response = scene.account.responses.find((one) => one.url() === scene.proxy.url);
  const headers = await response.allHeaders();
  assert.match(headers["content-security-policy"], /default-src 'none'; script-src 'sha256-.*frame-ancestors 'none'/);
  assert.equal(headers["cache-control"], "no-store");
  assert.equal(headers["x-content-type-options"], "nosniff");
  const injected = await page.evaluate(() => {
    try {
      document.body.innerHTML = "<p>markup</p>";
      return "written";
    } catch {
      return "refused";
    }
  });
  assert.equal(injected, "refused", "text does not become markup");

  // The other server is an origin of its own: the site that an operator visits.
  const other = await open(scene.browser, `http://${scene.two.address}/`);
  const tried = await other.page.evaluate(async (target) => {
    const results = [];
    const sends = [
      { method: "POST", mode: "no-cors" },
      { method: "POST", headers: { "X-Ebbtide-Page": "1" } },
      { method: "DELETE" },
    ];
    for (const options of sends) results.push(await fetch(`${target}v1/drain`, options).then((answer) => answer.type, () => "refused"));
    const frame = document.createElement("iframe");
    frame.src = target;
    document.body.append(frame);
    await new Promise((resolve) => frame.addEventListener("load", resolve, { once: true }));
    results.push(frame.contentDocument === null ? "shut out" : "framed");
    return results;
  }, scene.proxy.url);
  assert.deepEqual(tried, ["opaque", "refused", "refused", "shut out"]);
  const drain = other.account.responses.find((one) => one.url().endsWith("/v1/drain"));
  assert.equal(drain?.status(), 403);
  assert.equal((await scene.proxy.get("/v1/drain")).draining, false);
  assert.deepEqual(origins(scene.account), [new URL(scene.proxy.url).origin]);
});

test("a question that nobody answers says so", async () => {
  const scene = await start();
  const page = await scene.look();
  await says(page, "#headline", /^Serving$/);
  await page.locator("#do-drain").press("Enter");
  scene.proxy.signal("SIGKILL");
  await scene.proxy.exit();
  await page.locator("#ask-yes").press("Enter");
  await says(page, "#ask-error", /^No answer came\. Whether it was done will be seen here\.$/);
});
