// Rooms and broadcasts: three clients, of both transports, in a namespace of the script's own.

/** Three clients; a and b are in the room. */
async function three(s, v) {
  const a = await s.ws({ v, who: "a" });
  const b = await s.polling({ v, who: "b" });
  if (v === 3) await b.next();
  const c = await s.ws({ v, who: "c" });
  for (const one of [a, b, c]) await one.join(s.nsp);
  const to = (packet) => `42${s.nsp},${packet}`;
  a.text(to(`1["join","${s.room}"]`));
  await a.recv();
  await b.emit(to(`1["join","${s.room}"]`));
  await b.next();
  return [a, b, c, to];
}

/** Who sends what; everybody shows what came. */
const sends = [
  ["to a room", (s) => `2["room_send","${s.room}",1,{"a":[2]}]`],
  ["to two rooms", (s) => `2["room_send",["${s.room}","${s.room}-other"],1]`],
  ["to the same room twice", (s) => `2["room_send",["${s.room}","${s.room}"],1]`],
  ["to a room that is empty", (s) => `2["room_send","${s.room}-empty",1]`],
  ["to a room without arguments", (s) => `2["room_send","${s.room}"]`],
  ["to a room, but not to the room", (s) => `2["room_except","${s.room}","${s.room}",1]`],
  ["to a room, but not to another", (s) => `2["room_except","${s.room}","${s.room}-other",1]`],
  ["by a socket", (s) => `2["socket_send","${s.room}",1]`],
  ["by a socket to an empty room", (s) => `2["socket_send","${s.room}-empty",1]`],
  ["to everybody else", () => '2["broadcast_send",1]'],
  ["to no room at all", () => '2["room_send",[],1]'],
  ["to the room of the empty name", () => '2["room_send","",1]'],
  ["who is there", (s) => `2["sockets_in","${s.room}"]`],
  ["who is nowhere", (s) => `2["sockets_in","${s.room}-empty"]`],
  ["joining twice", (s) => `2["join","${s.room}"]`],
  ["leaving", (s) => `2["leave","${s.room}"]`],
  ["leaving what was not joined", (s) => `2["leave","${s.room}-other"]`],
  ["joining the room of the empty name", () => '2["join",""]'],
].flatMap(([name, packet]) =>
  [4, 3].map((v) => ({
    name: `rooms ${v}: ${name}`,
    async play(s) {
      const [a, b, c, to] = await three(s, v);
      a.text(to(packet(s)));
      // Whoever sends has the answer last.
      await a.sync();
      await b.sync();
      await c.sync();
    },
  })),
);

const bytes = [4, 3].map((v) => ({
  name: `rooms ${v}: bytes to a room`,
  async play(s) {
    const [a, b, c] = await three(s, v);
    a.text(`451-${s.nsp},2["room_send","${s.room}",{"_placeholder":true,"num":0}]`);
    a.bytes([1, 2, 3]);
    await a.sync();
    await b.sync();
    await c.sync();
  },
}));

const answers = [4, 3].map((v) => ({
  name: `rooms ${v}: answers of a room`,
  async play(s) {
    const [a, b, c, to] = await three(s, v);
    c.text(to(`2["room_ask","${s.room}","x"]`));
    await a.recv();
    await b.next();
    a.text(`43${s.nsp},0["a"]`);
    await b.emit(`43${s.nsp},0["b"]`);
    await c.recv();
    // A third answer, and one twice, are too many.
    c.text(`43${s.nsp},0["c"]`);
    a.text(`43${s.nsp},0["a"]`);
    await a.sync();
    await c.sync();
  },
}));

const leaving = [4, 3].map((v) => ({
  name: `rooms ${v}: who has left hears nothing`,
  async play(s) {
    const [a, b, c, to] = await three(s, v);
    a.text(`41${s.nsp},`);
    await a.sync();
    c.text(to(`2["room_send","${s.room}",1]`));
    await c.sync();
    await a.sync();
    await b.sync();
    await b.emit("1");
    c.text(to(`3["room_send","${s.room}",2]`), to(`4["sockets_in","${s.room}"]`));
    await c.sync();
  },
}));

const reasons = {
  name: "rooms 4: a socket's rooms when it ends",
  async play(s) {
    const [a, , c, to] = await three(s, 4);
    a.text(to('3["whoami"]'));
    const id = /"id":"([^"]+)"/.exec((await a.recv()).toString())[1];
    a.text(`41${s.nsp},`);
    await a.sync();
    c.text(to(`4["reasons","${id}"]`));
    await c.recv();
  },
};

export const rooms = [sends, bytes, answers, leaving, reasons].flat();
