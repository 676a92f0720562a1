// Runs the Node table against a server: node run.mjs --server "node reference.mjs" The four clients live in
// node_modules under aliases; see cells.mjs for the table and checks.mjs for the checks.

import { createRequire } from "node:module";
import { nodeCells } from "./cells.mjs";
import * as checks from "./checks.mjs";
import { options, runAll } from "./harness.mjs";
import { Cell } from "./peer.mjs";

// The old clients prefer a global WebSocket (newer Node has one), which knows no request headers: take `ws`
// from all.
delete globalThis.WebSocket;

const require = createRequire(import.meta.url);
const msgpack = require("socket.io-msgpack-parser");
const library = (client) => require(`socket.io-client-${client[0]}`);

async function run({ number, client, transport, parser, check }, url) {
  const cell = new Cell({
    ...{ number, client, transport, url },
    parser: parser && msgpack,
    tag: `cell-${number}`,
    io: library(client),
    Binary: "Buffer",
    headers: true,
  });
  try {
    await checks[check](cell);
  } catch (error) {
    cell.abandon();
    throw error;
  }
  await cell.finish();
}

process.exit(await runAll(nodeCells(), options(16), run));
