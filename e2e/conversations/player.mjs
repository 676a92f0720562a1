// Plays a conversation against one server; the transcript is compared with that of the other.
//
// Everything is in the order of the actions, whatever the network does. After each action its client knows that the
// server has done all of it: a WebSocket has had two pings answered, a polling client a POST of nothing. What others
// said to a client is shown when it acts, hears, or at the end: for each client all that it was sent, in order, but
// not when it came between its own actions. Of polling, how packets are spread over the answers, and noops, are not
// shown: Node answers a waiting GET with the first packet of a turn and Patio with all of them. So a client over which
// a session is (`over`) has got the close packet, or is not known any more. Nothing else is left out.

import { Silence, within } from "../differential/wire.mjs";
import { payload } from "../differential/script.mjs";
import { fitTogether, isSound, own, parse, wire } from "./packets.mjs";

/** The script of a conversation. */
export const script = ({ actions }) =>
  async function (play) {
    const clients = new Map();
    for (const [who, what, ...args] of actions) {
      if (!clients.has(who)) clients.set(who, new Client(play, who));
      const client = clients.get(who);
      await client[what](...args);
      // Answers that others wait for reach them through tasks of their own.
      if (client.answered) for (const other of clients.values()) await other.settle();
      client.answered = false;
    }
    const all = [...clients.values()];
    for (const client of all) await client.hear();
    for (const client of all) await client.leave();
    await flushed(play);
  };

let asked = 0;

/** Resolves once everything that the application has printed so far was read. */
async function flushed(play) {
  await told(play, "EIO=4&transport=polling&sid=unknown");
}

/** A GET of which the application has told what became of it: [request, "answered" or "waits"]. */
async function told(play, query, on = play.tcp()) {
  const tag = `told ${play.number} ${asked++}`;
  const get = play.request("GET", query, { headers: { "x-e2e-told": tag }, hide: true, on });
  await play.until(() => play.app.lines(tag).length > 0, "the GET has come");
  return [get, play.app.lines(tag)[0][0]];
}

class Client {
  polling; // the session as long as it polls
  ws; // the session's WebSocket
  candidate; // one that may become it
  waiting; // a GET that waits, or has been answered meanwhile
  probed = false;
  owed = 0; // attachments that the server waits for
  joined = new Set();
  gets; // the TCP connections for GETs and POSTs, kept as browsers do
  posts;

  constructor(play, who) {
    Object.assign(this, { play, who });
  }

  get isOpen() {
    return !this.over && (this.ws?.open || this.polling !== undefined);
  }

  async open(v, by) {
    if (this.isOpen || this.candidate?.open) return;
    Object.assign(this, {
      v,
      over: false,
      ws: undefined,
      polling: undefined,
      waiting: undefined,
      probed: false,
    });
    this.owed = 0;
    this.withdrew = false;
    this.joined.clear();
    if (by === "polling") {
      this.polling = await this.play.polling({ v, who: this.who });
      if (!this.polling.sid) this.over = true;
    } else {
      this.ws = await this.play.ws({ v, who: this.who });
    }
    if (v === 3) this.joined.add("/");
    await this.settle();
  }

