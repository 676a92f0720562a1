// Makes a conversation of a seed: what up to three clients do, one after the other, as [client, what, …arguments].
//
// Most of it is what a client would do. Some is nearly that: an ack that nobody asked for, an attachment too few, a
// packet with a byte that is wrong. The player leaves out what is not possible, so what is here need not be exact.

import { meets, meetsPacked } from "./avoid.mjs";
import { decode } from "../differential/servers.mjs";
import { bytes, wire } from "./packets.mjs";
import { Random } from "./random.mjs";

const OWN = "/dyn-@";
const OTHER = "/dyn-0@";

export function generate(seed) {
  const random = new Random(seed);
  const maker = new Maker(random, random.chance(0.15) ? "msgpack" : "plain");
  const actions = [];
  for (let left = 4 + random.below(18); left > 0; left--) actions.push(...maker.next());
  return { server: maker.server, actions };
}

/** What the generator believes of a client. */
class Peer {
  state = "new"; // or open, or over
  v = 4;
  ws = false;
  joined = []; // namespaces
  rooms = []; // [namespace, room]
  owes = []; // attachments

  constructor(who) {
    this.who = who;
  }
}

class Maker {
  asked = 0; // acks that the server waits for, counted in the conversation's own namespace, as it does

  constructor(random, server) {
    Object.assign(this, { random, server, msgpack: server === "msgpack" });
    this.peers = ["a", "b", "c"]
      .slice(
        0,
        random.weighted([
          [4, 1],
          [3, 2],
          [2, 3],
        ]),
      )
      .map((who) => new Peer(who));
  }

  /** The next actions. */
  next() {
    const { random } = this;
    const peer = random.pick(this.peers);
    if (peer.state !== "open") return this.open(peer);
    if (peer.v === 4 && peer.joined.length === 0 && random.chance(0.8)) return [this.connect(peer)];
    if (peer.owes.length > 0 && random.chance(0.6)) return [this.say(peer, peer.owes.shift())];
    const make = random.weighted([
      [10, () => [this.connect(peer)]],
      [40, () => [this.events(peer)]],
      [8, () => [this.ack(peer)]],
      [8, () => [this.late(peer)]],
      [6, () => [this.leave(peer)]],
      [6, () => [[peer.who, "hear"]]],
      [peer.ws ? 0 : 10, () => [[peer.who, "hold"]]],
      [peer.ws ? 0 : 18, () => this.upgrade(peer)],
      [5, () => [this.engine(peer)]],
      [8, () => [this.spoilt(peer)]],
      [3, () => [this.garbage(peer)]],
      [peer.ws || peer.v === 4 ? 0 : 4, () => [this.body(peer)]],
      [peer.joined.includes(OWN) ? 2 : 0, () => [this.tooLate(peer)]],
      [peer.ws ? 5 : 0, () => [this.frame(peer)]],
      [5, () => this.end(peer)],
    ]);
    return make();
  }

  say(peer, ...packets) {
    return [peer.who, "say", ...packets];
  }

  open(peer) {
    const { random } = this;
    if (peer.state === "over" && !peer.ws && random.chance(0.2)) return [[peer.who, "knock"]];
    if (peer.state === "over" && random.chance(0.1)) return [this.say(peer, this.event(peer))];
    const v = random.chance(0.3) ? 3 : 4;
    Object.assign(peer, new Peer(peer.who), { state: "open", v, ws: random.chance(0.5) });
    if (v === 3) peer.joined.push("/");
    return [[peer.who, "open", v, peer.ws ? "websocket" : "polling"]];
  }

  /** A packet in the form of the server's parser. */
  packet(type, nsp, { id, data } = {}) {
    if (this.msgpack)
      return { m: { type, ...(data !== undefined && { data }), nsp, ...(id !== undefined && { id }) } };
    const name = nsp === "/" ? (this.random.chance(0.1) ? "/," : "") : `${nsp},`;
    return `4${type}${name}${id ?? ""}${data === undefined ? "" : JSON.stringify(data)}`;
  }

  connect(peer) {
    const { random } = this;
    const auth = random.chance(0.2) && peer.v === 4 ? { data: { a: 1 } } : {};
    const token = peer.v === 4 ? [["/admin", { data: { token: "secret" } }]] : [["/admin?token=secret", {}]];
    const [nsp, more] = random.weighted([
      [10, [OWN, auth]],
      [6, ["/", auth]],
      [3, ["/chat", auth]],
      [2, [OTHER, auth]],
      [2, token[0]],
      [1, ["/admin", peer.v === 4 ? { data: { token: "wrong" } } : {}]],
      [1, ["/unknown", auth]],
      [1, ["/dyn-x", {}]],
    ]);
    const fine = [OWN, OTHER, "/", "/chat"].includes(nsp) || more === token[0][1];
    const again = peer.joined.includes(nsp.split("?")[0]);
    // Seldom a second time: that ends the connection.
    if (again && random.chance(0.8)) return this.events(peer);
    if (again) this.over(peer);
    else if (fine) peer.joined.push(nsp.split("?")[0]);
    return this.say(peer, this.packet(0, nsp, more));
  }

