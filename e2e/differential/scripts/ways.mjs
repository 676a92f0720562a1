// The ways in which the same packets travel: a table of packets becomes one script for each of them.

import { payload } from "../script.mjs";

/** Sessions that take `texts`, and byte arrays for messages that are not text, one after another. */
export const ways = {
  "WebSocket 4": { open: (s, options) => s.ws(options), send: overWebSocket },
  "WebSocket 3": { open: (s, options) => s.ws({ v: 3, ...options }), send: overWebSocket },
  "polling 4": { open: (s, options) => s.polling(options), send: overPolling },
  "polling 3": { open: (s, options) => s.polling({ v: 3, ...options }), send: overPolling },
};

function overWebSocket(ws, packets) {
  ws.tcp.together(() => {
    for (const packet of packets) {
      if (typeof packet === "string") ws.text(packet);
      else ws.bytes(packet);
    }
  });
}

// All in one payload, as above in one write: Node looks at what comes together before it does any of it.
// Here protocol 3 as text, with base64.
async function overPolling(polling, packets) {
  const type = polling.v === 4 ? "" : "4";
  const text = (packet) =>
    typeof packet === "string" ? packet : `b${type}${Buffer.from(packet).toString("base64")}`;
  await polling.post(payload(polling.v, ...packets.map(text)));
}

/** One script for each row [name, ...packets] and way. */
export function inAllWays(title, rows, { only = Object.keys(ways), join = true, ...more } = {}) {
  return rows.flatMap(([name, ...packets]) =>
    only.map((way) => ({
      name: `${title} over ${way}: ${name}`,
      async play(s) {
        const session = await ways[way].open(s, { join });
        await ways[way].send(session, packets);
        await session.sync();
      },
      ...more,
    })),
  );
}
