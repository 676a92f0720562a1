// What is done in a cell, and what must come of it. `cluster` is all servers and clients of one version; `sender` does it;
// `to` is the kind whose clients or servers are looked at. Where the others are meant too, they are looked at in their
// own cell.

import { canonical, same, ok, within } from "../peer.mjs";
import { tag, untag, values } from "./values.mjs";
import { CLASSIC } from "./versions.mjs";

/** Whom an emit is for: how the sender chooses, and which clients are meant. */
export const audiences = {
  everyone: { how: {}, meant: () => true },
  "one room": { how: { to: ["all-a"] }, meant: ({ letter }) => letter === "a" },
  "two rooms": { how: { to: ["all-a", "all-b"] }, meant: () => true },
  "a room with # and unicode": { how: { to: ["a#b €"] }, meant: ({ letter }) => letter === "a" },
  "a room with a number": { how: { to: ["42"] }, meant: ({ letter }) => letter === "a" },
  "a number as a room": {
    how: ({ from }) => ({ to: [/^patio/i.test(from) ? "7" : 7] }),
    meant: ({ letter }) => letter === "a",
  },
  "a room without a name": { how: { to: [""] }, meant: ({ letter }) => letter === "a" },
  "a room of one server": {
    how: ({ to }) => ({ to: [`on-${to}-1`] }),
    meant: ({ server }, { to }) => server === `${to}-1`,
  },
  "a room with nobody": { how: { to: ["nowhere"] }, meant: () => false },
  "one socket": {
    how: (cell, clients) => ({ to: [victim(cell, clients).id] }),
    meant: (client, cell, clients) => client === victim(cell, clients),
  },
  "all but a room": { how: { except: ["all-a"] }, meant: ({ letter }) => letter === "b" },
  "another socket's broadcast": {
    how: ({ sender }, clients) => ({ from: clients.find(({ server }) => server === sender.name).id }),
    meant: (client, { sender }, clients) => client !== clients.find(({ server }) => server === sender.name),
  },
  volatile: { how: { volatile: true }, meant: () => true },
  uncompressed: { how: { compress: false }, meant: () => true },
  "another namespace": { how: { other: true, to: ["all-b"] }, meant: ({ letter }) => letter === "b" },
};

const victim = ({ to }, clients) => clients.find(({ server, letter }) => server === `${to}-2` && letter === "b");

export async function emit(cluster, cell) {
  const { how, meant } = audiences[cell.argument];
  const { other, ...rest } = how;
  const nsp = other ? cluster.other : "/";
  const clients = cluster.clients.filter((client) => client.nsp === nsp);
  const chosen = { ...(typeof how === "function" ? how(cell, clients) : rest), nsp };
  await deliver(cluster, cell, chosen, ["x"], ["x"], (client) => meant(client, cell, clients));
}

export async function value(cluster, cell) {
  const { args, received = args } = values[cell.argument];
  await deliver(cluster, cell, {}, args, received, () => true);
}

// Emits, and waits until what the same server emits afterwards has come to all: then it came, or never will.
async function deliver(cluster, { number, to, sender }, how, args, received, meant) {
  const nsp = how.nsp ?? "/";
  await sender.do("emit", { ...how, event: "event", args: tag([number, ...args]) });
  await sender.do("emit", { nsp, event: "fence", args: [number] });
  const clients = cluster.clients.filter((client) => client.nsp === nsp);
  for (const client of clients) await client.fence(number);
  for (const client of clients.filter(({ kind }) => kind === to)) {
    const got = client.events.filter(([first]) => first === number).map(([, ...rest]) => rest);
    same(got, meant(client) ? [received] : [], `what ${client.who} got`);
  }
}

const onKind = (to) => [`on-${to}-1`, `on-${to}-2`];

export async function ask(cluster, { version, number, argument, to, sender }) {
  const { args, received = args } = values[argument];
  const asked = { to: onKind(to), timeout: 4_000, args: tag([number, "echo", ...args]) };
  const { answers, missing } = await sender.do("ask", asked);
  // Streams 0.3 makes null of an ack without arguments, but not of those of its own sockets.
  const nullable = version === "streams 0.3" && received.length === 0;
  const got = nullable ? untag(answers).map((answer) => answer ?? undefined) : untag(answers);
  same(got, Array(4).fill(received[0]), "the answers");
  ok(!missing, "somebody did not answer");
}