  /** Says packets, in one piece if that changes nothing. */
  async say(...packets) {
    if (this.ws ? !this.ws.open : !this.polling) return;
    if (this.over) await this.#unknown();
    const joined = (nsp) => this.joined.has(own(nsp, this.play.number));
    const pieces =
      this.owed === 0 && fitTogether(packets, joined) ? [packets] : packets.map((packet) => [packet]);
    for (const piece of pieces) {
      // Whoever says what may end the session hears of it: Node ends one that polls when a GET comes.
      if (this.polling && !this.ws && piece.length === 1 && !isSound(piece[0], this.owed))
        await this.listen();
      const sent = piece.map((packet) => wire(packet, this.play.number));
      piece.forEach((packet, at) => this.#note(packet, sent[at]));
      if (this.ws?.open) this.ws.tcp.together(() => sent.forEach((packet) => this.#frame(this.ws, packet)));
      else await this.#post(sent.map((packet) => this.#text(packet)));
      await this.settle();
      if (this.ws && this.over) return;
    }
    // Whoever says something while a GET waits hears what comes of it.
    if (this.waiting && this.owed === 0) await this.hear();
  }

  #frame(ws, packet) {
    if (typeof packet === "string") ws.text(packet);
    else ws.bytes(packet);
  }

  #text(packet) {
    return typeof packet === "string" ? packet : `b${this.v === 3 ? 4 : ""}${packet.toString("base64")}`;
  }

  #note(packet, sent) {
    if (typeof packet === "string") {
      const { count = 0 } = parse(packet) ?? {};
      if (packet.startsWith("4")) this.owed = this.owed === 0 && count <= 10 ? count : 0;
      const [, nsp] = /^41(?:(\/[^,]*))?/.exec(sent) ?? [];
      if (packet.startsWith("41")) this.joined.delete(nsp ?? "/");
    } else if (packet.b !== undefined && this.owed > 0) this.owed--;
    // A packet that is spoilt may mean anything.
    if (packet.as) this.joined.clear();
    else if (packet.m?.type === 1) this.joined.delete(own(packet.m.nsp, this.play.number));
    const { type, nsp } = parse(packet) ?? {};
    if (type === 3 || !type) this.answered = true;
    if (/disconnect_me|kill_transport/.test(JSON.stringify(packet)) && type)
      this.joined.delete(own(nsp, this.play.number));
  }

  /** Waits until the server has done all that was sent, and shows what a WebSocket got. */
  async settle() {
    if (this.ws?.open) await this.#read(this.ws, 2);
    else if (this.polling && !this.over) await this.#post(["6"], { hide: true });
    if (this.ws && !this.ws.open && !this.over) await this.#end();
  }

