// A Node server of a cluster, told on stdin what to do: one JSON object in a line, {id, op, …}. It answers with {id, result}
// or {id, error}, and tells {heard} of what other servers sent to it. The same words move e2e/src/bin/cluster_node.

import { once } from "node:events";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import { Redis } from "ioredis";
import { Server } from "socket.io";
import { tag, untag } from "./values.mjs";

const require = createRequire(import.meta.url);
const { values: flags } = parseArgs({
  options: { redis: { type: "string" }, key: { type: "string" }, adapter: { type: "string" } },
});

const [publisher, subscriber] = [new Redis(flags.redis), new Redis(flags.redis)];
// Once it subscribes, ioredis may no more ask whether Redis is ready.
await Promise.all([publisher, subscriber].map((client) => once(client, "ready")));
const { key } = flags;
const sharded = (subscriptionMode) =>
  require("@socket.io/redis-adapter").createShardedAdapter(publisher, subscriber, { channelPrefix: key, subscriptionMode });
const streams = (name) =>
  require(name).createAdapter(publisher, {
    streamName: key,
    channelPrefix: key,
    sessionKeyPrefix: `${key}:session:`,
    heartbeatInterval: 500,
  });
const adapters = {
  8: () => require("@socket.io/redis-adapter").createAdapter(publisher, subscriber, { key }),
  "8 exact": () => require("@socket.io/redis-adapter").createAdapter(publisher, subscriber, { key }),
  "8 specific": () =>
    require("@socket.io/redis-adapter").createAdapter(publisher, subscriber, {
      key,
      publishOnSpecificResponseChannel: true,
    }),
  "sharded static": () => sharded("static"),
  "sharded dynamic": () => sharded("dynamic"),
  "sharded dynamic-private": () => sharded("dynamic-private"),
  "streams 0.3": () => streams("@socket.io/redis-streams-adapter"),
  "streams 0.2": () => streams("redis-streams-adapter-0.2"),
  7: () => require("redis-adapter-7").createAdapter(publisher, subscriber, { key }),
  6: () => require("socket.io-redis")({ pubClient: publisher, subClient: subscriber, key }),
};
const http = createServer();
const [, adapter, recovering] = flags.adapter.match(/^(.*?)( recovering)?$/);
const io = new Server(http, {
  adapter: adapters[adapter](),
  connectionStateRecovery: recovering && {},
  pingInterval: 60_000,
});
const say = (line) => process.stdout.write(JSON.stringify(line) + "\n");

for (const name of ["/", "/chat#é"]) {
  const nsp = io.of(name);
  nsp.on("connection", (socket) => {
    const { who, rooms } = socket.handshake.auth;
    socket.data = { who };
    socket.join(rooms);
  });
  nsp.on("told", (...args) => {
    const answer = typeof args.at(-1) === "function" ? args.pop() : undefined;
    say({ heard: { nsp: name, args: tag(args) } });
    answer?.(...args);
  });
}

function choose({ nsp, from, to = [], except = [], volatile, compress, timeout, local }) {
  let chosen = io.of(nsp);
  if (from) chosen = chosen.sockets.get(from).broadcast;
  for (const room of to) chosen = chosen.to(room);
  for (const room of except) chosen = chosen.except(room);
  if (volatile) chosen = chosen.volatile;
  if (compress !== undefined) chosen = chosen.compress(compress);
  if (timeout !== undefined) chosen = chosen.timeout(timeout);
  if (local) chosen = chosen.local;
  return chosen;
}

const operations = {
  emit: (how) => void choose(how).emit(how.event, ...untag(how.args)),
  ask: (how) =>
    choose(how)
      .emitWithAck("question", ...untag(how.args))
      .then((answers) => ({ answers: tag(answers), missing: false }))
      .catch((error) => ({ answers: tag(error.responses), missing: true })),
  join: (how) => void choose(how).socketsJoin(how.rooms),
  leave: (how) => void choose(how).socketsLeave(how.rooms),
  disconnect: (how) => void choose(how).disconnectSockets(how.close),
  fetch: async (how) => {
    const sockets = await choose(how).fetchSockets();
    return sockets.map(({ id, rooms, data, handshake }) => {
      return { id, rooms: [...rooms].map(String).sort(), data, handshake: Object.keys(handshake) };
    });
  },
  tell: ({ nsp, args }) => void io.of(nsp).serverSideEmit("told", ...untag(args)),
  consult: ({ nsp, event, args }) =>
    io
      .of(nsp)
      .serverSideEmitWithAck(event, ...untag(args))
      .then((answers) => ({ answers: tag(answers), missing: 0 }))
      .catch((error) => ({ answers: tag(error.responses), missing: 1 })),
  rooms: async ({ nsp }) => [...new Set([...(await io.of(nsp).adapter.allRooms())].map(String))].sort(),
  // With ioredis, 0.2 sends what it keeps of sessions behind a command that waits.
  close: () => io.close().then(() => publisher.ping()),
  servers: ({ nsp }) => io.of(nsp).adapter.serverCount(),
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
