// Clusters of Node and Patio servers on a real Redis: node cluster/run.mjs --server <the program `cluster_node`> [--only TEXT]
//
// For each version of Node's adapter two Node and two Patio servers, two clients on each in two namespaces. table.mjs has
// the cells, checks.mjs what is checked; in the end no server has died and no Patio server has met what it does not
// understand.

import { createRequire } from "node:module";
import { parseArgs } from "node:util";
import { Redis } from "ioredis";
import clientOf2 from "socket.io-client-2";
import { Manager } from "socket.io-client-4";
import { ok, same, within } from "../peer.mjs";
import * as checks from "./checks.mjs";
import { deferred, startRedis, startServer } from "./servers.mjs";
import { cells, KINDS, PYTHON } from "./table.mjs";
import { untag } from "./values.mjs";
import { CLASSIC, otherNamespace, VERSIONS } from "./versions.mjs";

const require = createRequire(import.meta.url);
const { values: flags } = parseArgs({
  options: {
    server: { type: "string" },
    only: { type: "string", default: "" },
    /** Python 2.7 with its emitter's packages. */
    python: { type: "string" },
    verbose: { type: "boolean", default: false },
  },
});

class Cluster {
  warm = 0;

  static async start(redis, version) {
    const cluster = Object.assign(new Cluster(), { version, other: otherNamespace(version) });
    cluster.key = `cluster-${version}`;
    cluster.settings = ["--redis", redis, "--key", cluster.key, "--adapter", version];
    const starting = KINDS.flatMap((kind) => [1, 2].map((n) => cluster.startServer(kind, n)));
    cluster.servers = await Promise.all(starting);
    cluster.clients = [];
    for (const server of cluster.servers)
      for (const letter of ["a", "b"]) {
        const rooms = [`all-${letter}`, `on-${server.name}`];
        if (letter === "a") rooms.push("a#b €", "42", 7, "");
        const client = await cluster.connect(server, `${server.name}-${letter}`, rooms);
        const other = await cluster.connect(server, client.who, rooms, cluster.other, client.socket.io);
        for (const each of [client, other]) cluster.clients.push(Object.assign(each, { letter }));
      }
    for (const server of cluster.servers)
      for (const nsp of ["/", cluster.other]) {
        const clients = cluster.clients.filter((client) => client.nsp === nsp);
        await cluster.warmUp(server, clients, ++cluster.warm);
      }
    cluster.redis = new Redis(redis);
    cluster.own = await startServer("Patio's emitter", flags.server, [...cluster.settings, "--emitter"]);
    cluster.emitters = { ...emitters(cluster.redis, cluster.key), "Patio's emitter": cluster.own.do };
    if (flags.python && CLASSIC.includes(version)) {
      const { hostname, port } = new URL(redis);
      const script = new URL("emitter.py", import.meta.url).pathname;
      cluster.python = await startServer(PYTHON, flags.python, [script, hostname, port, cluster.key]);
      cluster.emitters[PYTHON] = cluster.python.do;
    }
    return cluster;
  }

  async startServer(kind, n) {
    const program = this.version === "5" ? "node-2.mjs" : "node.mjs";
    const node = ["node", [new URL(program, import.meta.url).pathname, ...this.settings]];
    const commands = { node, patio: [flags.server, this.settings] };
    const server = await startServer(kind, ...commands[kind]);
    return Object.assign(server, { name: `${kind}-${n}` });
  }

  /** One more server than there usually are. */
  async startAnother(kind) {
    const server = await this.startServer(kind, 3);
    const client = await this.connect(server, "first", []);
    await this.warmUp(this.servers[0], [client], ++this.warm);
    client.socket.io._close();
    return server;
  }

  /** Node's reader of a stream misses what comes between two of its commands until it has read something. */
  async warmUp({ do: act }, clients, number) {
    const { nsp } = clients[0];
    const arrived = Promise.all(clients.map((client) => client.fence(-number)));
    const repeat = setInterval(() => act("emit", { nsp, event: "fence", args: [-number] }), 50);
    await arrived.finally(() => clearInterval(repeat));
  }

  /** A connection. Clients of Socket.IO 2 say who they are with it, later ones in each namespace. */
  open(url, hello) {
    const options = { transports: ["websocket"], reconnection: false };
    if (this.version !== "5") return new Manager(url, options);
    return new clientOf2.Manager(url, { ...options, query: { hello: JSON.stringify(hello) } });
  }

