// What is promised of hooks: the backend decides who connects, gets what clients send, answers their acks, and hears who has
// gone; and when it is slow, dead or talks nonsense, only what needs it waits.

import { ok, same, within } from "../peer.mjs";
import { connect, fence, refused, until } from "./checks.mjs";

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const login = (name) => ({ auth: { name } });

/** Lets everybody in, as the user they say they are. */
const welcoming = (more = () => undefined) => (call) => {
  const answer = more(call);
  if (answer !== undefined) return answer;
  return call.type === "connect" ? { body: { user: call.auth.name } } : {};
};

/** A client whose room is that of the user. */
async function enter(server, name, options) {
  const client = await connect(server, {}, { ...login(name), ...options });
  return Object.assign(client, { user: name, room: `user:${name}` });
}

export const hooks = {
  async "the backend decides who connects"(server, backend) {
    backend.answer = ({ auth }) => {
      if (auth.name === "mallory") return { status: 403, body: { message: "go away", data: { code: "banned" } } };
      if (auth.name === "eve") return { status: 401, body: { message: "who?" } };
      const ops = [{ op: "emit", to: ["r"], event: "news", args: [auth.name] }];
      return { body: { user: auth.name, rooms: ["r"], data: { level: 3 }, ops } };
    };
    same(await refused(server, login("mallory")), "banned", "mallory");
    same(await refused(server, login("eve")), "refused", "eve");
    const ann = await enter(server, "ann", { extraHeaders: { "X-Tenant": "t1", "X-Secret": "s" }, query: { lang: "en" } });
    same(await ann.next("news"), ["ann"], "an operation of the answer");
    const { signed, headers, query, nsp, sid, address, recovered, user } = backend.calls.at(-1);
    ok(signed, "the signature");
    same([headers, query.lang, nsp, sid, address, recovered, user], [{ "x-tenant": "t1" }, "en", "/", ann.socket.id, "127.0.0.1", false, null], "what it was told");
    const { sockets } = (await server.api("GET", "/api/sockets?room=r")).body;
    same(sockets.map(({ user, data }) => [user, data]), [["ann", { level: 3 }]], "what is known of ann");
    ann.close();
  },

  async "events go to the backend, in order, and its answer is the ack"(server, backend) {
    backend.answer = welcoming(({ type, event, args, sid }) => {
      if (type !== "event") return;
      const ops = [{ op: "emit", to: [sid], event: "seen", args }];
      return { body: event === "chat:ask" ? { ack: ["yes", ...args], ops } : { ops } };
    });
    const ann = await enter(server, "ann");
    for (let n = 0; n < 50; n++) ann.socket.emit("chat:say", n);
    const bytes = Buffer.from([1, 2]);
    const answers = await within(new Promise((resolve) => ann.socket.emit("chat:ask", bytes, (...all) => resolve(all))), "ack");
    same(answers, ["yes", bytes], "the ack");
    const events = backend.of("event");
    same(events.map(({ args }) => args[0]), [...Array(50).keys(), { $base64: "AQI=" }], "what the backend got");
    const { signed, user, ack, nsp } = events.at(-1);
    same([signed, user, ack, nsp, events[0].ack], [true, "ann", true, "/", false], "the last one");
    await ann.next("seen", 51);
    same(ann.got("seen").slice(0, 50).map(([n]) => n), [...Array(50).keys()], "the operations");
    ok(backend.connections() <= 8, `${backend.connections()} connections for ${backend.calls.length} calls`);
    ann.close();
  },

  async "a slow backend holds up nothing else"(server, backend) {
    let go;
    const gate = new Promise((resolve) => (go = resolve));
    backend.answer = welcoming(({ type, args }) => (type === "event" && args[0] === "slow" ? gate.then(() => ({})) : undefined));
    const [ann, bob] = [await enter(server, "ann"), await enter(server, "bob")];
    await server.post({ op: "join", all: true, rooms: ["room"] });
    ann.socket.emit("chat:say", "slow");
    ann.socket.emit("chat:say", "behind");
    await until(() => backend.of("event").length === 1);
    // Of the same socket: relays. Of others: everything. And the API.
    ann.socket.emit("typing", 1);
    same(await bob.next("typing"), [1], "a relay");
    bob.socket.emit("chat:say", "other");
    await until(() => backend.of("event").some(({ args }) => args[0] === "other"));
    await fence(server, [ann, bob]);
    same(backend.of("event").map(({ args }) => args[0]), ["slow", "other"], "what waits");
    go();
    await until(() => backend.of("event").some(({ args }) => args[0] === "behind"));
    [ann, bob].forEach((client) => client.close());
  },

  async "what fails is repeated if nobody waits, and answered if somebody does"(server, backend) {
    let failures = 2;
    backend.answer = welcoming(({ type, args }) => {
      if (type !== "event") return;
      if (args[0] === "late") return sleep(1_500).then(() => ({}));
      if (args[0] === "nonsense") return { body: "<html>" };
      if (args[0] === "wrong") return { body: { akc: [] } };
      if (args[0] === "no") return { status: 400, body: {} };
      if (args[0] === "again" && failures-- > 0) return { status: 503 };
    });
    const ann = await enter(server, "ann");
    ann.socket.emit("chat:say", "again");
    ann.socket.emit("chat:say", "behind");
    await until(() => backend.of("event").some(({ args }) => args[0] === "behind"));
    const again = backend.of("event").filter(({ args }) => args[0] === "again");
    same([again.length, new Set(again.map(({ id }) => id)).size], [3, 1], "calls and their ids");
    for (const what of ["late", "nonsense", "wrong", "no"])
      same((await ann.ask("chat:say", what)).error.code, "hook_failed", what);
    ann.socket.emit("chat:say", "no");
    same(await ann.ask("chat:say", "fine").catch(({ message }) => message), undefined, "the next");
    same(backend.of("event").filter(({ args, ack }) => args[0] === "no" && !ack).length, 1, "what is refused is not repeated");
    ann.close();
  },

  async "who has gone is told"(server, backend) {
    backend.answer = welcoming();
    const clients = await Promise.all(Array.from({ length: 150 }, (_, n) => enter(server, `c${n}`)));
    await until(() => clients.every(({ socket }) => socket.connected));
    clients.forEach((client) => client.close());
    // Those of earlier checks may come late.
    const told = () => backend.of("disconnect").flatMap(({ events }) => events).filter(({ user }) => /^c/.test(user));
    await until(() => told().length === 150);
    const { sid, nsp, user, reason } = told().find(({ user }) => user === "c7");
    same([sid, nsp, user, reason], [sid, "/", "c7", "client namespace disconnect"], "one of them");
    ok(backend.of("disconnect").length < 15, `in ${backend.of("disconnect").length} calls`);
  },

  async "a dead backend is spared, and nobody connects meanwhile"(server, backend) {
    backend.answer = () => ({ status: 500 });
    for (let n = 0; n < 6; n++) same(await refused(server, login("ann")), "hook_failed", "a broken backend");
    const before = backend.calls.length;
    same(await refused(server, login("ann")), "hook_failed", "a spared one");
    same(backend.calls.length, before, "how often it was called");
    backend.answer = welcoming();
    await until(async () => (await refused(server, login("ann"))) === "connected");
  },
};

