// Binary events and their attachments.

import { inAllWays } from "./ways.mjs";

const place = (num) => ({ _placeholder: true, num });
const event = (count, ...args) => `45${count}-${JSON.stringify(["echo", ...args])}`;

const rows = [
  ["one attachment", event(1, place(0)), [1, 2, 3]],
  ["an empty attachment", event(1, place(0)), []],
  ["three", event(3, place(0), { k: [place(1)] }, place(2)), [9], [7, 8], [1, 0, 2, 0]],
  ["in another order", event(2, place(1), place(0)), [1], [2]],
  ["the same one twice", event(1, place(0), place(0)), [1]],
  ["one that no placeholder names", event(2, place(0)), [1], [2]],
  ["no placeholder at all", event(1, "x"), [1]],
  ["a placeholder and no count", `42${JSON.stringify(["echo", place(0)])}`],
  ["num out of range", event(1, place(1)), [1]],
  ["num negative", event(1, place(-1)), [1]],
  ["num a fraction", event(1, place(0.5)), [1]],
  ["num 0.0", '451-["echo",{"_placeholder":true,"num":0.0}]', [1]],
  ["num a string", event(1, place("0")), [1]],
  ["num null", event(1, place(null)), [1]],
  ["num an array", event(1, place([0])), [1]],
  ["num missing", event(1, { _placeholder: true }), [1]],
  ["num of the prototype", event(1, place("length")), [1]],
  ["_placeholder a string", event(1, { _placeholder: "true", num: 0 }), [1]],
  ["_placeholder 1", event(1, { _placeholder: 1, num: 0 }), [1]],
  ["_placeholder false", event(1, { _placeholder: false, num: 0 }), [1]],
  ["a placeholder with more", event(1, { _placeholder: true, num: 0, more: 1 }), [1]],
  ["a placeholder with num first", '451-["echo",{"num":0,"_placeholder":true}]', [1]],
  ["a placeholder as the name", '451-[{"_placeholder":true,"num":0}]', [1]],
  ["a placeholder as the data", '451-{"_placeholder":true,"num":0}', [1]],
  ["nothing announced", event(0, "x")],
  ["nothing announced, and an event", event(0, "x"), '42["echo",1]'],
  [
    "ten",
    event(10, ...Array.from({ length: 10 }, (_, n) => place(n))),
    ...Array.from({ length: 10 }, (_, n) => [n]),
  ],
  ["eleven", event(11, place(0))],
  ["a million", event(1_000_000, place(0))],
  ["a count with a sign", '45-1-["echo"]'],
  ["a count with a zero", '4501-["echo",{"_placeholder":true,"num":0}]', [1]],
  ["a count with a fraction", '451.0-["echo",{"_placeholder":true,"num":0}]', [1]],
  ["a count with an exponent", '451e0-["echo",{"_placeholder":true,"num":0}]', [1]],
  ["a count with a space", '451 -["echo"]', [1]],
  ["no count", '45-["echo"]'],
  ["no dash", '451["echo"]'],
  ["nothing else", "45"],
  ["a count and nothing else", "451-", [1]],
  ["bad JSON behind the count", '451-["echo"', [1]],
  ["too many attachments", event(1, place(0)), [1], [2]],
  ["a text between", event(2, place(0), place(1)), [1], '42["echo",1]', [2]],
  ["another binary event between", event(1, place(0)), event(1, place(0)), [1], [2]],
  ["a noop between", event(1, place(0)), "6", [1]],
  ["two events in a row", event(1, place(0)), [1], event(1, place(0)), [2]],
  ["a reserved name", '451-["disconnect",{"_placeholder":true,"num":0}]', [1]],
  ["a namespace that is not joined", '451-/chat,["echo",{"_placeholder":true,"num":0}]', [1]],
  ["an id", '451-7["echo_ack",{"_placeholder":true,"num":0},"x"]', [1, 2]],
  ["a namespace and an id", '451-/,7["echo_ack",{"_placeholder":true,"num":0}]', [1, 2]],
  ["an ack of nothing", '461-0[{"_placeholder":true,"num":0}]', [1]],
  ["an ack without an id", '461-[{"_placeholder":true,"num":0}]', [1]],
  ["an ack with a wrong placeholder", '461-0[{"_placeholder":true,"num":5}]', [1]],
  ["an ack with an object", '461-0{"_placeholder":true,"num":0}', [1]],
  ["CONNECT with a count", "401-/chat,"],
  ["an event with a count", '421-["echo"]'],
];

/** What stays unfinished is not synced: any packet would end it. */
const unfinished = {
  name: "binary: gone in the middle",
  async play(s) {
    const ws = await s.ws({ join: true });
    ws.text(event(2, place(0), place(1)));
    ws.bytes([1]);
    await ws.gone();
  },
};

/** What is wrong with a placeholder is known at once, and said when all attachments are there. */
const early = {
  name: "binary: a wrong placeholder, and its attachment later",
  async play(s) {
    const ws = await s.ws({ join: true });
    ws.text(event(1, place(1)));
    await ws.settle();
    ws.bytes([1]);
    await ws.closed();
  },
};

const frames = {
  name: "binary: base64 over WebSocket",
  async play(s) {
    const ws = await s.ws({ join: true });
    ws.text(event(1, place(0)), "bAQID");
    await ws.recv(2);
    ws.text(event(1, place(0)), "bAQI");
    await ws.recv(2);
    await ws.sync();
  },
};

const frames3 = {
  name: "binary: base64 over WebSocket 3, and what is no message",
  async play(s) {
    const ws = await s.ws({ v: 3, query: "&b64=1" });
    ws.text(event(1, place(0)), "b4AQID");
    await ws.recv(2);
    ws.binary([2]);
    await ws.sync();
  },
};

const binary3 = [[4], [2], [3], [9], [0x34, 1], []].map((bytes) => ({
  name: `binary: the frame [${bytes}] over WebSocket 3`,
  async play(s) {
    const ws = await s.ws({ v: 3 });
    ws.binary(bytes);
    await ws.sync();
  },
}));

export const binary = [
  inAllWays("binary", rows, { only: ["WebSocket 4", "WebSocket 3", "polling 4"] }),
  unfinished,
  early,
  frames,
  frames3,
  binary3,
].flat();
