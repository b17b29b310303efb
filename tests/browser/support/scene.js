// A proxy before servers of every kind, with a page that looks at it.

import { launch, open } from "./browser.js";
import { Proxy } from "./proxy.js";
import { Clients, Server, tcpServer } from "./traffic.js";
import { until } from "./wait.js";

const CALM = { announce: "60s", spread: "200ms", http: "60s", websocket: "60s", tcp: "60s", farewell: "2s" };

function config(one, two, db, { admin = "", ...times }) {
  const plan = { ...CALM, ...times };
  return `[admin]
listen = "127.0.0.1:0"
${admin}

[listener.web]
listen = "127.0.0.1:0"
routes = [{ path = "/after", upstream = "site" }, { upstream = "site" }]

[listener.db]
listen = "127.0.0.1:0"
protocol = "tcp"
upstream = "postgres"

[upstream.site]
servers = ["${one.address}", "${two.address}"]
health = { tcp = true, every = "200ms" }

[upstream.postgres]
servers = ["${db.address}"]

[drain]
grace = "600s"
announce = "${plan.announce}"
spread = "${plan.spread}"
finish = { http = "${plan.http}", grpc = "${plan.http}", websocket = "${plan.websocket}", tcp = "${plan.tcp}" }
farewell = "${plan.farewell}"
`;
}

export class Scene {
  #ends = [];

  /** Servers, and a proxy whose drain has these times. */
  static async start(times = {}) {
    const scene = new Scene();
    scene.one = scene.#closed(await Server.start());
    scene.two = scene.#closed(await Server.start());
    scene.db = scene.#closed(await tcpServer());
    scene.config = config(scene.one, scene.two, scene.db, times);
    scene.proxy = await Proxy.start(scene.config);
    scene.#ends.push(() => scene.proxy.cut());
    scene.web = scene.#closed(new Clients(scene.proxy));
    scene.tunnels = scene.#closed(new Clients(scene.proxy, "db"));
    return scene;
  }

  #closed(one) {
    this.#ends.push(() => one.close());
    return one;
  }

  /** Connections of every kind; so many requests wait for their answer. */
  async crowd(held) {
    await this.web.idle(8);
    await this.web.silent(3);
    await this.web.websocket();
    await this.web.websocket();
    await this.web.streams(["/hold", "/hold"]);
    for (let at = 0; at < held; at += 1) await this.web.ask("/hold");
    for (let at = 0; at < 3; at += 1) await this.tunnels.tunnel();
    await until("the servers to have them", () => this.one.held + this.two.held === held + 2);
  }

  /** Open the page in a browser of its own. */
  async look(options) {
    const browser = await launch();
    this.#ends.push(() => browser.close());
    Object.assign(this, await open(browser, this.proxy.url, options));
    this.browser = browser;
    return this.page;
  }

  letGo(most) {
    this.one.letGo(most);
    this.two.letGo(most);
  }

  /** Ends whatever began, the last first. */
  async end() {
    for (const end of this.#ends.splice(0).reverse()) await end();
  }
}

/** Wait until an element's text is such. */
export async function says(page, selector, wanted) {
  const text = () => page.locator(selector).textContent();
  let last;
  try {
    return await until(`${selector} to say ${wanted}`, async () => wanted.test((last = await text())) && last);
  } catch (error) {
    throw new Error(`${error.message}; it says ${JSON.stringify(last)}`);
  }
}

/** How far each stage is, by the timeline. */
export function stages(page) {
  return page.locator("#timeline > li").evaluateAll((items) => Object.fromEntries(items.map((item) => [item.querySelector("strong").textContent, item.dataset.how])));
}
