// The example backends, as a newcomer starts them, with real clients: node standalone/backends.mjs --server <the program `patio`>
// [--python PYTHON, with the packages of examples/backends/fastapi]

import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer } from "node:net";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { ok, same } from "../peer.mjs";
import { connect, until } from "./checks.mjs";
import { start } from "./server.mjs";

const { values: flags } = parseArgs({
  options: { server: { type: "string" }, python: { type: "string" }, verbose: { type: "boolean", default: false } },
});
const examples = fileURLToPath(new URL("../../examples/backends/", import.meta.url));
const backends = { Express: ["node", ["server.mjs"], "express"] };
if (flags.python) backends.FastAPI = [flags.python, ["main.py"], "fastapi"];

async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  await new Promise((closed) => server.close(closed));
  return port;
}

async function startBackend([program, args, folder], port, patio) {
  const env = { ...process.env, PORT: String(port), PATIO_URL: patio };
  const child = spawn(program, args, { cwd: examples + folder, env, stdio: ["ignore", "ignore", "pipe"] });
  await once(child, "spawn");
  let log = "";
  child.stderr.on("data", (text) => (log += text));
  await until(async () => {
    ok(child.exitCode === null, `it ended: ${log}`);
    return fetch(`http://127.0.0.1:${port}/token`).then(({ ok }) => ok, () => false);
  }, 60_000);
  return child;
}

const checks = {
  async "a message goes to the backend and to all"({ ann, bob }) {
    same(await ann.ask("chat:say", "hello"), { number: 1 }, "the answer");
    same(await bob.next("message"), [{ from: "ann", text: "hello", number: 1 }], "what bob got");
    same(await bob.ask("chat:say", "é €"), { number: 2 }, "the second");
    same(await ann.next("message", 2), [{ from: "bob", text: "é €", number: 2 }], "what ann got");
  },
  async "the backend tells one user"({ ann, bob, url }) {
    const options = { method: "POST", headers: { "content-type": "application/json" }, body: '{"order":7}' };
    const answer = await fetch(`${url}/notify/ann`, options);
    same([answer.status, await answer.json()], [200, { ok: true }], "its answer");
    same(await ann.next("notice"), [{ order: 7 }], "what ann got");
    await ann.ask("chat:say", "behind");
    await bob.next("message", 3);
    same(bob.got("notice"), [], "what bob got");
  },
  async "who types is relayed"({ ann, bob }) {
    ann.socket.emit("typing", "ann");
    same(await bob.next("typing"), ["ann"], "what bob got");
  },
  async "a forged hook is refused"({ url }) {
    const body = JSON.stringify({ type: "event", user: "mallory", args: ["x"] });
    const headers = { "content-type": "application/json", "webhook-id": "msg_1", "webhook-timestamp": String(Math.floor(Date.now() / 1000)), "webhook-signature": "v1,AAAA" };
    same((await fetch(`${url}/patio/event`, { method: "POST", headers, body })).status, 401, "its status");
  },
  async "there is a page"({ url }) {
    const page = await (await fetch(url)).text();
    ok(page.includes("Patio and a backend"), "its title");
  },
  async "without the backend clients hear that"({ ann, backend }) {
    backend.kill("SIGKILL");
    await once(backend, "exit");
    same((await ann.ask("chat:say", "x")).error.code, "hook_failed", "the answer");
  },
};

let [passed, failed] = [0, 0];
for (const [name, commands] of Object.entries(backends)) {
  const port = await freePort();
  const configuration = readFileSync(`${examples}patio.toml`, "utf8").replaceAll(":8000/", `:${port}/`).replace(":3000", ":0");
  const server = await start(flags.server, [], configuration);
  const backend = await startBackend(commands, port, server.url);
  const url = `http://127.0.0.1:${port}`;
  const enter = async (user) => {
    const auth = async (tell) => tell({ token: await (await fetch(`${url}/token?user=${user}`)).text() });
    return connect(server, {}, { auth });
  };
  const at = { url, server, backend, ann: await enter("ann"), bob: await enter("bob") };
  for (const [what, check] of Object.entries(checks))
    try {
      await check(at);
      passed++;
    } catch (error) {
      failed++;
      console.log(`FAILED ${name}: ${what}: ${flags.verbose ? error.stack : error.message}`);
    }
  at.ann.close();
  at.bob.close();
  backend.kill("SIGKILL");
  await server.end("SIGKILL");
}
console.log(`${passed} passed, ${failed} failed, 0 skipped`);
process.exit(failed > 0 || passed === 0 ? 1 : 0);
