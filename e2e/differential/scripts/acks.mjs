// Acks in both directions. Namespaces of a script's own, because the ids that a server gives are counted by namespace.

const sessions = [
  ["WebSocket 4", (s) => s.ws()],
  ["WebSocket 3", (s) => s.ws({ v: 3 })],
  ["polling 4", (s) => s.polling()],
];

const say = (a, ...packets) => (a.text ? a.text(...packets) : a.emit(...packets));
const hear = (a, n = 1) => (a.recv ? a.recv(n) : a.next(n));

/** [name, steps]: `to` makes a packet for the script's namespace. */
const rows = [
  ["answers", async (a, to) => (await say(a, to(2, '7["echo_ack",1,"two",null]')), await hear(a))],
  ["answers without arguments", async (a, to) => (await say(a, to(2, '0["echo_ack"]')), await hear(a))],
  [
    "the same id twice",
    async (a, to) => (await say(a, to(2, '7["echo_ack",1]'), to(2, '7["echo_ack",2]')), await hear(a, 2)),
  ],
  ["one that nobody gives", async (a, to) => say(a, to(2, '7["unknown"]'))],
  [
    "asked for by the server",
    async (a, to) => {
      await say(a, to(2, '["call_me","q",1]'));
      await hear(a);
      await say(a, to(3, '0["yes",2]'));
      await hear(a);
    },
  ],
  [
    "given twice",
    async (a, to) => {
      await say(a, to(2, '["call_me","q"]'));
      await hear(a);
      await say(a, to(3, "0[1]"), to(3, "0[2]"));
      await hear(a);
    },
  ],
  [
    "without arguments",
    async (a, to) => {
      await say(a, to(2, '["call_me","q"]'));
      await hear(a);
      await say(a, to(3, "0[]"));
      await hear(a);
    },
  ],
  [
    "without data",
    async (a, to) => {
      await say(a, to(2, '["call_me","q"]'));
      await hear(a);
      await say(a, to(3, "0"));
      await hear(a);
    },
  ],
  [
    "with an id that has zeros",
    async (a, to) => {
      await say(a, to(2, '["call_me","q"]'));
      await hear(a);
      await say(a, to(3, "000[1]"));
      await hear(a);
    },
  ],
  [
    "in another order",
    async (a, to) => {
      await say(a, to(2, '["call_me","p"]'), to(2, '["call_me","q"]'));
      await hear(a, 2);
      await say(a, to(3, "1[2]"), to(3, "0[1]"));
      await hear(a, 2);
    },
  ],
  [
    "of ids that nobody asked for",
    async (a, to) => {
      await say(a, to(2, '["call_me","q"]'));
      await hear(a);
      await say(
        a,
        to(3, "1[1]"),
        to(3, "4294967296[1]"),
        to(3, "9007199254740992[1]"),
        to(3, `${"9".repeat(40)}[1]`),
      );
      await say(a, to(3, "0[1]"));
      await hear(a);
    },
  ],
  [
    "in a namespace that did not ask",
    async (a, to) => {
      await say(a, to(2, '["call_me","q"]'));
      await hear(a);
      await a.join("/chat");
      await say(a, "43/chat,0[1]");
      await say(a, to(3, "0[2]"));
      await hear(a);
    },
  ],
  [
    "too late",
    async (a, to) => {
      await say(a, to(2, '5["call_impatient","q",50]'));
      await hear(a, 2);
      await say(a, to(3, "0[1]"));
    },
  ],
  [
    "in time",
    async (a, to) => {
      await say(a, to(2, '5["call_impatient","q",20000]'));
      await hear(a);
      await say(a, to(3, "0[1]"));
      await hear(a);
    },
  ],
  [
    "after the namespace was left",
    async (a, to) => {
      await say(a, to(2, '["call_me","q"]'));
      await hear(a);
      await say(a, to(1, ""));
      await a.sync();
      await say(a, to(3, "0[1]"));
    },
  ],
  [
    "asked for by a broadcast",
    async (a, to, s) => {
      await say(a, to(2, `1["join","${s.room}"]`));
      await hear(a);
      await say(a, to(2, `2["room_ask","${s.room}","x"]`));
      await hear(a);
      await say(a, to(3, '0["me"]'));
      await hear(a);
    },
  ],
  [
    "asked for by a broadcast to nobody",
    async (a, to, s) => {
      await say(a, to(2, `2["room_ask","${s.room}-empty","x"]`));
      await hear(a);
    },
  ],
];

const tables = rows.flatMap(([name, steps]) =>
  sessions.map(([way, open]) => ({
    name: `ack over ${way}: ${name}`,
    async play(s) {
      const a = await open(s);
      await a.join(s.nsp);
      await steps(a, (type, rest) => `4${type}${s.nsp},${rest}`, s);
      await a.sync();
    },
  })),
);

const binary = ["WebSocket 4", "WebSocket 3"].map((way) => ({
  name: `ack over ${way}: with bytes`,
  async play(s) {
    const ws = await s.ws({ v: Number(way.at(-1)) });
    await ws.join(s.nsp);
    ws.text(`42${s.nsp},["call_me","q"]`);
    await ws.recv();
    ws.text(`461-${s.nsp},0[{"_placeholder":true,"num":0},"x"]`);
    ws.bytes([1, 2, 3]);
    await ws.recv(2);
    ws.text(`451-${s.nsp},["call_me","q",{"_placeholder":true,"num":0}]`);
    ws.bytes([4]);
    await ws.recv(2);
    ws.text(`43${s.nsp},1[]`);
    await ws.recv();
    await ws.sync();
  },
}));

export const acks = [tables, binary].flat();
