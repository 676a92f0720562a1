// From polling to WebSocket, as it should be and as it should not.

const ECHO = '42["echo",1]';

/** A polling session and a candidate for it. */
async function candidate(s, { v = 4, join = true } = {}) {
  const a = await s.polling({ v, join });
  const ws = await s.ws({ v, sid: a.sid, who: "b" });
  return [a, ws];
}

/** The whole upgrade; the polling side has nothing more to say. */
async function upgraded(s, options) {
  const [a, ws] = await candidate(s, options);
  ws.text("2probe");
  await ws.recv();
  ws.text("5");
  a.left = true;
  return [a, ws];
}

/** What a candidate says first: [name, what] */
const firsts = [
  ["a message", (ws) => ws.text(ECHO)],
  ["a ping", (ws) => ws.text("2")],
  ["a ping with other data", (ws) => ws.text("2hello")],
  ["a pong", (ws) => ws.text("3probe")],
  ["a noop", (ws) => ws.text("6")],
  ["a close", (ws) => ws.text("1")],
  ["an open", (ws) => ws.text("0")],
  ["nothing in a frame", (ws) => ws.text("")],
  ["garbage", (ws) => ws.text("x")],
  ["bytes", (ws) => ws.binary([1, 2, 3])],
  ["a close frame", (ws) => ws.frame(8, "")],
  ["a bad frame", (ws) => ws.frame(3, "")],
  ["no mask", (ws) => ws.frame(1, "2probe", { masked: false })],
  ["a probe and a message", (ws) => ws.text("2probe", ECHO)],
  ["a probe and a noop", (ws) => ws.text("2probe", "6")],
  ["a probe and garbage", (ws) => ws.text("2probe", "x")],
  ["a probe and a close frame", (ws) => (ws.text("2probe"), ws.frame(8, ""))],
].flatMap(([name, send]) =>
  [4, 3].map((v) => ({
    name: `upgrade ${v}: a candidate that begins with ${name}`,
    async play(s) {
      const [a, ws] = await candidate(s, { v });
      ws.tcp.together(() => send(ws));
      await ws.closed();
      await a.emit(ECHO);
      await a.next();
    },
  })),
);

