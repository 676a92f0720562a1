// Socket.IO for the browser, as small as this page needs it: Engine.IO 4 (polling first, then a WebSocket),
// Socket.IO 5, the namespace "/", text packets, acks, reconnection. `Session` is one Engine.IO connection and
// knows bytes; `Socket` lives on top of one session after the other and knows events. app.js uses only `Socket`.

const SEPARATOR = "\x1e"; // between the packets of one polling payload
const HANDSHAKE_TIMEOUT = 10_000; // ms, until the server has answered the first request
const PROBE_TIMEOUT = 10_000; // ms, until a WebSocket has taken over; polling goes on meanwhile
const ACK_TIMEOUT = 8_000; // ms
const BACKOFF = { first: 800, most: 10_000 }; // ms, before jitter

/** One Engine.IO session. `hooks`: open(), message(text), step(name), transport(name), end(reason). */
class Session {
  transport = "polling";
  #path;
  #hooks;
  #sid = "";
  #maxPayload = Infinity;
  #patience = HANDSHAKE_TIMEOUT; // how long silence is believed
  #queue = []; // packets that no transport has taken yet
  #abort = new AbortController();
  #ended = false;
  #getting = false;
  #posting = false;
  #candidate = null; // the WebSocket that has answered the probe and waits for the last poll
  #ws = null;
  #timer = 0;

  constructor(path, hooks) {
    this.#path = path;
    this.#hooks = hooks;
    this.#heard();
    this.#open();
  }

  send(packet) {
    this.#queue.push(packet);
    this.#flush();
  }

