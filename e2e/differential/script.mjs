// What a script plays with: requests, polling sessions, WebSockets, and what the application printed. Everything sent
// and everything received becomes a line of the script's transcript, in the order in which the script asks for it.

import { gunzipSync, inflateSync } from "node:zlib";
import { NEVER } from "./report.mjs";
import { show } from "./show.mjs";
import { Tcp, Silence, frame, parseAnswer, parseFrame, within } from "./wire.mjs";

/** The headers that must be equal. Others are the HTTP library's own: Date, Keep-Alive, lengths and chunking. */
const HEADERS =
  /^(content-type|content-encoding|cache-control|set-cookie|vary|location|allow|etag|x-xss-protection|upgrade|access-control-.*|sec-websocket-.*)$/;

const KEY = "dGhlIHNhbXBsZSBub25jZQ==";
const BINARY = "application/octet-stream";
const FORM = "application/x-www-form-urlencoded";
export { BINARY, FORM };

/** Packets of a payload. */
export const RS = "\x1e";
export const payload = (v, ...packets) =>
  v === 4 ? packets.join(RS) : packets.map((packet) => `${packet.length}:${packet}`).join("");

/** Long runs of one letter, and what is longer than a screen, are told by their length. */
function shorten(text) {
  const shorter = text.replace(/(.)\1{30,}/g, (run, letter) => `${letter}{${run.length}}`);
  return shorter.length > 600 ? `${shorter.slice(0, 300)}… (${shorter.length} characters)` : shorter;
}

/** One play of one script against one server. */
export class Play {
  lines = [];
  #ids = new Map();
  #open = [];
  #sessions = [];
  #expected = 0;

  /** `app` is the application's log: app.lines(tag) and app.changed(). */
  constructor({ port, app, number, codec, path = "/socket.io/" }) {
    Object.assign(this, { port, app, number, codec, path });
  }

