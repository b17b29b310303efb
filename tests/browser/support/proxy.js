// The binary under test, as an operator runs it: a config file, a process, its log.

import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { until } from "./wait.js";

const BINARY = process.env.EBBTIDE_BIN ?? fileURLToPath(new URL("../../../target/debug/ebbtide", import.meta.url));

// Those that run: none outlives the tests, whatever ends them.
const running = new Set();
process.on("exit", () => running.forEach((child) => child.kill("SIGKILL")));
for (const signal of ["SIGTERM", "SIGINT"]) process.once(signal, () => process.exit(1));

export class Proxy {
  #child;
  #directory = mkdtempSync(join(tmpdir(), "ebbtide-browser-"));
  log = [];
  exited = null;

  /** Run it on the config `text` until it serves. */
  static async start(text) {
    const proxy = new Proxy();
    proxy.#run(text);
    await until("the proxy to serve", () => proxy.exited !== null || proxy.#said((line) => line.phase === "active"));
    if (proxy.exited !== null) throw new Error(`it exited with ${proxy.exited}:\n${proxy.log.map((line) => JSON.stringify(line)).join("\n")}`);
    return proxy;
  }

  #run(text) {
    const config = join(this.#directory, "ebbtide.toml");
    writeFileSync(config, `[process]\nlogs = { format = "json" }\nworkers = 1\n\n${text}`);
    this.#child = spawn(BINARY, ["run", config], { stdio: ["ignore", "inherit", "pipe"] });
    running.add(this.#child);
    let rest = "";
    this.#child.stderr.setEncoding("utf8").on("data", (piece) => {
      const lines = (rest + piece).split("\n");
      rest = lines.pop();
      this.log.push(...lines.filter(Boolean).map(parsed));
    });
    this.#child.on("exit", (code, signal) => {
      running.delete(this.#child);
      this.exited = code ?? signal;
    });
  }

  #said(such) {
    return this.log.find(such);
  }

  get admin() {
    return this.#said((line) => line.event === "admin").address;
  }

  get url() {
    return `http://${this.admin}/`;
  }

  /** Host and port of a listener. */
  listener(name) {
    const { address } = this.#said((line) => line.event === "listening" && line.listener === name);
    const [host, port] = address.split(":");
    return { host, port: Number(port) };
  }

  async get(path, token) {
    const headers = token ? { authorization: `Bearer ${token}` } : {};
    return (await fetch(`http://${this.admin}${path}`, { headers })).json();
  }

  signal(name) {
    this.#child.kill(name);
  }

  async exit() {
    await until("the exit", () => this.exited !== null);
    return this.exited;
  }

  /** End it, however it is. */
  async cut() {
    if (this.exited === null) this.signal("SIGKILL");
    await this.exit();
    rmSync(this.#directory, { recursive: true, force: true });
  }
}

function parsed(line) {
  try {
    return JSON.parse(line);
  } catch {
    return { text: line };
  }
}