  nsp(peer) {
    if (peer.joined.length === 0 || this.random.chance(0.02)) return this.random.pick([OWN, "/", "/chat"]);
    return peer.joined.includes(OWN) && this.random.chance(0.7) ? OWN : this.random.pick(peer.joined);
  }

  /** One event or several at once. */
  events(peer) {
    const packets = [];
    for (
      let n = this.random.weighted([
        [5, 1],
        [3, 2],
        [2, 3],
        [1, 4],
      ]);
      n > 0;
      n--
    ) {
      const nsp = this.nsp(peer);
      if (!this.msgpack && this.random.chance(0.2)) packets.push(...this.binary(nsp));
      else packets.push(this.event(peer, nsp));
    }
    return this.say(peer, ...packets);
  }

  event(peer, nsp = this.nsp(peer)) {
    const { random } = this;
    const room = random.pick(["~@", "~@", "~@", "~@2"]);
    const id = random.below(20);
    // Others are in those namespaces: what counts or reaches everybody is said in the conversation's own.
    const alone = nsp === OWN || nsp === OTHER;
    const asks = (data) => {
      if (nsp === OWN) this.asked++;
      return { data };
    };
    const made = random.weighted([
      [8, () => ({ data: ["echo", ...this.values()] })],
      [6, () => ({ id, data: ["echo_ack", ...this.values()] })],
      [1, () => ({ id, data: ["echo", 1] })],
      [1, () => ({ data: ["echo_ack", 1] })],
      [8, () => (peer.rooms.push([nsp, room]), { id, data: ["join", room] })],
      [6, () => ({ id, data: ["leave", peer.rooms.findLast(([of]) => of === nsp)?.[1] ?? room] })],
      [
        6,
        () => ({
          id,
          data: ["room_send", random.pick([room, [room], ["~@", "~@2"], ["~@", "~@"]]), ...this.values()],
        }),
      ],
      [3, () => ({ id, data: ["room_except", room, random.pick(["~@", "~@2"]), 1] })],
      [4, () => ({ id, data: ["socket_send", room, ...this.values()] })],
      [alone ? 4 : 0, () => ({ id, data: ["broadcast_send", ...this.values()] })],
      [alone ? 6 : 0, () => asks(["call_me", random.pick(["p", "q"]), ...this.values()])],
      [alone ? 3 : 0, () => ({ id, ...asks(["room_ask", room, "x"]) })],
      [3, () => ({ id, data: ["sockets_in", room] })],
      [3, () => ({ id, data: ["whoami"] })],
      [2, () => ({ data: ["burst", random.below(13)] })],
      [2, () => ({ data: ["big", random.below(100), random.pick(["text", "binary"])] })],
      [1, () => ({ data: ["unknown", 1] })],
      [1, () => ({ id, data: ["unknown"] })],
      [1, () => this.left(peer, nsp, { data: ["disconnect_me", false] })],
      [1, () => (this.over(peer), { data: ["disconnect_me", true] })],
      [1, () => (this.over(peer), { data: ["kill_transport"] })],
      [1, () => ({ id, data: [random.pick(["burst", "big", "disconnect_me"]), ...this.values()] })],
      [1, () => ({ id, data: [random.pick(["join", "leave"]), random.pick([1, null, {}, ["~@"]])] })],
      [1, () => ({ id, data: [random.pick(["room_send", "socket_send"]), random.pick([1, null, {}, [1]])] })],
    ])();
    return this.packet(2, nsp, made);
  }

  eventBut(not, peer) {
    for (;;) {
      const event = this.event(peer);
      if (!not.test(JSON.stringify(event).replaceAll("\\", ""))) return event;
    }
  }

  left(peer, nsp, made) {
    peer.joined = peer.joined.filter((one) => one !== nsp);
    return made;
  }

  over(peer) {
    peer.state = "over";
  }

