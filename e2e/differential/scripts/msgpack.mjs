// The parser of socket.io-msgpack-parser: every packet is one binary message.

import { encode } from "../servers.mjs";

const nsp = "/";
const raw = (...bytes) => Buffer.from(bytes);
const str = (text) => Buffer.concat([raw(0xa0 + Buffer.byteLength(text)), Buffer.from(text)]);
const map = (...entries) => Buffer.concat([raw(0x80 + entries.length), ...entries.flat()]);
const event = (...data) => encode({ type: 2, data, nsp });

/** Packets of a client that has joined. */
const rows = [
  ["an event", event("echo", 1)],
  [
    "all kinds of values",
    event("echo", 1, -1, 300, 70_000, -70_000, 5e9, 1.5, "é", null, true, [1], { a: 1 }),
  ],
  ["bytes", event("echo", Buffer.from([1, 2, 3]))],
  ["a date", event("echo", new Date(1_700_000_000_123))],
  ["undefined", event("echo", undefined, { a: undefined })],
  ["an ArrayBuffer", event("echo", new Uint8Array([1, 2]).buffer)],
  ["large numbers", event("echo", 2 ** 53 - 1, 2 ** 53, -(2 ** 53), 2 ** 63, 2 ** 32, 1e300)],
  ["long things", event("echo", "s".repeat(40), Array(20).fill(1), Buffer.alloc(300))],
  ["an ack", encode({ type: 2, id: 5, data: ["echo_ack", 1, "x", Buffer.from([1])], nsp })],
  ["an ack of nothing", encode({ type: 3, id: 5, data: [], nsp })],
  ["DISCONNECT", encode({ type: 1, nsp })],
  ["CONNECT twice", encode({ type: 0, nsp })],
  ["a text", "4hello"],
  ["JSON", '42["echo",1]'],
  ["nothing", raw()],
  ["no map", raw(0x01)],
  ["an empty map", raw(0x80)],
  ["half a map", event("echo", 1).subarray(0, 12)],
  ["more than a map", Buffer.concat([event("echo", 1), raw(0)])],
  ["c1", raw(0xc1)],
  ["no type", map([str("data"), raw(0x91), str("echo")], [str("nsp"), str("/")])],
  ["type 5", encode({ type: 5, data: ["echo"], nsp })],
  ["type 9", encode({ type: 9, data: ["echo"], nsp })],
  ["type -1", encode({ type: -1, data: ["echo"], nsp })],
  ["type 2.5", encode({ type: 2.5, data: ["echo"], nsp })],
  ["type as a string", encode({ type: "2", data: ["echo"], nsp })],
  ["no nsp", encode({ type: 2, data: ["echo", 1] })],
  ["nsp a number", encode({ type: 2, data: ["echo", 1], nsp: 1 })],
  ["an unknown nsp", encode({ type: 2, data: ["echo", 1], nsp: "/other" })],
  ["an empty nsp", encode({ type: 2, data: ["echo", 1], nsp: "" })],
  ["an id that is a string", encode({ type: 2, id: "5", data: ["echo_ack", 1], nsp })],
  ["an id that is a fraction", encode({ type: 2, id: 1.5, data: ["echo_ack", 1], nsp })],
  ["a negative id", encode({ type: 2, id: -5, data: ["echo_ack", 1], nsp })],
  ["an id that is null", encode({ type: 2, id: null, data: ["echo_ack", 1], nsp })],
  ["no data", encode({ type: 2, nsp })],
  ["data an object", encode({ type: 2, data: { a: 1 }, nsp })],
  ["data empty", encode({ type: 2, data: [], nsp })],
  ["a name that is a number", encode({ type: 2, data: [1], nsp })],
  ["a name that is null", encode({ type: 2, data: [null], nsp })],
  ["a reserved name", encode({ type: 2, data: ["disconnect"], nsp })],
  ["CONNECT_ERROR", encode({ type: 4, data: "x", nsp })],
  ["DISCONNECT with data", encode({ type: 1, data: [], nsp })],
  ["more keys", encode({ type: 2, data: ["echo", 1], nsp, attachments: 1, options: { a: 1 } })],
  [
    "a key twice",
    map(
      [str("type"), raw(2)],
      [str("data"), raw(0x91), str("unknown")],
      [str("data"), raw(0x92), str("echo"), raw(1)],
      [str("nsp"), str("/")],
    ),
  ],
  [
    "a float of 32 bits",
    map(
      [str("type"), raw(2)],
      [str("data"), raw(0x92), str("echo"), raw(0xca, 0x3f, 0xc0, 0, 0)],
      [str("nsp"), str("/")],
    ),
  ],
  [
    "numbers that are longer than need be",
    map(
      [str("type"), raw(0xcd, 0, 2)],
      [str("data"), raw(0xdc, 0, 2), raw(0xd9, 4), Buffer.from("echo"), raw(0xce, 0, 0, 0, 1)],
      [str("nsp"), str("/")],
    ),
  ],
  [
    "an unknown extension",
    map(
      [str("type"), raw(2)],
      [str("data"), raw(0x92), str("echo"), raw(0xd4, 7, 9)],
      [str("nsp"), str("/")],
    ),
  ],
  [
    "text that is no UTF-8",
    map(
      [str("type"), raw(2)],
      [str("data"), raw(0x92), str("echo"), raw(0xa1, 0xff)],
      [str("nsp"), str("/")],
    ),
  ],
  ["an array that is too long", raw(0xdd, 0xff, 0xff, 0xff, 0xff)],
  ["bytes that are too long", raw(0xc6, 0xff, 0xff, 0xff, 0xff)],
  [
    "100 deep",
    map(
      [str("type"), raw(2)],
      [str("data"), raw(0x92), str("echo"), raw(...Array(100).fill(0x91), 1)],
      [str("nsp"), str("/")],
    ),
  ],
  [
    "keys that are numbers",
    map(
      [str("type"), raw(2)],
      [str("data"), raw(0x92), str("echo"), raw(0x81, 1, 2)],
      [str("nsp"), str("/")],
    ),
  ],
];

