// The standalone server end to end: node standalone/run.mjs --server <the program `patio`> [--only TEXT]
//
// Alone, and as two servers on one Redis with each adapter: checks.mjs has what is checked.

import { createRequire } from "node:module";
import { parseArgs } from "node:util";
import { Redis } from "ioredis";
import { io } from "socket.io-client-4";
import { startRedis } from "../cluster/servers.mjs";
import { same, within } from "../peer.mjs";
import { SECRET, startBackend } from "./backend.mjs";
import { checks, commandLine, ending, internal, killed, published, together } from "./checks.mjs";
import { drained, hooks, toldAll } from "./hooks.mjs";
import { start, token, withBackend, withProvider } from "./server.mjs";

const require = createRequire(import.meta.url);
const { values: flags } = parseArgs({
  options: {
    server: { type: "string" },
    only: { type: "string", default: "" },
    verbose: { type: "boolean", default: false },
  },
});

const began = Date.now();
let [passed, failed] = [0, 0];
const attempt = async (name, run) => {
  if (!name.includes(flags.only)) return;
  try {
    await run();
    passed++;
  } catch (error) {
    failed++;
    console.log(`FAILED ${name}: ${flags.verbose ? error.stack : error.message}`);
  }
};

const redis = await startRedis();
const nodes = async (adapter) => {
  const settings = ["--redis-url", redis.url, "--redis-adapter", adapter, "--redis-prefix", `patio-${adapter}`];
  const [one, other] = await Promise.all([start(flags.server, settings), start(flags.server, settings)]);
  if (adapter === "sharded") Object.assign(one, { peer: other }) && Object.assign(other, { peer: one });
  return [one, other];
};
const arrangements = {
  alone: async () => Array(2).fill(await start(flags.server)),
  pubsub: () => nodes("pubsub"),
  sharded: () => nodes("sharded"),
  streams: () => nodes("streams"),
};

for (const [arrangement, begin] of Object.entries(arrangements)) {
  const servers = await begin();
  const all = arrangement === "alone" ? checks : { ...checks, ...together };
  for (const [name, check] of Object.entries(all)) await attempt(`${arrangement}: ${name}`, () => check(servers));
  if (arrangement === "pubsub") await attempt("pubsub: an emitter of Node is heard", () => emitter(servers[1]));
  for (const server of servers) delete server.peer;
  for (const server of new Set(servers)) await attempt(`${arrangement}: it ends in order`, () => ending(server));
  for (const server of new Set(servers)) await server.end("SIGKILL");
  if (arrangement === "alone") continue;
  const pair = await nodes(arrangement);
  await attempt(`${arrangement}: one of two is killed`, () => killed(pair));
  for (const server of pair) await server.end("SIGKILL");
}
await redis.stop();

const alone = await start(flags.server);
await attempt("the command line", () => commandLine(alone));
await alone.end("SIGKILL");

const inside = await start(flags.server, ["--internal-listen", "127.0.0.1:0"]);
await attempt("an address for backends", () => internal(inside));
await inside.end("SIGKILL");

await attempt("keys that are published", () => published((url) => start(flags.server, [], withProvider(url))));

const backend = await startBackend();
const server = await start(flags.server, [], withBackend(backend.url, SECRET));
for (const [name, check] of Object.entries(hooks)) {
  await attempt(`hooks: ${name}`, () => check(server, backend));
  backend.forget();
}
await attempt("hooks: the backend is told everything before the end", () => toldAll(server, backend));
await server.end("SIGKILL");
backend.forget();
const another = await start(flags.server, [], withBackend(backend.url, SECRET));
await attempt("hooks: nothing that was acknowledged is lost when the server ends", () => drained(another, backend));
await another.end("SIGKILL");
await backend.stop();

async function emitter(server) {
  const client = new Redis(redis.url);
  const { Emitter } = require("@socket.io/redis-emitter");
  const socket = io(server.url, { auth: { token: token({ rooms: ["room"] }) }, transports: ["websocket"], forceNew: true });
  const arrived = new Promise((resolve) => socket.on("e", (...args) => resolve(args)));
  await within(new Promise((resolve) => socket.on("connect", resolve)), "connection");
  new Emitter(client, { key: "patio-pubsub" }).to("room").emit("e", 1, "x");
  same(await within(arrived, "event"), [1, "x"], "what it got");
  socket.disconnect();
  client.disconnect();
}

console.log(`took ${((Date.now() - began) / 1000).toFixed(1)} s`);
console.log(`${passed} passed, ${failed} failed, 0 skipped`);
process.exit(failed > 0 || passed === 0 ? 1 : 0);
