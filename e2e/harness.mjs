// What both runners share: the server as a child process, the pool that runs cells, and the report.

import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";

/** The command line: --server "<command>" (required), --only <text> (cells whose name contains it), --jobs N, --list. */
export function options(jobs) {
  const { values } = parseArgs({
    options: {
      server: { type: "string" },
      only: { type: "string", default: "" },
      jobs: { type: "string", default: String(jobs) },
      list: { type: "boolean", default: false },
      verbose: { type: "boolean", default: false },
    },
  });
  if (!values.server && !values.list) {
    console.error(
      'usage: --server "<command that prints: listening on 127.0.0.1:PORT>" [--only TEXT] [--jobs N] [--list] [--verbose]',
    );
    process.exit(2);
  }
  return values;
}

/** Starts the server with more flags and waits until it listens: {url, alive(), stop()}. The latter two throw if
 *  it ended by itself, stop() also if it ends badly. */
export async function start(command, flags) {
  // exec: the shell becomes the server, so that the signal reaches it.
  const child = spawn("/bin/sh", ["-c", `exec ${command} ${flags}`], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const ended = new Promise((resolve) => child.on("exit", (code, signal) => resolve(code ?? signal)));
  const alive = () => {
    const status = child.exitCode ?? child.signalCode;
    if (status !== null) throw new Error(`the server ended by itself: ${status}`);
  };
  const stop = async () => {
    alive();
    child.kill("SIGTERM");
    // The clients have gone: there is nothing to wait for.
    const timer = setTimeout(() => child.kill("SIGKILL"), 5_000);
    const status = await ended;
    clearTimeout(timer);
    if (status === "SIGKILL") throw new Error("the server did not end within 5 s of SIGTERM");
    if (status !== 0) throw new Error(`the server ended with ${status} after SIGTERM`);
  };
  const listening = new Promise((resolve) => {
    createInterface({ input: child.stdout }).on("line", (line) => {
      const [, address] = /^listening on (127\.0\.0\.1:\d+)$/.exec(line) ?? [];
      if (address) resolve(address);
    });
  });
  const failed = ended.then((status) =>
    Promise.reject(new Error(`the server ended before it listened: ${status}`)),
  );
  failed.catch(() => {});
  const patience = setTimeout(() => child.kill("SIGKILL"), 60_000);
  const address = await Promise.race([listening, failed]).finally(() => clearTimeout(patience));
  return { url: `http://${address}`, alive, stop };
}

/** Runs all cells of a table, those of one server after those of another, and reports. `run(cell, url)` rejects when
 *  its cell fails; `flags` go to every server. Returns the exit status. */
export async function runAll(table, { server, only, jobs, list, verbose }, run, flags = "") {
  const chosen = table.filter(({ name }) => name.includes(only));
  const cells = chosen.filter(({ without }) => !without);
  reportMissing(chosen);
  if (list) return (cells.forEach(({ name }) => console.log(name)), 0);

  const began = Date.now();
  const passed = new Set();
  const failed = new Set();
  for (const kind of new Set(cells.map((cell) => cell.server))) {
    const queue = cells.filter((cell) => cell.server === kind);
    const { url, alive, stop } = await start(server, `${kind} ${flags}`);
    const worker = async () => {
      for (let cell; (cell = queue.shift());) {
        const from = Date.now();
        try {
          alive();
          await run(cell, url);
          passed.add(cell.name);
        } catch (error) {
          failed.add(cell.name);
          console.log(`FAILED ${cell.name}: ${error?.message ?? error}`);
          if (verbose) console.log(error?.stack);
        }
        if (verbose) console.log(`${cell.name}: ${Date.now() - from} ms`);
      }
    };
    await Promise.all(Array.from({ length: Number(jobs) }, worker));
    await stop().catch((error) => {
      failed.add(`server ${kind}`);
      console.log(`FAILED server ${kind}: ${error.message}`);
    });
  }

  const forgotten = cells.filter(({ name }) => !passed.has(name) && !failed.has(name));
  for (const { name } of forgotten) console.log(`NOT RUN ${name}`);
  const empty = cells.length === 0;
  if (empty) console.log("NOT RUN: no cell was chosen");
  console.log(`took ${((Date.now() - began) / 1000).toFixed(1)} s`);
  console.log(`${passed.size} passed, ${failed.size + forgotten.length} failed, 0 skipped`);
  return failed.size + forgotten.length > 0 || empty ? 1 : 0;
}

// One line for each reason why cells of the product cannot exist.
function reportMissing(table) {
  const byReason = new Map();
  for (const { without } of table) if (without) byReason.set(without, (byReason.get(without) ?? 0) + 1);
  for (const [reason, n] of byReason) console.log(`${n} cells do not exist: ${reason}`);
}
