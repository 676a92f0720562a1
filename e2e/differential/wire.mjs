// Bytes: one TCP connection, HTTP answers and WebSocket frames. Nothing here knows Socket.IO, and nothing is hidden: what
// is written are the bytes that a script chose, what is read is kept until somebody asks for it.

import { randomBytes } from "node:crypto";
import { connect } from "node:net";

/** How long anything may take before a script gives up on it. Only a server that says nothing is ever waited for so
 *  long. */
export const PATIENCE = 10_000;

/** Nothing came in time. */
export class Silence extends Error {}

/** Resolves or rejects as `promise`, or rejects with Silence. */
export function within(promise, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Silence(what)), PATIENCE);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** One TCP connection. */
export class Tcp {
  #socket;
  #bytes = Buffer.alloc(0);
  #ended = false;
  #wake = () => {};

  constructor(port) {
    this.#socket = connect({ port, host: "127.0.0.1", noDelay: true, allowHalfOpen: true });
    this.#socket.on("data", (bytes) => {
      this.#bytes = Buffer.concat([this.#bytes, bytes]);
      this.#wake();
    });
    const ended = () => {
      this.#ended = true;
      this.#wake();
    };
    this.#socket.on("end", ended).on("close", ended).on("error", ended);
  }

  /** Whether the peer has ended. */
  get ended() {
    return this.#ended;
  }

  write(bytes) {
    this.#socket.write(bytes);
  }

  /** What `write` writes leaves in one piece. */
  together(write) {
    this.#socket.cork();
    write();
    this.#socket.uncork();
  }

  /** Takes what `parse` finds at the beginning: it is given the bytes and whether they are all that will come, and
   *  returns [bytes used, value], or nothing while it needs more. Undefined: the peer ended before. */
  async take(parse, what) {
    const look = async () => {
      for (;;) {
        const found = parse(this.#bytes, this.#ended);
        if (found) {
          this.#bytes = this.#bytes.subarray(found[0]);
          return found[1];
        }
        if (this.#ended) return undefined;
        await new Promise((resolve) => (this.#wake = resolve));
      }
    };
    return within(look(), what);
  }

  /** What is left once the peer has ended. */
  rest() {
    return this.take((bytes, ended) => ended && [bytes.length, bytes], "end");
  }

  /** Sends FIN and waits for the peer's. */
  async end() {
    this.#socket.end();
    await this.rest().catch(() => {});
    this.#socket.destroy();
  }

  /** Resolves once all that was written is on its way. */
  sent() {
    return new Promise((resolve) => this.#socket.write("", resolve));
  }

  /** Goes away at once. */
  destroy() {
    this.#socket.destroy();
  }
}

/** Reads the answer to a request: {status, headers: [[name, value]], body}. */
export const parseAnswer = (method) => (bytes, ended) => {
  const head = bytes.indexOf("\r\n\r\n");
  if (head < 0) return undefined;
  const [first, ...lines] = bytes.toString("latin1", 0, head).split("\r\n");
  const status = Number(/^HTTP\/1\.1 (\d+)/.exec(first)?.[1]);
  const headers = lines.map((line) => {
    const colon = line.indexOf(":");
    return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
  });
  const header = (name) => headers.find(([key]) => key === name)?.[1];
  const from = head + 4;
  const done = (to, body) => [to, { status, headers, header, body }];
  if (method === "HEAD" || status === 101 || status === 204 || status === 304)
    return done(from, Buffer.alloc(0));
  if (/chunked/i.test(header("transfer-encoding") ?? "")) return parseChunks(bytes, from, done);
  const length = header("content-length");
  if (length === undefined) return ended ? done(bytes.length, bytes.subarray(from)) : undefined;
  const to = from + Number(length);
  return bytes.length < to ? undefined : done(to, bytes.subarray(from, to));
};

function parseChunks(bytes, at, done) {
  const body = [];
  for (;;) {
    const line = bytes.indexOf("\r\n", at);
    if (line < 0) return undefined;
    const length = Number.parseInt(bytes.toString("latin1", at, line), 16);
    const to = line + 2 + length;
    if (bytes.length < to + 2) return undefined;
    if (length === 0) return done(to + 2, Buffer.concat(body));
    body.push(bytes.subarray(line + 2, to));
    at = to + 2;
  }
}

/** A frame as a client sends it. `payload` is a string or bytes; what is odd about a frame is said by the others. */
export function frame(opcode, payload = "", { fin = true, rsv = 0, masked = true, length } = {}) {
  const body = Buffer.from(payload);
  const n = length ?? body.length;
  const head = [(fin ? 0x80 : 0) | (rsv << 4) | opcode];
  const mask = masked ? 0x80 : 0;
  if (n < 126) head.push(mask | n);
  else if (n < 65536) head.push(mask | 126, n >> 8, n & 255);
  else head.push(mask | 127, 0, 0, 0, 0, ...[24, 16, 8, 0].map((shift) => (n >>> shift) & 255));
  if (!masked) return Buffer.concat([Buffer.from(head), body]);
  const key = randomBytes(4);
  return Buffer.concat([Buffer.from(head), key, body.map((byte, i) => byte ^ key[i % 4])]);
}

/** A frame as a server sends it: {fin, rsv, opcode, masked, payload}. */
export function parseFrame(bytes) {
  if (bytes.length < 2) return undefined;
  let length = bytes[1] & 127;
  let at = 2;
  if (length >= 126) {
    at = length === 126 ? 4 : 10;
    if (bytes.length < at) return undefined;
    length = length === 126 ? bytes.readUInt16BE(2) : Number(bytes.readBigUInt64BE(2));
  }
  if (bytes.length < at + length) return undefined;
  const frame = {
    ...{ fin: bytes[0] >= 128, rsv: (bytes[0] >> 4) & 7, opcode: bytes[0] & 15, masked: bytes[1] >= 128 },
    payload: bytes.subarray(at, at + length),
  };
  return [at + length, frame];
}
