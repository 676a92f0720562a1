// Two servers of each kind, with the same application, and what a conversation with both comes to.

import { report } from "../differential/report.mjs";
import { Play } from "../differential/script.mjs";
import { Server, codecs, kinds } from "../differential/servers.mjs";
import { script } from "./player.mjs";

/** The application's own time limits are 5 s and more, so a play that took longer than this says nothing: it is repeated,
 *  but no more often than AGAIN. */
const PROMPT = 4_000;
const AGAIN = 3;

export class Pair {
  #servers = new Map(); // kind -> [server, server]
  #number = 1_000_000;

  static async start(kindsOf, ...commands) {
    const pair = new Pair();
    for (const kind of kindsOf)
      pair.#servers.set(
        kind,
        await Promise.all(
          commands.map((command) => Server.start(command, kinds[kind], codecs[kind] ?? codecs.json)),
        ),
      );
    return pair;
  }

  /** Undefined if both say the same, else the account. */
  async compare(conversation) {
    for (let again = 0; ; again++) {
      const number = this.#number++;
      const from = Date.now();
      const servers = this.#servers.get(conversation.server);
      const plays = servers.map((server) => server.play(Play, { play: script(conversation), number }));
      const [expected, seen] = await Promise.all(plays);
      for (const server of servers) server.forget(number);
      const account = report("", expected, seen, []);
      if (!account || again === AGAIN || Date.now() - from < PROMPT) return account;
    }
  }

  /** Handlers that wait for acks hold a server up for as long as these may take. */
  async stop() {
    await Promise.all([...this.#servers.values()].flat().map((server) => server.stop(15_000)));
  }
}
