// The table of all cells: version of Node's adapter × who sends × whose clients or servers must get it × what is done.
// `cells()` gives every one of the product, either to run or with the reason why it cannot exist.

import * as checks from "./checks.mjs";
import { values } from "./values.mjs";
import { CLASSIC, RECOVERING, VERSIONS } from "./versions.mjs";

/** Two servers of each kind are in every cluster. */
export const KINDS = ["node", "patio"];

const EMITTERS = ["Patio's emitter", "redis-emitter 5.1", "socket.io-emitter 3.2"];

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
  ...["rooms", "servers", "sockets"].map((what) => ["count", what]),
];

const RETURNS = Object.keys(checks.returns).map((how) => ["recover", how]);

function without({ version, from, to, operation, argument }) {
  if (argument === "undefined" && ["patio", "Patio's emitter"].includes(from)) return "what Patio sends has null where Node has undefined";
  if (operation === "count" && argument === "sockets" && from === "node") return "Node cannot count sockets";
  if (operation === "recover" && to === "node" && argument.endsWith("while others emit")) return "Node loses what is sent at the moment of a return";
  if (operation === "count" && argument === "rooms" && !CLASSIC.includes(version)) return "Node's newer adapters cannot list the rooms of all";
  if (!EMITTERS.includes(from)) return;
  if (from !== "Patio's emitter" && !CLASSIC.includes(version)) return "this emitter knows only the classic adapter";
  if (from === "redis-emitter 5.1" && version === "7" && to === "node" && argument === "date" && operation === "value")
    return "notepack 2 of version 7 does not read the dates of redis-emitter 5";
  if (["ask", "acks", "consult", "fetch", "count"].includes(operation)) return "an emitter gets no answers";
  if (argument === "another socket's broadcast") return "an emitter has no sockets";
  if (from !== "socket.io-emitter 3.2") return;
  if (operation === "tell" || operation === "change") return "socket.io-emitter 3 only emits";
  if (argument === "all but a room") return "socket.io-emitter 3 has no except";
  if (argument === "uncompressed") return "socket.io-emitter 3 has no compress";
  if (["undefined", "date"].includes(argument)) return "notepack 2 of socket.io-emitter 3 is read by its own kind only";
}

export function cells() {
  const all = [];
  for (const version of VERSIONS)
    for (const from of RECOVERING.includes(version) ? KINDS : [...KINDS, ...EMITTERS])
      for (const to of KINDS)
        for (const [operation, argument] of RECOVERING.includes(version) ? RETURNS : TALK) {
          const name = `${version}: ${from} → ${to}: ${operation} ${argument}`;
          const cell = { name, version, from, to, operation, argument, number: all.length + 1 };
          all.push({ ...cell, without: without(cell) });
        }
  return all;
}