  /** Ends the session from this side and tells the server, also while the page goes away. */
  close(reason = "closed here") {
    if (this.transport === "polling" && this.#sid && !this.#ended) {
      fetch(this.#url("polling"), { method: "POST", body: "1", keepalive: true }).catch(() => {});
    }
    this.#end(reason);
  }

  async #open() {
    try {
      const [first, ...rest] = await this.#get();
      if (first?.[0] !== "0") throw new Error("no handshake");
      const { sid, upgrades, pingInterval, pingTimeout, maxPayload } = JSON.parse(first.slice(1));
      this.#sid = sid;
      this.#maxPayload = maxPayload ?? Infinity;
      this.#patience = pingInterval + pingTimeout;
      this.#heard();
      this.#hooks.open();
      rest.forEach((packet) => this.#receive(packet));
      this.#poll();
      if (upgrades.includes("websocket")) this.#upgrade();
    } catch (error) {
      this.#end(error.message);
    }
  }

  async #get() {
    const response = await fetch(this.#url("polling"), { cache: "no-store", signal: this.#abort.signal });
    if (!response.ok) throw new Error(`the server answered ${response.status}`);
    return (await response.text()).split(SEPARATOR);
  }

  async #poll() {
    this.#getting = true;
    try {
      while (!this.#ended && !this.#candidate) (await this.#get()).forEach((packet) => this.#receive(packet));
    } catch (error) {
      this.#end(error.message);
    }
    this.#getting = false;
    this.#takeOver();
  }

  async #flush() {
    if (this.transport === "websocket") {
      for (const packet of this.#queue.splice(0)) this.#ws.send(packet);
      return;
    }
    if (!this.#queue.length || !this.#sid || this.#posting || this.#candidate || this.#ended) return;
    this.#posting = true;
    try {
      const body = this.#batch();
      const response = await fetch(this.#url("polling"), { method: "POST", body, signal: this.#abort.signal });
      if (!response.ok) throw new Error(`the server answered ${response.status}`);
    } catch (error) {
      this.#end(error.message);
    }
    this.#posting = false;
    this.#takeOver();
    this.#flush();
  }

  /** As many queued packets as one payload may carry, and at least one. */
  #batch() {
    const size = (packet) => new TextEncoder().encode(packet).length + 1;
    let bytes = size(this.#queue[0]);
    let count = 1;
    while (count < this.#queue.length && (bytes += size(this.#queue[count])) <= this.#maxPayload) count += 1;
    return this.#queue.splice(0, count).join(SEPARATOR);
  }

  #upgrade() {
    const ws = new WebSocket(this.#url("websocket").replace(/^http/, "ws"));
    const timer = setTimeout(() => this.#ws !== ws && ws.close(), PROBE_TIMEOUT);
    this.#abort.signal.addEventListener("abort", () => ws.close());
    ws.onopen = () => {
      this.#hooks.step("probe sent");
      ws.send("2probe");
    };
    ws.onmessage = ({ data }) => {
      if (this.#ws === ws) return this.#receive(data);
      if (data !== "3probe") return ws.close();
      this.#hooks.step("probe answered");
      this.#candidate = ws; // the poll that is under way is the last one; what is sent now waits
      this.#takeOver();
    };
    ws.onclose = () => {
      clearTimeout(timer);
      if (this.#ended) return;
      if (this.#ws === ws) return this.#end("the WebSocket was closed");
      this.#hooks.step("stays on polling");
      this.#candidate = null;
      if (!this.#getting) this.#poll();
      this.#flush();
    };
  }

  /** The move to the WebSocket, once no request of the polling transport is under way any more. */
  #takeOver() {
    if (!this.#candidate || this.#getting || this.#posting || this.#ended) return;
    this.#ws = this.#candidate;
    this.#candidate = null;
    this.#ws.send("5");
    this.transport = "websocket";
    this.#hooks.transport("websocket");
    this.#flush();
  }

  #receive(packet) {
    if (this.#ended || typeof packet !== "string") return;
    this.#heard();
    if (packet[0] === "2") this.send("3");
    else if (packet[0] === "4") this.#hooks.message(packet.slice(1));
    else if (packet[0] === "1") this.#end("the server closed the connection");
  }

  #heard() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#end("the server fell silent"), this.#patience);
  }

  #end(reason) {
    if (this.#ended) return;
    this.#ended = true;
    clearTimeout(this.#timer);
    this.#abort.abort();
    this.#hooks.end(reason);
  }

  #url(transport) {
    const url = new URL(this.#path, location.href);
    url.search = new URLSearchParams({ EIO: "4", transport, ...(this.#sid && { sid: this.#sid }) });
    return url.href;
  }
}

/**
 * A Socket.IO socket that comes back by itself. It reports to three functions:
 * `onstate(state, detail)`: "connecting"; "connected"; "waiting" {reason, retryAt: ms since the epoch};
 * "refused" {reason} (no retry by itself); "closed". `ontransport(name)`. `onstep(name)`: what the wire just did.
 */
export class Socket {
  id = null;
  state = "closed";
  onstate = () => {};
  ontransport = () => {};
  onstep = () => {};
  #path;
  #session = null;
  #listeners = new Map();
  #acks = new Map();
  #nextAck = 0;
  #attempt = 0;
  #timer = 0;

  constructor(path = "/socket.io/") {
    this.#path = path;
  }

  on(event, listener) {
    this.#listeners.set(event, listener);
  }

  /** Sends an event and resolves with the first argument of its ack. Rejects when it cannot come any more. */
  request(event, ...args) {
    if (this.state !== "connected") return Promise.reject(new Error("not connected"));
    const id = this.#nextAck++;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#acks.delete(id);
        reject(new Error("the server did not answer"));
      }, ACK_TIMEOUT);
      this.#acks.set(id, { resolve, reject, timer });
      this.#session.send(`42${id}${JSON.stringify([event, ...args])}`);
    });
  }

  connect() {
    clearTimeout(this.#timer);
    if (this.#session) return;
    this.#become("connecting");
    const session = new Session(this.#path, {
      open: () => {
        this.onstep("session opened");
        this.ontransport("polling");
        session.send("40");
      },
      message: (text) => this.#packet(text),
      step: (name) => this.onstep(name),
      transport: (name) => this.ontransport(name),
      end: (reason) => this.#ended(session, reason),
    });
    this.#session = session;
  }

  /** Ends the connection, for good unless `connect` follows. */
  close(state = "closed", reason = "closed here") {
    clearTimeout(this.#timer);
    const session = this.#session;
    this.#session = null;
    session?.close(reason);
    this.#drop(reason);
    this.#become(state, { reason });
  }

  #packet(text) {
    const [, type, id, body] = /^(\d)(\d*)(.*)$/s.exec(text) ?? [];
    const data = body ? JSON.parse(body) : undefined;
    if (type === "0") {
      this.id = data.sid;
      this.#attempt = 0;
      this.#become("connected");
    } else if (type === "1") {
      this.close("refused", "the server ended this connection");
    } else if (type === "2") {
      const [event, ...args] = data;
      this.#listeners.get(event)?.(...args);
      if (id) this.#session?.send(`43${id}[]`);
    } else if (type === "3") {
      const ack = this.#acks.get(Number(id));
      if (!ack) return;
      this.#acks.delete(Number(id));
      clearTimeout(ack.timer);
      ack.resolve(data?.[0]);
    } else if (type === "4") {
      this.close("refused", data?.message ?? "the server refused the connection");
    }
  }

  #ended(session, reason) {
    if (this.#session !== session) return;
    this.#session = null;
    this.#drop(reason);
    const delay = Math.min(BACKOFF.first * 2 ** this.#attempt++, BACKOFF.most) * (0.5 + Math.random());
    this.#timer = setTimeout(() => this.connect(), delay);
    this.#become("waiting", { reason, retryAt: Date.now() + delay });
  }

  #drop(reason) {
    this.id = null;
    for (const { reject, timer } of this.#acks.values()) {
      clearTimeout(timer);
      reject(new Error(reason));
    }
    this.#acks.clear();
  }

  #become(state, detail = {}) {
    this.state = state;
    this.onstate(state, detail);
  }
}
