// The servers that scripts are played against: their flags, their processes, and what their application prints.

import { spawn } from "node:child_process";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { show } from "./show.mjs";

const require = createRequire(import.meta.url);
const msgpack = require("socket.io-msgpack-parser");

const STEADY = "--log --ping-interval 25000";

/** The flags of each kind of server; reference.mjs says what they do. */
export const kinds = {
  plain: STEADY,
  beat: "--log --ping-interval 800 --ping-timeout 2500",
  hasty: `${STEADY} --connect-timeout 1500 --upgrade-timeout 1500`,
  small: `${STEADY} --max-payload 1000`,
  eio4: `${STEADY} --no-eio3`,
  cors: `${STEADY} --cors http://a.example`,
  corsAny: `${STEADY} --cors *`,
  corsReflect: `${STEADY} --cors true`,
  corsList: `${STEADY} --cors http://a.example,http://b.example`,
  corsOptions: `${STEADY} --cors http://a.example --cors-options`,
  door: `${STEADY} --cookie --allow-request`,
  pollingOnly: `${STEADY} --transports polling`,
  websocketOnly: `${STEADY} --transports websocket`,
  noUpgrades: `${STEADY} --no-upgrades --upgrade-timeout 1500`,
  path: `${STEADY} --path /own/path --no-trailing-slash`,
  msgpack: `${STEADY} --msgpack`,
  recovery: `${STEADY} --recovery`,
};

/** Those whose scripts wait for timers: they are played first, while nothing else needs the processors. */
export const timed = ["beat", "hasty", "noUpgrades"];

const BARRIER = '{"type":4,"nsp":"/nowhere","data":{"message":"Invalid namespace"}}';

/** How each parser says "CONNECT to a namespace that does not exist", and what the server answers. */
export const codecs = {
  json: { barrier: () => ["40/nowhere,", '44/nowhere,{"message":"Invalid namespace"}'] },
  msgpack: {
    barrier: () => [encode({ type: 0, nsp: "/nowhere" }), BARRIER],
    // CONNECT and CONNECT_ERROR are shown decoded: the order of a map's keys says nothing, nor does an undefined pid.
    show: (bytes) => {
      const { type, nsp, data, ...more } = decode(bytes);
      if (type === 0 || type === 4) return JSON.stringify({ type, nsp, data, ...more });
      return more.id === undefined ? undefined : show(withIdBehind(bytes, more.id));
    },
    isConnect: (bytes) => bytes.includes("\xa4type\0", 0, "latin1") && bytes.includes("\xa3sid", 0, "latin1"),
  },
};

export function encode(packet) {
  return Buffer.from(new msgpack.Encoder().encode(packet)[0]);
}

/** The same map, whose id stands at the end: where it stands says nothing either. */
function withIdBehind(bytes, id) {
  const member = encode({ id }).subarray(1);
  const at = bytes.lastIndexOf(member);
  return at < 0 ? bytes : Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + member.length), member]);
}

/** The packet in `bytes`; an empty object if they are none. */
export function decode(bytes) {
  let packet = {};
  const decoder = new msgpack.Decoder();
  decoder.on("decoded", (decoded) => (packet = decoded));
  try {
    decoder.add(Buffer.from(bytes));
  } catch {
    // It is shown as it is.
  }
  return packet;
}

/** Servers that run: none outlives its player, however that ends. */
const running = new Set();
process.on("exit", () => running.forEach((child) => child.kill("SIGKILL")));
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => process.exit(1));

/** One server, as a child process. */
export class Server {
  #lines = new Map(); // tag -> lines of the application's log
  #waiting = [];
  #number = 1_000_000;

  static async start(command, flags, codec) {
    const server = new Server();
    server.codec = codec;
    await server.#spawn(command, flags.replaceAll("*", "'*'"));
    return server;
  }

  #spawn(command, flags) {
    // exec: the shell becomes the server, so that the signal reaches it.
    const stdio = ["ignore", "pipe", "inherit"];
    this.child = spawn("/bin/sh", ["-c", `exec ${command} ${flags}`], { stdio });
    running.add(this.child);
    this.status = new Promise((resolve) => this.child.on("exit", (code, signal) => resolve(code ?? signal)));
    this.status.then(() => running.delete(this.child));
    return new Promise((resolve, reject) => {
      this.status.then((status) => reject(new Error(`${command} ${flags} ended with ${status}`)));
      createInterface({ input: this.child.stdout }).on("line", (line) => {
        const [, port] = /^listening on 127\.0\.0\.1:(\d+)$/.exec(line) ?? [];
        if (port) resolve((this.port = Number(port)));
        else if (line.startsWith("[")) this.#note(JSON.parse(line));
      });
    });
  }

  #note([tag, ...what]) {
    if (!this.#lines.has(tag)) this.#lines.set(tag, []);
    this.#lines.get(tag).push(what);
    for (const wake of this.#waiting.splice(0)) wake();
  }

  /** Numbers for scripts that have none. */
  next() {
    return this.#number++;
  }

  lines(tag) {
    return this.#lines.get(tag) ?? [];
  }

  /** The tags of a script. */
  tags(number) {
    return [...this.#lines.keys()].filter((tag) => Number.parseInt(tag, 10) === number);
  }

  /** Forgets what was printed for a script that is over. */
  forget(number) {
    for (const tag of this.#lines.keys())
      if (Number.parseInt(tag, 10) === number || tag.startsWith(`told ${number} `)) this.#lines.delete(tag);
  }

  /** Resolves when the application printed something. */
  changed() {
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** The transcript of a script. */
  play(Play, { play, number, path }) {
    return new Play({ port: this.port, app: this, number, codec: this.codec, path }).run(play);
  }

  async stop(patience = 8_000) {
    const before = this.child.exitCode ?? this.child.signalCode;
    if (before !== null) throw new Error(`the server ended by itself: ${before}`);
    this.child.kill("SIGTERM");
    const timer = setTimeout(() => this.child.kill("SIGKILL"), patience);
    const status = await this.status;
    clearTimeout(timer);
    if (status !== 0) throw new Error(`the server ended with ${status} after SIGTERM`);
  }
}
