// Long-polling: what is posted and polled, in which form, at what time, and who gives up.

import { BINARY, FORM, RS, payload } from "../script.mjs";

const TEXT = { "content-type": "text/plain;charset=UTF-8" };
const ECHO = '42["echo",1]';

/** Bodies of one POST: [name, protocol, body, headers, server] */
const bodies = [
  ["nothing", 4, ""],
  ["a separator", 4, RS],
  ["an event", 4, ECHO],
  ["two events", 4, [ECHO, '42["echo",2]'].join(RS)],
  ["a separator at the end", 4, ECHO + RS],
  ["a separator at the beginning", 4, RS + ECHO],
  ["two separators", 4, [ECHO, "", ECHO].join(RS)],
  ["a bad packet in the middle", 4, [ECHO, "x", '42["echo",2]'].join(RS)],
  ["a bad packet at the end", 4, [ECHO, "x"].join(RS)],
  ["a bad message in the middle", 4, [ECHO, "42[", '42["echo",2]'].join(RS)],
  ["UTF-8", 4, '42["echo","é😀"]'],
  ["UTF-8 that is none", 4, Buffer.from([...Buffer.from('42["echo","'), 0xff, ...Buffer.from('"]')])],
  ["a close at the end", 4, [ECHO, "1"].join(RS)],
  ["an event after a close", 4, ["1", ECHO].join(RS)],
  ["protocol 3's form", 4, payload(3, ECHO)],
  ["no content type", 4, ECHO, {}],
  ["the content type of JSON", 4, ECHO, { "content-type": "application/json" }],
  ["the content type of a form", 4, ECHO, { "content-type": FORM }],
  ["the content type of bytes", 4, ECHO, { "content-type": BINARY }],
  ["the content type of bytes and more", 4, ECHO, { "content-type": `${BINARY}; x=1` }],
  ["the content type of bytes in upper case", 4, ECHO, { "content-type": BINARY.toUpperCase() }],
  ["chunks", 4, '5\r\n42["e\r\n7\r\ncho",1]\r\n0\r\n\r\n', { ...TEXT, "transfer-encoding": "chunked" }],
  ["a thousand events", 4, Array(1000).fill('42["unknown"]').join(RS)],
  ["nothing", 3, ""],
  ["an event", 3, payload(3, ECHO)],
  ["two events", 3, payload(3, ECHO, '42["echo",2]')],
  ["an empty packet", 3, "0:"],
  ["an empty packet before", 3, `0:${payload(3, ECHO)}`],
  ["a length too short", 3, `11:${ECHO}`],
  ["a length too long", 3, `13:${ECHO}`],
  ["a length with a zero", 3, `012:${ECHO}`],
  ["a negative length", 3, `-1:${ECHO}`],
  ["a length with a fraction", 3, `12.0:${ECHO}`],
  ["a length that is no number", 3, `x:${ECHO}`],
  ["no length", 3, ECHO],
  ["no colon", 3, "12"],
  ["a colon", 3, ":"],
  ["an event and half a length", 3, `${payload(3, ECHO)}12`],
  ["an event and a packet too long", 3, `${payload(3, ECHO)}99:4`],
  ["letters of two units", 3, payload(3, '42["echo","😀é"]')],
  ["letters counted as bytes", 3, `${Buffer.byteLength('42["echo","é"]')}:42["echo","é"]`],
  ["protocol 4's form", 3, [ECHO, ECHO].join(RS)],
  ["a bad packet in the middle", 3, payload(3, ECHO, "x", '42["echo",2]')],
  ["base64", 3, payload(3, '451-["echo",{"_placeholder":true,"num":0}]', "b4AQID")],
  ["a length of 400 digits", 3, `${"1".repeat(400)}:4`],
];

const octets = (...packets) =>
  Buffer.concat(
    packets.map(([kind, data]) => {
      const body = Buffer.from(data);
      return Buffer.from([kind, ...[...String(body.length)].map(Number), 255, ...body]);
    }),
  );

