// The reference application on Node's socket.io 4.8: it proves the cells, and it is the specification of the same
// application on Patio (src/main.rs). The test runners start either of them as a child process.
//
// Command line, all flags optional:
//   --port N         port on 127.0.0.1, default 0 (any free one)
//   --msgpack        the parser of socket.io-msgpack-parser in place of the default one
//   --recovery       connection state recovery with its defaults (120 s, middlewares skipped)
//   --cors ORIGIN    CORS: this one origin, or `*`, `true` (any, named) or a list with commas; credentials allowed
//   --cors-options   CORS also with methods GET, POST; allowed headers x-a, x-b; exposed header x-c; max age 600 s;
//                    status 200 for preflights
//   --ping-interval MS, --ping-timeout MS, --upgrade-timeout MS, --connect-timeout MS    default 500, 20000, 10000, 45000
//   --max-payload N  the most bytes of a message, default 1000000
//   --no-eio3        no clients of protocol 3
//   --no-upgrades    no upgrades
//   --transports A,B only these, default polling,websocket
//   --cookie         a cookie with its defaults
//   --path PATH, --no-trailing-slash
//   --allow-request  connections whose query has `refuse` are refused, with its value as the message
//   --log            one line of JSON on stdout for each socket that connects, [tag, "connect", nsp], and that ends,
//                    [tag, "end", nsp, reason, rooms left]; tag = the query's e2e. And for each request with a header
//                    x-e2e-told, once it has come: [the header's value, "answered" or "waits"]
// It prints `listening on 127.0.0.1:PORT` as a line of its own once it accepts, and ends with status 0 on SIGTERM.
// Without flags: allow_eio3 on, ping_interval 500 ms (so that every longer cell sees heartbeats), ping_timeout 20 s,
// and otherwise the defaults.
//
// Namespaces, all with the same handlers:
//   /, /chat   open to everyone
//   /admin     a middleware refuses with message "not authorized" and data {"code":7} unless the CONNECT's auth or the
//              request's query has token == "secret"
//   /dyn-<digits>   dynamic, as the pattern ^\/dyn-\d+$
//
// On connection, unless the socket was recovered: data.first = name of the transport at that moment.
//
// Events from a client ("acks x" = answers x when the client asks for an ack; … = any number of any arguments). One that
// only emits acks [] when it has. An event whose arguments have other types than those said here is ignored, and not
// answered:
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
    "cors-options": { type: "boolean", default: false },
    "ping-interval": { type: "string", default: "500" },
    "ping-timeout": { type: "string", default: "20000" },
    "upgrade-timeout": { type: "string", default: "10000" },
    "connect-timeout": { type: "string", default: "45000" },
    "max-payload": { type: "string", default: "1000000" },
    "no-eio3": { type: "boolean", default: false },
    "no-upgrades": { type: "boolean", default: false },
    transports: { type: "string", default: "polling,websocket" },
    cookie: { type: "boolean", default: false },
    path: { type: "string", default: "/socket.io" },
    "no-trailing-slash": { type: "boolean", default: false },
    "allow-request": { type: "boolean", default: false },
    log: { type: "boolean", default: false },
  },
});

function cors(origin) {
  if (origin === "true") origin = true;
  else if (origin.includes(",")) origin = origin.split(",");
  const more = {
    ...{ methods: ["GET", "POST"], allowedHeaders: ["x-a", "x-b"], exposedHeaders: ["x-c"] },
    ...{ maxAge: 600, optionsSuccessStatus: 200 },
  };
  return { origin, credentials: true, ...(flags["cors-options"] && more) };
}

function allowRequest(request, callback) {
  const refuse = new URL(request.url, "http://localhost").searchParams.get("refuse");
  if (refuse === null) callback(null, true);
  else callback(refuse, false);
}

// What is not the engine's is not found.
const http = createServer((_, response) => response.writeHead(404).end());
const io = new Server(http, {
  allowEIO3: !flags["no-eio3"],
  allowUpgrades: !flags["no-upgrades"],
  transports: flags.transports.split(","),
  pingInterval: Number(flags["ping-interval"]),
  pingTimeout: Number(flags["ping-timeout"]),
  upgradeTimeout: Number(flags["upgrade-timeout"]),
  connectTimeout: Number(flags["connect-timeout"]),
  maxHttpBufferSize: Number(flags["max-payload"]),
  cookie: flags.cookie,
  path: flags.path,
  addTrailingSlash: !flags["no-trailing-slash"],
  ...(flags["allow-request"] && { allowRequest }),
  ...(flags.msgpack && { parser: msgpack }),
  ...(flags.recovery && { connectionStateRecovery: {} }),
  ...(flags.cors && { cors: cors(flags.cors) }),
});

// An engine answers a request in the turn that it comes in, or lets it wait.
http.on("request", ({ headers }, response) => {
  const tag = headers["x-e2e-told"];
  if (flags.log && tag !== undefined)
    setImmediate(() => console.log(JSON.stringify([tag, response.writableEnded ? "answered" : "waits"])));
});

const ends = new Map(); // socket id -> [{reason, rooms, left}]

for (const name of ["/", "/chat", "/admin", /^\/dyn-\d+$/]) io.of(name).on("connection", serve);

