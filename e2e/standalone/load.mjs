// 10,000 clients in rooms of 10, and 1,000 publications a second to single rooms by the API: how long they take from the request
// to the client, what is lost, and what the server needs for it.
//
//   node standalone/load.mjs --server ../target/release/patio [--clients 10000] [--rate 1000] [--seconds 20]

import { Agent, request } from "node:http";
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { WebSocket } from "ws";
import { KEY, start } from "./server.mjs";

const { values: flags } = parseArgs({
  options: {
    server: { type: "string" },
    clients: { type: "string", default: "10000" },
    rate: { type: "string", default: "1000" },
    seconds: { type: "string", default: "20" },
  },
});
const [clients, rate, seconds] = [flags.clients, flags.rate, flags.seconds].map(Number);
const IN_ROOM = 10;

const configuration = `
listen = "127.0.0.1:0"
public_rooms = ["*"]
[[api_keys]]
key = "${KEY}"
scopes = ["publish"]
`;
const server = await start(flags.server, [], configuration);
const { port } = new URL(server.url);

const latencies = [];
let [joined, received] = [0, 0];
const open = (n) =>
  new Promise((resolve, reject) => {
    const localAddress = `127.0.0.${2 + (n % 100)}`;
    const socket = new WebSocket(`ws://127.0.0.1:${port}/socket.io/?EIO=4&transport=websocket`, { localAddress, perMessageDeflate: false });
    socket.on("error", reject);
    socket.on("message", (data) => {
      const packet = String(data);
      if (packet === "2") socket.send("3");
      else if (packet.startsWith("0")) socket.send("40");
      else if (packet.startsWith("40")) socket.send(`420["patio:join","room-${Math.floor(n / IN_ROOM)}"]`);
      else if (packet.startsWith("430")) resolve(joined++);
      else if (packet.startsWith("42")) {
        received++;
        latencies.push(performance.now() - JSON.parse(packet.slice(2))[1]);
      }
    });
  });
for (let n = 0; n < clients; n += 200) await Promise.all(Array.from({ length: Math.min(200, clients - n) }, (_, i) => open(n + i)));
console.log(`${joined} clients in ${clients / IN_ROOM} rooms`);

const agent = new Agent({ keepAlive: true, maxSockets: 32 });
let [sent, answered, failed] = [0, 0, 0];
const publish = () => {
  const room = `room-${Math.floor((Math.random() * clients) / IN_ROOM)}`;
  const body = JSON.stringify({ op: "emit", to: [room], event: "e", args: [performance.now(), "x".repeat(100)] });
  const headers = { authorization: `Bearer ${KEY}`, "content-type": "application/json", "content-length": body.length };
  const call = request({ host: "127.0.0.1", port, path: "/api", method: "POST", agent, headers }, (answer) => {
    answer.resume();
    answer.on("end", () => (answer.statusCode === 200 ? answered++ : failed++));
  });
  call.on("error", () => failed++);
  call.end(body);
  sent++;
};
// CPU time of the server in milliseconds, all its threads.
const cpu = () => {
  const [user, system] = readFileSync(`/proc/${server.pid}/stat`, "utf8").split(") ")[1].split(" ").slice(11, 13);
  return (Number(user) + Number(system)) * 10;
};
const run = async (time) => {
  const began = performance.now();
  let due = 0;
  while (performance.now() - began < time) {
    due = ((performance.now() - began) / 1000) * rate;
    for (let now = sent; now < due + base; now++) publish();
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
};
let base = 0;
await run(2_000);
await new Promise((resolve) => setTimeout(resolve, 500));
latencies.length = 0;
base = sent;
const [before, receivedBefore, began] = [cpu(), received, performance.now()];
await run(seconds * 1_000);
const [used, took] = [cpu() - before, performance.now() - began];
await new Promise((resolve) => setTimeout(resolve, 1_000));
latencies.sort((a, b) => a - b);
const at = (share) => latencies[Math.min(latencies.length - 1, Math.floor(latencies.length * share))].toFixed(2);
const expected = (sent - base) * IN_ROOM;
console.log(`${sent - base} publications in ${(took / 1000).toFixed(1)} s, ${failed} failed; ${received - receivedBefore} of ${expected} deliveries`);
console.log(`latency: p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, longest ${at(1)} ms`);
console.log(`server: ${((used / took) * 100).toFixed(0)} % of a core`);
await server.end("SIGKILL");
process.exit(received - receivedBefore === expected && failed === 0 ? 0 : 1);
