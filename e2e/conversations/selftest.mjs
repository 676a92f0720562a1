// Each lie of liar.mjs must be found, and the conversation that found it must become as small as one that somebody
// would have written by hand.

import { fileURLToPath } from "node:url";
import { generate } from "./generate.mjs";
import { Pair } from "./pair.mjs";
import { shrink } from "./shrink.mjs";

/** Each lie, and the seed from which on it is looked for: one that finds it, so that this is quick. After a change of the
 *  generator another one will. */
const LIES = { rooms: 5, acks: 27, upgrades: 42, attachments: 27 };
const LIAR = fileURLToPath(new URL("liar.mjs", import.meta.url));

/** How many conversations may pass before one finds a lie, and how many are played at once. */
const MOST = 400;
const TOGETHER = 4;

/** The most actions of what is left: enough to open, join and leave, and to say something. */
const FEW = 5;

/** An account for each lie: undefined if all went well. */
export const selfTest = (reference) =>
  Promise.all(Object.entries(LIES).map(([lie, seed]) => find(reference, lie, seed)));

async function find(reference, lie, seed) {
  const pair = await Pair.start(["plain"], reference, `env LIE=${lie} node ${LIAR}`);
  const differs = (conversation) => pair.compare(conversation);
  const account = await search(differs, seed);
  await pair.stop().catch(() => {});
  return account && `self-test: ${lie}: ${account}`;
}

async function search(differs, first) {
  for (let seed = first; seed < first + MOST; seed += TOGETHER) {
    const some = Array.from({ length: TOGETHER }, (_, n) => generate(seed + n)).filter(
      ({ server }) => server === "plain",
    );
    const accounts = await Promise.all(some.map(differs));
    const one = some.find((_, at) => accounts[at]);
    if (!one) continue;
    const smallest = await shrink(one, differs);
    if (!(await differs(smallest))) return "what was found does not differ when it is played again";
    if (smallest.actions.length <= FEW) return undefined;
    return `${smallest.actions.length} actions are left: ${JSON.stringify(smallest)}`;
  }
  return "nobody noticed";
}