  values() {
    const { random } = this;
    const value = () =>
      random.weighted([
        [6, random.below(10)],
        [2, random.pick(["", "two", "é", "😀", "x".repeat(40)])],
        [1, random.pick([null, true, false, -1, 1.5, 1234567890123])],
        [1, random.pick([[], {}, [[1], { a: [2] }], { b: 1, a: "x" }])],
        [this.msgpack ? 2 : 0, random.pick([{ $: "AQID" }, [{ $: "" }], { k: { $: "AA==" } }])],
      ]);
    return Array.from(
      {
        length: random.weighted([
          [2, 0],
          [5, 1],
          [2, 2],
          [1, 3],
        ]),
      },
      value,
    );
  }

  /** An event with attachments, and these; nearly always all of them. */
  binary(nsp, type = 5, id = "") {
    const { random } = this;
    const count = 1 + random.below(3);
    const places = Array.from({ length: count }, (_, num) => ({ _placeholder: true, num }));
    if (random.chance(0.08))
      places[random.below(count)] = random.pick([
        ...[
          { _placeholder: true, num: count },
          { _placeholder: true, num: -1 },
          { _placeholder: true, num: "0" },
        ],
        ...[{ _placeholder: true }, { _placeholder: 1, num: 0 }, { _placeholder: false, num: 0 }, 7],
      ]);
    if (random.chance(0.2)) places.reverse();
    const name = type === 5 ? [random.pick(["echo", "echo", "echo_ack", "unknown"])] : [];
    const named = nsp === "/" ? "" : `${nsp},`;
    const text = `4${type}${count}-${named}${name[0] === "echo_ack" ? random.below(20) : id}${JSON.stringify([...name, ...places])}`;
    return [
      text,
      ...places.map(() => bytes(...Array.from({ length: random.below(4) }, () => random.below(256)))),
    ];
  }

  /** An event whose attachments come later, or never. */
  late(peer) {
    if (this.msgpack) return this.events(peer);
    const [text, ...attachments] = this.binary(this.nsp(peer));
    peer.owes = attachments;
    if (this.random.chance(0.15)) peer.owes.splice(this.random.below(peer.owes.length), 0, this.event(peer));
    return this.say(peer, text);
  }

  /** An ack that the server waits for, or waited for, or never did. */
  ack(peer) {
    const { random } = this;
    const nsp = random.chance(0.9) ? OWN : this.nsp(peer);
    const id = random.weighted([
      [8, random.below(Math.max(this.asked, 1))],
      [2, this.asked],
      [1, random.pick([999, 4294967296])],
    ]);
    if (!this.msgpack && random.chance(0.15)) return this.say(peer, ...this.binary(nsp, 6, id));
    const answer = random.chance(0.5) ? [random.pick(["yes", "no"])] : this.values();
    const packets = [this.packet(3, nsp, { id, data: answer })];
    if (random.chance(0.15)) packets.push(this.packet(3, nsp, { id, data: ["again"] }));
    if (random.chance(0.2)) packets.push(this.event(peer));
    if (random.chance(0.1)) packets.unshift(this.event(peer));
    return this.say(peer, ...packets);
  }

  tooLate(peer) {
    const answer = this.packet(3, OWN, { id: this.asked++, data: ["late"] });
    return [peer.who, "late", OWN, this.random.below(20), answer];
  }

  leave(peer) {
    const nsp = this.nsp(peer);
    this.left(peer, nsp);
    return this.say(peer, this.packet(1, nsp));
  }

  upgrade(peer) {
    const { random, msgpack } = this;
    const { who } = peer;
    const event = () => this.event(peer);
    const then = () => (random.chance(0.3) && !msgpack ? [event()] : []);
    const step = random.weighted([
      [6, "all"],
      [2, "probe"],
      [1, "offer"],
      [2, "switch"],
      [1, "offers"],
      [1, "withdraw"],
    ]);
    const steps = {
      all: () => [
        [who, "probe"],
        ...(random.chance(0.3) ? [this.events(peer)] : []),
        [who, "switch", ...then()],
      ],
      probe: () => [[who, "probe"]],
      offer: () => [[who, "offer"]],
      switch: () => [[who, "switch", ...then()]],
      offers: () => [
        [
          who,
          "offers",
          ...random.pick([
            ["2"],
            ["2probe"],
            ["2probe", "6"],
            ["3probe"],
            ["6"],
            ["x"],
            ["1"],
            ["2probe", "x"],
            ["2hello"],
          ]),
        ],
      ],
      withdraw: () => [[who, "withdraw", random.chance(0.5)]],
    };
    if (step === "all" || step === "switch") peer.ws = true;
    return steps[step]();
  }

  /** Engine packets that are not messages. */
  engine(peer) {
    const packet = this.random.pick([
      ...[
        "3",
        "3",
        "3x",
        "6",
        "6",
        "5",
        "6x",
        "5x",
        "2",
        "2",
        "2hello",
        "2probe",
        "3probe",
        "1",
        "0",
        "4",
        "",
        "7",
        "x",
      ],
    ]);
    if (!/^[3-6]/.test(packet) && !(peer.v === 3 && /^2/.test(packet))) this.over(peer);
    return this.say(peer, packet);
  }