  /** Posts packets. */
  async #post(packets, options) {
    if (this.posts?.ended ?? true) this.posts = this.play.tcp();
    const answer = await this.polling.post(payload(this.v, ...packets), { ...options, on: this.posts });
    if (answer.status !== 200) this.posts = undefined;
    return answer;
  }

  /** The connection for the next GET. */
  #line() {
    if (this.gets?.ended ?? true) this.gets = this.play.tcp();
    return this.gets;
  }

  async #read(ws, rounds) {
    for (let i = 0; i < rounds && ws.open; i++) await ws.settle((shown) => this.#heard(shown));
  }

  #heard(shown) {
    const [, nsp = "/"] =
      /^40(\/[^,]*)?(?:,?\{"sid"|,?$)/.exec(shown) ?? /^\{"type":0,"nsp":"([^"]*)"/.exec(shown) ?? [];
    if (/^40(\/[^,]*)?(,?\{"sid"|,?$)|^\{"type":0,/.test(shown)) this.joined.add(nsp);
    const [left, from = "/"] = /^41(\/[^,]*)?/.exec(shown) ?? [];
    if (left) this.joined.delete(from);
  }

  /** The session is over. Its sockets have gone when the application has said so. */
  async #end() {
    this.over = true;
    this.joined.clear();
    this.owed = 0;
    if (this.ws) await this.ws.tcp.end();
    await flushed(this.play);
    const count = (what) => this.play.log(this.who).filter((line) => line[0] === what).length;
    await this.play.until(() => count("end") >= count("connect"), `all sockets of ${this.who} have ended`);
  }

  /** Shows all that the client was sent. */
  async hear() {
    if (!this.isOpen) return;
    if (this.ws) return this.settle();
    // Any packet but an attachment would end the session.
    if (this.owed > 0) return;
    const [ask, barrier] = this.play.codec.barrier();
    await this.#post([this.#text(ask)], { hide: true });
    const poll = () => this.polling.poll({ hide: true, on: this.#line() });
    while (!this.over && !(await this.#take(this.waiting ?? poll(), barrier)));
  }

  /** Shows the packets of an answer; true if `barrier` is among them. */
  async #take(get, barrier) {
    this.waiting = undefined;
    const answer = await get.answer(true);
    if (answer.status !== 200) {
      this.gets = undefined;
      const known = answer.status === 400 && /^$|"code":1,/.test(answer.body.toString());
      this.play.say(`${this.who}< over${known ? "" : ` ${answer.status} ${answer.body}`}`);
      await this.#end();
      return false;
    }
    let met = false;
    for (const packet of this.polling.packets(answer)) {
      const shown = this.polling.shown(packet);
      if (shown === barrier) met = true;
      else if (packet === "1" && !this.ws) {
        this.play.say(`${this.who}< over`);
        await this.#end();
      } else if (packet !== "6" && packet !== "1") {
        this.polling.noticed(packet);
        this.#heard(shown);
        this.play.say(`${this.who}< packet ${shown}`);
      }
    }
    return met;
  }

  /** Lets a GET wait. While a candidate is probed it is answered soon. */
  async hold() {
    if (!this.isOpen || this.ws || this.waiting) return;
    for (;;) {
      const [get, what] = await told(this.play, this.polling.query, this.#line());
      if (what === "waits") this.waiting = get;
      else await this.#take(get);
      if (this.waiting && this.probed && this.candidate?.open) await this.#take(this.waiting);
      if (this.waiting || this.over || this.probed) return;
    }
  }

  /** Lets a GET wait, and is sure that it does. */
  async listen() {
    if (this.waiting && this.owed === 0) await this.hear();
    await this.hold();
  }

  /** Two GETs at once. */
  async overlap() {
    await this.listen();
    if (!this.waiting) return;
    this.play.say(`${this.who}> GET twice`);
    const [get] = await told(this.play, this.polling.query);
    const { status } = await get.answer(true);
    this.play.say(`${this.who}< ${status}`);
    await this.#take(this.waiting);
  }

  /** Two POSTs at once. */
  async twice(packet) {
    await this.listen();
    if (!this.waiting) return;
    const type = { "content-type": "text/plain;charset=UTF-8" };
    const first = this.polling.send("", {
      headers: { ...type, "content-length": "100", expect: "100-continue" },
    });
    const went = await first.tcp.take((bytes, ended) => {
      const end = bytes.indexOf("\r\n\r\n") + 4;
      return end > 3 ? [end, bytes.includes(" 100 ")] : ended && [0, false];
    }, "100");
    if (went) await this.#post([own(packet, this.play.number)]);
    await this.#unknown();
  }

  /** A POST that is given up in the middle. */
  async half(packet) {
    await this.listen();
    if (!this.waiting) return;
    const type = { "content-type": "text/plain;charset=UTF-8" };
    const body = payload(this.v, own(packet, this.play.number));
    const post = this.polling.send(body, { headers: { ...type, "content-length": "1000" } });
    await post.abort();
    await this.#unknown();
  }

  /** Waits until the session of a polling client is forgotten. */
  async #unknown() {
    if (this.waiting) await this.#take(this.waiting);
    const gone = async () => {
      for (let pause = 1; ; pause = Math.min(2 * pause, 200)) {
        const post = await this.#post(["6"], { hide: true });
        if (post.status === 400 && /"code":1,/.test(post.body.toString())) return;
        await new Promise((resolve) => setTimeout(resolve, pause));
      }
    };
    await within(gone(), `${this.who}'s session is gone`);
    if (!this.over) await this.#end();
  }

  /** Goes away without a word. */
  async gone() {
    if (!this.isOpen) return;
    if (this.ws) {
      await this.ws.gone();
      return this.#end();
    }
    await this.listen();
    if (!this.waiting || this.over) return;
    await this.waiting.abort();
    this.waiting = this.gets = undefined;
    await this.#unknown();
  }

  /** Ends the session in order. */
  async close(code) {
    if (!this.isOpen) return;
    if (!this.ws) {
      // A session that has ended does so when a GET comes.
      await this.hold();
      if (this.over) return;
      await this.polling.emit("1");
      if (this.waiting) await this.#take(this.waiting);
      return this.#unknown();
    }
    this.ws.frame(8, code === undefined ? "" : Buffer.of(code >> 8, code & 255));
    await this.ws.closed();
    await this.#end();
  }

  /** Asks for a question that is answered too late: the application gives up on it first, and says so. */
  async late(nsp, id, answer) {
    if (!this.isOpen || this.owed > 0 || !this.joined.has(own(nsp, this.play.number))) return;
    const from = this.play.lines.length;
    const type2 = { type: 2, nsp, id, data: ["call_impatient", "q", 20] };
    const event = `42${nsp},${id}${JSON.stringify(type2.data)}`;
    await this.say(this.play.codec.isConnect ? { m: type2 } : event);
    const told = () =>
      this.play.lines.slice(from).some((line) => /^\w< /.test(line) && line.includes("timeout"));
    const until = async () => {
      for (; this.isOpen && !told(); await new Promise((resolve) => setTimeout(resolve, 10)))
        await this.hear();
    };
    await within(until(), "the application gives up");
    await this.say(answer);
  }

  /** A POST whose body is no payload, or another. */
  async body(text) {
    if (!this.isOpen || this.ws) return;
    await this.listen();
    await this.polling.post(own(text, this.play.number));
    this.joined.clear();
    await this.settle();
    if (this.owed === 0) await this.hear();
  }

  /** A frame beneath all packets. */
  async frame(opcode, body, odd) {
    if (!this.ws?.open) return;
    this.ws.frame(opcode, own(body, this.play.number), odd);
    await this.settle();
  }

  /** A GET of a session that is over. */
  async knock() {
    if (!this.over || !this.polling) return;
    await this.#unknown();
    await this.polling.get();
  }

  // The upgrade, step by step.

  async probe() {
    await this.offer();
    if (!this.candidate?.open || this.probed) return;
    this.candidate.text("2probe");
    await this.#read(this.candidate, 1);
    this.probed = this.candidate.open;
    // The answer that lets the client go on.
    if (this.probed && this.waiting) await this.#take(this.waiting);
  }

  /** A WebSocket that asks to take over. */
  async offer() {
    if (!this.isOpen || this.ws || this.candidate?.open || this.withdrew) return;
    this.candidate = await this.play.ws({ v: this.v, sid: this.polling.sid, who: this.who.toUpperCase() });
    this.probed = false;
  }

  /** The candidate says something else. */
  async offers(...packets) {
    if (!this.candidate?.open) return;
    const sent = packets.map((packet) => wire(packet, this.play.number));
    this.candidate.tcp.together(() => sent.forEach((packet) => this.#frame(this.candidate, packet)));
    await this.#read(this.candidate, 1);
  }

  /** The candidate takes over, and perhaps says something at once. */
  async switch(...packets) {
    if (!this.candidate?.open || !this.isOpen) return;
    const sent = ["5", ...packets.map((packet) => wire(packet, this.play.number))];
    const ws = this.candidate;
    ws.tcp.together(() => sent.forEach((packet) => this.#frame(ws, packet)));
    this.candidate = undefined;
    this.ws = ws;
    this.polling.left = true;
    if (this.waiting) await this.#take(this.waiting);
    packets.forEach((packet, at) => this.#note(packet, sent[at + 1]));
    await this.settle();
  }

  /** The candidate gives up. */
  async withdraw(politely) {
    if (!this.candidate?.open) return;
    // Node takes no other before it has seen the end of this one's TCP connection, of which nobody is told.
    this.withdrew = true;
    if (politely) await this.candidate.close();
    else await this.candidate.gone();
    this.candidate = undefined;
    await this.settle();
  }

  /** At the end. */
  async leave() {
    if (this.candidate?.open) await this.candidate.close();
    if (!this.polling || this.ws) return;
    // A session that ends does so when a GET comes.
    await this.hold();
    await this.polling.leave();
  }
}
