// The table of all cells: version of Node's adapter × who sends × whose clients or servers must get it × what is done.
// `cells()` gives every one of the product, either to run or with the reason why it cannot exist.

import * as checks from "./checks.mjs";
import { values } from "./values.mjs";
import { CLASSIC, RECOVERING, VERSIONS } from "./versions.mjs";

/** Two servers of each kind are in every cluster. */
export const KINDS = ["node", "patio"];

/** socket.io-emitter 0.1 of PyPI. */
export const PYTHON = "Python's emitter";
const EMITTERS = ["Patio's emitter", "redis-emitter 5.1", "socket.io-emitter 3.2", PYTHON];

// Each operation is one function of checks.mjs with one argument.
const TALK = [
  ...Object.keys(checks.audiences).map((audience) => ["emit", audience]),
  ...Object.keys(values).map((value) => ["value", value]),
  ...Object.keys(values).map((value) => ["ask", value]),
  ...["everyone", "someone silent", "nobody there"].map((how) => ["acks", how]),
  ...Object.keys(values).map((value) => ["tell", value]),
  ...Object.keys(values).map((value) => ["consult", value]),
  ...["of the kind", "of a room"].map((how) => ["fetch", how]),
  ...["join and leave", "disconnect", "disconnect and close"].map((how) => ["change", how]),
  ...["one socket joins and leaves", "disconnect by id", "disconnect and close by id"].map((how) => ["change", how]),
  ...["sockets and their rooms", "custom requests"].map((what) => ["former", what]),
  ...["rooms", "servers", "sockets"].map((what) => ["count", what]),
  ["lose", "in a query"],
];

const RETURNS = Object.keys(checks.returns).map((how) => ["recover", how]);

function without({ version, from, to, operation, argument }, python) {
  if (argument === "undefined" && ["patio", "Patio's emitter"].includes(from)) return "what Patio sends has null where Node has undefined";
  if (operation === "count" && argument === "sockets" && from === "node" && version !== "5") return "Node cannot count sockets";
  if (operation === "former" && (version !== "5" || from !== "node")) return "only servers of socket.io-redis 5 ask so";
  if (version === "5") {
    if (["ask", "acks"].includes(operation)) return "socket.io-redis 5 has no broadcasts with acks";
    if (["tell", "consult"].includes(operation)) return "socket.io-redis 5 has no serverSideEmit";
    if (operation === "fetch") return "socket.io-redis 5 has no fetchSockets";
    if (argument === "all but a room") return "socket.io-redis 5 leaves out sockets, not the members of rooms";
    if (["join and leave", "disconnect", "disconnect and close"].includes(argument)) return "socket.io-redis 5 changes sockets by their ids only";
    if (argument === "servers" && from === "node") return "socket.io-redis 5 does not count servers";
    if (operation === "change" && from === "redis-emitter 5.1") return "redis-emitter 5 asks in the numbers of later versions";
    if (argument.includes("binary") && /^(redis|socket.io)-emitter/.test(from) && to === "node")
      return "socket.io-redis 5 makes JSON of the binary of other emitters";
  }
  if (version === "6") {
    if (["ask", "acks"].includes(operation)) return "socket.io-redis 6 has no broadcasts with acks";
    // Patio understands what an emitter says to servers, whatever the others are.
    if (["tell", "consult"].includes(operation) && !(from === "redis-emitter 5.1" && to === "patio"))
      return "socket.io-redis 6 has no serverSideEmit";
    if (argument === "servers" && from === "node") return "socket.io-redis 6 does not count servers";
    if (argument === "a number as a room" && to === "node") return "socket.io-redis 6 finds nobody in a room that is a number";
  }
  if (argument === "a number as a room" && ["patio", "Patio's emitter"].includes(from) && to === "node" && version !== "5")
    return "a room is text in Patio, and a number in Node is another room";
  if (operation === "lose") {
    if (from !== "patio") return "what becomes of a query of Node's or an emitter's is not ours to say";
    if (version === "5") return "socket.io-redis 5 has no fetchSockets";
    if (version === "streams 0.2") return "servers of streams 0.2 believe for 10 s that a silent one is there";
  }
  if (operation === "recover" && to === "node" && argument.endsWith("while others emit")) return "Node loses what is sent at the moment of a return";
  if (operation === "count" && argument === "rooms" && !CLASSIC.includes(version)) return "Node's newer adapters cannot list the rooms of all";
  if (!EMITTERS.includes(from)) return;
  if (from !== "Patio's emitter" && !CLASSIC.includes(version)) return "this emitter knows only the classic adapter";
  if (from === "redis-emitter 5.1" && ["7", "6", "5"].includes(version) && to === "node" && argument === "date" && operation === "value")
    return "notepack 2 of versions 7 to 5 does not read the dates of redis-emitter 5";
  if (["ask", "acks", "consult", "fetch", "count"].includes(operation)) return "an emitter gets no answers";
  if (argument === "another socket's broadcast") return "an emitter has no sockets";
  if (from === PYTHON) {
    if (!python) return "there is no Python 2.7 with its emitter";
    if (operation === "tell" || operation === "change") return "Python's emitter only emits";
    if (["all but a room", "volatile", "uncompressed"].includes(argument)) return "Python's emitter has no such flag";
    if (argument === "two rooms") return "Python's emitter publishes to each room what is for all of them";
    if (argument === "a number as a room") return "a room is text in Python's emitter";
    if (/binary|undefined|date/.test(argument)) return "Python's emitter has no such value";
  }
  if (from !== "socket.io-emitter 3.2") return;
  if (operation === "tell" || operation === "change") return "socket.io-emitter 3 only emits";
  if (argument === "all but a room") return "socket.io-emitter 3 has no except";
  if (argument === "uncompressed") return "socket.io-emitter 3 has no compress";
  if (["undefined", "date"].includes(argument)) return "notepack 2 of socket.io-emitter 3 is read by its own kind only";
}

/** All cells. `python`: whether there is its emitter. */
export function cells({ python }) {
  const all = [];
  for (const version of VERSIONS)
    for (const from of RECOVERING.includes(version) ? KINDS : [...KINDS, ...EMITTERS])
      for (const to of KINDS)
        for (const [operation, argument] of RECOVERING.includes(version) ? RETURNS : TALK) {
          const name = `${version}: ${from} → ${to}: ${operation} ${argument}`;
          const cell = { name, version, from, to, operation, argument, number: all.length + 1 };
          all.push({ ...cell, without: without(cell, python) });
        }
  return all;
}
