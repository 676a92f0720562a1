// The table of all cells: client × transport × check, once with the default parser and once with MessagePack,
// and again (a part of it) in the browser. `cells()` gives every one of the product, either to run or with
// the reason why it cannot exist; the runner prints the reasons and fails if a cell of the table was not run.

import * as checks from "./checks.mjs";

export const CLIENTS = ["1.7.4", "2.5.0", "3.1.3", "4.8.4"];
export const TRANSPORTS = ["polling", "websocket", "upgrade"];
export const CHECKS = Object.keys(checks);

// Which server a check needs; all cells of one server share its process.
const RECOVERY = new Set(["recovery"]);

const WITHOUT = {
  recovery: "connection state recovery came with client 4.6",
  msgpack: "socket.io-msgpack-parser 3 speaks protocol 5: clients 3 and 4",
};

/** Every cell of the Node table: {name, number, client, transport, check, parser, server} or {name, without: reason}. */
export function nodeCells() {
  return product([undefined, "msgpack"], CLIENTS, CHECKS, ({ parser, client, check }) => {
    if (parser && client < "3") return WITHOUT.msgpack;
    if (RECOVERY.has(check) && client !== "4.8.4") return WITHOUT.recovery;
  });
}

/** The part of the table that is repeated in a browser: there binary, polling and WebSocket are other code. */
export function browserCells() {
  const checks = [
    "text",
    "binary",
    "acks_to_client",
    "acks_to_server",
    "namespaces",
    "rooms",
    "reconnection",
    "big",
    "order",
  ];
  return product([undefined, "msgpack"], ["2.5.0", "4.8.4"], checks, ({ parser, client }) => {
    if (parser && client < "3") return WITHOUT.msgpack;
  });
}

function product(parsers, clients, checks, reason) {
  const cells = [];
  for (const parser of parsers)
    for (const client of clients)
      for (const transport of TRANSPORTS)
        for (const check of checks) {
          const name = [client, transport, parser, check].filter(Boolean).join(" ");
          const without = reason({ parser, client, check });
          const server = [parser && "--msgpack", RECOVERY.has(check) && "--recovery"]
            .filter(Boolean)
            .join(" ");
          cells.push(
            without
              ? { name, without }
              : { name, number: cells.length, client, transport, check, parser, server },
          );
        }
  return cells;
}