export async function acks(cluster, { number, argument, to, sender }) {
  const asks = {
    everyone: { how: { timeout: 4_000 }, word: "echo", expected: 8, missing: false },
    "someone silent": { how: { to: onKind(to), timeout: 300 }, word: "silence", expected: 2, missing: true },
    "nobody there": { how: { to: ["nowhere"], timeout: 4_000 }, word: "echo", expected: 0, missing: false },
  };
  const { how, word, expected, missing } = asks[argument];
  const begin = Date.now();
  const answer = await sender.do("ask", { ...how, args: [number, word, "x"] });
  same(untag(answer.answers), Array(expected).fill("x"), "the answers");
  same(answer.missing, missing, "whether somebody did not answer");
  const took = Date.now() - begin;
  // Node's timers and its clock differ by a millisecond.
  ok(missing ? took >= 299 : took < 3_000, `it took ${took} ms`);
}

// What comes of a value that a server of a kind tells other servers. `answered`: that it answers to what it heard.
function told(version, kind, value, answered = false) {
  if (kind === "patio") return kept(value, answered ? (date) => date : (date) => date.toISOString());
  // Node's newer adapters write MessagePack, which keeps dates and bytes, where there are bytes; streams 0.3 always does.
  const isClassic = CLASSIC.includes(version);
  if (version === "streams 0.3" || (!isClassic && hasBytes(value))) return kept(value, (date) => date);
  return value === undefined ? undefined : JSON.parse(JSON.stringify(value));
}

function kept(value, ofDate) {
  if (value === undefined) return null;
  if (value instanceof Date) return ofDate(value);
  if (value === null || typeof value !== "object" || Buffer.isBuffer(value)) return value;
  if (Array.isArray(value)) return value.map((element) => kept(element, ofDate));
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, kept(member, ofDate)]));
}

function hasBytes(value) {
  if (Buffer.isBuffer(value)) return true;
  return value !== null && typeof value === "object" && Object.values(value).some(hasBytes);
}

export async function tell(cluster, { version, number, argument, from, to, sender }) {
  const args = told(version, from === "Patio's emitter" ? "patio" : from, values[argument].args);
  await sender.do("tell", { args: tag([number, ...values[argument].args]) });
  // The sender last: what came back to it would be there by then.
  const meant = cluster.servers.filter(({ kind }) => kind === to);
  for (const server of [...meant.filter((server) => server !== sender), ...meant.filter((server) => server === sender)]) {
    const own = () => server.heard.filter(({ args: [first] }) => first === number);
    if (server !== sender) await eventually(() => own().length > 0, `what ${server.name} is told`);
    const heard = own().map(({ args }) => untag(args));
    same(heard, server === sender ? [] : [[number, ...args]], `what ${server.name} heard`);
  }
}

export async function consult(cluster, { version, argument, from, to, sender }) {
  const { args } = values[argument];
  const { answers, missing } = await sender.do("consult", { event: "told", args: tag(args) });
  same(missing, 0, "servers that did not answer");
  const expected = cluster.servers
    .filter((server) => server !== sender)
    .map(({ kind }) => {
      const [heard] = told(version, from, args);
      if (heard === undefined) return version === "streams 0.3" && kind === "node" ? null : undefined;
      return told(version, kind, heard, true);
    });
  // In the order of arrival, which is any.
  const sorted = (list) => list.map(canonical).sort();
  same(sorted(untag(answers)), sorted(expected), `the answers, ${to} among them`);
}

export async function fetch(cluster, { argument, to, sender }) {
  const how = argument === "of a room" ? { to: ["all-a"] } : { to: onKind(to) };
  const sockets = await sender.do("fetch", how);
  const known = new Map(sockets.map((socket) => [socket.id, socket]));
  same(known.size, sockets.length, "each socket once");
  same(sockets.length, 4, "the sockets");
  for (const client of cluster.clients.filter(({ nsp, kind }) => nsp === "/" && kind === to)) {
    if (argument === "of a room" && client.letter !== "a") continue;
    const { rooms, data, handshake } = known.get(client.id) ?? {};
    same(rooms, [...client.rooms, client.id].map(String).sort(), `the rooms of ${client.who}`);
    same(data, { who: client.who }, `the data of ${client.who}`);
    const keys = ["address", "auth", "headers", "issued", "query", "secure", "time", "url", "xdomain"];
    same([...handshake].sort(), keys, `the handshake of ${client.who}`);
  }
}

/** Ends the connection of a client. */
export function close({ socket }) {
  (socket.io._close ?? socket.io.close).call(socket.io);
}

