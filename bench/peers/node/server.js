// The benchmark's application on Node's socket.io, as its documentation advises for many clients: no compression,
// no reference to the HTTP request of the handshake, no client bundle.
//
// node server.js [--listen 127.0.0.1:0] [--redis redis://127.0.0.1] [--until-eof]
"use strict";

const { createServer } = require("node:http");
const { Server } = require("socket.io");

const args = process.argv.slice(2);
const listen = args.includes("--listen") ? args[args.indexOf("--listen") + 1] : "127.0.0.1:0";
const [host, port] = listen.split(":");

const http = createServer();
const io = new Server(http, { perMessageDeflate: false, serveClient: false });

if (args.includes("--redis")) {
  const { createAdapter } = require("@socket.io/redis-adapter");
  const { Redis } = require("ioredis");
  const url = args[args.indexOf("--redis") + 1];
  io.adapter(createAdapter(new Redis(url), new Redis(url)));
}

io.engine.on("connection", (rawSocket) => {
  rawSocket.request = null;
});

io.on("connection", (socket) => {
  socket.join("r");
  socket.on("b", (text) => io.to("r").emit("b", text));
  socket.on("bin", (bytes) => io.to("r").emit("bin", bytes));
  socket.on("to", (room, text) => io.to(room).emit("b", text));
  socket.on("ack", (value, answer) => answer(value));
  socket.on("join", (room, answer) => {
    socket.join(room);
    answer(true);
  });
  socket.on("leave", (room, answer) => {
    socket.leave(room);
    answer(true);
  });
  socket.on("timed", (text, answer) => {
    const began = process.hrtime.bigint();
    io.to("r").emit("b", text);
    answer(Number(process.hrtime.bigint() - began));
  });
});

http.listen({ host, port: Number(port), backlog: 4096 }, () => {
  console.log(`listening on ${host}:${http.address().port}`);
});

if (args.includes("--until-eof")) {
  process.stdin.resume();
  process.stdin.on("end", () => process.exit(0));
}
