// The API against its own document: schemathesis asks whatever the document allows, and what it does not.
//
//   PYTHONPATH=<its packages> node standalone/openapi.mjs --server <the program `patio`> --python PYTHON

import { spawn } from "node:child_process";
import { once } from "node:events";
import { parseArgs } from "node:util";
import { KEY, start } from "./server.mjs";

const { values: flags } = parseArgs({
  options: { server: { type: "string" }, python: { type: "string" }, examples: { type: "string", default: "100" } },
});
const server = await start(flags.server);
// It has no module that runs, only a script.
const words = ["-c", "from schemathesis.cli import schemathesis; schemathesis()", "run", `${server.url}/api/openapi.json`, "--header", `Authorization: Bearer ${KEY}`];
words.push("--max-examples", flags.examples, "--seed", String(Math.floor(Math.random() * 2 ** 31)), "--no-color");
const child = spawn(flags.python, words, { stdio: ["ignore", "pipe", "inherit"] });
let said = "";
child.stdout.on("data", (text) => (said += text));
const [code] = await once(child, "exit");
const [, cases] = said.match(/(\d+) generated/) ?? [];
const alive = (await server.api("GET", "/health/live")).body.live;
await server.end("SIGKILL");
if (code !== 0 || !cases || !alive) {
  console.log(said);
  console.log("0 passed, 1 failed, 0 skipped");
  process.exit(1);
}
console.log(`${cases} requests`);
console.log("1 passed, 0 failed, 0 skipped");
