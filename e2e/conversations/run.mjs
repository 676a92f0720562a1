// Plays random conversations against Node's socket.io and against another server with the same application, and compares
// what clients and applications saw:
// node conversations/run.mjs --server "<command>" [--seconds N | --count N] [--seed N] [--replay JSON] [--jobs N] [--verbose]
//
// Each conversation is made of one seed, which is printed with what differs, together with the smallest conversation
// that still does. Without flags a fixed list of seeds is played, and then some that nobody has played before.

import { randomInt } from "node:crypto";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { Pair } from "./pair.mjs";
import { generate } from "./generate.mjs";
import { found, seeds } from "./seeds.mjs";
import { selfTest } from "./selftest.mjs";
import { shrink } from "./shrink.mjs";

const { values: flags } = parseArgs({
  options: {
    server: { type: "string" },
    seconds: { type: "string" },
    count: { type: "string" },
    seed: { type: "string" },
    replay: { type: "string" },
    jobs: { type: "string", default: "12" },
    verbose: { type: "boolean", default: false },
  },
});
if (!flags.server) {
  console.error(
    'usage: --server "<command>" [--seconds N | --count N] [--seed N] [--replay JSON] [--jobs N] [--verbose]',
  );
  process.exit(2);
}

/** How many differences are shrunk before it is enough. */
const ENOUGH = 5;

/** After how many a long run says that it goes on. */
const NEWS = 500;

const REFERENCE = `node ${fileURLToPath(new URL("../reference.mjs", import.meta.url))}`;
const began = Date.now();
let passed = 0;
let failed = 0;

/** The conversations: {name, conversation} */
function* conversations() {
  if (flags.replay) return yield { name: "the replay", conversation: JSON.parse(flags.replay) };
  const one = (seed) => ({ name: `seed ${seed}`, conversation: generate(seed) });
  if (flags.seed && !flags.count && !flags.seconds) return yield one(flags.seed);
  if (!flags.seed) yield* found;
  if (!flags.seed && !flags.count && !flags.seconds) for (const seed of seeds) yield one(seed);
  const first = flags.seed ? Number(flags.seed) : randomInt(2 ** 40);
  console.log(`seeds from ${first}`);
  const until = flags.seconds ? began + 1000 * flags.seconds : Infinity;
  const count = flags.count ?? (flags.seconds ? Infinity : 240);
  for (let n = 0; n < count && Date.now() < until; n++) yield one(first + n);
}

const pair = await Pair.start(["plain", "msgpack"], REFERENCE, flags.server);
const queue = conversations();
const worker = async () => {
  for (let next; failed < ENOUGH && !(next = queue.next()).done;) {
    const { name, conversation } = next.value;
    const from = Date.now();
    const account = await pair.compare(conversation);
    if (flags.verbose) console.log(`${name}: ${Date.now() - from} ms`);
    if (!account) {
      passed++;
      if (passed % NEWS === 0) console.log(`${passed} passed so far`);
      continue;
    }
    failed++;
    const differs = (one) => pair.compare(one);
    const again = await differs(conversation);
    if (!again) console.log(`FAILED ${name}, though not when played again\n${account}`);
    if (again && flags.replay) console.log(account);
    if (!again || flags.replay) continue;
    const smallest = await shrink(conversation, differs);
    console.log(`FAILED ${name}; the smallest that differs:\n${(await differs(smallest)) ?? account}`);
    const quoted = JSON.stringify(smallest).replaceAll("'", "'\\''");
    console.log(`node conversations/run.mjs --server '${flags.server}' --replay '${quoted}'`);
  }
};
await Promise.all(Array.from({ length: Number(flags.jobs) }, worker));
await pair.stop().catch((error) => {
  failed++;
  console.log(`FAILED ${error.message}`);
});
if (!flags.seed && !flags.replay) {
  for (const account of await selfTest(REFERENCE)) {
    if (account) (failed++, console.log(`FAILED ${account}`));
    else passed++;
  }
}

console.log(`took ${((Date.now() - began) / 1000).toFixed(1)} s`);
console.log(`${passed} passed, ${failed} failed, 0 skipped`);
process.exit(failed > 0 || passed === 0 ? 1 : 0);
