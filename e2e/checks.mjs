// What every client must be able to do: one async function a check, given a fresh Cell (peer.mjs). The
// server's side of each event is described at the top of reference.mjs. cells.mjs decides which check runs
// with which client.

import { Failed, Refused, bytesOf, ok, same, within } from "./peer.mjs";

const BIG = 300_000; // bytes of a big payload: many TCP segments and WebSocket reads, well under the limit of 1e6

/** Text in all its forms comes back as it was sent. */
export async function text(cell) {
  const peer = await cell.connect();
  const payloads = [
    [],
    [""],
    ["plain"],
    ["h€llo", "naïve 日本語", "emoji 🦀👩‍👩‍👧 end"],
    ['quotes " and \\ and / and \n\r\t and \u0000 and \u001e and \u2028\u2029'],
    ["\\n \\\\n", "451-[1]", "/nsp,", "b4AQID"],
    [0, -1, 1.5, 1e-7, 2 ** 53 - 1, -(2 ** 31), 127, 128, 256, 65_536, 2 ** 32],
    [true, false, null],
    [[], {}, [[[]]], [1, "two", [3, { four: [5] }]]],
    [{ nested: { "ke y": [{ "": null }], é: "ü", __proto: 1 }, list: [1, 2, 3] }, "last"],
    [{ _placeholder: false, num: 0 }],
    Array.from({ length: 12 }, (_, i) => i),
    ["x".repeat(126), "y".repeat(65_536)],
  ];
  for (const payload of payloads) same(await peer.echo(...payload), payload, "echo");

  const name = mojibake(cell) ? 'echo "two"\n' : 'écho "two"\n';
  const named = peer.log(name);
  peer.emit(name, 1, "a");
  same(await named.next(), [1, "a"], "echo of an event whose name needs escapes");
}

/** Binary at any depth comes back as it was sent, and as binary. */
export async function binary(cell) {
  const peer = await cell.connect();
  const all = cell.binary(256);
  const payloads = [
    [all],
    [cell.binary(0)],
    [cell.binary([4])],
    ["before", cell.binary([1, 2, 3]), "after"],
    [
      {
        file: cell.binary([0xff, 0xfe]),
        meta: { name: "ü", parts: [cell.binary([0]), { deep: [[cell.binary(1000)]] }] },
      },
    ],
    [cell.binary([1]), cell.binary([2]), { three: cell.binary([3]) }, null, [cell.binary([4])]],
    Array.from({ length: 10 }, (_, i) => cell.binary([i, i, i])),
    [cell.binary(65_536), "and", cell.binary(127)],
  ];
  for (const payload of payloads) {
    const echo = await peer.echo(...payload);
    same(echo, payload, "echo");
    same(kinds(echo), kinds(payload), "which parts of the echo are binary");
  }
  same(await peer.echo("text again"), ["text again"], "echo after binary");
}

// Client 1 encodes text to UTF-8 twice in polling payloads, and expects the same. Servers that serve client 2
// as well cannot know: text that crosses both ways comes back whole, and what the other side wrote or reads
// is garbled.
function mojibake(cell) {
  return cell.generation === 1 && cell.transport === "polling";
}

function kinds(value) {
  if (bytesOf(value)) return "bytes";
  return value && typeof value === "object" ? Object.values(value).map(kinds) : "text";
}

/** The server acks what the client asks, each with its own arguments. */
export async function acks_to_client(cell) {
  const peer = await cell.connect();
  same(await peer.ask("echo_ack"), [], "empty ack");
  same(await peer.ask("echo_ack", "one"), ["one"], "ack");
  same(
    await peer.ask("echo_ack", 1, { two: ["ü"] }, null),
    [1, { two: ["ü"] }, null],
    "ack of several arguments",
  );
  const bytes = { deep: [cell.binary(300)] };
  same(
    await peer.ask("echo_ack", bytes, "x", cell.binary([7])),
    [bytes, "x", cell.binary([7])],
    "ack with binary",
  );
  const many = await Promise.all(Array.from({ length: 50 }, (_, i) => peer.ask("echo_ack", i)));
  same(
    many,
    many.map((_, i) => [i]),
    "fifty acks in flight",
  );
}

