// WebSocket frames, well- and ill-formed, beneath all packets.

const ECHO = '42["echo",1]';
const long = `42["echo","${"x".repeat(70_000)}"]`;
const bytes = (...all) => Buffer.from(all);

/** [name, what is sent] */
const rows = [
  ["a ping", (ws) => ws.frame(9, "hello")],
  ["a ping without data", (ws) => ws.frame(9)],
  ["a ping of 125 bytes", (ws) => ws.frame(9, "p".repeat(125))],
  ["a ping of 126 bytes", (ws) => ws.frame(9, "p".repeat(126))],
  ["a ping in parts", (ws) => ws.frame(9, "p", { fin: false })],
  ["a pong", (ws) => ws.frame(10, "hello")],
  ["a text in parts", (ws) => (ws.frame(1, ECHO.slice(0, 4), { fin: false }), ws.frame(0, ECHO.slice(4)))],
  [
    "a text in parts, a ping between",
    (ws) => (ws.frame(1, ECHO.slice(0, 4), { fin: false }), ws.frame(9, "x"), ws.frame(0, ECHO.slice(4))),
  ],
  ["an empty last part", (ws) => (ws.frame(1, ECHO, { fin: false }), ws.frame(0))],
  ["empty parts", (ws) => (ws.frame(1, "", { fin: false }), ws.frame(0, ECHO, { fin: false }), ws.frame(0))],
  ["a part without a beginning", (ws) => ws.frame(0, "x")],
  ["a text within a text", (ws) => (ws.frame(1, "4", { fin: false }), ws.frame(1, ECHO))],
  ["no mask", (ws) => ws.frame(1, ECHO, { masked: false })],
  ["RSV1", (ws) => ws.frame(1, ECHO, { rsv: 4 })],
  ["RSV2", (ws) => ws.frame(1, ECHO, { rsv: 2 })],
  ["RSV3", (ws) => ws.frame(1, ECHO, { rsv: 1 })],
  ["RSV1 on a ping", (ws) => ws.frame(9, "", { rsv: 4 })],
  ["opcode 3", (ws) => ws.frame(3, "x")],
  ["opcode 11", (ws) => ws.frame(11, "x")],
  ["UTF-8 that is none", (ws) => ws.frame(1, bytes(0x34, 0xff))],
  ["half a letter", (ws) => ws.frame(1, bytes(0x34, 0xc3))],
  ["a surrogate", (ws) => ws.frame(1, bytes(0x34, 0xed, 0xa0, 0x80))],
  [
    "a letter in two parts",
    (ws) => (
      ws.frame(1, Buffer.from('42["echo","é"]').subarray(0, 12), { fin: false }),
      ws.frame(0, Buffer.from('42["echo","é"]').subarray(12))
    ),
  ],
  ["bad UTF-8 in a first part", (ws) => (ws.frame(1, bytes(0x34, 0xff), { fin: false }), ws.frame(0, ""))],
  ["a long text", (ws) => ws.text(long)],
  ["a length of 2^63", (ws) => ws.raw(bytes(0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4))],
  ["a length of 2^53", (ws) => ws.raw(bytes(0x81, 0xff, 0, 0x20, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4))],
  ["a length above the limit", (ws) => ws.raw(bytes(0x81, 0xff, 0, 0, 0, 0, 0, 0x10, 0, 0, 1, 2, 3, 4))],
  ["a length in too many bytes", (ws) => ws.raw(bytes(0x89, 0xfe, 0, 1, 0, 0, 0, 0, 0x78))],
  ["HTTP", (ws) => ws.raw(Buffer.from("GET / HTTP/1.1\r\n\r\n"))],
  ["two messages in one write", (ws) => ws.text(ECHO, ECHO)],
];

const tables = rows.map(([name, send]) => ({
  name: `frame: ${name}`,
  async play(s) {
    const ws = await s.ws({ join: true });
    ws.tcp.together(() => send(ws));
    // A frame that is only begun would take the next one for its own.
    if (!/2\^|limit|HTTP/.test(name)) await ws.sync();
    else await ws.closed();
  },
}));

const code = (number, reason = "") => Buffer.concat([bytes(number >> 8, number & 255), Buffer.from(reason)]);

const closes = [
  ["without a code", ""],
  ["1000", code(1000)],
  ["1001 with a reason", code(1001, "gone")],
  ["3000", code(3000)],
  ["4999", code(4999)],
  ["one byte", bytes(3)],
  ...[0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000].map((number) => [`${number}`, code(number)]),
  ["a reason that is no UTF-8", Buffer.concat([code(1000), bytes(0xff)])],
  ["a reason of 124 bytes", code(1000, "r".repeat(124))],
].map(([name, body]) => ({
  name: `close frame: ${name}`,
  async play(s) {
    const ws = await s.ws({ join: true });
    await ws.close(body);
  },
}));

const gone = ["ws", "ws3"].map((way) => ({
  name: `the end of TCP: ${way}`,
  async play(s) {
    const ws = await s.ws({ v: way === "ws" ? 4 : 3, join: true });
    await ws.gone();
  },
}));

/** Messages against a limit of 1,000 bytes. */
const text = (n) => `42["echo","${"x".repeat(n - 13)}"]`;
const limits = [
  ["999 bytes", (ws) => ws.text(text(999))],
  ["1000 bytes", (ws) => ws.text(text(1000))],
  ["1001 bytes", (ws) => ws.text(text(1001))],
  ["100 kB", (ws) => ws.text(text(100_000))],
  ["1000 bytes of binary", (ws) => ws.binary(Buffer.alloc(1000))],
  ["1001 bytes of binary", (ws) => ws.binary(Buffer.alloc(1001))],
  [
    "two halves of 1000",
    (ws) => (ws.frame(1, text(1000).slice(0, 500), { fin: false }), ws.frame(0, text(1000).slice(500))),
  ],
  [
    "parts of 1001",
    (ws) => (ws.frame(1, text(1001).slice(0, 500), { fin: false }), ws.frame(0, text(1001).slice(500))),
  ],
].map(([name, send]) => ({
  name: `limit over WebSocket: ${name}`,
  server: "small",
  async play(s) {
    const ws = await s.ws({ join: true });
    ws.tcp.together(() => send(ws));
    await ws.sync();
  },
}));

export const frames = [tables, closes, gone, limits].flat();
