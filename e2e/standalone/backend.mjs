// A backend as somebody would write it: it verifies the signatures of hooks as Standard Webhooks and answers as it is told.

import { createHmac, timingSafeEqual } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";

const KEY = Buffer.from("0123456789abcdef0123456789abcdef");
export const SECRET = `whsec_${KEY.toString("base64")}`;

const verified = ({ headers }, body) => {
  const [id, timestamp] = [headers["webhook-id"], headers["webhook-timestamp"]];
  const expected = Buffer.from(createHmac("sha256", KEY).update(`${id}.${timestamp}.${body}`).digest("base64"));
  const recent = Math.abs(Date.now() / 1000 - Number(timestamp)) < 60;
  const is = (given) => given.startsWith("v1,") && timingSafeEqual(Buffer.from(given.slice(3)), expected);
  return recent && (headers["webhook-signature"] ?? "").split(" ").some(is);
};

/** {url, calls, answer, connections(), stop()}. `calls`: what came, in order. `answer(call)`: {status, body} or a promise of it. */
export async function startBackend() {
  const backend = { calls: [], answer: () => ({}) };
  const sockets = new Set();
  const server = createServer(async (request, response) => {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const body = Buffer.concat(chunks).toString();
    const call = { path: request.url, id: request.headers["webhook-id"], signed: verified(request, body), ...JSON.parse(body) };
    backend.calls.push(call);
    const { status = 200, body: answer = {} } = (await backend.answer(call)) ?? {};
    response.writeHead(status, { "content-type": "application/json" });
    response.end(typeof answer === "string" ? answer : JSON.stringify(answer));
  });
  let opened = 0;
  server.on("connection", (socket) => {
    opened++;
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  backend.url = `http://127.0.0.1:${server.address().port}`;
  backend.connections = () => opened;
  backend.of = (type) => backend.calls.filter((call) => call.type === type);
  backend.forget = () => Object.assign(backend, { calls: [], answer: () => ({}) });
  backend.stop = async () => {
    sockets.forEach((socket) => socket.destroy());
    await new Promise((closed) => server.close(closed));
  };
  return backend;
}
