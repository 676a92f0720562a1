// A Node server of Socket.IO 2 with `socket.io-redis` 5, told on stdin what to do, by the words of node.mjs.

import { createServer } from "node:http";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { parseArgs, promisify } from "node:util";
import { Redis } from "ioredis";
import { untag } from "./values.mjs";

const require = createRequire(import.meta.url);
const { values: flags } = parseArgs({
  options: { redis: { type: "string" }, key: { type: "string" }, adapter: { type: "string" } },
});

const [pubClient, subClient] = [new Redis(flags.redis), new Redis(flags.redis)];
const adapter = require("socket.io-redis-5")({ pubClient, subClient, key: flags.key });
const http = createServer();
const io = require("socket.io-2")(http, { adapter, pingInterval: 60_000, serveClient: false });
const say = (line) => process.stdout.write(JSON.stringify(line) + "\n");

for (const name of ["/", "/chat"])
  io.of(name).on("connection", (socket) => {
    // Clients of that time have no `auth`.
    const { rooms } = JSON.parse(socket.handshake.query.hello);
    socket.join(rooms);
  });

function choose({ nsp, from, to = [], volatile, compress, local }) {
  let chosen = from ? io.of(nsp).connected[from].broadcast : io.of(nsp);
  for (const room of to) chosen = chosen.to(room);
  if (volatile) chosen = chosen.volatile;
  if (compress !== undefined) chosen = chosen.compress(compress);
  if (local) chosen = chosen.local;
  return chosen;
}

/** A method of the adapter that calls back. */
const call = ({ nsp }, method, ...args) => promisify((done) => io.of(nsp).adapter[method](...args, done))();

/** The same for every socket named, and every room. */
const each = async (how, method, ...args) => {
  for (const id of how.to) for (const arg of args.flat()) await call(how, method, id, arg);
};

const operations = {
  emit: (how) => void choose(how).emit(how.event, ...untag(how.args)),
  join: (how) => each(how, "remoteJoin", how.rooms),
  leave: (how) => each(how, "remoteLeave", how.rooms),
  disconnect: (how) => each(how, "remoteDisconnect", how.close),
  fetch: async (how) => {
    if (how.local) {
      const { rooms } = io.of(how.nsp).adapter;
      return how.to.flatMap((room) => Object.keys(rooms[room]?.sockets ?? {})).map((id) => ({ id }));
    }
    const ids = await call(how, "clients", how.to);
    return Promise.all(ids.map(async (id) => ({ id, rooms: (await call(how, "clientRooms", id)).sort() })));
  },
  custom: (how) => call(how, "customRequest", { any: "thing" }),
  count: async (how) => (await call(how, "clients", [])).length,
  rooms: async (how) => (await call(how, "allRooms")).sort(),
};

createInterface({ input: process.stdin })
  .on("line", async (line) => {
    const { id, op, ...how } = JSON.parse(line);
    try {
      say({ id, result: (await operations[op](how)) ?? null });
    } catch (error) {
      say({ id, error: String(error?.stack ?? error) });
    }
  })
  .on("close", () => process.exit());

http.listen(0, "127.0.0.1", () => say({ listening: http.address().port }));