/** Bodies of protocol 3 as bytes. */
const binaries = [
  ["a text", octets([0, ECHO])],
  ["two texts", octets([0, ECHO], [0, '42["echo",2]'])],
  ["UTF-8", octets([0, '42["echo","é😀"]'])],
  ["an attachment", octets([0, '451-["echo",{"_placeholder":true,"num":0}]'], [1, [4, 1, 2, 3]])],
  ["nothing", Buffer.alloc(0)],
  ["an empty text", octets([0, ""], [0, ECHO])],
  ["empty bytes", octets([1, []])],
  ["a kind 2", octets([2, ECHO])],
  ["a length too long", Buffer.from([0, 9, 9, 255, 0x34])],
  ["a digit of 10", Buffer.from([0, 10, 255, 0x34])],
  ["no end of the length", Buffer.from([0, 1, 2])],
  ["a length of 400 digits", Buffer.from([0, ...Array(400).fill(1), 255, 0x34])],
  ["bytes of type 9", octets([1, [9, 1]])],
  ["the form of texts", Buffer.from(payload(3, ECHO))],
];

const posts = [
  ...bodies.map(([name, v, body, headers]) => ({ name: `POST of protocol ${v}: ${name}`, v, body, headers })),
  ...binaries.map(([name, body]) => ({
    name: `POST of bytes: ${name}`,
    v: 3,
    body,
    headers: { "content-type": BINARY },
  })),
].map(({ name, v, body, headers = TEXT }) => ({
  name,
  async play(s) {
    const a = await s.polling({ v, join: true });
    await a.post(body, { headers });
    await a.sync();
  },
}));

const text = (n) => `42["echo","${"x".repeat(n - 13)}"]`;

/** Bodies against a limit of 1,000 bytes. */
const limits = [
  ["1000 bytes", (a) => a.post(text(1000))],
  ["1001 bytes", (a) => a.post(text(1001))],
  ["100 kB", (a) => a.post(text(100_000))],
  ["999 bytes of two units", (a) => a.post(`42["echo","${"é".repeat(493)}"]`)],
  ["1001 bytes of two units", (a) => a.post(`42["echo","${"é".repeat(493)}!!"]`)],
  [
    "1001 bytes in chunks",
    (a) =>
      a.post(`1f4\r\n${text(1001).slice(0, 500)}\r\n1f5\r\n${text(1001).slice(500)}\r\n0\r\n\r\n`, {
        headers: { ...TEXT, "transfer-encoding": "chunked" },
      }),
  ],
].map(([name, post]) => ({
  name: `limit over polling: ${name}`,
  server: "small",
  async play(s) {
    const a = await s.polling({ join: true });
    await post(a);
    await a.sync();
  },
}));

const both = [4, 3];

