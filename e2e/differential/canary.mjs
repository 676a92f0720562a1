// Whether a machine was too busy for what waits for timers: a request that is refused at once goes to both servers every
// now and then, and what it took is noted. Where that was long, a server or the player itself stood still, and which of
// two things came first says nothing.

import { Tcp, parseAnswer } from "./wire.mjs";

/** Milliseconds between two requests, and the most that one may take: a third of the shortest time that scripts wait for
 *  between two things. */
const EVERY = 50;
const PROMPT = 250;

export class Canary {
  #slow = []; // [from, to] of what took too long
  #stopped = false;

  constructor(servers) {
    this.done = Promise.all(servers.map((server) => this.#watch(server)));
  }

  async #watch({ port }) {
    let tcp = new Tcp(port);
    while (!this.#stopped) {
      const from = performance.now();
      tcp.write("GET /socket.io/?EIO=4&transport=polling&sid=unknown HTTP/1.1\r\nhost: localhost\r\n\r\n");
      // None: it took too long, or so long between two that the server has ended the connection.
      const answer = await tcp.take(parseAnswer("GET"), "an answer").catch(() => undefined);
      await new Promise((resolve) => setTimeout(resolve, EVERY));
      const to = performance.now();
      if (!answer || to - from > EVERY + PROMPT) this.#slow.push([from, to]);
      if (!answer) {
        tcp.destroy();
        tcp = new Tcp(port);
      }
    }
    tcp.destroy();
  }

  /** Whether anything stood still since `begin`. */
  stoodStillSince(begin) {
    return this.#slow.some(([, to]) => to > begin);
  }

  async stop() {
    this.#stopped = true;
    await this.done;
  }
}