/** The client acks what the server asks: one socket, and a whole room. */
export async function acks_to_server(cell) {
  const peer = await cell.connect();
  const called = peer.log("called");
  const answer = (...args) => {
    const ack = args.pop();
    ack(...args);
  };
  peer.socket.on("question 1", answer);
  peer.emit("call_me", "question 1");
  same(await called.next(), ["question 1"], "empty answer");
  peer.emit("call_me", "question 1", 1, { two: ["ü"] }, null);
  same(await called.next(), ["question 1", 1, { two: ["ü"] }, null], "answer of several arguments");
  const bytes = { deep: [cell.binary(300)] };
  peer.emit("call_me", "question 1", bytes, "x", cell.binary([7]));
  same(await called.next(), ["question 1", bytes, "x", cell.binary([7])], "answer with binary");

  for (let i = 0; i < 20; i++) peer.emit("call_me", "question 1", i);
  const answers = (await called.take(20)).map(([, i]) => i).sort((a, b) => a - b);
  same(
    answers,
    Array.from({ length: 20 }, (_, i) => i),
    "twenty answers in flight",
  );

  // Answered late and out of order: each answer finds its own question.
  const held = [];
  peer.socket.on(
    "held",
    (i, ack) => held.push([i, ack]) === 3 && held.reverse().forEach(([j, reply]) => reply(j * 10)),
  );
  for (const i of [1, 2, 3]) peer.emit("call_me", "held", i);
  same(
    (await called.take(3)).map(([, i]) => i),
    [30, 20, 10],
    "answers in reverse order",
  );

  same(await peer.ask("call_impatient", "never answered", 50), ["timeout"], "an ack that never comes");
  peer.socket.on("prompt", (ack) => ack());
  same(await peer.ask("call_impatient", "prompt", 10_000), ["answered"], "an ack in time");

  const room = `${cell.tag} jury`;
  const jury = [peer, await cell.connect(), await cell.connect()];
  for (const [i, juror] of jury.entries()) {
    juror.socket.on("question", (subject, proof, ack) => ack(`${subject} ${bytesOf(proof).length} ${i}`));
    await juror.ask("join", room);
  }
  const expected = [["guilty? 9 0", "guilty? 9 1", "guilty? 9 2"]];
  same(await peer.ask("room_ask", room, "guilty?", cell.binary(9)), expected, "answers of a room");
}

/** Several namespaces share one connection and stay apart. */
export async function namespaces(cell) {
  const main = await cell.connect();
  const chat = await main.join("/chat");
  const admin = await main.join("/admin", { token: "secret" });
  same(cell.peers.length, 3, "peers");
  ok(
    new Set(cell.peers.map((peer) => peer.manager.engine)).size === 1,
    "the namespaces share one connection",
  );

  // One room name in three namespaces: three rooms.
  const [inMain, inChat, inAdmin] = [main, chat, admin].map((peer) => peer.roomLog());
  const room = `${cell.tag} room`;
  for (const peer of [main, chat, admin]) await peer.ask("join", room);
  for (const [peer, log] of [
    [main, inMain],
    [chat, inChat],
    [admin, inAdmin],
  ]) {
    await peer.ask("room_send", room, cell.tag, peer.nsp, cell.binary([1, 2]));
    same(await log.next(), [cell.tag, peer.nsp, cell.binary([1, 2])], `room of ${peer.nsp}`);
  }
  for (const peer of [main, chat, admin]) {
    same(await peer.echo(peer.nsp, cell.binary([3])), [peer.nsp, cell.binary([3])], `echo on ${peer.nsp}`);
    const [me] = await peer.ask("whoami");
    same([me.nsp, me.id], [peer.nsp, peer.serverId], "namespace and id on both sides");
    same(me.rooms, [me.id, room].sort(), `rooms on ${peer.nsp}`);
  }
  same(
    [inMain, inChat, inAdmin].map((log) => log.drain()),
    [[], [], []],
    "messages of other namespaces",
  );
  ok(
    new Set([main, chat, admin].map((peer) => peer.serverId)).size === 3,
    "each namespace has its own socket id",
  );

  // Leaving one leaves the others; it can be joined again.
  const left = chat.serverId;
  chat.disconnect();
  same(
    await main.endOf(left),
    { reason: "client namespace disconnect", rooms: [room], left: 0 },
    "end of /chat",
  );
  same(await admin.echo("still here"), ["still here"], "echo on /admin after leaving /chat");
  await chat.connect();
  same(await chat.echo("back"), ["back"], "echo on /chat after coming back");
  same((await chat.ask("whoami"))[0].rooms, [chat.serverId], "rooms after coming back");

  same(await refusal(main, "/nowhere"), invalidNamespace(cell), "unknown namespace");
  same(await main.echo("fine"), ["fine"], "echo after the refusal");
}