const overlaps = both.flatMap((v) => [
  {
    name: `two GETs at once, protocol ${v}`,
    async play(s) {
      const a = await s.polling({ v, join: true });
      const first = await a.waiting();
      await a.get();
      await first.answer();
      await a.get();
    },
  },
  {
    name: `two POSTs at once, protocol ${v}`,
    async play(s) {
      const a = await s.polling({ v, join: true });
      const first = a.send("", { headers: { ...TEXT, "content-length": "100", expect: "100-continue" } });
      // The server's word that the first has arrived.
      await first.tcp.take(
        (bytes) => bytes.includes("\r\n\r\n") && [bytes.indexOf("\r\n\r\n") + 4, true],
        "100",
      );
      await a.post(payload(v, ECHO));
      await a.get();
    },
  },
  {
    name: `a GET that is given up, protocol ${v}`,
    async play(s) {
      const a = await s.polling({ v, join: true });
      const get = await a.waiting();
      await get.abort();
      await s.ended();
      await a.get();
    },
  },
  {
    name: `a POST that is given up, protocol ${v}`,
    async play(s) {
      const a = await s.polling({ v, join: true });
      const post = a.send(payload(v, ECHO), { headers: { ...TEXT, "content-length": "100" } });
      await post.abort();
      await s.ended();
      await a.get();
    },
  },
  {
    name: `a close while a GET waits, protocol ${v}`,
    async play(s) {
      const a = await s.polling({ v, join: true });
      const get = await a.waiting();
      await a.emit("1");
      await get.answer();
      await a.get();
    },
  },
  {
    name: `a close of what the server has ended, protocol ${v}`,
    async play(s) {
      const a = await s.polling({ v, join: true });
      await a.emit('42["disconnect_me",true]');
      await a.post(payload(v, '42["echo",1]', "1"));
      await a.get();
    },
  },
  {
    name: `a close without a GET, protocol ${v}`,
    async play(s) {
      const a = await s.polling({ v, join: true });
      await a.emit("1");
      await a.get();
      await a.post(payload(v, ECHO));
    },
  },
  {
    name: `packets that wait for a GET, protocol ${v}`,
    async play(s) {
      const a = await s.polling({ v, join: true });
      await a.emit('42["burst",12]');
      await a.get();
      await a.sync();
    },
  },
  {
    name: `a disconnect by the server while a GET waits, protocol ${v}`,
    async play(s) {
      const a = await s.polling({ v, join: true });
      const get = await a.waiting();
      await a.emit('42["disconnect_me",true]');
      await get.answer();
      await a.get();
      await a.get();
    },
  },
  {
    name: `a disconnect by the server without a GET, protocol ${v}`,
    async play(s) {
      const a = await s.polling({ v, join: true });
      await a.emit('42["disconnect_me",true]');
      await a.get();
      await a.get();
      await a.get();
    },
  },
  {
    name: `a closed transport while a GET waits, protocol ${v}`,
    async play(s) {
      const a = await s.polling({ v, join: true });
      const get = await a.waiting();
      await a.emit('42["kill_transport"]');
      await get.answer();
      await a.get();
    },
  },
  {
    name: `a closed transport without a GET, protocol ${v}`,
    async play(s) {
      const a = await s.polling({ v, join: true });
      await a.emit('42["kill_transport"]');
      await a.get();
      await a.get();
    },
  },
  {
    name: `a bad message while a GET waits, protocol ${v}`,
    async play(s) {
      const a = await s.polling({ v, join: true });
      const get = await a.waiting();
      await a.emit("42[");
      await get.answer();
      await a.get();
    },
  },
  {
    name: `a bad packet while a GET waits, protocol ${v}`,
    async play(s) {
      const a = await s.polling({ v, join: true });
      const get = await a.waiting();
      await a.emit("x");
      await get.answer();
      await a.get();
    },
  },
  {
    name: `a packet for a namespace that is not joined while a GET waits, protocol ${v}`,
    async play(s) {
      const a = await s.polling({ v, join: true });
      const get = await a.waiting();
      await a.emit('42/chat,["echo"]');
      await get.answer();
      await a.get();
    },
  },
]);

/** [Accept-Encoding, length of the answer] */
const compressions = [
  ["gzip", 2000],
  ["deflate", 2000],
  ["gzip, deflate", 2000],
  ["deflate, gzip", 2000],
  ["gzip;q=0.5, deflate;q=0.8", 2000],
  ["gzip;q=0, deflate;q=0", 2000],
  ["br", 2000],
  ["identity", 2000],
  ["*", 2000],
  ["GZIP", 2000],
  ["x-gzip", 2000],
  ["", 2000],
  ["gzip", 1024 - 11],
  ["gzip", 1023 - 11],
].map(([accept, length]) => ({
  name: `compression: ${accept || "nothing"} of ${length}`,
  async play(s) {
    const a = await s.polling({ join: true });
    await a.emit(`42["big",${length},"text"]`);
    await a.get({ headers: { "accept-encoding": accept } });
  },
}));

const agents = {
  name: "polling: Internet Explorer posts and polls",
  async play(s) {
    const a = await s.polling({ join: true, headers: { "user-agent": "x;MSIE 9" } });
    await a.post(ECHO, { headers: { ...TEXT, "user-agent": "x;MSIE 9" } });
    await a.get();
  },
};

const base64 = {
  name: "polling: protocol 3 with b64",
  async play(s) {
    const a = await s.polling({ v: 3, query: "&b64=1", join: true });
    await a.emit('42["burst",3]');
    await a.get();
    await a.sync();
  },
};

const pipelined = {
  name: "polling: GET and POST on one connection",
  async play(s) {
    const a = await s.polling({ join: true });
    const on = s.tcp();
    await a.post(ECHO, { on });
    await a.get({ on });
    await a.post(ECHO, { on });
    await a.get({ on });
    const post = a.send(ECHO, { on });
    const get = a.poll({ on });
    await post.answer();
    await get.answer();
  },
};

export const polling = [posts, limits, overlaps, compressions, agents, base64, pipelined].flat();
