// What the standalone server promises to a backend and to clients, by the official client. `at` has two servers, or twice
// the same one: what is asked of the first must reach clients of the second.

import { generateKeyPairSync, sign } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";
import { io } from "socket.io-client-4";
import { ok, same, within } from "../peer.mjs";
import { ADMIN_KEY, inSeconds, KEY, token } from "./server.mjs";

let users = 0;

/** A client, connected: {socket, user, got(event), next(event)}. What it gets is kept in the order it came. */
export async function connect(at, claims = {}, { nsp = "/", auth, ...options } = {}) {
  const user = `u${++users}`;
  const said = { sub: user, ...claims };
  const login = auth ?? ((tell) => tell({ token: token(typeof claims === "function" ? claims() : said) }));
  const socket = io(at.url + nsp, { auth: login, forceNew: true, transports: ["websocket"], reconnection: false, ...options });
  const [events, waiting] = [[], new Set()];
  socket.onAny((event, ...args) => {
    events.push([event, ...args]);
    for (const check of waiting) check();
  });
  const got = (event) => events.filter(([name]) => name === event).map(([, ...args]) => args);
  const next = (event, n = 1) => {
    const come = new Promise((resolve) => {
      const check = () => got(event).length >= n && resolve(got(event)[n - 1]);
      waiting.add(check);
      check();
    });
    return within(come, `${n} × ${event}`, 10_000);
  };
  const connected = new Promise((resolve, reject) => socket.once("connect", resolve).once("connect_error", reject));
  await within(connected, "connection");
  const client = { socket, user, room: `user:${user}`, events, got, next, close: () => socket.disconnect() };
  client.ask = (event, ...args) => within(socket.timeout(5_000).emitWithAck(event, ...args), `answer to ${event}`);
  // With sharded pub/sub a room is heard of from other servers when Redis has confirmed its subscription, a moment later.
  if (at.peer && typeof claims !== "function")
    await until(async () => {
      await at.peer.post({ op: "emit", nsp, to: [`user:${said.sub}`], event: "settled" });
      return got("settled").length > 0;
    });
  client.left = () => within(new Promise((resolve) => socket.once("disconnect", resolve)), "disconnect");
  return client;
}

export const refused = async (at, options, claims) => {
  try {
    (await connect(at, claims, options)).close();
  } catch (error) {
    return error.data?.code ?? error.message;
  }
  return "connected";
};

/** What was emitted before on `server` has come to `clients`, if it ever does. */
let fences = 0;
export async function fence(server, clients) {
  const n = ++fences;
  await server.post(clients.map(({ room }) => ({ op: "emit", to: [room], event: "fence", args: [n] })));
  await within(Promise.all(clients.map((client) => until(() => client.got("fence").some(([number]) => number === n)))), "fence");
}

