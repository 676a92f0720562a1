// CORS: which headers an answer has, whatever else is right or wrong with the request.

const POLL = "EIO=4&transport=polling";

const A = { origin: "http://a.example" };
const B = { origin: "http://b.example" };
const preflight = (headers, asked = "x-own, content-type") => ({
  ...headers,
  "access-control-request-method": "POST",
  ...(asked && { "access-control-request-headers": asked }),
});

/** [name, method, query, headers] */
const requests = [
  ["GET", "GET", POLL, A],
  ["GET of another origin", "GET", POLL, B],
  ["GET without an origin", "GET", POLL, {}],
  ["GET of the origin null", "GET", POLL, { origin: "null" }],
  ["a preflight", "OPTIONS", POLL, preflight(A)],
  ["a preflight of another origin", "OPTIONS", POLL, preflight(B)],
  ["a preflight without an origin", "OPTIONS", POLL, preflight({})],
  ["a preflight without headers", "OPTIONS", POLL, preflight(A, "")],
  ["OPTIONS that is no preflight", "OPTIONS", POLL, A],
  ["a preflight with an unknown sid", "OPTIONS", `${POLL}&sid=unknown`, preflight(A)],
  ["an error", "GET", `${POLL}&sid=unknown`, A],
  ["an unknown transport", "GET", "EIO=4&transport=tcp", A],
  ["POST without a sid", "POST", POLL, { ...A, "content-type": "text/plain" }],
];

const kinds = ["cors", "corsAny", "corsReflect", "corsList", "corsOptions"];

const tables = kinds.flatMap((server) => [
  ...requests.map(([name, method, query, headers]) => ({
    name: `${server}: ${name}`,
    server,
    play: (s) => s.ask(method, query, { headers, ...(method === "POST" && { body: "4x" }) }),
  })),
  {
    name: `${server}: a session`,
    server,
    async play(s) {
      const a = await s.polling({ join: true, headers: A });
      await a.post('42["echo",1]', { headers: { ...A, "content-type": "text/plain" } });
      await a.get();
      await s.ask("OPTIONS", a.query, { headers: preflight(A) });
      await s.ask("PUT", a.query, { headers: A });
      await a.sync();
    },
  },
  {
    name: `${server}: a WebSocket`,
    server,
    async play(s) {
      const ws = await s.wsAt("EIO=4&transport=websocket", { headers: { Origin: "http://a.example" } });
      await ws.recv();
      await ws.gone();
    },
  },
  {
    name: `${server}: a WebSocket that is refused`,
    server,
    play: (s) => s.wsAt("EIO=4&transport=websocket&sid=unknown", { headers: { Origin: "http://a.example" } }),
  },
]);

export const cors = tables;
