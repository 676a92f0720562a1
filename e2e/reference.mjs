// The reference application on Node's socket.io 4.8: it proves the cells, and it is the specification of the same
// application on Patio (src/main.rs). The test runners start either of them as a child process.
//
// Command line, all flags optional:
//   --port N         port on 127.0.0.1, default 0 (any free one)
//   --msgpack        the parser of socket.io-msgpack-parser in place of the default one
//   --recovery       connection state recovery with its defaults (120 s, middlewares skipped)
//   --cors ORIGIN    CORS: this one origin, credentials allowed
// It prints `listening on 127.0.0.1:PORT` as a line of its own once it accepts, and ends with status 0 on SIGTERM.
// Always: allow_eio3 on, ping_interval 500 ms (so that every longer cell sees heartbeats), ping_timeout 20 s, and
// otherwise the defaults.
//
// Namespaces, all with the same handlers:
//   /, /chat   open to everyone
//   /admin     a middleware refuses with message "not authorized" and data {"code":7} unless the CONNECT's auth or the
//              request's query has token == "secret"
//   /dyn-<digits>   dynamic, as the pattern ^\/dyn-\d+$
//
// On connection, unless the socket was recovered: data.first = name of the transport at that moment.
//
// Events from a client ("acks x" = answers x when the client asks for an ack; … = any number of any arguments):
//   echo …                    emits `echo` … to the sender
//   écho "two"\n …            the same with this very name (accent, quotes, a line feed)
//   echo "two"\n …            the same
//   echo_ack …                acks …
//   call_me name …            emits `name` … to the sender and asks for an ack, with 5 s or more to come; when it
//                             does, emits `called` name, …answer
//   call_impatient name ms    emits `name` with an ack timeout of ms; then acks "timeout", or "answered"
//   join room                 joins, acks the sorted rooms of the socket
//   leave room                leaves, acks the sorted rooms of the socket
//   room_send rooms …         rooms is a string or an array: io.of(nsp).to(rooms).emit("room", …), acks nothing ([])
//   room_except room not …    io.of(nsp).to(room).except(not).emit("room", …), acks []
//   socket_send room …        socket.to(room).emit("room", …), acks []
//   broadcast_send …          socket.broadcast.emit("room", …), acks []
//   room_ask room …           io.of(nsp).to(room).timeout(10 s).emit_with_ack("question", …); acks the sorted array of
//                             the answers (first argument of each, strings)
//   sockets_in room           acks the sorted ids of fetch_sockets() of that room
//   whoami                    acks {id, nsp, transport, protocol (3|4), recovered, rooms (sorted), data,
//                             handshake: {secure, url, address, xdomain, auth,
//                                         query: {e2e, EIO, transport}, headers: {"x-e2e"}}}; absent ones left out
//   burst n                   emits `burst` 0 … `burst` n-1 to the sender; every tenth (0, 10, …) as `burst` i <4 bytes,
//                             i as big endian>
//   big n kind                emits `big` x; kind "text": n characters 'a' + i % 26; kind "binary": n bytes i % 251
//   disconnect_me close       socket.disconnect(close), close a boolean
//   kill_transport            closes the engine session of the socket (no packet 41), as a lost connection
//   reasons id                acks the array of ends of the socket with that id (of any namespace), each
//                             {reason, rooms, left}: rooms = sorted rooms without the own one when `disconnecting` ran,
//                             left = number of rooms when `disconnect` ran

import { createServer } from "node:http";
import { parseArgs } from "node:util";
import { Server } from "socket.io";
import msgpack from "socket.io-msgpack-parser";

const { values: flags } = parseArgs({
  options: {
    port: { type: "string", default: "0" },
    msgpack: { type: "boolean", default: false },
    recovery: { type: "boolean", default: false },
    cors: { type: "string" },
  },
});

const http = createServer();
const io = new Server(http, {
  allowEIO3: true,
  pingInterval: 500,
  pingTimeout: 20_000,
  ...(flags.msgpack && { parser: msgpack }),
  ...(flags.recovery && { connectionStateRecovery: {} }),
  ...(flags.cors && { cors: { origin: flags.cors, credentials: true } }),
});

const ends = new Map(); // socket id -> [{reason, rooms, left}]