const both = [4, 3].flatMap((v) => [
  {
    name: `upgrade ${v}: as it should be`,
    async play(s) {
      const [, ws] = await upgraded(s, { v });
      ws.text(ECHO);
      await ws.recv();
      await ws.sync();
    },
  },
  {
    name: `upgrade ${v}: while a GET waits`,
    async play(s) {
      const a = await s.polling({ v, join: true });
      const get = await a.waiting();
      const ws = await s.ws({ v, sid: a.sid, who: "b" });
      ws.text("2probe");
      await ws.recv();
      await get.answer();
      ws.text("5", ECHO);
      a.left = true;
      await ws.recv();
      await ws.sync();
    },
  },
  {
    name: `upgrade ${v}: GETs are answered until it is over`,
    async play(s) {
      const [a, ws] = await candidate(s, { v });
      ws.text("2probe");
      await ws.recv();
      await a.get();
      await a.get();
      await a.emit(ECHO);
      await a.next();
      ws.text("5");
      a.left = true;
      await ws.sync();
    },
  },
  {
    name: `upgrade ${v}: bare`,
    async play(s) {
      const [a, ws] = await candidate(s, { v });
      ws.text("5");
      a.left = true;
      ws.text(ECHO);
      await ws.recv();
      await ws.sync();
    },
  },
  {
    name: `upgrade ${v}: two probes`,
    async play(s) {
      const [a, ws] = await candidate(s, { v });
      ws.text("2probe");
      await ws.recv();
      ws.text("2probe");
      await ws.recv();
      ws.text("5", ECHO);
      a.left = true;
      await ws.recv();
    },
  },
  {
    name: `upgrade ${v}: a second 5`,
    async play(s) {
      const [, ws] = await upgraded(s, { v });
      ws.text("5");
      ws.text("2probe");
      await ws.sync();
    },
  },
  {
    name: `upgrade ${v}: with packets that wait`,
    async play(s) {
      const [a, ws] = await candidate(s, { v });
      await a.emit('42["burst",12]');
      ws.text("2probe");
      await ws.recv();
      ws.text("5");
      a.left = true;
      await ws.recv(14);
      await ws.sync();
    },
  },
  {
    name: `upgrade ${v}: polling afterwards`,
    async play(s) {
      const [a, ws] = await upgraded(s, { v });
      await ws.sync();
      await a.get();
      await a.emit(ECHO);
      await ws.sync();
    },
  },
  {
    name: `upgrade ${v}: a second candidate beside the first`,
    async play(s) {
      const [a, ws] = await candidate(s, { v });
      ws.text("2probe");
      await ws.recv();
      const other = await s.ws({ v, sid: a.sid, who: "c" });
      await other.closed();
      ws.text("5", ECHO);
      a.left = true;
      await ws.recv();
    },
  },
  {
    name: `upgrade ${v}: a second candidate afterwards`,
    async play(s) {
      const [a, ws] = await upgraded(s, { v });
      await ws.sync();
      const other = await s.ws({ v, sid: a.sid, who: "c" });
      await other.closed();
      await ws.sync();
    },
  },
  {
    name: `upgrade ${v}: a second candidate once the first is gone`,
    async play(s) {
      const [a, ws] = await candidate(s, { v });
      ws.text("x");
      await ws.closed();
      const other = await s.ws({ v, sid: a.sid, who: "c" });
      other.text("2probe");
      await other.recv();
      other.text("5", ECHO);
      a.left = true;
      await other.recv();
    },
  },
  {
    name: `upgrade ${v}: a session that is a WebSocket already`,
    server: "hasty",
    async play(s) {
      const ws = await s.ws({ v, join: true });
      const other = await s.ws({ v, sid: ws.sid, who: "b" });
      await other.closed();
      await ws.sync();
    },
  },
  {
    name: `upgrade ${v}: too slow`,
    server: "hasty",
    async play(s) {
      const [a, ws] = await candidate(s, { v });
      ws.text("2probe");
      await ws.recv();
      await ws.closed();
      await a.emit(ECHO);
      await a.next();
    },
  },
  {
    name: `upgrade ${v}: without a word`,
    server: "hasty",
    async play(s) {
      const [a, ws] = await candidate(s, { v });
      await ws.closed();
      await a.emit(ECHO);
      await a.next();
    },
  },
  {
    name: `upgrade ${v}: where none are allowed`,
    server: "noUpgrades",
    async play(s) {
      const [a, ws] = await candidate(s, { v });
      await ws.closed();
      await a.emit(ECHO);
      await a.next();
    },
  },
  {
    name: `upgrade ${v}: the session ends meanwhile`,
    async play(s) {
      const [a, ws] = await candidate(s, { v });
      ws.text("2probe");
      await ws.recv();
      await a.emit("1");
      await ws.closed();
      await a.get();
    },
  },
  {
    name: `upgrade ${v}: the server ends the session meanwhile`,
    async play(s) {
      const [a, ws] = await candidate(s, { v });
      ws.text("2probe");
      await ws.recv();
      await a.emit('42["disconnect_me",true]');
      ws.text("5");
      a.left = true;
      await ws.closed();
    },
  },
  {
    name: `upgrade ${v}: the server has ended the session`,
    async play(s) {
      const a = await s.polling({ v, join: true });
      await a.emit('42["disconnect_me",true]');
      const ws = await s.ws({ v, sid: a.sid, who: "b" });
      ws.text("2probe");
      await ws.recv();
      ws.text("5");
      a.left = true;
      await ws.closed();
    },
  },
  {
    name: `upgrade ${v}: another protocol`,
    async play(s) {
      const a = await s.polling({ v, join: true });
      await s.wsAt(`EIO=${7 - v}&transport=websocket&sid=${a.sid}`, { who: "b" });
      await a.sync();
    },
  },
  {
    name: `upgrade ${v}: before CONNECT`,
    async play(s) {
      const [, ws] = await upgraded(s, { v, join: v === 3 });
      await ws.join(v === 4 ? "" : "/chat");
      await ws.sync();
    },
  },
  {
    name: `upgrade ${v}: the end afterwards`,
    async play(s) {
      const [a, ws] = await upgraded(s, { v });
      await ws.sync();
      await ws.gone();
      await s.ended("a");
      await a.get();
    },
  },
]);

/** A probe where there is nothing to upgrade. */
const inVain = [4, 3].flatMap((v) => [
  {
    name: `upgrade ${v}: a probe where none are allowed`,
    server: "noUpgrades",
    async play(s) {
      const [a, ws] = await candidate(s, { v });
      ws.text("2probe");
      await ws.closed();
      await a.emit(ECHO);
      await a.next();
    },
  },
  {
    name: `upgrade ${v}: a probe for a session that is a WebSocket already`,
    server: "hasty",
    async play(s) {
      const ws = await s.ws({ v, join: true });
      const other = await s.ws({ v, sid: ws.sid, who: "b" });
      other.text("2probe");
      await other.closed();
      await ws.sync();
    },
  },
]);

const toPolling = {
  name: "upgrade: to polling",
  async play(s) {
    const a = await s.polling({ join: true });
    const ws = await s.wsAt(`EIO=4&transport=polling&sid=${a.sid}`, { who: "b" });
    if (ws.open) await ws.closed();
    await a.sync();
  },
};

export const upgrade = [firsts, both, inVain, toPolling].flat();