/** Clients go on sending while the server ends: what was acknowledged has been handled, once. */
export async function drained(server, backend) {
  backend.answer = welcoming(({ type, args }) => (type === "event" ? { body: { ack: [args[0]] } } : undefined));
  const clients = await Promise.all(Array.from({ length: 20 }, (_, n) => enter(server, `d${n}`)));
  const acked = [];
  const talk = async ({ socket, user }) => {
    for (let n = 0; socket.connected; n++) {
      const said = `${user}-${n}`;
      const answer = await socket.timeout(5_000).emitWithAck("chat:say", said).catch(() => undefined);
      if (answer === said) acked.push(said);
    }
  };
  const talking = clients.map(talk);
  await until(() => acked.length > 200);
  const before = acked.length;
  same(await server.end(), 0, "the exit status");
  await Promise.all(talking);
  ok(acked.length > before, "nobody was answered while it ended");
  const handled = new Map();
  for (const { args, id } of backend.of("event")) handled.set(args[0], (handled.get(args[0]) ?? new Set()).add(id));
  same(acked.filter((said) => handled.get(said)?.size !== 1), [], "what was acknowledged and not handled once");
}

/** What was sent before the end reaches the backend. */
export async function toldAll(server, backend) {
  backend.answer = welcoming(({ type }) => (type === "event" ? sleep(50).then(() => ({})) : undefined));
  const ann = await enter(server, "ann");
  for (let n = 0; n < 10; n++) ann.socket.emit("chat:say", n);
  await until(() => backend.of("event").length > 0);
  const { id } = ann.socket;
  same(await server.end(), 0, "the exit status");
  same(backend.of("event").map(({ args }) => args[0]), [...Array(10).keys()], "the events");
  const gone = backend.of("disconnect").flatMap(({ events }) => events);
  same(gone.filter(({ sid }) => sid === id).map(({ user }) => user), ["ann"], "who has gone");
}