for (const name of ["/", "/chat", "/admin", /^\/dyn-\d+$/]) io.of(name).on("connection", serve);

io.of("/admin").use((socket, next) => {
  const token = socket.handshake.auth.token ?? socket.handshake.query.token;
  if (token === "secret") return next();
  next(Object.assign(new Error("not authorized"), { data: { code: 7 } }));
});

function serve(socket) {
  const nsp = socket.nsp;
  const rooms = () => [...socket.rooms].sort();
  if (!socket.recovered) socket.data.first = socket.conn.transport.name;

  for (const name of ["echo", 'écho "two"\n', 'echo "two"\n'])
    socket.on(name, (...args) => socket.emit(name, ...args));
  socket.on("echo_ack", (...args) => args.pop()(...args));

  socket.on("call_me", (name, ...args) => {
    socket.emit(name, ...args, (...answer) => socket.emit("called", name, ...answer));
  });
  socket.on("call_impatient", (name, ms, ack) => {
    socket.timeout(ms).emit(name, (error) => ack(error ? "timeout" : "answered"));
  });

  socket.on("join", (room, ack) => {
    socket.join(room);
    ack(rooms());
  });
  socket.on("leave", (room, ack) => {
    socket.leave(room);
    ack(rooms());
  });
  const acked =
    (send) =>
    (...args) => {
      const ack = args.pop();
      send(...args);
      ack();
    };
  socket.on(
    "room_send",
    acked((to, ...args) => nsp.to(to).emit("room", ...args)),
  );
  socket.on(
    "room_except",
    acked((to, not, ...args) =>
      nsp
        .to(to)
        .except(not)
        .emit("room", ...args),
    ),
  );
  socket.on(
    "socket_send",
    acked((to, ...args) => socket.to(to).emit("room", ...args)),
  );
  socket.on(
    "broadcast_send",
    acked((...args) => socket.broadcast.emit("room", ...args)),
  );
  socket.on("room_ask", async (room, ...args) => {
    const ack = args.pop();
    ack(
      (
        await nsp
          .to(room)
          .timeout(10_000)
          .emitWithAck("question", ...args)
      ).sort(),
    );
  });
  socket.on("sockets_in", async (room, ack) => {
    ack((await nsp.in(room).fetchSockets()).map((one) => one.id).sort());
  });

  socket.on("whoami", (ack) => {
    const { secure, url, address, xdomain, auth, query, headers } = socket.handshake;
    ack({
      id: socket.id,
      nsp: nsp.name,
      transport: socket.conn.transport.name,
      protocol: socket.conn.protocol,
      recovered: socket.recovered === true,
      rooms: rooms(),
      data: socket.data,
      handshake: {
        ...{ secure, url, address, xdomain, auth },
        query: { e2e: query.e2e, EIO: query.EIO, transport: query.transport },
        headers: { "x-e2e": headers["x-e2e"] },
      },
    });
  });

  socket.on("burst", (n) => {
    for (let i = 0; i < n; i++) {
      if (i % 10) socket.emit("burst", i);
      else socket.emit("burst", i, Buffer.from([i >> 24, i >> 16, i >> 8, i]));
    }
  });
  socket.on("big", (n, kind) => {
    const bytes = Buffer.alloc(n);
    for (let i = 0; i < n; i++) bytes[i] = kind === "text" ? 97 + (i % 26) : i % 251;
    socket.emit("big", kind === "text" ? bytes.toString("latin1") : bytes);
  });

  socket.on("disconnect_me", (close) => socket.disconnect(close));
  socket.on("kill_transport", () => socket.conn.close());
  socket.on("disconnecting", (reason) => {
    if (!ends.has(socket.id)) ends.set(socket.id, []);
    ends.get(socket.id).push({ reason, rooms: rooms().filter((room) => room !== socket.id) });
  });
  socket.on("disconnect", () => (ends.get(socket.id).at(-1).left = socket.rooms.size));
  socket.on("reasons", (id, ack) => ack((ends.get(id) ?? []).filter((end) => "left" in end)));
}

http.listen(Number(flags.port), "127.0.0.1", () =>
  console.log(`listening on 127.0.0.1:${http.address().port}`),
);
process.on("SIGTERM", () => io.close(() => process.exit(0)));
