// When heartbeats come and when silent clients are let go, by Node's clock and by another server's, at the same time:
// node differential/timers.mjs --server "<command>"
//
// The suites of the protocol use a ping interval of 300 ms and a ping timeout of 200 ms, and so does this. Each kind of
// time is measured on many clients of both servers, all at once, and has a median: how far it is from what the options
// say. Patio may be no further off than Node, and the allowance.

import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { payload } from "./script.mjs";
import { Server, codecs } from "./servers.mjs";
import { Tcp, frame, parseAnswer, parseFrame } from "./wire.mjs";

const INTERVAL = 300;
const TIMEOUT = 200;

/** Milliseconds. The medians of both servers were within 1.5 of each other on a quiet machine, and within 3 beside two
 *  busy loops on two cores; a tick of Patio's timers is 1. */
const ALLOWANCE = 5;

const END = /^1$/;

/** The fewest samples that say something. */
const ENOUGH = 5;

/** What each client of protocol 4 is asked: to answer so many pings, and then to be silent. */
const PINGS = 3;

/** When the client of protocol 3 that pings does so. */
const FIRST_PING = 150;

/** Clients of each kind at once; more of them would be late because of each other. */
const CLIENTS = 8;

/** Of several rounds, that counts in which a kind of time varied least: in the others the machine was busy
 *  with something else. A
 *  server that is late is late in each. */
const ROUNDS = 30;

const {
  values: { server },
} = parseArgs({ options: { server: { type: "string" } } });
if (!server) {
  console.error('usage: --server "<command>"');
  process.exit(2);
}

/** A client was let go before its time: on a busy machine its own answer came too late. */
class TooLate extends Error {}

/** A client on a WebSocket: what it says, and the time at which it hears something. */
class WebSocketClient {
  static async open(port, v) {
    const client = new WebSocketClient();
    client.tcp = new Tcp(port);
    client.tcp.write(
      `GET /socket.io/?EIO=${v}&transport=websocket HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\n` +
        "upgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    await client.tcp.take(parseAnswer("GET"), "101");
    await client.hear(/^0/);
    return client;
  }

  say(packet) {
    this.tcp.write(frame(1, packet));
  }

  leave() {
    this.tcp.destroy();
  }

  /** The time of the next packet of a kind; END is the end of the session. */
  async hear(kind) {
    for (;;) {
      const got = await this.tcp.take(parseFrame, "a frame");
      const at = performance.now();
      const packet = !got || got.opcode === 8 ? "1" : got.payload.toString();
      if (packet === "1") this.leave();
      if (kind.test(packet)) return at;
      if (packet === "1") throw new TooLate();
    }
  }
}

/** The same by polling. A GET always waits. */
class PollingClient {
  static async open(port, v) {
    const client = new PollingClient();
    Object.assign(client, {
      v,
      query: `EIO=${v}&transport=polling`,
      gets: new Tcp(port),
      posts: new Tcp(port),
    });
    client.#ask();
    const { body } = await client.gets.take(parseAnswer("GET"), "an answer");
    client.query += `&sid=${/"sid":"([^"]+)"/.exec(body)[1]}`;
    client.#ask();
    return client;
  }

  #ask() {
    this.gets.write(`GET /socket.io/?${this.query} HTTP/1.1\r\nhost: localhost\r\n\r\n`);
  }

  say(packet) {
    const body = payload(this.v, packet);
    const head = `POST /socket.io/?${this.query} HTTP/1.1\r\nhost: localhost\r\ncontent-type: text/plain\r\n`;
    this.posts.write(`${head}content-length: ${body.length}\r\n\r\n${body}`);
  }

  leave() {
    for (const tcp of [this.gets, this.posts]) tcp.destroy();
  }

  async hear(kind) {
    for (;;) {
      const answer = await this.gets.take(parseAnswer("GET"), "an answer");
      const at = performance.now();
      const packets =
        answer?.status === 200 ? answer.body.toString().replace(/\d+:/g, "\x1e").split("\x1e") : ["1"];
      const over = packets.includes("1");
      if (over) this.leave();
      else this.#ask();
      if (packets.some((packet) => kind.test(packet))) return at;
      if (over) throw new TooLate();
    }
  }
}

