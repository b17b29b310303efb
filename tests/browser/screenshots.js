// Makes the pictures in docs/images: `make screenshots`.

import { mkdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { open } from "./support/browser.js";
import { Scene, says } from "./support/scene.js";
import { until } from "./support/wait.js";

const IMAGES = process.env.IMAGES ?? fileURLToPath(new URL("../../docs/images/", import.meta.url));
const SIZE = { width: 1180, height: 1300 };
/** How long a request of the busy route takes, in milliseconds: its history. */
const USUAL = 10000;

const scene = await Scene.start({ announce: "4s", spread: "1500ms", http: "16s", websocket: "12s", tcp: "16s" });
try {
  mkdirSync(IMAGES, { recursive: true });
  const ask = (count) => Promise.all(Array.from({ length: count }, () => scene.web.ask(`/after/${USUAL}`)));
  await ask(12);
  await until("a history", () => scene.web.statuses.length >= 12);
  await scene.web.idle(21);
  await ask(5);
  await scene.crowd(3);
  const light = await scene.look({ viewport: SIZE, colorScheme: "light" });
  const { page: dark } = await open(scene.browser, scene.proxy.url, { viewport: SIZE, colorScheme: "dark" });
  const shoot = (page, name, more = {}) => page.screenshot({ path: `${IMAGES}${name}.png`, ...more });

  await says(light, "#holders", /as others on its route/);
  await shoot(light, "page-serving", { fullPage: true });
  await light.locator("#do-drain").click();
  await shoot(light, "page-asks");
  await light.locator("#ask-yes").click();
  await says(dark, "#headline", /^Draining: finish$/);
  await until("some of the finish", async () => (await scene.proxy.get("/v1/drain")).elapsed_ms > 6500);
  await shoot(light, "page-draining");
  await shoot(dark, "page-draining-dark");
  scene.letGo(2);
  await scene.proxy.exit();
  await says(light, "#link-text", /[3-9] s ago/);
  await shoot(light, "page-receipt");
} finally {
  await scene.end();
}
