// The Node.js server of the example cluster: node server.mjs <port> <URL of Redis>. Started by `cargo run -p examples --bin
// cluster`.

import { createAdapter } from "@socket.io/redis-adapter";
import { Redis } from "ioredis";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { Server } from "socket.io";

const [port, url] = process.argv.slice(2);
const page = readFileSync(new URL("page.html", import.meta.url));
const http = createServer((request, response) => response.setHeader("content-type", "text/html").end(page));
const io = new Server(http, { adapter: createAdapter(new Redis(url), new Redis(url)) });

io.on("connection", (socket) => {
  socket.join("lobby");
  socket.emit("here", "Node.js");
  socket.on("message", (text) => io.to("lobby").emit("message", `${text} (by Node.js)`));
  socket.on("count", async (answer) => answer((await io.fetchSockets()).length));
});
http.listen(port, "127.0.0.1");