const tables = rows
  .flatMap(([name, packet]) =>
    [4, 3].map((v) => ({
      name: `MessagePack ${v}: ${name}`,
      server: "msgpack",
      async play(s) {
        const ws = await s.ws({ v });
        if (v === 4) {
          ws.bytes(encode({ type: 0, nsp }));
          await ws.recv();
        }
        if (typeof packet === "string") ws.text(packet);
        else ws.bytes(packet);
        await ws.sync();
      },
    })),
  )
  .filter(({ name }) => name.startsWith("MessagePack 4") || /an event|bytes$|a text/.test(name));

/** CONNECTs, of a client that has not joined. */
const connects = [
  ["the main namespace", { type: 0, nsp }],
  ["with auth", { type: 0, nsp, data: { a: 1 } }],
  ["with undefined", { type: 0, nsp, data: undefined }],
  ["with null", { type: 0, nsp, data: null }],
  ["with an array", { type: 0, nsp, data: [] }],
  ["a refused namespace", { type: 0, nsp: "/admin" }],
  ["a namespace with a token", { type: 0, nsp: "/admin", data: { token: "secret" } }],
  ["an unknown namespace", { type: 0, nsp: "/unknown" }],
  ["a namespace without its slash", { type: 0, nsp: "chat" }],
  ["an empty namespace", { type: 0, nsp: "" }],
  ["an event", { type: 2, nsp, data: ["echo"] }],
].map(([name, packet]) => ({
  name: `MessagePack: CONNECT to ${name}`,
  server: "msgpack",
  async play(s) {
    const ws = await s.ws();
    ws.bytes(encode(packet));
    await ws.sync();
  },
}));

const called = {
  name: "MessagePack: an ack that the server asks for",
  server: "msgpack",
  async play(s) {
    const ws = await s.ws();
    ws.bytes(encode({ type: 0, nsp: s.nsp }));
    await ws.recv();
    ws.bytes(encode({ type: 2, nsp: s.nsp, data: ["call_me", "q", 1] }));
    await ws.recv();
    ws.bytes(encode({ type: 3, nsp: s.nsp, id: 0, data: ["yes", Buffer.from([1])] }));
    await ws.recv();
    await ws.sync();
  },
};

export const msgpack = [tables, connects, called].flat();
