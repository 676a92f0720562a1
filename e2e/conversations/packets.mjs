// Packets as a conversation holds them, and what the player must know of them.
//
// A string is an engine packet as it is, `{"b": "base64"}` is a binary message, and `{"m": {…}}` a packet of the
// MessagePack parser, in which `{"$": "base64"}` stands for bytes and `"as"` says how its encoding is spoilt. An @ in
// any of them becomes a number that no other conversation has: namespaces are `/dyn-@`, rooms `~@`.

import { encode } from "../differential/servers.mjs";

export const bytes = (...all) => ({ b: Buffer.from(all).toString("base64") });

/** The number of a conversation is written twice, so that no mistake of one letter makes another's of it. */
export const own = (text, number) => text.replaceAll("@", `${number}${number}`);

/** What is sent: a string or a buffer. */
export function wire(packet, number) {
  if (typeof packet === "string") return own(packet, number);
  if (packet.b !== undefined) return Buffer.from(packet.b, "base64");
  const plain = JSON.parse(own(JSON.stringify(packet.m), number), (_, value) =>
    typeof value?.$ === "string" ? Buffer.from(value.$, "base64") : value,
  );
  const encoded = encode(plain);
  return packet.as ? spoil(encoded, packet.as) : encoded;
}

/** One byte is dropped, doubled or another, or the rest is missing. */
export function spoil(whole, [how, at, other]) {
  at %= whole.length;
  const [before, after] = [whole.subarray(0, at), whole.subarray(at + 1)];
  const middle = { drop: [], double: [whole[at], whole[at]], change: [other], cut: [] }[how];
  return Buffer.concat([before, Buffer.from(middle), how === "cut" ? Buffer.alloc(0) : after]);
}

const EVENT = /^4([2356])(?:(?<=[56])(\d+)-)?(?:(\/[^,]*),)?\d{0,15}(\[.*\])$/s;

/** {type, nsp, data, count}, if it is an event or an ack that nobody can mistake. */
export function parse(packet) {
  if (packet.m) {
    const { type, nsp, data } = packet.m;
    const fine = (type === 2 || type === 3) && Array.isArray(data) && !packet.as;
    return fine ? { type, nsp, data, count: 0 } : undefined;
  }
  const [, digit, count, nsp = "/", json] = (typeof packet === "string" && EVENT.exec(packet)) || [];
  if (!digit || digit > 3 !== (count !== undefined)) return undefined;
  let data;
  try {
    data = JSON.parse(json);
  } catch {
    return undefined;
  }
  const type = digit > 3 ? digit - 3 : Number(digit);
  return { type, nsp, data, count: Number(count ?? 0) };
}

/** Whether each placeholder of an event or an ack stands for an attachment. */
const isWhole = ({ data, count }) =>
  (JSON.stringify(data).match(/"_placeholder":.*?}/g) ?? []).every(
    (place) => /^"_placeholder":true,"num":\d+}$/.test(place) && Number(/\d+/.exec(place)) < count,
  );

/** Whether a packet, of a client that owes attachments, surely ends nothing. */
export function isSound(packet, owed) {
  if (packet.b !== undefined) return owed > 0;
  const parsed = parse(packet);
  if (owed > 0 || !parsed || !isWhole(parsed) || parsed.count > 10) return false;
  return parsed.type === 3 || (typeof parsed.data[0] === "string" && parsed.data[0] !== "kill_transport");
}

/** Handlers that answer in a later turn: in Node they would come behind the answers to what stands behind them, if the
 *  network did not cut between. And what ends more than itself. */
const LAST = /^(disconnect_me|sockets_in|room_ask)$/;

/** Whether packets may leave in one piece. Node reads all that comes in one piece before it does any of it, so one that
 *  is bad, or for a namespace that is not joined, would undo those before it; Patio does them one by one (the difference
 *  "packets are done one by one"). Acks leave without events: in Node they overtake those before them, and what waited
 *  for them goes on before or behind those after them, as the application is written. */
export function fitTogether(packets, isJoined) {
  const types = new Set();
  let owed = 0;
  for (const [at, packet] of packets.entries()) {
    const parsed = parse(packet);
    if (!isSound(packet, owed) || (parsed && !isJoined(parsed.nsp))) return false;
    if (!parsed) {
      owed--;
      continue;
    }
    if (LAST.test(parsed.data[0]) && at < packets.length - 1) return false;
    types.add(parsed.type);
    owed = parsed.count;
  }
  return owed === 0 && types.size === 1;
}
