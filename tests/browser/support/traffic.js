// Servers to stand before, and clients of every kind, all in this process.

import { createHash } from "node:crypto";
import http from "node:http";
import http2 from "node:http2";
import net from "node:net";
import { until } from "./wait.js";

const WEBSOCKET = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

async function bound(server) {
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return `127.0.0.1:${server.address().port}`;
}

/** An HTTP server that holds `/hold` until it is told to let go. */
export class Server {
  #held = [];
  #sockets = new Set();
  #server = http.createServer({ keepAliveTimeout: 0 }, (request, response) => this.#answer(request, response));

  static async start() {
    const server = new Server();
    server.#server.on("upgrade", (request, socket) => server.#upgrade(request, socket));
    server.#server.on("connection", (socket) => {
      server.#sockets.add(socket);
      socket.on("close", () => server.#sockets.delete(socket));
      socket.on("error", () => {});
    });
    server.address = await bound(server.#server);
    return server;
  }

  #answer(request, response) {
    if (request.url.startsWith("/hold")) {
      this.#held.push(response);
    } else if (request.url.startsWith("/after/")) {
      setTimeout(() => response.end("late\n"), Number(request.url.split("/")[2]));
    } else if (request.url.startsWith("/events")) {
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.write("data: one\n\n");
    } else {
      response.end("hello\n");
    }
  }

  #upgrade(request, socket) {
    const accept = createHash("sha1").update(request.headers["sec-websocket-key"] + WEBSOCKET).digest("base64");
    socket.write(`HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`);
    answerClose(socket, false);
  }

  get held() {
    return this.#held.length;
  }

  /** Answer all that is held, or so many. */
  letGo(most = Infinity) {
    for (const response of this.#held.splice(0, most)) response.end("held\n");
  }

  close() {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }
}

/** Answers a WebSocket Close (RFC 6455, section 5.5.1) as long as frames come whole. */
function answerClose(socket, masked) {
  socket.on("error", () => {});
  socket.on("data", (data) => {
    if ((data[0] & 0x0f) === 8) socket.end(masked ? Buffer.from([0x88, 0x80, 0, 0, 0, 0]) : Buffer.from([0x88, 0]));
  });
}

/** A TCP server that takes whatever comes, and closes when its peer does. */
export async function tcpServer() {
  const sockets = new Set();
  const server = net.createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    socket.resume();
  });
  const address = await bound(server);
  const close = () => {
    server.close();
    for (const socket of sockets) socket.destroy();
  };
  return { address, close };
}

/** Clients of one proxy; all of them are gone after `close`. */
export class Clients {
  #sockets = [];
  #multiplexed = [];
  statuses = [];

  constructor(proxy, listener = "web") {
    this.at = proxy.listener(listener);
  }

  async #connect(at = this.at) {
    const socket = net.connect({ ...at, allowHalfOpen: false });
    this.#sockets.push(socket);
    socket.on("error", () => {});
    await new Promise((resolve, reject) => socket.once("connect", resolve).once("error", reject));
    return socket;
  }

  /** Connections that have sent nothing. */
  async silent(count) {
    for (let at = 0; at < count; at += 1) await this.#connect();
  }

  /** Connections that had an answer and wait for no other. */
  async idle(count) {
    for (let at = 0; at < count; at += 1) await this.#requests(["/"], true);
  }

  /** One HTTP/1.1 connection with a request that is not answered yet. */
  async ask(path) {
    await this.#requests([path], false);
  }

  async #requests(paths, wait) {
    const socket = await this.#connect();
    let answers = "";
    socket.setEncoding("utf8").on("data", (piece) => {
      answers += piece;
      const status = /^HTTP\/1\.1 (\d+)/.exec(piece);
      if (status) this.statuses.push(Number(status[1]));
    });
    for (const path of paths) socket.write(`GET ${path} HTTP/1.1\r\nHost: site.example\r\n\r\n`);
    if (wait) await until("an answer", () => answers.includes("\r\n\r\n"));
  }

  /** One HTTP/2 connection with a stream for each of these paths. */
  async streams(paths) {
    const carrier = http2.connect(`http://${this.at.host}:${this.at.port}`);
    this.#multiplexed.push(carrier);
    carrier.on("error", () => {});
    for (const path of paths) {
      const stream = carrier.request({ ":path": path });
      stream.on("error", () => {});
      stream.on("response", (headers) => this.statuses.push(headers[":status"]));
      stream.resume();
    }
    await new Promise((resolve) => carrier.once("connect", resolve));
  }

  async websocket() {
    const socket = await this.#connect();
    let head = "";
    socket.on("data", (data) => {
      head += data.toString("latin1");
    });
    socket.write("GET /ws HTTP/1.1\r\nHost: site.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
    await until("101", () => head.includes("101"));
    answerClose(socket, true);
  }

  /** Opens a tunnel and leaves it open. */
  async tunnel() {
    const socket = await this.#connect();
    socket.write("hello\n");
    socket.on("end", () => socket.end());
  }

  close() {
    for (const socket of this.#sockets) socket.destroy();
    for (const one of this.#multiplexed) one.destroy();
  }
}
