// What a machine can tell of accessibility (WCAG 2.1, levels A and AA, contrast
// included): axe looks at the page in each of its states, light and dark, wide
// and narrow. What it cannot tell, the keyboard tests do.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { after, test } from "node:test";
import { Scene, says } from "./support/scene.js";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

const begun = [];
after(async () => {
  for (const scene of begun) await scene.end();
});

/** What axe finds, in a line each. */
async function flaws(page) {
  const found = await page.evaluate(async () => {
    const { violations } = await window.axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"] });
    return violations.flatMap((one) => one.nodes.map((node) => `${one.id}: ${node.html}`));
  });
  return found;
}

async function judged(page, state) {
  assert.deepEqual(await flaws(page), [], state);
}

async function course(options) {
  const scene = await Scene.start({ announce: "1500ms", websocket: "2s", tcp: "2s" });
  begun.push(scene);
  await scene.crowd(4);
  // The page's policy would keep axe out; its own test holds that.
  const page = await scene.look({ bypassCSP: true, ...options });
  await page.evaluate(AXE);
  await says(page, "#headline", /^Serving$/);
  await says(page, "#holders", /WebSocket: open tunnel/);
  await judged(page, "serving");
  await page.locator("#do-drain").press("Enter");
  await judged(page, "asked");
  await page.locator("#ask-yes").press("Enter");
  await says(page, "#headline", /^Draining: announced$/);
  await judged(page, "announcing");
  await says(page, "#headline", /^Draining: finish$/);
  await judged(page, "finishing");
  scene.letGo();
  await says(page, "#verdict", /finished/);
  await scene.proxy.exit();
  await says(page, "#link-text", /what stands here is final/);
  await judged(page, "gone, with its receipt");
  return page;
}

for (const [name, options] of [
  ["light", { colorScheme: "light" }],
  ["dark", { colorScheme: "dark" }],
  ["narrow", { colorScheme: "light", viewport: { width: 390, height: 844 } }],
]) {
  test(`axe finds no flaw in the ${name} page`, async () => {
    const page = await course(options);
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    assert.equal(wide, 0, "nothing hangs out");
  });
}