  /** Adds a line; ids become names in the order in which they were seen. */
  say(line) {
    this.lines.push(shorten(this.#named(line)));
  }

  #named(text) {
    for (const [, id] of text.matchAll(/\\?"[sp]id\\?":\\?"([\w-]{20})/g))
      if (!this.#ids.has(id)) this.#ids.set(id, `<id${this.#ids.size + 1}>`);
    for (const [id, name] of this.#ids) text = text.replaceAll(id, name);
    // Lists that the application sorts by ids, which are random.
    return text.replace(/("[^",]*<id\d+>",)+"[^",]*<id\d+>"/g, (list) => list.split(",").sort().join(","));
  }

  /** From now on, `text` is shown as `name`: an offset, say. */
  name(text, name) {
    this.#ids.set(text, name);
  }

  /** A CONNECT was answered: the application saw a connection. */
  joined() {
    this.#expected++;
  }

  /** The tag of a session, by which the application's lines are found. */
  tag(name) {
    return `${this.number}${name}`;
  }

  /** A room or namespace of this script alone. */
  get room() {
    // Sorted behind all ids.
    return `~room-${this.number}`;
  }

  get nsp() {
    return `/dyn-${this.number}`;
  }

  tcp() {
    const tcp = new Tcp(this.port);
    this.#open.push(tcp);
    return tcp;
  }

  /** Sends a request; its answer is awaited with `.answer()`. */
  request(method, target, { headers = {}, body, who = "", on, head, hide = false } = {}) {
    const tcp = on ?? this.tcp();
    const path = target.startsWith("/") || target === "*" ? target : `${this.path}?${target}`;
    const fields = Object.entries({ host: "localhost", ...headers }).flatMap(([name, value]) =>
      [value].flat().map((value) => `${name}: ${value}\r\n`),
    );
    const bytes = body === undefined ? Buffer.alloc(0) : Buffer.from(body);
    const names = Object.keys(headers).map((name) => name.toLowerCase());
    if (body !== undefined && !names.includes("content-length") && !names.includes("transfer-encoding"))
      fields.push(`content-length: ${bytes.length}\r\n`);
    const shown = Object.entries(headers).map(([name, value]) => ` [${name}: ${value}]`);
    const line = `${who}> ${method} ${path.replace(/[?&]e2e=\w+/, "")}${shown.join("")}`;
    if (!hide) this.say(body === undefined ? line : `${line} | ${show(bytes)}`);
    const raw = head ?? `${method} ${path} HTTP/1.1\r\n${fields.join("")}\r\n`;
    tcp.write(Buffer.concat([Buffer.from(raw, "latin1"), bytes]));
    return new Request(this, tcp, who, method);
  }

  /** A request and its answer. */
  ask(method, target, options) {
    return this.request(method, target, options).answer(options?.hide);
  }

  /** Opens a session that polls. `v` is the protocol; `query` is added. */
  async polling({ v = 4, query = "", who = "a", headers, join = false } = {}) {
    const session = new Polling(this, { v, who, query, headers });
    this.#sessions.push(session);
    await session.open();
    if (join) await session.join();
    return session;
  }

  /** Opens a WebSocket; `sid` makes it a candidate. */
  async ws({ v = 4, query = "", who = "a", headers, sid, join = false, open = true } = {}) {
    const ws = new Ws(this, { v, who });
    const rest = sid === undefined ? query : `&sid=${sid}${query}`;
    await ws.upgrade(`EIO=${v}&transport=websocket&e2e=${this.tag(who)}${rest}`, headers);
    if (open && sid === undefined && ws.open) await ws.opened();
    if (join) await ws.join();
    return ws;
  }

  /** Opens a WebSocket with a query of the script's own. */
  async wsAt(query, { who = "a", headers, v = 4 } = {}) {
    const ws = new Ws(this, { v, who });
    await ws.upgrade(query, headers);
    return ws;
  }

  /** What the application printed about a session: arrays without the tag. */
  log(who = "a") {
    return this.app.lines(this.tag(who));
  }

  /** Waits until the application has seen the end of `n` sockets of a session. */
  async ended(who = "a", n = 1) {
    const enough = () => this.log(who).filter(([what]) => what === "end").length >= n;
    await this.until(enough, `${n} sockets of ${who} have ended`);
  }

  /** Waits for something that the application prints. */
  async until(condition, what) {
    const wait = async () => {
      while (!condition()) await this.app.changed();
    };
    await within(wait(), what);
  }

  /** Goes away politely, and waits until the application has seen the end of all its sockets. */
  async finish() {
    for (const session of this.#sessions) await session.leave();
    await Promise.all(this.#open.map((tcp) => tcp.end()));
    const all = () => this.app.tags(this.number).flatMap((tag) => this.app.lines(tag));
    const count = (what) => all().filter((line) => line[0] === what).length;
    await this.until(
      () => count("connect") >= this.#expected && count("end") === count("connect"),
      "all sockets have ended",
    ).catch((error) => this.#silent(error));
    for (const tag of this.app.tags(this.number).sort())
      for (const line of this.app.lines(tag)) this.say(`app ${tag.replace(/^\d+/, "")}: ${line.join(" ")}`);
  }

  #silent(error) {
    if (!(error instanceof Silence)) throw error;
    this.say(`${NEVER}${error.message}`);
  }

  /** Plays to the end, whatever happens. */
  async run(play) {
    try {
      await play(this);
    } catch (error) {
      if (error instanceof Silence) this.#silent(error);
      else if (error instanceof Over) this.say(`! over: ${error.message}`);
      else throw error;
    }
    await this.finish();
    return this.lines;
  }
}

/** The server ended something that the script needs. */
class Over extends Error {}

/** A request on its way. */
class Request {
  constructor(play, tcp, who, method) {
    Object.assign(this, { play, tcp, who, method });
  }

  write(bytes) {
    this.tcp.write(bytes);
  }

  async answer(hide = false) {
    const answer = await this.tcp.take(parseAnswer(this.method), "an answer");
    if (!answer) {
      if (!hide) this.play.say(`${this.who}< no answer`);
      return { status: 0, headers: [], body: Buffer.alloc(0), header: () => undefined };
    }
    if (!hide) this.play.say(`${this.who}< ${describe(answer)}`);
    return answer;
  }

  /** Goes away before the answer. */
  async abort() {
    this.play.say(`${this.who}> (gone)`);
    await this.tcp.sent();
    this.tcp.destroy();
  }
}

function describe({ status, headers, body }) {
  const listed = headers.filter(([name]) => HEADERS.test(name));
  const fields = listed.map(([name, value]) => ` [${name}: ${value}]`).sort();
  return `${status}${fields.join("")} | ${show(unpack(headers, body))}`;
}

function unpack(headers, body) {
  const encoding = headers.find(([name]) => name === "content-encoding")?.[1];
  if (encoding === "gzip") return gunzipSync(body);
  return encoding === "deflate" ? inflateSync(body) : body;
}

/** A session that polls. */
class Polling {
  constructor(play, { v, who, query, headers }) {
    Object.assign(this, {
      play,
      v,
      who,
      query: `EIO=${v}&transport=polling&e2e=${play.tag(who)}${query}`,
      headers,
    });
  }

  async open() {
    const answer = await this.get();
    this.sid = /"sid":"([^"]+)"/.exec(answer.body.toString().replaceAll("\\", ""))?.[1];
    if (this.sid) this.query += `&sid=${this.sid}`;
  }

  /** A GET without waiting for its answer. */
  poll(options) {
    return this.play.request("GET", this.query, { who: this.who, headers: this.headers, ...options });
  }

  /** A GET that has arrived: the server has answered two POSTs of nothing since. */
  async waiting() {
    const get = this.poll();
    for (let i = 0; i < 2; i++) await this.post(payload(this.v, "6"), { hide: true });
    return get;
  }

  async get(options) {
    return this.#noticed(await this.poll(options).answer(options?.hide));
  }

  #noticed(answer) {
    if (answer.status === 200 && !answer.header("content-encoding"))
      for (const packet of this.packets(answer)) this.noticed(packet);
    return answer;
  }

  /** A packet came: perhaps it answers a CONNECT. */
  noticed(packet) {
    if (/^40(\/[^,]*,)?(\{"sid"|$)/.test(packet) || this.play.codec.isConnect?.(this.#bytes(packet)))
      this.play.joined();
  }

  /** A packet as it is shown. */
  shown(packet) {
    const { show: decoded } = this.play.codec;
    if (!decoded || !packet.startsWith("b")) return show(packet);
    return decoded(this.#bytes(packet)) ?? `b ${show(this.#bytes(packet))}`;
  }

  #bytes(packet) {
    return Buffer.from(packet.slice(this.v === 4 ? 1 : 2), "base64");
  }

  /** The packets of an answer: text as it is, binary as `b` and base64. */
  packets(answer) {
    let text = answer.body.toString();
    if (/^___eio/.test(text)) text = JSON.parse(/\((.*)\);$/s.exec(text)[1]);
    if (this.v === 4) return text.split(RS);
    if (answer.header("content-type") === BINARY) return octets(answer.body);
    const packets = [];
    for (let at = 0; at < text.length;) {
      const colon = text.indexOf(":", at);
      const to = colon + 1 + Number(text.slice(at, colon));
      packets.push(text.slice(colon + 1, to));
      at = to;
    }
    return packets;
  }

  /** A POST without waiting for its answer. */
  send(body, { headers, ...options } = {}) {
    const type = { "content-type": "text/plain;charset=UTF-8" };
    return this.play.request("POST", this.query, {
      who: this.who,
      headers: headers ?? type,
      body,
      ...options,
    });
  }

  post(body, options) {
    return this.send(body, options).answer(options?.hide);
  }

  /** Posts packets. */
  emit(...packets) {
    return this.post(payload(this.v, ...packets));
  }

  async join(nsp = "", auth = "") {
    if (this.v === 4 || nsp) await this.emit(`40${nsp ? `${nsp},` : ""}${auth}`);
    await this.next();
  }

  /** Polls until `n` packets came, however they are put together. */
  async next(n = 1) {
    while (n > 0) {
      const packets = await this.#drain();
      if (!packets) return;
      n -= packets.length;
    }
  }

  async #drain(hidden) {
    const answer = await this.poll({ hide: true }).answer(true);
    if (answer.status !== 200) {
      this.play.say(`${this.who}> poll`);
      this.play.say(`${this.who}< ${answer.status ? describe(answer) : "no answer"}`);
      return undefined;
    }
    const packets = this.packets(answer);
    for (const packet of packets) {
      this.noticed(packet);
      const shown = this.shown(packet);
      if (shown !== hidden) this.play.say(`${this.who}< packet ${shown}`);
    }
    return packets;
  }

  /** Waits until everything sent before has had its effects, and shows what came: the server answers two CONNECTs for
   *  a namespace that does not exist, the second in a later turn of its loop. */
  async sync() {
    for (let round = 0; round < 2; round++) {
      const [packet, answer] = this.play.codec.barrier();
      const ask =
        typeof packet === "string" ? packet : `b${this.v === 4 ? "" : 4}${packet.toString("base64")}`;
      const post = await this.post(payload(this.v, ask), { hide: true });
      if (post.status !== 200) {
        this.play.say(`${this.who}> post`);
        return this.play.say(`${this.who}< ${post.status ? describe(post) : "no answer"}`);
      }
      for (let packets = []; !packets.includes(answer);) {
        packets = (await this.#drain(answer))?.map((packet) => this.shown(packet));
        if (!packets || packets.some((packet) => packet === "1")) return;
      }
    }
  }

  /** Ends the session, if it still stands. */
  async leave() {
    if (!this.sid || this.left) return;
    await this.post(payload(this.v, "1"), { hide: true }).catch(() => {});
  }
}

function octets(body) {
  const packets = [];
  for (let at = 0; at < body.length;) {
    const from = body.indexOf(255, at);
    const length = Number([...body.subarray(at + 1, from)].join(""));
    const bytes = body.subarray(from + 1, from + 1 + length);
    packets.push(body[at] === 0 ? bytes.toString() : `b${bytes[0]}${bytes.toString("base64", 1)}`);
    at = from + 1 + length;
  }
  return packets;
}

const OPCODES = { 0: "continuation", 1: "text", 2: "binary", 8: "close", 9: "ping", 10: "pong" };

/** The answer that a sync waits for. */
const HIDDEN = Symbol("hidden");

/** The ping of a WebSocket that settles. */
const PING = "settled";

/** A WebSocket. */
class Ws {
  open = false;

  constructor(play, { v, who }) {
    Object.assign(this, { play, v, who });
  }

  async upgrade(query, headers = {}) {
    this.tcp = this.play.tcp();
    const all = {
      ...{
        Connection: "Upgrade",
        Upgrade: "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": KEY,
      },
      ...headers,
    };
    const asked = Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
    const path = query.startsWith("/") ? query : `${this.play.path}?${query}`;
    const shown = Object.entries(headers).map(([name, value]) => ` [${name}: ${value}]`);
    this.play.say(`${this.who}> ws ${path.replace(/[?&]e2e=\w+/, "")}${shown.join("")}`);
    const fields = Object.entries({ host: "localhost", ...asked }).map(
      ([name, value]) => `${name}: ${value}\r\n`,
    );
    this.tcp.write(Buffer.from(`GET ${path} HTTP/1.1\r\n${fields.join("")}\r\n`, "latin1"));
    const answer = await new Request(this.play, this.tcp, this.who).answer(true);
    this.open = answer.status === 101;
    // The 101 of each handshake is the same; it is shown where something is odd about the request.
    if (!this.open || Object.keys(headers).length > 0) this.play.say(`${this.who}< ${describe(answer)}`);
    return answer;
  }

  /** The open packet. */
  async opened() {
    const bytes = await this.recv();
    this.sid = /"sid":"([^"]+)"/.exec(bytes?.toString())?.[1];
    if (this.v === 3) await this.recv();
  }

  frame(opcode, body, odd) {
    const { hide, ...rest } = odd ?? {};
    const how = Object.keys(rest).length > 0 ? ` ${JSON.stringify(rest)}` : "";
    if (!hide)
      this.play.say(`${this.who}> ${OPCODES[opcode] ?? opcode}${how} ${show(Buffer.from(body ?? ""))}`);
    this.tcp.write(frame(opcode, body, rest));
  }

  text(...texts) {
    this.tcp.together(() => texts.forEach((text) => this.frame(1, text)));
  }

  binary(bytes) {
    this.frame(2, Buffer.from(bytes));
  }

  /** Sends an engine message in this protocol's form. */
  bytes(bytes) {
    this.binary(this.v === 4 ? bytes : [4, ...bytes]);
  }

  raw(bytes) {
    this.play.say(`${this.who}> bytes ${show(Buffer.from(bytes))}`);
    this.tcp.write(Buffer.from(bytes));
  }

  /** The next frame; undefined once the server has ended. */
  async recv(n = 1) {
    let payload;
    for (let i = 0; i < n; i++) payload = await this.#recv();
    return payload;
  }

  async #recv(hidden, heard) {
    if (!this.open) throw new Over(`${this.who} is closed`);
    const got = await this.tcp.take(parseFrame, "a frame");
    if (!got) {
      this.open = false;
      this.play.say(`${this.who}< end`);
      return undefined;
    }
    const { fin, rsv, opcode, masked, payload } = got;
    const shown =
      (opcode === 2 && this.play.codec.show?.(this.v === 3 ? payload.subarray(1) : payload)) || show(payload);
    if (hidden && opcode !== 8 && shown === hidden) return HIDDEN;
    const odd = `${fin ? "" : " unfinished"}${rsv ? ` rsv ${rsv}` : ""}${masked ? " masked" : ""}`;
    if (opcode === 8) {
      const code =
        payload.length < 2 ? "without a code" : `${payload.readUInt16BE()} ${show(payload.subarray(2))}`;
      this.play.say(`${this.who}< close${odd} ${code.trim()}`);
      this.tcp.write(frame(8, payload));
      const rest = await this.tcp.rest();
      this.play.say(`${this.who}< end${rest?.length ? ` after ${show(rest)}` : ""}`);
      this.open = false;
      return undefined;
    }
    if (opcode === 1 && /^40(\/[^,]*,)?(\{"sid"|$)/.test(payload)) this.play.joined();
    if (opcode === 2 && this.play.codec.isConnect?.(payload)) this.play.joined();
    heard?.(shown);
    this.play.say(`${this.who}< ${OPCODES[opcode] ?? opcode}${odd} ${shown}`);
    return payload;
  }

  async join(nsp = "", auth = "") {
    if (this.v === 4 || nsp) this.text(`40${nsp ? `${nsp},` : ""}${auth}`);
    if (this.v === 4 || nsp) await this.recv();
  }

  /** Shows what comes until the server ends. */
  async closed() {
    while (this.open) await this.#recv();
  }

  /** As with polling. */
  async sync() {
    const [ask, answer] = this.play.codec.barrier();
    for (let round = 0; round < 2 && this.open; round++) {
      if (typeof ask === "string") this.frame(1, ask, { hide: true });
      else this.frame(2, this.v === 3 ? Buffer.concat([Buffer.of(4), ask]) : ask, { hide: true });
      while (this.open) if ((await this.#recv(answer)) === HIDDEN) break;
    }
  }

  /** Waits for the answer to a ping, and shows what comes before; `heard` is told. */
  async settle(heard = () => {}) {
    this.frame(9, PING, { hide: true });
    while (this.open) if ((await this.#recv(PING, heard)) === HIDDEN) break;
  }

  /** Goes away without a close frame. */
  async gone() {
    this.play.say(`${this.who}> (gone)`);
    await this.tcp.end();
    this.open = false;
  }

  /** A close frame, and all that the server says until it ends. */
  async close(body = "") {
    this.frame(8, body);
    await this.closed();
  }
}
