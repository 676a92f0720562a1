// The processes of a cluster: a redis-server of its own, and servers that are told what to do.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { Redis } from "ioredis";

/** A promise and what settles it. */
export function deferred() {
  const parts = {};
  parts.promise = new Promise((resolve, reject) => Object.assign(parts, { resolve, reject }));
  return parts;
}

/** Starts redis-server on a free port: {url, stop()}. */
export async function startRedis() {
  const free = createServer().listen(0, "127.0.0.1");
  await once(free, "listening");
  const { port } = free.address();
  await new Promise((closed) => free.close(closed));
  const folder = mkdtempSync(join(tmpdir(), "patio-redis-"));
  const flags = ["--bind", "127.0.0.1", "--port", port, "--save", "", "--dir", folder];
  const child = spawn("redis-server", flags.map(String), { stdio: ["ignore", "ignore", "inherit"] });
  await once(child, "spawn");
  const url = `redis://127.0.0.1:${port}`;
  const client = new Redis(url, { retryStrategy: () => 20, maxRetriesPerRequest: null });
  client.on("error", () => {}); // until it listens
  await client.ping();
  client.disconnect();
  const stop = async () => {
    child.kill();
    await once(child, "exit");
    rmSync(folder, { recursive: true });
  };
  return { url, stop };
}

/** A server of a cluster: {kind, url, heard, do(op, how), alive(), stop(), end(kill), freeze()}. */
export async function startServer(kind, command, args) {
  const child = spawn(command, args, { stdio: ["pipe", "pipe", "inherit"] });
  await once(child, "spawn");
  const waiting = new Map();
  const heard = [];
  let last = 0;
  const listening = deferred();
  createInterface({ input: child.stdout }).on("line", (text) => {
    const line = JSON.parse(text);
    if (line.listening) listening.resolve(line.listening);
    if (line.heard) heard.push(line.heard);
    const { resolve, reject } = waiting.get(line.id) ?? {};
    waiting.delete(line.id);
    if (line.error) reject?.(new Error(`${kind}: ${line.error}`));
    else resolve?.(line.result);
  });
  child.on("exit", (code, signal) => {
    const error = new Error(`the ${kind} server ended: ${code ?? signal}`);
    listening.reject(error);
    waiting.forEach(({ reject }) => reject(error));
  });
  listening.promise.catch(() => {});
  const port = await listening.promise;
  const act = (op, how = {}) => {
    const answer = deferred();
    waiting.set(++last, answer);
    child.stdin.write(JSON.stringify({ id: last, op, nsp: "/", ...how }) + "\n");
    return answer.promise;
  };
  const alive = () => child.exitCode === null && child.signalCode === null;
  const stop = async () => {
    if (!alive()) throw new Error(`the ${kind} server ended by itself: ${child.exitCode ?? child.signalCode}`);
    child.stdin.end();
    const timer = setTimeout(() => child.kill("SIGKILL"), 5_000);
    const [code, signal] = await once(child, "exit");
    clearTimeout(timer);
    if (signal) throw new Error(`the ${kind} server did not end: ${signal}`);
    if (code !== 0) throw new Error(`the ${kind} server ended with ${code}`);
  };
  /** Ends it before the others: as it should, or at once. */
  const end = async (kill) => {
    if (!kill) {
      await act("close");
      return stop();
    }
    child.kill("SIGKILL");
    await once(child, "exit");
  };
  /** Stops it, with all its threads: until the first of them has run, the others go on. */
  const freeze = async () => {
    child.kill("SIGSTOP");
    const tasks = `/proc/${child.pid}/task`;
    const state = (task) => readFileSync(`${tasks}/${task}/stat`, "utf8").match(/\) (.)/)[1];
    while (readdirSync(tasks).some((task) => state(task) !== "T")) await new Promise(setImmediate);
  };
  return { kind, url: `http://127.0.0.1:${port}`, heard, do: act, alive, stop, end, freeze };
}