  /** A packet with a mistake of one letter. */
  spoilt(peer) {
    const { random } = this;
    const how = random.pick(["drop", "double", "change", "cut"]);
    if (this.msgpack) {
      const packet = random.chance(0.2) ? this.packet(0, OWN) : this.eventBut(/"join"/, peer);
      for (;;) {
        const spoilt = { ...packet, as: [how, random.below(200), random.below(256)] };
        if (!meetsPacked(decode(wire(spoilt, 1_000_000)), peer.v)) return this.say(peer, spoilt);
      }
    }
    for (;;) {
      // Rooms are listed in the order of their names, and ids are random: names begin with a ~.
      const packet = random.weighted([
        [6, () => this.eventBut(/"join"/, peer)],
        [2, () => this.binary(this.nsp(peer))[0]],
        [1, () => this.packet(0, OWN, { data: { a: 1 } })],
        [1, () => this.packet(1, this.nsp(peer))],
        [1, () => this.packet(3, OWN, { id: random.below(3), data: [1] })],
      ])();
      const at = random.below(packet.length);
      const odd = random.pick([...' "[]{}:,/-0123456789aé\\\u0000\u001f\n~#?%']);
      // The conversation's number stays whole, so that no other one is touched.
      if (packet[at] === "@" || (how === "double" && /[\ud800-\udfff]/.test(packet[at]))) continue;
      const middle = { drop: "", double: packet[at] + packet[at], change: odd, cut: "" }[how];
      const text = packet.slice(0, at) + middle + (how === "cut" ? "" : packet.slice(at + 1));
      if (/[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/.test(text)) continue;
      if (text.includes("\u001e") || meets(text, peer.v)) continue;
      return this.say(peer, text);
    }
  }

  garbage(peer) {
    const { random } = this;
    const letters = [...'0123456789[]{}",:-/ abe_\\'];
    for (;;) {
      const body = Array.from({ length: random.below(12) }, () => random.pick(letters)).join("");
      const text = random.pick(["4", "42", "45", "43", "40", ""]) + body;
      if (meets(text, peer.v)) continue;
      if (this.msgpack || random.chance(0.2))
        return this.say(peer, bytes(...Array.from({ length: random.below(6) }, () => random.below(256))));
      return this.say(peer, text);
    }
  }

  /** A payload of protocol 3 with a mistake in a length. */
  body(peer) {
    const { random } = this;
    for (;;) {
      const text = this.msgpack ? "6" : this.event(peer);
      const whole = `${text.replaceAll("@", "1".repeat(14)).length}:${text}`;
      const at = random.below(whole.indexOf(":") + 1);
      const middle = random.pick(["", whole[at] + whole[at], ...":0123456789-x"]);
      const body = whole.slice(0, at) + middle + whole.slice(at + 1);
      // What the length cuts off is a packet too, and must not meet a difference.
      const [, length, rest] = /^(\d*):(.*)$/s.exec(body) ?? [];
      if (length && length.length < 5 && rest) return [peer.who, "body", body];
      if (!/^\d*$/.test(length ?? "")) return [peer.who, "body", body];
    }
  }

  frame(peer) {
    const event = '42["echo",1]';
    const [opcode, body, odd] = this.random.pick([
      ...[
        [9, "x"],
        [9, ""],
        [10, "x"],
        [1, event, { fin: false }],
        [0, ""],
        [0, ""],
        [0, "x", { fin: false }],
      ],
      ...[
        [1, event, { masked: false }],
        [1, event, { rsv: 4 }],
        [3, ""],
        [9, "y", { fin: false }],
      ],
      // In protocol 3 bytes without a type are malformed, or not (the difference "malformed packets are errors").
      ...(peer.v === 4
        ? [
            [2, ""],
            [2, "4"],
          ]
        : []),
    ]);
    return [peer.who, "frame", opcode, body, ...(odd ? [odd] : [])];
  }

  end(peer) {
    const { random } = this;
    const { who, ws } = peer;
    this.over(peer);
    const event = '42["echo",1]';
    return [
      random.weighted([
        [3, [who, "gone"]],
        [3, [who, "close", ...(ws && random.chance(0.5) ? [random.pick([1000, 1001, 3000])] : [])]],
        [ws ? 0 : 1, [who, "overlap"]],
        [ws ? 0 : 1, [who, "twice", event]],
        [ws ? 0 : 1, [who, "half", event]],
      ]),
    ];
  }
}
