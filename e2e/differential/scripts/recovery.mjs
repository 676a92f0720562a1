// Connection state recovery: what a client that comes back with its private id and an offset is given.

/** A socket in a namespace of the script's own that has heard one event: {pid, offset, to}. */
async function heard(s) {
  const ws = await s.ws();
  const to = (packet) => `42${s.nsp},${packet}`;
  ws.text(`40${s.nsp},`);
  const pid = /"pid":"([^"]+)"/.exec((await ws.recv()).toString())[1];
  ws.text(to(`1["join","${s.room}"]`));
  await ws.recv();
  ws.text(to('["echo","first"]'));
  // The name of the offset must be known before its line is shown.
  const offset = await offsetOf(s, ws);
  return { ws, pid, offset, to };
}

async function offsetOf(s, ws) {
  const before = s.lines.length;
  const text = (await ws.recv()).toString();
  const offset = /,"([^"]*)"\]$/.exec(text)?.[1] ?? "none";
  s.lines[before] = s.lines[before].replaceAll(offset, "<offset>");
  s.name(offset, "<offset>");
  return offset;
}

/** What the client says when it comes back: [name, (pid, offset) => auth] */
const rows = [
  ["as it should be", (pid, offset) => ({ pid, offset })],
  ["with more auth", (pid, offset) => ({ pid, offset, token: "x" })],
  ["without its offset", (pid) => ({ pid })],
  ["without its private id", (_, offset) => ({ offset })],
  ["with an unknown private id", (_, offset) => ({ pid: "unknown", offset })],
  ["with an unknown offset", (pid) => ({ pid, offset: "unknown" })],
  ["with a number as its offset", (pid) => ({ pid, offset: 1 })],
  ["with an empty offset", (pid) => ({ pid, offset: "" })],
  ["with null as its private id", (_, offset) => ({ pid: null, offset })],
].map(([name, auth]) => ({
  name: `recovery: a client comes back ${name}`,
  server: "recovery",
  async play(s) {
    const { ws, pid, offset, to } = await heard(s);
    await ws.gone();
    await s.ended("a");
    const back = await s.ws({ who: "b" });
    back.text(`40${s.nsp},${JSON.stringify(auth(pid, offset))}`);
    await back.recv();
    back.text(to('2["join","~z"]'));
    await back.recv();
    await back.sync();
  },
}));

const missed = {
  name: "recovery: what was missed comes first",
  server: "recovery",
  async play(s) {
    const { ws, pid, offset, to } = await heard(s);
    const other = await s.ws({ who: "c" });
    other.text(`40${s.nsp},`);
    await other.recv();
    await ws.gone();
    await s.ended("a");
    other.text(to(`1["room_send","${s.room}","missed"]`), to('2["room_send","elsewhere","not for it"]'));
    await other.recv(2);
    const back = await s.ws({ who: "b" });
    back.text(`40${s.nsp},${JSON.stringify({ pid, offset })}`);
    await offsetOf(s, back);
    await back.recv();
    await back.sync();
  },
};

const left = {
  name: "recovery: a client that has left comes back",
  server: "recovery",
  async play(s) {
    const { ws, pid, offset } = await heard(s);
    ws.text(`41${s.nsp},`);
    await ws.sync();
    await ws.gone();
    const back = await s.ws({ who: "b" });
    back.text(`40${s.nsp},${JSON.stringify({ pid, offset })}`);
    await back.recv();
    await back.sync();
  },
};

const offsets = {
  name: "recovery: which packets have an offset",
  server: "recovery",
  async play(s) {
    const { ws, to } = await heard(s);
    ws.text(to('7["echo_ack","x"]'));
    await ws.recv();
    ws.text(to('["call_me","q"]'));
    await ws.recv();
    ws.text(`43${s.nsp},0[]`);
    await offsetOf(s, ws);
  },
};

export const recovery = [rows, missed, left, offsets].flat();