/** What the server knows of the handshake is what the client sent. */
export async function handshake(cell) {
  const auth = { token: "secret", who: `${mojibake(cell) ? "zoe" : "zoë"} & "co"` };
  const peer = await cell.connect({ nsp: "/admin", auth });
  const [{ handshake: seen }] = await peer.ask("whoami");
  same(seen.query, { e2e: cell.tag, EIO: cell.generation < 3 ? "3" : "4", transport: cell.first }, "query");
  same(seen.headers, cell.headers ? { "x-e2e": cell.tag } : {}, "headers");
  same(seen.auth, auth, "auth");
  same([seen.secure, seen.address], [false, "127.0.0.1"], "secure and address");
  ok(seen.url.startsWith("/socket.io/?"), `url ${seen.url}`);
}

/** Rooms: join, leave, union, except, own room, broadcast; each receiver gets each message once and in order. */
export async function rooms(cell) {
  const [a, b, c] = [await cell.connect(), await cell.connect(), await cell.connect()];
  const logs = [a, b, c].map((peer) => peer.roomLog());
  const [one, two] = [`${cell.tag} one`, `${cell.tag} two`];
  same(await a.ask("join", one), [[a.id, one].sort()], "rooms of a");
  same(await b.ask("join", one), [[b.id, one].sort()], "rooms of b");
  same(await b.ask("join", two), [[b.id, one, two].sort()], "both rooms of b");
  same(await c.ask("sockets_in", one), [[a.id, b.id].sort()], "sockets in one");

  await c.ask("room_send", one, cell.tag, 1);
  await c.ask("room_send", [one, two], cell.tag, 2, { b: cell.binary([1, 2]) });
  await c.ask("room_except", one, two, cell.tag, 3);
  await a.ask("socket_send", one, cell.tag, 4);
  await b.ask("broadcast_send", cell.tag, 5, cell.binary([5]));
  await c.ask("room_send", a.id, cell.tag, 6);
  same(await a.ask("leave", one), [[a.id]], "rooms of a after leaving");
  await c.ask("room_send", one, cell.tag, 7);
  same(await b.ask("leave", one), [[b.id, two].sort()], "rooms of b after leaving");
  await c.ask("room_send", one, cell.tag, 8);
  for (const peer of [a, b, c]) await c.ask("room_send", peer.id, cell.tag, "end");

  const union = [2, { b: cell.binary([1, 2]) }];
  const expected = [
    [[1], union, [3], [5, cell.binary([5])], [6]],
    [[1], union, [4], [7]],
    [[5, cell.binary([5])]],
  ];
  for (const [i, log] of logs.entries()) {
    same(await untilEnd(log), expected[i], `messages at ${"abc"[i]}`);
  }
}