/** What is measured with one client: note(kind of time, milliseconds, what they should be). */
const measures = {
  async 4(open, note) {
    const client = await open();
    let from = performance.now();
    for (let n = 0; n <= PINGS; n++) {
      const at = await client.hear(/^2/);
      note(n === 0 ? "first ping" : "ping after a pong", at - from, INTERVAL);
      from = performance.now();
      if (n < PINGS) client.say("3");
    }
    note("end without a pong", (await client.hear(END)) - from, TIMEOUT);
  },
  async 3(open, note) {
    const silent = open().then(async (client) => {
      const from = performance.now();
      note("end without a ping", (await client.hear(END)) - from, INTERVAL + TIMEOUT);
    });
    const client = await open();
    await new Promise((resolve) => setTimeout(resolve, FIRST_PING));
    const from = performance.now();
    client.say("2");
    await client.hear(/^3/);
    note("end after a ping", (await client.hear(END)) - from, INTERVAL + TIMEOUT);
    await silent;
  },
};

const KINDS = ["WebSocket", "polling"].flatMap((way) => [
  ...["first ping", "ping after a pong", "end without a pong"].map((kind) => `EIO 4 over ${way}: ${kind}`),
  ...["end without a ping", "end after a ping"].map((kind) => `EIO 3 over ${way}: ${kind}`),
]);

const ways = { WebSocket: WebSocketClient, polling: PollingClient };

/** Off by so many milliseconds, for each kind of time. */
async function measure(server) {
  const times = new Map();
  const note = (kind, took, due) => {
    if (!times.has(kind)) times.set(kind, []);
    times.get(kind).push(took - due);
  };
  const one = async (v, way, number) => {
    // Not all at once: pings of the same moment wait for each other.
    await new Promise((resolve) => setTimeout(resolve, (number * 37) % INTERVAL));
    const open = () => ways[way].open(server.port, Number(v));
    const named = (kind, took, due) => note(`EIO ${v} over ${way}: ${kind}`, took, due);
    await measures[v](open, named).catch((error) => {
      if (!(error instanceof TooLate)) throw error;
    });
  };
  const all = Object.keys(measures).flatMap((v) =>
    Object.keys(ways).flatMap((way) => Array.from({ length: CLIENTS }, (_, n) => one(v, way, n))),
  );
  await Promise.all(all);
  return times;
}

const part = (times, share) => times.toSorted((a, b) => a - b)[Math.floor((times.length - 1) * share)];
const off = (times) => (times.length < ENOUGH ? Infinity : Math.abs(part(times, 0.5)));

const NODE = `node ${fileURLToPath(new URL("../reference.mjs", import.meta.url))}`;
const options = `--ping-interval ${INTERVAL} --ping-timeout ${TIMEOUT}`;
const servers = await Promise.all(
  [NODE, server].map((command) => Server.start(command, options, codecs.json)),
);

const spread = (times) => (times.length < ENOUGH ? Infinity : part(times, 0.9) - part(times, 0.1));

/** For each kind of time and both servers, the samples of the calmest round. */
const best = new Map(KINDS.map((kind) => [kind, [[], []]]));
const isBad = ([node, other]) => off(other) > off(node) + ALLOWANCE || off(other) === Infinity;
for (let round = 0; round < ROUNDS && (round === 0 || [...best.values()].some(isBad)); round++) {
  const rounds = await Promise.all(servers.map(measure));
  for (const [kind, kept] of best)
    rounds.forEach((times, at) => {
      const seen = times.get(kind) ?? [];
      if (spread(seen) < spread(kept[at])) kept[at] = seen;
    });
}

const shown = (times) =>
  [0.5, 0.1, 0.9].map((share) => (part(times, share) ?? NaN).toFixed(1).padStart(6)).join(" ");
let failed = 0;
console.log(
  `${"off by, in ms (median, 10 %, 90 %)".padEnd(44)} ${"Node".padStart(20)}    ${"the other".padStart(20)}`,
);
for (const [kind, kept] of best) {
  if (isBad(kept)) failed++;
  console.log(
    `${isBad(kept) ? "FAILED " : ""}${kind.padEnd(44)} ${kept.map(shown).join("    ")}    of ${kept[1].length}`,
  );
}
await Promise.all(servers.map((server) => server.stop()));
console.log(`${best.size - failed} passed, ${failed} failed, 0 skipped`);
process.exit(failed > 0 ? 1 : 0);
