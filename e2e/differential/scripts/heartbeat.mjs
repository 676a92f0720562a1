// Heartbeats. Time itself is not compared, only what comes, in which order, and why a session ends: pings come every
// 800 ms here, and an answer may take two seconds and a half.

const ways = [
  ["WebSocket", (s, options) => s.ws(options)],
  ["polling", (s, options) => s.polling(options)],
];

// How a session of either kind says and hears one packet.
const say = (session, packet) => (session.text ? session.text(packet) : session.emit(packet));
const hear = (session) => (session.recv ? session.recv() : session.next());
const end = (session) => (session.closed ? session.closed() : session.get());

/** Both protocols' heartbeats; [name, v, steps] */
const rows = [
  [
    "two pings",
    4,
    async (a) => {
      for (let i = 0; i < 2; i++) {
        await hear(a);
        await say(a, "3");
      }
      await hear(a);
    },
  ],
  ["no pong", 4, async (a) => (await hear(a), await end(a))],
  [
    "a pong with data",
    4,
    async (a) => (await hear(a), await say(a, "3x"), await hear(a), await say(a, "3"), await hear(a)),
  ],
  [
    "a pong too many",
    4,
    async (a) => (
      await hear(a),
      await say(a, "3"),
      await say(a, "3"),
      await hear(a),
      await say(a, "3"),
      await hear(a)
    ),
  ],
  ["a pong too early", 4, async (a) => (await say(a, "3"), await hear(a), await say(a, "3"), await hear(a))],
  ["a ping in the wrong direction", 4, async (a) => (await say(a, "2"), await end(a))],
  [
    "an event in place of a pong",
    4,
    async (a) => (await hear(a), await say(a, '42["unknown"]'), await end(a)),
  ],
  ["two pings", 3, async (a) => (await say(a, "2"), await hear(a), await say(a, "2"), await hear(a))],
  [
    "a ping with data",
    3,
    async (a) => (await say(a, "2hello"), await hear(a), await say(a, "2probe"), await hear(a)),
  ],
  ["no ping", 3, async (a) => end(a)],
  ["an event in place of a ping", 3, async (a) => (await say(a, '42["unknown"]'), await end(a))],
  ["a pong in the wrong direction", 3, async (a) => (await say(a, "3"), await end(a))],
];

const tables = rows.flatMap(([name, v, steps]) =>
  ways.map(([way, open]) => ({
    name: `heartbeat ${v} over ${way}: ${name}`,
    server: "beat",
    async play(s) {
      await steps(await open(s, { v, join: true }));
    },
  })),
);

const silent = [4, 3].map((v) => ({
  name: `heartbeat ${v}: a polling client that never comes back`,
  server: "beat",
  async play(s) {
    const a = await s.polling({ v, join: true });
    await s.ended();
    await a.get();
  },
}));

const beforeJoining = [4, 3].map((v) => ({
  name: `heartbeat ${v}: before the first CONNECT`,
  server: "beat",
  async play(s) {
    const ws = await s.ws({ v });
    await ws.closed();
  },
}));

const upgraded = {
  name: "heartbeat 4: across an upgrade",
  server: "beat",
  async play(s) {
    const a = await s.polling({ join: true });
    const ws = await s.ws({ sid: a.sid, who: "b" });
    ws.text("2probe");
    await ws.recv();
    ws.text("5");
    a.left = true;
    await ws.recv();
    ws.text("3");
    await ws.recv();
    ws.text("3");
    await ws.recv();
  },
};

export const heartbeat = [tables, silent, beforeJoining, upgraded].flat();