// The room messages up to the one that says "end", without their tags.
async function untilEnd(log) {
  const messages = [];
  for (;;) {
    const [, ...args] = await log.next();
    if (args[0] === "end") return messages;
    messages.push(args);
  }
}

/** A namespace middleware refuses with message and data; the connection stays, and a second try may succeed. */
export async function refusals(cell) {
  const main = await cell.connect();
  const { message, data } = await refusal(main, "/admin", { token: "wrong" });
  // Protocol 4 carries one value: the data, if the error has some.
  same(message, cell.generation < 3 ? undefined : "not authorized", "message of the refusal");
  same(data, { code: 7 }, "data of the refusal");
  same(await main.echo("open"), ["open"], "echo on / after the refusal");

  const admin = await main.join("/admin", { token: "secret" });
  same(await admin.echo("in"), ["in"], "echo on /admin");

  // The same as the connection's first and only namespace.
  const alone = await cell.connect({ nsp: "/admin", auth: {} }).catch((error) => error);
  ok(alone instanceof Refused, `the middleware let a client in without a token`);
}

// Asks for a namespace that must refuse: {message, data} as the client got them.
async function refusal(peer, nsp, auth) {
  const error = await peer.join(nsp, auth).catch((error) => error);
  ok(error instanceof Refused, `${nsp} did not refuse: ${error}`);
  peer.cell.peers.at(-1).disconnect(); // gives the socket up, so that the manager does not wait for it
  return { message: error.message || undefined, data: error.data };
}

// What the client gets for a namespace that does not exist.
function invalidNamespace({ generation }) {
  const message = "Invalid namespace";
  return generation < 3 ? { message: undefined, data: { message } } : { message, data: undefined };
}

/** Namespaces by pattern: each name its own namespace, created on demand. */
export async function dynamic_namespaces(cell) {
  const number = cell.number;
  const [a, b] = [
    await cell.connect({ nsp: `/dyn-${number}` }),
    await cell.connect({ nsp: `/dyn-${number}` }),
  ];
  const other = await a.join(`/dyn-${number}0000`);
  const logs = [a, b, other].map((peer) => peer.roomLog());
  same((await a.ask("whoami"))[0].nsp, `/dyn-${number}`, "name of the namespace");
  for (const peer of [a, b, other]) await peer.ask("join", "room");
  await a.ask("room_send", "room", cell.tag, "to both");
  await other.ask("room_send", "room", cell.tag, "to one");
  await a.ask("broadcast_send", cell.tag, "to the other");
  for (const peer of [a, b, other]) await peer.ask("room_send", peer.serverId, cell.tag, "end");
  same(await untilEnd(logs[0]), [["to both"]], "messages at a");
  same(await untilEnd(logs[1]), [["to both"], ["to the other"]], "messages at b");
  same(await untilEnd(logs[2]), [["to one"]], "messages in the other namespace");
  same(await a.ask("sockets_in", "room"), [[a.serverId, b.serverId].sort()], "sockets in the room");
  same(await refusal(a, "/dyn-x"), invalidNamespace(cell), "a name that does not match");
}