io.of("/admin").use((socket, next) => {
  const token = socket.handshake.auth.token ?? socket.handshake.query.token;
  if (token === "secret") return next();
  next(Object.assign(new Error("not authorized"), { data: { code: 7 } }));
});

function log(socket, ...what) {
  if (flags.log) console.log(JSON.stringify([socket.handshake.query.e2e ?? "", ...what]));
}

function serve(socket) {
  const nsp = socket.nsp;
  log(socket, "connect", nsp.name);
  const rooms = () => [...socket.rooms].sort();
  if (!socket.recovered) socket.data.first = socket.conn.transport.name;

  const on = (name, shape, handler) => socket.on(name, fitting(shape, handler));
  const sends = (name, shape, send) =>
    on(name, shape, (ack, ...args) => {
      send(...args);
      ack();
    });

  for (const name of ["echo", 'écho "two"\n', 'echo "two"\n'])
    sends(name, [], (...args) => socket.emit(name, ...args));
  on("echo_ack", [], (ack, ...args) => ack(...args));

  on("call_me", [isString], (ack, name, ...args) => {
    socket.emit(name, ...args, (...answer) => {
      socket.emit("called", name, ...answer);
      ack();
    });
  });
  on("call_impatient", [isString, isCount], (ack, name, ms) => {
    socket.timeout(ms).emit(name, (error) => ack(error ? "timeout" : "answered"));
  });

  on("join", [isString], (ack, room) => {
    socket.join(room);
    ack(rooms());
  });
  on("leave", [isString], (ack, room) => {
    socket.leave(room);
    ack(rooms());
  });
  sends("room_send", [isRooms], (to, ...args) => nsp.to(to).emit("room", ...args));
  sends("room_except", [isString, isString], (to, not, ...args) =>
    nsp
      .to(to)
      .except(not)
      .emit("room", ...args),
  );
  sends("socket_send", [isString], (to, ...args) => socket.to(to).emit("room", ...args));
  sends("broadcast_send", [], (...args) => socket.broadcast.emit("room", ...args));
  on("room_ask", [isString], async (ack, room, ...args) => {
    const answers = await nsp
      .to(room)
      .timeout(10_000)
      .emitWithAck("question", ...args)
      .catch(() => [undefined]);
    if (answers.every(isString)) ack(answers.sort());
  });
  on("sockets_in", [isString], async (ack, room) => {
    ack((await nsp.in(room).fetchSockets()).map((one) => one.id).sort());
  });

  on("whoami", [], (ack) => {
    const { secure, url, address, xdomain, auth, query, headers } = socket.handshake;
    // Keys in the order of the alphabet, so that the bytes are known.
    ack({
      data: socket.data,
      handshake: {
        ...{ address, auth },
        headers: "x-e2e" in headers ? { "x-e2e": headers["x-e2e"] } : {},
        query: { EIO: query.EIO, e2e: query.e2e, transport: query.transport },
        ...{ secure, url, xdomain },
      },
      id: socket.id,
      nsp: nsp.name,
      protocol: socket.conn.protocol,
      recovered: socket.recovered === true,
      rooms: rooms(),
      transport: socket.conn.transport.name,
    });
  });

  sends("burst", [isCount], (n) => {
    for (let i = 0; i < n; i++) {
      if (i % 10) socket.emit("burst", i);
      else socket.emit("burst", i, Buffer.from([i >> 24, i >> 16, i >> 8, i]));
    }
  });
  sends("big", [isCount, isString], (n, kind) => {
    const bytes = Buffer.alloc(n);
    for (let i = 0; i < n; i++) bytes[i] = kind === "text" ? 97 + (i % 26) : i % 251;
    socket.emit("big", kind === "text" ? bytes.toString("latin1") : bytes);
  });

  on("disconnect_me", [isBoolean], (_, close) => socket.disconnect(close));
  on("kill_transport", [], () => socket.conn.close());
  socket.on("disconnecting", (reason) => {
    if (!ends.has(socket.id)) ends.set(socket.id, []);
    ends.get(socket.id).push({ reason, rooms: rooms().filter((room) => room !== socket.id) });
  });
  socket.on("disconnect", (reason) => {
    // With MessagePack, clients may send an event of this name.
    if (!ends.has(socket.id)) return;
    ends.get(socket.id).at(-1).left = socket.rooms.size;
    log(socket, "end", nsp.name, reason, socket.rooms.size);
  });
  on("reasons", [isString], (ack, id) => ack((ends.get(id) ?? []).filter((end) => "left" in end)));
}

const isData = (value) => typeof value !== "function";
const isString = (value) => typeof value === "string";
const isBoolean = (value) => typeof value === "boolean";
const isCount = (value) => Number.isInteger(value) && value >= 0 && value < 2 ** 32;
const isRooms = (value) => isString(value) || (Array.isArray(value) && value.every(isString));

/** A handler that is given the ack, which does nothing if nobody asked, and arguments that begin as `shape` says;
 *  others are not for it, and are not answered. */
const fitting =
  (shape, handler) =>
  (...args) => {
    const ack = isData(args.at(-1)) ? () => {} : args.pop();
    if (shape.every((fits, at) => fits(args[at]))) handler(ack, ...args);
  };

http.listen(Number(flags.port), "127.0.0.1", () =>
  console.log(`listening on 127.0.0.1:${http.address().port}`),
);
process.on("SIGTERM", () => io.close(() => process.exit(0)));
