// The program `patio` with a configuration, and what a backend does with it: sign tokens, call the API.

import { execFile, spawn } from "node:child_process";
import { createHmac } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import { within } from "../peer.mjs";

const SECRET = "a secret that has thirty-two bytes";
export const KEY = "the key of the backend";
export const ADMIN_KEY = "the key of the operators";

/** Seconds since 1970, so many from now. */
export const inSeconds = (seconds) => Math.floor(Date.now() / 1000) + seconds;

/** A token that says `claims`, as any library for JWT makes it. */
export function token(claims, secret = SECRET) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const message = `${part({ alg: "HS256", typ: "JWT" })}.${part(claims)}`;
  return `${message}.${createHmac("sha256", secret).update(message).digest("base64url")}`;
}

/** Whose backend is asked about everything. */
export const withBackend = (url, secret) => `
listen = "127.0.0.1:0"
drain_seconds = 1

[hooks]
secrets = ["${secret}"]
timeout_ms = 1000
concurrency = 4

[hooks.connect]
url = "${url}/connect"
headers = ["X-Tenant"]

[hooks.disconnect]
url = "${url}/gone"

[[api_keys]]
key = "${KEY}"
scopes = ["publish", "query"]

[[rules]]
event = "chat:*"
action = "hook"
url = "${url}/chat"

[[rules]]
event = "typing"
action = "relay"
`;

/** Where whoever an identity provider has signed for is let in. */
export const withProvider = (url) => `
listen = "127.0.0.1:0"
[[auth.jwt.keys]]
algorithm = "RS256"
jwks_url = "${url}"
[[auth.jwt.keys]]
algorithm = "ES256"
jwks_url = "${url}"
`;

const CONFIGURATION = `
listen = "127.0.0.1:0"
namespaces = ["/", "/admin"]
public_rooms = ["*"]
drain_seconds = 1

[log]
level = "info"

[[auth.jwt.keys]]
algorithm = "HS256"
secret = "${SECRET}"

[[api_keys]]
key = "${KEY}"
scopes = ["publish", "query"]

[[api_keys]]
key = "${ADMIN_KEY}"
scopes = ["admin"]

[[rules]]
event = "cursor:*"
action = "relay"
rooms = ["board:*"]
max_bytes = 100

[[rules]]
event = "rare"
action = "relay"
events_per_second = 2

[[rules]]
event = "noise"
action = "drop"
`;

/** A server: {url, api(method, path, body), post(body), end(signal), log}. */
export async function start(program, flags = [], configuration = CONFIGURATION) {
  const folder = mkdtempSync(join(tmpdir(), "patio-standalone-"));
  const file = join(folder, "patio.toml");
  writeFileSync(file, configuration);
  const child = spawn(program, ["--config", file, ...flags], { stdio: ["ignore", "pipe", "pipe"] });
  await once(child, "spawn");
  const [log, printed] = [[], []];
  child.stderr.on("data", (text) => log.push(String(text)));
  const listening = new Promise((resolve, reject) => {
    createInterface({ input: child.stdout }).on("line", (line) => {
      printed.push(line);
      const [, address] = line.match(/^listening on (.*)$/) ?? [];
      if (address) resolve(`http://${address}`);
    });
    child.on("exit", (code) => reject(new Error(`patio ended with ${code}: ${log.join("")}`)));
  });
  const url = await within(listening, "address of the server");
  const api = async (method, path, body, key = KEY) => {
    const options = { method, headers: { authorization: `Bearer ${key}` } };
    if (body !== undefined) options.body = typeof body === "string" ? body : JSON.stringify(body);
    const answer = await fetch(url + path, options);
    return { status: answer.status, body: await answer.json() };
  };
  const post = async (operation) => (await api("POST", "/api", operation)).body;
  const end = async (signal = "SIGTERM") => {
    child.kill(signal);
    const [code] = child.exitCode === null && child.signalCode === null ? await within(once(child, "exit"), "end of the server") : [child.exitCode];
    rmSync(folder, { recursive: true, force: true });
    return code;
  };
  /** Runs a command beside it, with its configuration: what it prints. */
  const command = async (name, ...words) => {
    const run = promisify(execFile);
    const { stdout } = await run(program, [name, "--config", file, ...words]);
    return stdout.trim();
  };
  return { url, pid: child.pid, api, post, end, log, printed, command, ended: () => once(child, "exit") };
}