  /** A client of a server, in these rooms. Of Socket.IO 2, every connection is in the main namespace. */
  async connect(server, who, rooms, nsp = "/", manager = this.open(server.url, { who, rooms })) {
    const socket = manager.socket(nsp, { auth: { who, rooms } });
    const client = { who, rooms, nsp, socket, kind: server.kind, server: server.name, events: [] };
    const fences = new Map();
    const fenceOf = (number) => {
      if (!fences.has(number)) fences.set(number, deferred());
      return fences.get(number);
    };
    socket.on("event", (...args) => client.events.push(args));
    socket.on("fence", (number) => fenceOf(number).resolve());
    socket.on("question", (number, word, ...args) => {
      const answer = args.pop();
      if (word === "echo" || who.endsWith("-a")) answer(...args);
    });
    client.fence = (number) => within(fenceOf(number).promise, `fence for ${who} in ${nsp}`, 5_000);
    await within(
      new Promise((resolve, reject) => {
        socket.on("connect", resolve).on("connect_error", ({ message, description }) => {
          reject(new Error(`${who}: ${message}: ${description?.message}`));
        });
      }),
      `connection of ${who}`,
    );
    client.id = socket.id;
    return client;
  }

  sender(from) {
    return this.servers.find(({ kind }) => kind === from) ?? { name: from, do: this.emitters[from] };
  }

  async stop() {
    this.clients.forEach(checks.close);
    this.redis.disconnect();
    await this.own.stop();
    await this.python?.stop();
    for (const server of this.servers) {
      for (const nsp of server.kind === "patio" ? ["/", this.other] : [])
        same(await server.do("garbage", { nsp }), 0, `garbage on ${server.name}`);
      await server.stop();
    }
  }
}

// Emitters, moved by the same words.
function emitters(redis, key) {
  const choose = (emitter, { nsp, to = [], except = [], volatile, compress }) => {
    let chosen = nsp && nsp !== "/" ? emitter.of(nsp) : emitter;
    for (const room of to) chosen = chosen.to(room);
    for (const room of except) chosen = chosen.except(room);
    if (volatile) chosen = chosen.volatile;
    return compress === undefined ? chosen : chosen.compress(compress);
  };
  const { Emitter } = require("@socket.io/redis-emitter");
  const newest = new Emitter(redis, { key });
  const operations = {
    emit: (how) => choose(newest, how).emit(how.event, ...untag(how.args)),
    tell: (how) => newest.serverSideEmit("told", ...untag(how.args)),
    join: (how) => choose(newest, how).socketsJoin(how.rooms),
    leave: (how) => choose(newest, how).socketsLeave(how.rooms),
    disconnect: (how) => choose(newest, how).disconnectSockets(how.close),
  };
  // It keeps rooms and flags from one emit to the next if that fails: a new one each time.
  const legacy = ({ event, args, ...how }) =>
    choose(require("socket.io-emitter")(redis, { key }), how).emit(event, ...untag(args));
  return {
    "redis-emitter 5.1": async (op, how) => void operations[op](how),
    "socket.io-emitter 3.2": async (op, how) => void legacy(how),
  };
}

const chosen = cells({ python: !!flags.python }).filter(({ name }) => name.includes(flags.only));
const byReason = new Map();
for (const { without } of chosen) if (without) byReason.set(without, (byReason.get(without) ?? 0) + 1);
for (const [reason, n] of byReason) console.log(`${n} cells do not exist: ${reason}`);

const began = Date.now();
const [passed, failed] = [new Set(), new Set()];
const attempt = async (name, run) => {
  try {
    await run();
    passed.add(name);
  } catch (error) {
    failed.add(name);
    console.log(`FAILED ${name}: ${flags.verbose ? error.stack : error.message}`);
  }
};

const redis = await startRedis();
const wanted = chosen.filter(({ without }) => !without);
await Promise.all(
  VERSIONS.map(async (version) => {
    const own = wanted.filter((cell) => cell.version === version);
    if (own.length === 0) return;
    let cluster;
    await attempt(`${version}: the cluster forms`, async () => {
      cluster = await Cluster.start(redis.url, version);
    });
    if (!cluster) return;
    for (const cell of own)
      await attempt(cell.name, async () => {
        const dead = cluster.servers.find((server) => !server.alive());
        ok(!dead, `${dead?.name} is dead`);
        await checks[cell.operation](cluster, { ...cell, sender: cluster.sender(cell.from) });
      });
    await attempt(`${version}: the cluster ends`, () => cluster.stop());
  }),
);
await redis.stop();

const forgotten = wanted.filter(({ name }) => !passed.has(name) && !failed.has(name));
for (const { name } of forgotten) console.log(`NOT RUN ${name}`);
if (wanted.length === 0) console.log("NOT RUN: no cell was chosen");
console.log(`took ${((Date.now() - began) / 1000).toFixed(1)} s`);
console.log(`${passed.size} passed, ${failed.size + forgotten.length} failed, 0 skipped`);
process.exit(failed.size + forgotten.length > 0 || wanted.length === 0 ? 1 : 0);