export async function change(cluster, cell) {
  const { number, argument, to, sender } = cell;
  if (argument.startsWith("disconnect")) return end(cluster, cell);
  const room = `new-${number}`;
  const members = async () => {
    const own = cluster.servers.map((server) => server.do("fetch", { to: [room], local: true }));
    return (await Promise.all(own)).flat().map(({ id }) => id).sort();
  };
  if (argument === "one socket joins and leaves") {
    const { id } = victim(cell, cluster.clients.filter(({ nsp }) => nsp === "/"));
    await sender.do("join", { to: [id], rooms: [room, `${room}-too`] });
    await eventually(async () => (await members()).length === 1, "the member");
    same(await members(), [id], "the member");
    await sender.do("leave", { to: [id], rooms: [room, `${room}-too`] });
    return eventually(async () => (await members()).length === 0, "nobody");
  }
  const all = cluster.clients.filter(({ nsp, kind }) => nsp === "/" && kind === to);
  await sender.do("join", { to: onKind(to), rooms: [room, `${room}-too`] });
  await eventually(async () => (await members()).length === all.length, "the members");
  same(await members(), all.map(({ id }) => id).sort(), "the members");
  await sender.do("leave", { to: ["all-a"], rooms: [room] });
  const left = all.filter(({ letter }) => letter === "b");
  await eventually(async () => (await members()).length === left.length, "who is left");
  same(await members(), left.map(({ id }) => id).sort(), "who is left");
  await sender.do("leave", { rooms: [room, `${room}-too`] });
  await eventually(async () => (await members()).length === 0, "nobody");
}

async function end(cluster, { number, argument, to, sender }) {
  const closing = argument.startsWith("disconnect and close");
  const room = `gone-${number}`;
  const guests = [];
  for (const server of cluster.servers.filter(({ kind }) => kind === to)) {
    const guest = await cluster.connect(server, `guest-${number}`, [room]);
    // In a second namespace of the same connection: only with it the client keeps a connection that it may keep.
    const other = guest.socket.io.socket(cluster.other, { auth: { who: guest.who, rooms: [] } });
    await within(new Promise((resolve) => other.on("connect", resolve)), "second namespace");
    guests.push({ ...guest, other });
  }
  const ended = guests.map(({ socket }) => new Promise((resolve) => socket.on("disconnect", resolve)));
  const meant = argument.endsWith("by id") ? guests.map(({ id }) => id) : [room];
  await sender.do("disconnect", { to: meant, close: closing });
  const reasons = await within(Promise.all(ended), "end of the guests");
  if (closing) {
    await eventually(() => guests.every(({ other }) => !other.connected), "end of the connections");
  } else {
    same(reasons, Array(2).fill("io server disconnect"), "the reasons");
    ok(guests.every(({ other }) => other.connected), "a connection has ended that was to stay");
  }
  guests.forEach(close);
  ok(cluster.clients.every(({ socket }) => socket.connected), "a client that was not meant is disconnected");
}

/** How a client leaves the server where it was, and whether it can go on elsewhere. */
export const returns = {
  "after a cut": { recovers: true },
  "after a cut while others emit": { recovers: true, busy: true },
  "after its server closed": { recovers: true, own: "close" },
  "after its server was killed": { recovers: false, own: "kill" },
  "after a cut, when the stream was trimmed": { recovers: false, trim: true },
};

