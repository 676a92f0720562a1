// One face over four generations of socket.io-client, for the checks: opening, listening, asking, and what is
// known of the transport. Runs in Node and in the browser alike, so nothing here or in checks.mjs is of Node
// or of the DOM. The client library comes in as `io` (from clients.mjs in Node, from the dist bundle in the
// page).

const PATIENCE = 20_000; // ms for any one wait: generous, since a healthy server answers in milliseconds

/** A failed expectation, as opposed to a bug of the tests. */
export class Failed extends Error {}

/** The server (or the library) refused the connection of a namespace: `message`, and `data` where it was given. */
export class Refused extends Error {
  constructor(message, data) {
    super(message);
    this.data = data;
  }
}

/** Rejects with `what` unless `promise` settles in time. */
export function within(promise, what, ms = PATIENCE) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Failed(`no ${what} within ${ms} ms`)), ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** Fails unless both are equal, deeply; Buffer, ArrayBuffer and views are equal when their bytes are. */
export function same(actual, expected, what) {
  const [a, b] = [canonical(actual), canonical(expected)];
  if (a === b) return;
  let at = 0;
  while (a[at] === b[at]) at++;
  const around = (text) => (at > 60 ? "…" : "") + text.slice(Math.max(0, at - 60), at + 120);
  throw new Failed(`${what}: got ${around(a)}, expected ${around(b)}`);
}

/** Fails unless `condition`. */
export function ok(condition, what) {
  if (!condition) throw new Failed(what);
}

/** The bytes of any binary that a client may deliver, or undefined for anything else. */
export function bytesOf(value) {
  if (value instanceof ArrayBuffer) return new Uint8Array(value);
  if (ArrayBuffer.isView(value)) return new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
}

/** JSON with sorted keys and with bytes as <hex>, in which undefined and dates stay visible. */
export function canonical(value) {
  if (value === undefined) return "undefined";
  const bytes = bytesOf(value);
  if (bytes) return `<${Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("")}>`;
  if (value instanceof Date) return `<date ${value.getTime()}>`;
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  const keys = Object.keys(value).sort();
  return `{${keys.map((key) => `${JSON.stringify(key)}:${canonical(value[key])}`).join(",")}}`;
}

/** One running cell: opens peers and closes them all at the end. `setting` is what environment and table say:
 *  {client, transport, parser?, url, tag, io, Binary: "Buffer" | "ArrayBuffer", headers: may set request headers}. */
export class Cell {
  peers = [];

  constructor(setting) {
    Object.assign(this, setting);
    this.generation = Number(this.client[0]);
    this.last = this.transport === "polling" ? "polling" : "websocket"; // where the connection ends up
    this.first = this.transport === "websocket" ? "websocket" : "polling"; // where it begins
  }

  /** Binary in the environment's natural form from bytes or a length (pattern i % 251). */
  binary(from) {
    const bytes =
      typeof from === "number" ? Uint8Array.from({ length: from }, (_, i) => i % 251) : new Uint8Array(from);
    return this.Binary === "Buffer" ? Buffer.from(bytes.buffer) : bytes.buffer;
  }

  /** A connected peer, on its final transport unless `settle` is false. Rejects with Refused. */
  async connect({ nsp = "/", auth, settle = true, ...options } = {}) {
    const manager = new this.io.Manager(this.url, {
      autoConnect: false,
      forceNew: true,
      transports: this.transport === "upgrade" ? ["polling", "websocket"] : [this.transport],
      query: { e2e: this.tag },
      ...(this.headers && { extraHeaders: { "x-e2e": this.tag } }),
      ...(this.parser && { parser: this.parser }),
      reconnectionDelay: 20,
      reconnectionDelayMax: 100,
      randomizationFactor: 0,
      timeout: PATIENCE,
      ...options,
    });
    const peer = new Peer(this, manager, nsp, auth);
    await peer.connect();
    if (settle) await peer.settled();
    return peer;
  }

  /** Closes everything; the transports seen by the clients and by the server must be those of the cell. */
  async finish() {
    try {
      ok(this.peers.length > 0, "the cell opened no peer");
      for (const peer of this.peers) if (peer.socket.connected) await peer.checkTransport();
    } finally {
      this.abandon();
    }
  }

  /** Closes everything without asking. */
  abandon() {
    for (const { manager } of this.peers) {
      manager.reconnection(false);
      manager.engine?.close();
    }
  }
}

/** One namespace socket of one client. */
export class Peer {
  #logs = new Map();

  constructor(cell, manager, nsp, auth) {
    this.cell = cell;
    this.manager = manager;
    this.nsp = nsp;
    // Generations 1 and 2 have no auth: their namespace's query takes its place.
    // Set on the socket, since the manager keeps one socket for each namespace, also a refused one.
    this.socket = manager.socket(nsp);
    if (cell.generation < 3) this.socket.query = auth && queryString(auth);
    else this.socket.auth = auth;
    this.disconnects = this.log("disconnect");
    const elder = cell.peers.find((peer) => peer.manager === manager);
    this.trips = elder ? elder.trips : watchTransports(manager);
    this.opened = !elder; // whether the connection began with this namespace
    cell.peers.push(this);
  }

