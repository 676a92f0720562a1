// Plays every script against Node's socket.io and against another server with the same application, and compares what
// came back: node differential/run.mjs --server "<command>" [--only TEXT] [--jobs N] [--list] [--verbose]
//
// Without differences the two transcripts are equal line by line; differences.mjs lists the few that are meant. After
// the scripts, selftest.mjs lets the reference lie, and each lie must turn its script red.

import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { Canary } from "./canary.mjs";
import { differences } from "./differences.mjs";
import { report } from "./report.mjs";
import { Play } from "./script.mjs";
import { scripts } from "./scripts/index.mjs";
import { lies } from "./selftest.mjs";
import { Server, codecs, kinds, timed } from "./servers.mjs";

const NODE = `node ${fileURLToPath(new URL("../reference.mjs", import.meta.url))}`;

const { values: flags } = parseArgs({
  options: {
    server: { type: "string" },
    only: { type: "string", default: "" },
    jobs: { type: "string", default: "12" },
    list: { type: "boolean", default: false },
    verbose: { type: "boolean", default: false },
  },
});
if (!flags.server && !flags.list) {
  console.error('usage: --server "<command>" [--only TEXT] [--jobs N] [--list] [--verbose]');
  process.exit(2);
}

const chosen = scripts.filter(({ name }) => name.includes(flags.only));
if (flags.list) {
  for (const { name } of chosen) console.log(name);
  process.exit(0);
}

/** How often what waits for timers is played again on a machine that stands still now and then. */
const AGAIN = 10;

const began = Date.now();
let passed = 0;
let failed = 0;

/** One more thing that went well, or an account of what did not. */
function count(account) {
  if (account === undefined) return void passed++;
  failed++;
  console.log(account);
}

/** What a script has to say about two servers; undefined: they are equal, but for the differences listed. */
async function compare(script, node, other, lie = (line) => line) {
  const [expected, seen] = await Promise.all([node.play(Play, script), other.play(Play, script)]);
  return report(script.name, expected, seen.map(lie), differences);
}

/** As `compare`, but what differs while something stood still is played again, as another script. */
async function steady(script, node, other, canary) {
  for (let again = 0; ; again++) {
    const began = performance.now();
    const account = await compare(again ? { ...script, number: node.next() } : script, node, other);
    if (!account || again === AGAIN || !canary?.stoodStillSince(began)) return account;
  }
}

/** All scripts for servers with the same flags. */
async function playKind(kind, jobs) {
  const queue = chosen.filter((script) => script.server === kind);
  const codec = codecs[kind] ?? codecs.json;
  const [node, other] = await Promise.all(
    [NODE, flags.server].map((command) => Server.start(command, kinds[kind], codec)),
  );
  const canary = timed.includes(kind) ? new Canary([node, other]) : undefined;
  const worker = async () => {
    for (let script; (script = queue.shift());) {
      const from = Date.now();
      count(
        await steady(script, node, other, canary).catch((error) => `FAILED ${script.name}: ${error.stack}`),
      );
      if (flags.verbose) console.log(`${script.name}: ${Date.now() - from} ms`);
    }
  };
  await Promise.all(Array.from({ length: jobs }, worker));
  await canary?.stop();
  for (const server of [node, other])
    await server.stop().catch((error) => count(`FAILED ${kind}: ${error.message}`));
}

/** Each lie of the reference must be found. */
async function selfTest() {
  const node = await Server.start(NODE, kinds.plain, codecs.json);
  const liar = await Server.start(NODE, kinds.plain, codecs.json);
  for (const { name, lie, play } of lies) {
    const script = { name: `self-test: ${name}`, play, number: 0 };
    const honest = await compare({ ...script, number: liar.next() }, node, liar);
    const found = await compare({ ...script, number: liar.next() }, node, liar, lie);
    if (honest) count(`FAILED ${script.name}: red without the lie\n${honest}`);
    else count(found ? undefined : `FAILED ${script.name}: nobody noticed`);
  }
  await Promise.all([node.stop(), liar.stop()]);
}

const wanted = Object.keys(kinds).filter((kind) => chosen.some((script) => script.server === kind));
await Promise.all(wanted.filter((kind) => timed.includes(kind)).map((kind) => playKind(kind, 50)));
const waiting = wanted.filter((kind) => !timed.includes(kind));
const lane = async () => {
  for (let kind; (kind = waiting.shift());) await playKind(kind, Number(flags.jobs));
};
await Promise.all([lane(), lane(), lane()]);
if (!flags.only) {
  await selfTest();
  for (const { name, met } of differences)
    if (!met) count(`FAILED difference "${name}": no script meets it any more; remove it`);
}

console.log(`took ${((Date.now() - began) / 1000).toFixed(1)} s`);
console.log(`${passed} passed, ${failed} failed, 0 skipped`);
process.exit(failed > 0 || passed === 0 ? 1 : 0);