export async function recover(cluster, { number, argument, from, to }) {
  const { recovers, busy, own, trim } = returns[argument];
  const old = own ? await cluster.startAnother(from) : cluster.servers.find(({ name }) => name === `${from}-1`);
  const [next] = cluster.servers.filter(({ name }) => name === `${to}-2`);
  const room = `room-${number}`;
  const guest = await cluster.connect(old, `guest-${number}`, [room]);
  const members = async () => (await old.do("fetch", { to: [room], local: true })).length;
  await eventually(async () => (await members()) === 1, "the guest's room");
  const sent = new Map(cluster.servers.map(({ name }) => [name, 0]));
  const ways = [{}, { to: [room] }, { to: [guest.id, room] }, { except: ["nobody"] }];
  const say = async (server) => {
    const n = sent.get(server.name) + 1;
    sent.set(server.name, n);
    await server.do("emit", { ...ways[n % ways.length], event: "event", args: [server.name, n] });
  };
  const sayAll = () => Promise.all(cluster.servers.map(say));
  const all = () => [...sent.values()].reduce((sum, n) => sum + n, 0);
  // One by one: a Node server gives its own events their place when Redis answers, and those of others when it reads them,
  // so that the last event need not have the last place.
  for (const server of cluster.servers) {
    await say(server);
    await within(eventually(() => guest.events.length === all(), "first events"), "first events").catch(() => {
      same(guest.events.map(([name, n]) => [name, n]), [...sent], `the first events, up to that of ${server.name},`);
    });
  }

  const gone = new Promise((resolve) => guest.socket.on("disconnect", resolve));
  if (own) await old.end(own === "kill");
  else guest.socket.io.engine.close();
  await within(gone, "end of the connection");
  if (!own) await eventually(async () => (await members()) === 0, "goodbye");
  for (let n = 0; n < 5; n++) await sayAll();
  // Behind what came before, on each server's own connection.
  for (const server of cluster.servers) await server.do("servers");
  if (trim) await cluster.redis.xtrim(cluster.key, "MAXLEN", 0);
  let isBusy = busy;
  const meanwhile = (async () => {
    while (isBusy) await sayAll();
  })();

  guest.socket.io.uri = next.url;
  const back = new Promise((resolve, reject) => guest.socket.on("connect", resolve).on("connect_error", reject));
  guest.socket.connect();
  await within(back, "return");
  for (const enough = all() + 200; busy && all() < enough; ) await new Promise(setImmediate);
  isBusy = false;
  await meanwhile;
  await sayAll();
  same(guest.socket.recovered ?? false, recovers, "recovered");
  ok((guest.socket.id === guest.id) === recovers, "the id of the socket");
  await eventually(() => cluster.servers.every(({ name }) => last(guest.events, name) === sent.get(name)), "the last events");
  if (recovers) {
    const [known] = await next.do("fetch", { to: [room], local: true });
    same(known?.rooms, [guest.id, room].sort(), "the rooms");
    same(known?.data, { who: guest.who }, "the data");
    for (const { name } of cluster.servers) {
      const got = guest.events.filter(([sender]) => sender === name).map(([, n]) => n);
      same(got, Array.from({ length: sent.get(name) }, (_, n) => n + 1), `the events of ${name}`);
    }
    if (to === "patio") {
      // Node's servers give offsets to their own events when Redis answers, to others when they read them.
      const places = guest.events.slice(cluster.servers.length).map((event) => event.at(-1).split("-").map(Number));
      const isOrdered = places.every(([ms, n], at) => at === 0 || ms > places[at - 1][0] || n > places[at - 1][1]);
      ok(isOrdered, "the events came in another order than they have in the stream");
    }
  }
  guest.socket.io._close();
}

const last = (events, name) => events.findLast(([sender]) => sender === name)?.[1];

// What only `socket.io-redis` 5 has: the ids of sockets, the rooms of a socket, questions between applications.
export async function former(cluster, { argument, to, sender }) {
  if (argument === "custom requests") return same(await sender.do("custom"), Array(4).fill(null), "the answers");
  const sockets = await sender.do("fetch", { to: onKind(to) });
  const byId = (list) => list.map(({ id, rooms }) => ({ id, rooms })).sort((a, b) => (a.id < b.id ? -1 : 1));
  const meant = cluster.clients.filter(({ nsp, kind }) => nsp === "/" && kind === to);
  const expected = meant.map(({ id, rooms }) => ({ id, rooms: [...rooms.map(String), id].sort() }));
  same(byId(sockets), byId(expected), "the sockets and their rooms");
}

/** Another server of the kind `to` is killed while it is asked: what the others have is still found, and in time. */
export async function lose(cluster, { to, sender }) {
  const lost = await cluster.startAnother(to);
  const all = () => sender.do("fetch", {});
  await lost.freeze();
  const begin = Date.now();
  const asked = all().then(
    () => "everything",
    ({ message }) => message,
  );
  // Its question is with the server that cannot answer any more.
  await new Promise((resolve) => setTimeout(resolve, 200));
  await lost.end(true);
  const came = await asked;
  ok(/1 servers did not answer/.test(came), `the server that was killed is not missing, but ${came} came`);
  const took = Date.now() - begin;
  ok(took > 200 && took < 7_000, `it took ${took} ms`);
  const again = Date.now();
  const sockets = cluster.clients.filter(({ nsp }) => nsp === "/");
  same((await all()).map(({ id }) => id).sort(), sockets.map(({ id }) => id).sort(), "the sockets of the others");
  ok(Date.now() - again < 2_000, "it is waited for again");
}

export async function count(cluster, { argument, sender }) {
  const clients = cluster.clients.filter(({ nsp }) => nsp === "/");
  if (argument === "servers") return same(await sender.do("servers"), 4, "the servers");
  if (argument === "sockets") return same(await sender.do("count"), clients.length, "the sockets");
  const rooms = new Set(clients.flatMap(({ id, rooms }) => [id, ...rooms.map(String)]));
  same(await sender.do("rooms"), [...rooms].sort(), "the rooms");
}

async function eventually(check, what) {
  for (const begin = Date.now(); !(await check());) {
    ok(Date.now() - begin < 5_000, `no ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}