export async function until(check, ms = 10_000) {
  const end = Date.now() + ms;
  while (!(await check())) {
    ok(Date.now() < end, `it did not come true: ${check}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

const done = (answers) => same([answers].flat(), [answers].flat().map(() => ({ ok: true })), "the answers");

export const checks = {
  async "a token says who may connect"([first, second]) {
    same(await refused(second, { auth: {} }), "token_missing", "without a token");
    same(await refused(second, { auth: { token: 7 } }), "token_missing", "a token that is no text");
    same(await refused(second, { auth: { token: "x" } }), "token_invalid", "no token");
    same(await refused(second, { auth: { token: token({}, "another secret of thirty-two bytes") } }), "token_key", "signed by another");
    same(await refused(second, {}, { exp: inSeconds(-60) }), "token_expired", "an old token");
    same(await refused(second, {}, { nsp: "/admin" }), "token_namespace", "a token for another namespace");
    same(await refused(second, {}, { rooms: ["user:1"] }), "token_claims", "a room that is reserved");
    same(await refused(second, { nsp: "/admin" }, { nsp: ["/admin"] }), "connected", "a token for this namespace");
    same(await refused(second, { nsp: "/nowhere" }), "Invalid namespace", "a namespace that does not exist");
    same((await first.api("GET", "/api/count?nsp=/admin")).body.count, 0, "who is left");
  },

  async "pages of strangers do not connect"([, second]) {
    const from = (origin) => refused(second, { extraHeaders: { origin } });
    ok((await from("https://evil.example")) !== "connected", "another page");
    ok((await from("null")) !== "connected", "a page of nowhere");
    same(await from(second.url), "connected", "its own");
  },

  async "rooms, users and data come from the token"([first, second]) {
    const room = `room-${++users}`;
    const [a, b] = [await connect(first, { rooms: [room], data: { name: "Ann" } }), await connect(second, { rooms: [room] })];
    const c = await connect(second);
    done(await first.post([
      { op: "emit", to: [room], event: "e", args: ["room"] },
      { op: "emit", to: [b.room], event: "e", args: ["user"] },
      { op: "emit", to: [c.socket.id], event: "e", args: ["socket"] },
      { op: "emit", to: [room, a.room], except: [b.socket.id], event: "e", args: ["all but one"] },
      { op: "emit", to: [], event: "e", args: ["nobody"] },
      { op: "emit", event: "e", args: ["everyone", { deep: [1, null] }] },
    ]));
    await fence(first, [a, b, c]);
    same(a.got("e"), [["room"], ["all but one"], ["everyone", { deep: [1, null] }]], "a");
    same(b.got("e"), [["room"], ["user"], ["everyone", { deep: [1, null] }]], "b");
    same(c.got("e"), [["socket"], ["everyone", { deep: [1, null] }]], "c");
    const { sockets, missing } = (await second.api("GET", `/api/sockets?room=${room}`)).body;
    const expected = [[a, { name: "Ann" }], [b, {}]].map(([client, data]) => ({ id: client.socket.id, user: client.user, data }));
    const shown = sockets.map(({ rooms, ...rest }) => (same(rooms.includes(room), true, "its room"), rest));
    const byId = (list) => list.sort((one, other) => (one.id < other.id ? -1 : 1));
    same([byId(shown), missing], [byId(expected), 0], "what is known of them");
    [a, b, c].forEach((client) => client.close());
  },

  async "joins and leaves"([first, second]) {
    const [a, room] = [await connect(second), `room-${++users}`];
    const emit = (n) => first.post({ op: "emit", to: [room], event: "e", args: [n] });
    done(await first.post({ op: "join", to: [a.room], rooms: [room] }));
    await until(async () => (await first.api("GET", `/api/count?room=${room}`)).body.count === 1);
    await until(async () => {
      done(await emit(1));
      return a.got("e").length > 0;
    });
    const { rooms } = (await first.api("GET", "/api/rooms?limit=1000")).body;
    ok(rooms.includes(room) && rooms.includes(a.room) && !rooms.includes(a.socket.id), `the rooms: ${rooms}`);
    done(await first.post({ op: "leave", to: [a.socket.id], rooms: [room] }));
    await until(async () => (await first.api("GET", `/api/count?room=${room}`)).body.count === 0);
    done(await emit(2));
    await fence(first, [a]);
    same([...new Set(a.got("e").map(String))], ["1"], "what it got");
    for (const rooms of [["user:x"], [a.socket.id]])
      same((await first.post({ op: "join", to: [a.room], rooms })).error.code, "reserved_room", `${rooms}`);
    a.close();
  },

  async "acks come back"([first, second]) {
    const room = `room-${++users}`;
    const clients = [await connect(first, { rooms: [room] }), await connect(second, { rooms: [room] })];
    for (const { socket } of clients) socket.on("ask", (...args) => args.pop()(...args));
    const ask = (args, timeout_ms = 5_000) => first.post({ op: "emit", to: [room], event: "ask", args, ack: { timeout_ms } });
    same(await ask(["x"]), { ok: true, acks: ["x", "x"], missing: 0 }, "the answers");
    const bytes = [{ $base64: "AAEC" }];
    same(await ask([bytes]), { ok: true, acks: [bytes, bytes], missing: 0 }, "bytes");
    clients[1].socket.off("ask");
    same(await ask([1], 300), { ok: true, acks: [1], missing: 1 }, "a silent one");
    const nobody = { op: "emit", to: [], event: "ask", ack: { timeout_ms: 5_000 } };
    same(await first.post(nobody), { ok: true, acks: [], missing: 0 }, "nobody");
    clients.forEach((client) => client.close());
  },

  async "relays go to the sender's rooms, in order"([first, second]) {
    const board = `board:${++users}`;
    const [a, b, c] = [
      await connect(first, { rooms: [board, `team-${board}`] }),
      await connect(second, { rooms: [board] }),
      await connect(second, { rooms: [`team-${board}`] }),
    ];
    for (let n = 0; n < 100; n++) a.socket.emit("cursor:move", n, Buffer.from([n]));
    same(await a.ask("cursor:end"), { ok: true }, "the answer");
    await b.next("cursor:end");
    same(b.got("cursor:move").map(([n, bytes]) => [n, bytes[0]]), Array.from({ length: 100 }, (_, n) => [n, n]), "what b got");
    await fence(first, [a, c]);
    same([a.got("cursor:end"), c.got("cursor:end")], [[], []], "the others");
    [a, b, c].forEach((client) => client.close());
  },

  async "what no rule allows is answered"([first]) {
    const a = await connect(first);
    const codes = async (event, ...args) => (await a.ask(event, ...args)).error?.code;
    same(await codes("unheard-of", 1), "no_rule", "no rule");
    same(await codes("patio:nothing"), "no_rule", "no request");
    same(await codes("cursor:x", "x".repeat(100)), "too_large", "a large event");
    same(await a.ask("noise"), { ok: true }, "dropped");
    const rare = await Promise.all([1, 2, 3].map((n) => codes("rare", n)));
    same(rare, [undefined, undefined, "rate_limited"], "three at once");
    a.socket.emit("unheard-of");
    same(await codes("patio:join"), "invalid_arguments", "no room");
    a.close();
  },

  async "clients enter public rooms, and never those of others"([first, second]) {
    const [a, b] = [await connect(first), await connect(second)];
    same(await a.ask("patio:join", "lobby"), { ok: true }, "a public room");
    for (const room of [b.room, b.socket.id, "user:", "/admin#abcdefghij0123456789"]) {
      same((await a.ask("patio:join", room)).error?.code, "reserved_room", `join ${room}`);
      same((await a.ask("patio:leave", room)).error?.code, "reserved_room", `leave ${room}`);
    }
    done(await second.post({ op: "emit", to: [b.room], event: "secret" }));
    await b.next("secret");
    await until(async () => {
      done(await second.post({ op: "emit", to: ["lobby"], event: "news" }));
      return a.got("news").length > 0;
    });
    await fence(first, [a]);
    same(a.got("secret"), [], "what is not for a");
    same(await a.ask("patio:leave", { room: "lobby" }), { ok: true }, "out again");
    const ticket = (claims) => token({ room: "closed", exp: inSeconds(60), ...claims });
    same((await a.ask("patio:join", { room: "closed", token: ticket({ sub: b.user }) })).error?.code, "token_user", "somebody else's token");
    same(await a.ask("patio:join", { room: "closed", token: ticket({ sub: a.user }) }), { ok: true }, "by a token");
    same((await second.api("GET", "/api/count?room=closed")).body.count, 1, "who is in");
    [a, b].forEach((client) => client.close());
  },

  async "data is set one level deep"([first, second]) {
    const a = await connect(second, { data: { name: "Ann", old: 1, deep: { x: 1 } } });
    done(await first.post({ op: "set", to: [a.room], data: { old: null, deep: { y: 2 }, age: 7 } }));
    const data = async () => (await first.api("GET", `/api/sockets?room=${a.room}`)).body.sockets[0].data;
    await until(async () => (await data()).age === 7);
    same(await data(), { name: "Ann", deep: { y: 2 }, age: 7 }, "its data");
    a.close();
  },

  async "a connection ends with its token, and comes back by itself"([first, second]) {
    let logins = 0;
    const user = `u${++users}`;
    const claims = () => ({ sub: user, exp: ++logins === 1 ? inSeconds(2) : inSeconds(600) });
    const a = await connect(second, claims, { reconnection: true, reconnectionDelay: 10 });
    const began = Date.now();
    const [reason] = [await a.left()];
    ok(Date.now() - began < 5_000, "it took too long");
    same(reason, "transport close", "the reason");
    same(a.got("patio:disconnect").map(([{ code }]) => code), ["expired"], "what it was told");
    await until(() => a.socket.connected);
    same(logins, 2, "how often it logged in");
    // By the operation, too.
    done(await first.post({ op: "set", to: [`user:${user}`], expires_at: inSeconds(0) }));
    await a.left();
    await until(() => a.socket.connected && logins === 3);
    a.close();
  },

  async "a new token prolongs a connection"([, second]) {
    const a = await connect(second, { exp: inSeconds(2) });
    const of = (user, seconds) => token({ sub: user, exp: inSeconds(seconds) });
    same((await a.ask("patio:refresh", of("another", 600))).error?.code, "token_user", "of another user");
    same((await a.ask("patio:refresh", "x")).error?.code, "token_invalid", "no token");
    const exp = inSeconds(600);
    same(await a.ask("patio:refresh", { token: token({ sub: a.user, exp }) }), { ok: true, expires_at: exp }, "a new one");
    await new Promise((resolve) => setTimeout(resolve, 3_500));
    ok(a.socket.connected, "it is still there");
    a.close();
  },

  async "who is disconnected hears why, and stays away"([first, second]) {
    const a = await connect(second, {}, { reconnection: true, reconnectionDelay: 10 });
    const left = a.left();
    done(await first.post({ op: "disconnect", to: [a.room], reason: { code: "revoked", message: "bye" } }));
    same(await left, "io server disconnect", "the reason");
    same(a.got("patio:disconnect"), [[{ code: "revoked", message: "bye" }]], "what it was told");
    await new Promise((resolve) => setTimeout(resolve, 200));
    ok(!a.socket.connected && !a.socket.active, "it stays away");
  },

  async "a repeat with the same key does nothing"([first, second]) {
    const a = await connect(second);
    const emit = { op: "emit", to: [a.room], event: "e", idempotency_key: `k-${a.user}` };
    same(await first.post([emit, emit]), [{ ok: true }, { ok: true, duplicate: true }], "the answers");
    // On the other server, too; and at the same time.
    same(await second.post(emit), { ok: true, duplicate: true }, "the answer of the other");
    const both = { ...emit, idempotency_key: `both-${a.user}` };
    const answers = await Promise.all([first, second, first].map((server) => server.post(both)));
    same(answers.filter(({ duplicate }) => duplicate).length, 2, "how many were repeats");
    await fence(first, [a]);
    same(a.got("e").length, 2, "how often it came");
    a.close();
  },

  async "the API says what is wrong"([first]) {
    const status = async (...call) => {
      const { status, body } = await first.api(...call);
      return `${status} ${body.error?.code} ${body.error?.field}`;
    };
    same(await status("POST", "/api", {}, "another key"), "401 unauthorized authorization", "another key");
    same(await status("POST", "/api", "{"), "400 invalid_json undefined", "no JSON");
    same(await status("POST", "/api", { op: "emit", event: "e", too: [] }), "422 unknown_field too", "a slip");
    same(await status("POST", "/api", { op: "emit", event: "e", nsp: "/x" }), "422 unknown_namespace nsp", "no namespace");
    same(await status("POST", "/api", "x".repeat(4_000_001)), "413 payload_too_large undefined", "a huge body");
    same(await status("GET", "/api/nothing"), "404 not_found undefined", "nothing there");
    same(await status("DELETE", "/api"), "405 method_not_allowed undefined", "another method");
    same((await fetch(`${first.url}/metrics`)).status, 401, "metrics without a key");
    const { body } = await first.api("GET", "/health/ready", undefined, "");
    same(body, { ready: true, reason: null }, "readiness");
  },
};

/** The other goes on, and takes whoever comes to it. */
export async function killed([first, second]) {
  const user = `u${++users}`;
  const [lost, kept] = [await connect(first, { sub: user }), await connect(second)];
  const left = lost.left();
  await first.end("SIGKILL");
  second.peer &&= second;
  same(await left, "transport close", "how its client left");
  const back = await connect(second, { sub: user });
  done(await second.post([{ op: "emit", to: [`user:${user}`], event: "e", args: [1] }, { op: "emit", event: "e", args: [2] }]));
  await Promise.all([back.next("e", 2), kept.next("e")]);
  same([back.got("e"), kept.got("e")], [[[1], [2]], [[2]]], "what they got");
  // Until it is believed to be gone, its sockets are missing.
  await until(async () => (await second.api("GET", "/api/count")).body.missing === 0, 30_000);
  same((await second.api("GET", "/api/count")).body.count, 2, "the sockets");
  [back, kept].forEach((client) => client.close());
}

/** Keys that are published, and replaced by others. */
export async function published(begin) {
  const [rsa, next] = [1, 2].map(() => generateKeyPairSync("rsa", { modulusLength: 2048 }));
  const ec = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const jwk = ({ publicKey }, more) => ({ ...publicKey.export({ format: "jwk" }), use: "sig", ...more });
  let [keys, asked] = [[jwk(rsa, { kid: "one", alg: "RS256" }), jwk(ec, { kid: "ec" })], 0];
  const provider = createServer((_, response) => {
    asked++;
    response.end(JSON.stringify({ keys }));
  }).listen(0, "127.0.0.1");
  await once(provider, "listening");
  const server = await begin(`http://127.0.0.1:${provider.address().port}/keys`);
  const signed = ({ privateKey }, kid, alg = "RS256") => {
    const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
    const message = `${part({ alg, kid })}.${part({ sub: "1", exp: inSeconds(60) })}`;
    const key = alg === "ES256" ? { key: privateKey, dsaEncoding: "ieee-p1363" } : privateKey;
    return { auth: { token: `${message}.${sign("sha256", message, key).toString("base64url")}` } };
  };
  same(asked, 0, "how often they were asked for before");
  same(await refused(server, signed(rsa, "one")), "connected", "by RSA");
  same(await refused(server, signed(ec, "ec", "ES256")), "connected", "by an elliptic curve");
  same(await refused(server, signed(next, "one")), "token_key", "by another key of that name");
  const before = asked;
  for (let n = 0; n < 5; n++) same(await refused(server, signed(next, "two")), "token_key", "by an unknown key");
  same(asked, before, "how often they were asked for again, within the pause");
  await server.end("SIGKILL");
  provider.close();
}

/** With an address of their own, backends are heard nowhere else, and Prometheus needs no key. */
export async function internal(server) {
  const [, inside] = server.printed.find((line) => /backends on/.test(line)).match(/on (.*)$/);
  for (const path of ["/api", "/metrics", "/health/live"]) same((await fetch(server.url + path)).status, 404, `${path} outside`);
  const a = await connect(server, { rooms: ["r"] });
  const key = { authorization: `Bearer ${KEY}` };
  const post = { method: "POST", headers: key, body: JSON.stringify({ op: "emit", to: ["r"], event: "e" }) };
  same(await (await fetch(`http://${inside}/api`, post)).json(), { ok: true }, "the API inside");
  await a.next("e");
  const text = await (await fetch(`http://${inside}/metrics`)).text();
  const value = (name) => Number(text.split("\n").find((line) => line.startsWith(`${name} `))?.split(" ")[1]);
  same([value("patio_connections"), value('patio_sockets{namespace="/"}'), value("patio_opened_total")], [1, 1, 1], "metrics");
  same(await refused(server, { auth: { token: "x" } }), "token_invalid", "no token");
  const later = await (await fetch(`http://${inside}/metrics`)).text();
  ok(later.includes('patio_refusals_total{code="token_invalid"} 1'), "what was refused");
  ok(text.includes("# TYPE patio_adapter_garbage counter"), "counters of the adapter");
  ok(text.trimEnd().endsWith("# EOF"), "the end of the metrics");
  a.close();
}

/** `patio token`, `emit`, `sockets`, `rooms` and `drain`. */
export async function commandLine(server) {
  const at = ["--url", server.url, "--api-key", KEY];
  const login = await server.command("token", "--sub", "cli", "--rooms", "r1,r2", "--data", '{"a":1}');
  const a = await connect(server, {}, { auth: { token: login } });
  await server.command("emit", "e", "7", "text", '{"b":[]}', "--to", "r1", ...at);
  same(await a.next("e"), [7, "text", { b: [] }], "what it got");
  const { sockets } = JSON.parse(await server.command("sockets", "--room", "user:cli", ...at));
  same(sockets.map(({ id, user, data }) => [id, user, data]), [[a.socket.id, "cli", { a: 1 }]], "the sockets");
  same(JSON.parse(await server.command("rooms", ...at)).rooms, ["r1", "r2", "user:cli"], "the rooms");
  const said = await server.command("drain", ...at).catch(({ stderr, code }) => [code, stderr]);
  same(said, [1, "patio: authorization: this key may not do that; it needs the scope `admin` (403 Forbidden, forbidden)\n"], "another key");
  const [left, ended] = [a.left(), server.ended()];
  await server.command("drain", "--url", server.url, "--api-key", ADMIN_KEY);
  same(await left, "transport close", "how the client left");
  same((await within(ended, "end of the server"))[0], 0, "its exit status");
}

/** Only where there are two servers. */
export const together = {
  async "an operation reaches clients of both, whichever is asked"([first, second]) {
    const room = `room-${++users}`;
    const clients = [await connect(first, { rooms: [room] }), await connect(second, { rooms: [room] })];
    for (const [n, server] of [first, second].entries()) {
      done(await server.post({ op: "emit", to: [room], event: "e", args: [n] }));
      await Promise.all(clients.map((client) => client.next("e", n + 1)));
    }
    same(clients.map((client) => client.got("e")), [[[0], [1]], [[0], [1]]], "what they got");
    clients.forEach((client) => client.close());
  },

  async "the servers know each other"([first, second]) {
    same((await first.api("GET", "/api/servers")).body, { servers: 2 }, "how many there are");
    const [a, b] = [await connect(first), await connect(second)];
    same((await first.api("GET", "/api/count")).body, { count: 2, missing: 0 }, "the sockets of both");
    const pages = [];
    let cursor = "";
    do {
      const { body } = await first.api("GET", `/api/sockets?limit=1&cursor=${encodeURIComponent(cursor)}`);
      pages.push(...body.sockets.map(({ id }) => id));
      cursor = body.cursor;
    } while (cursor);
    same(pages, [a.socket.id, b.socket.id].sort(), "page by page");
    [a, b].forEach((client) => client.close());
  },
};

/** The server ends in order: clients are let go so that they come back. */
export async function ending(server) {
  const clients = await Promise.all(Array.from({ length: 20 }, () => connect(server)));
  const reasons = Promise.all(clients.map((client) => client.left()));
  const began = Date.now();
  same(await server.end(), 0, "its exit status");
  same(await reasons, clients.map(() => "transport close"), "why they left");
  ok(Date.now() - began < 5_000, "it took too long");
}