/** A lost connection comes back by itself, with its namespaces, and what was emitted meanwhile is sent in order. */
export async function reconnection(cell) {
  const witness = await cell.connect();
  const main = await cell.connect();
  const chat = await main.join("/chat");
  await main.ask("join", `${cell.tag} room`);
  await main.settled();

  const losses = [
    // by the server
    [
      () => main.emit("kill_transport"),
      ["transport close"],
      ["forced close", "forced server close", "transport close"],
    ],
    // by the client's end; an error if the server writes (a ping, another cell's broadcast) into the closing
    // WebSocket
    [() => main.manager.engine.close(), ["forced close"], ["transport close", "transport error"]],
  ];
  for (const [round, [lose, clientReasons, serverReasons]] of losses.entries()) {
    const ids = [main.serverId, chat.serverId];
    const connects = [main, chat].map((peer) => peer.log("connect"));
    connects.forEach((log) => log.drain());
    // Emitted while disconnected: kept by the client and sent once it is back.
    const echoes = main.log("echo");
    main.socket.once("disconnect", () => [0, 1, 2].forEach((i) => main.emit("echo", "offline", i)));
    lose();
    for (const peer of [main, chat]) {
      const [reason] = await peer.disconnects.next();
      ok(clientReasons.includes(reason), `the client's reason is ${reason}`);
    }
    for (const log of connects) await log.next();
    await main.settled();
    same(
      await echoes.take(3),
      [0, 1, 2].map((i) => ["offline", i]),
      "echoes of what was emitted offline",
    );
    for (const [i, peer] of [main, chat].entries()) {
      ok(peer.serverId !== ids[i], "a new connection has a new id");
      const end = await witness.endOf(ids[i]);
      ok(serverReasons.includes(end.reason), `the server's reason is ${end.reason}`);
      same(end.rooms, i === 0 && round === 0 ? [`${cell.tag} room`] : [], "rooms when it was lost");
      same((await peer.ask("whoami"))[0].rooms, [peer.serverId], "rooms after coming back");
      same(await peer.echo(round), [round], "echo after coming back");
    }
    same(main.trips.length, round + 2, "connections of the client");
  }
}

/** Disconnects on purpose, from both sides: the reasons on both, and nobody comes back unasked. */
export async function disconnection(cell) {
  const witness = await cell.connect();
  const room = `${cell.tag} room`;
  const start = async () => {
    const main = await cell.connect();
    const chat = await main.join("/chat");
    await chat.ask("join", room);
    return [main, chat, chat.serverId, main.serverId];
  };
  {
    const [main, chat, id] = await start();
    chat.emit("disconnect_me", false);
    same((await chat.disconnects.next())[0], "io server disconnect", "reason at the client");
    same(
      await witness.endOf(id),
      { reason: "server namespace disconnect", rooms: [room], left: 0 },
      "server's view",
    );
    same(await main.echo("alive"), ["alive"], "echo on / after the disconnect of /chat");
  }
  {
    const [main, chat, id, mainId] = await start();
    chat.emit("disconnect_me", true);
    for (const peer of [main, chat]) {
      same((await peer.disconnects.next())[0], "io server disconnect", `reason at ${peer.nsp}`);
    }
    same(
      await witness.endOf(id),
      { reason: "server namespace disconnect", rooms: [room], left: 0 },
      "server's view",
    );
    same((await witness.endOf(mainId)).reason, "server namespace disconnect", "server's view of /");
  }
  {
    const [main, chat, id, mainId] = await start();
    chat.disconnect();
    main.disconnect();
    same((await main.disconnects.next())[0], "io client disconnect", "reason at the client");
    same(
      await witness.endOf(id),
      { reason: "client namespace disconnect", rooms: [room], left: 0 },
      "server's view",
    );
    same((await witness.endOf(mainId)).reason, "client namespace disconnect", "server's view of /");
  }
}

/** Big payloads, text and binary, echoed, acked and from the server, also in one go with others. */
export async function big(cell) {
  const peer = await cell.connect();
  const bigText = Array.from({ length: BIG / 10 }, (_, i) => String(i % 1000).padStart(8, "é "))
    .join("")
    .slice(0, BIG);
  const bytes = cell.binary(BIG);
  same(await peer.echo(bigText), [bigText], "big text");
  same(await peer.echo(bytes), [bytes], "big binary");
  same(await peer.ask("echo_ack", { bytes }, bigText), [{ bytes }, bigText], "big ack");
  same(await peer.echo("small"), ["small"], "echo after the big ones");

  const bigs = peer.log("big");
  peer.emit("big", BIG, "text");
  peer.emit("big", BIG, "binary");
  const alphabet = "abcdefghijklmnopqrstuvwxyz";
  same(await bigs.next(), [alphabet.repeat(Math.ceil(BIG / 26)).slice(0, BIG)], "big text from the server");
  same(await bigs.next(), [bytes], "big binary from the server");
}

