// Namespaces: joined, refused, unknown, dynamic, joined twice, left.

const sessions = [
  ["WebSocket 4", (s) => s.ws()],
  ["WebSocket 3", (s) => s.ws({ v: 3 })],
  ["polling 4", (s) => s.polling()],
  ["polling 3", (s) => s.polling({ v: 3 }).then(async (a) => (await a.next(), a))],
];

const say = (a, ...packets) => (a.text ? a.text(...packets) : a.emit(...packets));
const hear = (a, n = 1) => (a.recv ? a.recv(n) : a.next(n));

/** One CONNECT or several, one after the other. */
const connects = [
  ["a namespace", ["40/chat,"]],
  ["a namespace without its comma", ["40/chat"]],
  ["a namespace without its slash", ["40chat,"]],
  ["a namespace with auth", ['40/chat,{"a":1}']],
  ["the main namespace by its name", ["40/,"]],
  ["an unknown namespace", ["40/unknown,"]],
  ["an unknown namespace with auth", ['40/unknown,{"a":1}']],
  ["an unknown namespace, then a known one", ["40/unknown,", "40/chat,"]],
  ["a refused namespace", ["40/admin,"]],
  ["a refused namespace with a wrong token", ['40/admin,{"token":"wrong"}']],
  ["a namespace with a token", ['40/admin,{"token":"secret"}']],
  ["refused first", ["40/admin,", '40/admin,{"token":"secret"}']],
  ["a namespace with a query", ["40/chat?a=1&b=2,"]],
  ["a refused namespace with a query", ["40/admin?token=secret,"]],
  ["a dynamic namespace", ["40/dyn-777,"]],
  ["a dynamic namespace that does not match", ["40/dyn-x,"]],
  ["a dynamic namespace and more", ["40/dyn-777/x,"]],
  ["a namespace in upper case", ["40/CHAT,"]],
  ["a namespace with a slash behind", ["40/chat/,"]],
  ["a namespace with two slashes", ["40//chat,"]],
  ["a namespace of the prototype", ["40/__proto__,"]],
  ["the parent of dynamic namespaces", ["40/_0,"]],
  ["a namespace with a space", ["40/ch at,"]],
  ["a namespace with an accent", ["40/é,"]],
  ["a namespace with dots", ["40/x/../chat,"]],
  ["a namespace with a fragment", ["40/chat#x,"]],
  ["an escaped namespace", ["40/%63hat,"]],
  ["a very long name", [`40/${"n".repeat(500)},`]],
  ["two namespaces", ["40/chat,", "40/dyn-778,"]],
  ["the same namespace twice", ["40/chat,", "40/chat,"]],
];

const tables = connects.flatMap(([name, packets]) =>
  sessions.map(([way, open]) => ({
    name: `namespace over ${way}: ${name}`,
    async play(s) {
      const a = await open(s);
      for (const packet of packets) {
        await say(a, packet);
        await a.sync();
      }
    },
  })),
);

/** [name, steps] */
const lives = [
  ["left", async (a) => say(a, "41/chat,")],
  [
    "left and joined again",
    async (a) => (await say(a, "41/chat,"), await a.sync(), await say(a, "40/chat,"), await hear(a)),
  ],
  [
    "left and used",
    async (a) => (await say(a, "41/chat,"), await a.sync(), await say(a, '42/chat,["echo",1]')),
  ],
  ["left twice", async (a) => (await say(a, "41/chat,"), await a.sync(), await say(a, "41/chat,"))],
  [
    "left, used in one piece",
    async (a) => say(a, "41/chat,", '42/chat,["echo",1]', "41/chat,", '42["echo",2]'),
  ],
  ["left by the server", async (a) => (await say(a, '42/chat,["disconnect_me",false]'), await hear(a))],
  [
    "left by the server, events behind it",
    async (a) => say(a, '42/chat,["disconnect_me",false]', '42/chat,["echo",1]', '42["echo",2]'),
  ],
  [
    "left by the server and joined again",
    async (a) => {
      await say(a, '42/chat,["disconnect_me",false]');
      await hear(a);
      await say(a, "40/chat,");
      await hear(a);
      await say(a, '42/chat,["echo",1]');
    },
  ],
  [
    "left by the server and used",
    async (a) => (
      await say(a, '42/chat,["disconnect_me",false]'),
      await hear(a),
      await say(a, '42/chat,["echo",1]')
    ),
  ],
  ["closed by the server", async (a) => say(a, '42/chat,["disconnect_me",true]')],
  ["its transport closed by the server", async (a) => say(a, '42/chat,["kill_transport"]')],
  [
    "used by turns",
    async (a) => (await say(a, '42/chat,["echo",1]', '42["echo",2]', '42/chat,["echo",3]'), await hear(a, 3)),
  ],
  [
    "rooms are its own",
    async (a) => (await say(a, '42/chat,1["join","~r"]', '422["join","~s"]'), await hear(a, 2)),
  ],
].flatMap(([name, steps]) =>
  sessions.map(([way, open]) => ({
    name: `namespace over ${way}: ${name}`,
    async play(s) {
      const a = await open(s);
      if (a.v === 4) await a.join();
      await a.join("/chat");
      await steps(a, s);
      await a.sync();
    },
  })),
);

const whoami = sessions.map(([way, open]) => ({
  name: `namespace over ${way}: who am I`,
  async play(s) {
    const a = await open(s);
    if (a.v === 4) await a.join("", '{"a":[1,{"b":null}]}');
    await a.join(a.v === 4 ? "/chat" : "/chat?x=1&y=2&x=3", a.v === 4 ? "" : "");
    await say(a, '421["whoami"]', '42/chat,2["whoami"]');
    await hear(a, 2);
  },
}));

const late = [
  {
    name: "connect time-out: a client that joins nothing",
    server: "hasty",
    async play(s) {
      const ws = await s.ws();
      await ws.closed();
    },
  },
  {
    name: "connect time-out: a polling client that joins nothing",
    server: "hasty",
    async play(s) {
      const a = await s.polling();
      await a.get();
      await a.get();
    },
  },
  {
    name: "connect time-out: a client that is refused",
    server: "hasty",
    async play(s) {
      const ws = await s.ws();
      ws.text("40/admin,");
      await ws.recv();
      await ws.closed();
    },
  },
  {
    name: "connect time-out: a client that joins, leaves and stays",
    server: "hasty",
    async play(s) {
      const ws = await s.ws({ join: true });
      const other = await s.ws({ who: "b" });
      ws.text("41");
      // The other's time is up later than that of the first.
      await other.closed();
      await ws.sync();
    },
  },
  {
    name: "connect time-out: none for protocol 3",
    server: "hasty",
    async play(s) {
      const ws = await s.ws({ v: 3 });
      const other = await s.ws({ who: "b" });
      await other.closed();
      await ws.sync();
    },
  },
];

export const namespaces = [tables, lives, whoami, late].flat();