  get id() {
    return this.socket.id;
  }

  /** Opens the socket and waits for its connection. Rejects with Refused. */
  async connect() {
    const outcome = new Promise((resolve, reject) => {
      this.socket.once("connect", resolve);
      this.socket.once("connect_error", (error) =>
        reject(new Refused(error?.message ?? String(error), error?.data)),
      );
      if (this.cell.generation < 3) {
        this.socket.once("error", (data) =>
          reject(new Refused(typeof data === "string" ? data : undefined, data)),
        );
      }
    });
    this.socket.connect();
    await within(outcome, `connection to ${this.nsp}`);
  }

  /** Waits until the connection is on the last transport of its cell. */
  async settled() {
    const engine = this.manager.engine;
    if (engine.transport.name === this.cell.last) return;
    await within(new Promise((resolve) => engine.once("upgrade", resolve)), "upgrade");
  }

  /** Another namespace over the same connection, connected. Rejects with Refused. */
  async join(nsp, auth) {
    const peer = new Peer(this.cell, this.manager, nsp, auth);
    await peer.connect();
    return peer;
  }

  emit(...args) {
    this.socket.emit(...args);
  }

  /** Emits and waits for the ack: the array of its arguments. */
  ask(event, ...args) {
    return within(
      new Promise((resolve) => this.socket.emit(event, ...args, (...answer) => resolve(answer))),
      `ack of ${event}`,
    );
  }

  /** Emits `echo` with these arguments and waits for the echo's. */
  async echo(...args) {
    const echoes = this.log("echo");
    this.emit("echo", ...args);
    return echoes.next();
  }

  /** The log of an event from now on (one log per event and peer): what has arrived and not been taken. */
  log(event, keep = () => true) {
    if (!this.#logs.has(event)) {
      const log = new Log(`${event} at ${this.nsp}`);
      this.#logs.set(event, log);
      this.socket.on(event, (...args) => keep(...args) && log.push(args));
    }
    return this.#logs.get(event);
  }

  /** The log of `room` messages. They begin with the cell's tag, since other cells broadcast in the same namespace. */
  roomLog() {
    return this.log("room", (tag) => tag === this.cell.tag);
  }

  /** Waits for the end of a socket as the server saw it, and returns {reason, rooms, left}. */
  async endOf(id) {
    const deadline = Date.now() + PATIENCE;
    for (;;) {
      const [ends] = await this.ask("reasons", id);
      if (ends.length > 0) {
        same(ends.length, 1, `ends of ${id}`);
        return ends[0];
      }
      ok(Date.now() < deadline, `the server saw no end of ${id}`);
    }
  }

  /** Closes the socket as a user does. */
  disconnect() {
    this.socket.disconnect();
  }

  /** What the client saw of its transports and what the server sees must be the transport of the cell. */
  async checkTransport() {
    const { first, last, transport, generation } = this.cell;
    await this.settled();
    const trip = this.trips.at(-1);
    same(
      trip,
      transport === "upgrade" ? ["polling", "websocket"] : [transport],
      "transports the client used",
    );
    const [me] = await this.ask("whoami");
    same(me.id, this.serverId, "the socket's id on both sides");
    same(me.transport, last, "transport in the server's view");
    same(me.protocol, generation < 3 ? 3 : 4, "protocol in the server's view");
    if (this.opened) same(me.data.first, first, "first transport in the server's view");
  }

  /** The id by which the server knows the socket: generation 1 shows the bare engine id on every namespace. */
  get serverId() {
    return this.cell.generation === 1 && this.nsp !== "/" && !this.id.includes("#")
      ? `${this.nsp}#${this.id}`
      : this.id;
  }
}

/** What arrived and was not taken yet. */
class Log {
  #arrived = [];
  #waiting = [];

  constructor(what) {
    this.what = what;
  }

  push(args) {
    const taker = this.#waiting.shift();
    if (taker) taker(args);
    else this.#arrived.push(args);
  }

  /** The arguments of the next event. */
  next() {
    if (this.#arrived.length > 0) return Promise.resolve(this.#arrived.shift());
    return within(new Promise((resolve) => this.#waiting.push(resolve)), this.what);
  }

  /** The next n. */
  async take(n) {
    const taken = [];
    while (taken.length < n) taken.push(await this.next());
    return taken;
  }

  /** All that arrived already. */
  drain() {
    return this.#arrived.splice(0);
  }
}

// One list per connection of the manager: the transports it went through, in order.
function watchTransports(manager) {
  const trips = [];
  manager.on("open", () => {
    const trip = [manager.engine.transport.name];
    manager.engine.on("upgrade", (transport) => trip.push(transport.name));
    trips.push(trip);
  });
  return trips;
}

function queryString(fields) {
  return Object.entries(fields)
    .map((pair) => pair.map(encodeURIComponent).join("="))
    .join("&");
}