/** A thousand messages each way keep their order, text and binary mixed, begun while an upgrade may be under way. */
export async function order(cell) {
  const peer = await cell.connect({ settle: false });
  const N = 1000;
  const stamp = (i) => cell.binary([i >> 24, i >> 16, i >> 8, i]);
  const message = (i) => (i % 10 ? [i] : [i, stamp(i)]);
  const expected = Array.from({ length: N }, (_, i) => message(i));

  const echoes = peer.log("echo");
  for (let i = 0; i < N; i++) peer.emit("echo", ...message(i));
  same(await echoes.take(N), expected, "a thousand echoes");

  const burst = peer.log("burst");
  peer.emit("burst", N);
  same(await burst.take(N), expected, "a thousand messages from the server");
}

/** The connection outlives several heartbeats while idle, and is usable after them. */
export async function heartbeat(cell) {
  const peer = await cell.connect();
  // The old protocol's client pings and hears pongs; the new one's hears pings.
  const beat = cell.generation < 3 ? "pong" : "ping";
  let heard = 0;
  const beats = new Promise((resolve, reject) => {
    peer.socket.once("disconnect", (reason) => reject(new Failed(`disconnected while idle: ${reason}`)));
    peer.manager.engine.on("packet", ({ type }) => type === beat && ++heard === 3 && resolve());
  });
  await within(beats, "three heartbeats");
  same(await peer.echo("alive"), ["alive"], "echo after three heartbeats");
}

/** Connection state recovery: a lost client gets its id, rooms, data and what it missed, once and in order. */
export async function recovery(cell) {
  const witness = await cell.connect();
  const peer = await cell.connect({ reconnection: false });
  const log = peer.roomLog();
  const room = `${cell.tag} room`;
  const send = (to, ...args) => witness.ask("room_send", to, cell.tag, ...args);
  await peer.ask("join", room);
  ok(peer.socket.recovered === false, "the first connection is not a recovered one");

  for (const round of [1, 2]) {
    const id = peer.id;
    await send(room, "before");
    same((await log.next()).slice(0, 2), [cell.tag, "before"], "message before the loss");
    peer.emit("kill_transport");
    await peer.disconnects.next();
    // Only from here on is it sure that the server will keep messages for the client.
    for (let ends = 0; ends < round;) ends = (await witness.ask("reasons", id))[0].length;
    await send(room, 1);
    await send(`${cell.tag} other room`, "not mine");
    await send(id, 2, cell.binary([2, 2]));
    await witness.ask("room_except", room, id, cell.tag, "not me");
    await witness.ask("broadcast_send", cell.tag, 3);
    await send([room, id], 4);

    await peer.connect();
    ok(peer.socket.recovered === true, "the client was recovered");
    await peer.settled();
    same(peer.id, id, "id after recovery");
    await send(room, "end");
    const missed = (await untilEnd(log)).map((args) => args.slice(0, -1)); // the last one is the offset
    same(missed, [[1], [2, cell.binary([2, 2])], [3], [4]], "what the client missed");
    const [me] = await peer.ask("whoami");
    same(me.recovered, true, "recovered in the server's view");
    same(me.rooms, [id, room].sort(), "rooms after recovery");
    same(me.data, { first: cell.first }, "data after recovery");
    same((await peer.echo("alive"))[0], "alive", "echo after recovery");
  }

  // An unknown session is no error: a new one begins.
  const stranger = await cell.connect({ reconnection: false });
  const old = stranger.id;
  stranger.emit("kill_transport");
  await stranger.disconnects.next();
  stranger.socket._pid = "00000000000000000000";
  await stranger.connect();
  ok(stranger.socket.recovered === false && stranger.id !== old, "an unknown session is not recovered");
}
