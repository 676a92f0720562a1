// Handshakes, the requests that are none, and what may stand at an engine's door: cookies, a say of the application.

const POLL = "EIO=4&transport=polling";
const SOCKET = "EIO=4&transport=websocket";
const BODY = { body: "4x", headers: { "content-type": "text/plain" } };

/** [name, method, query or target, options] */
const requests = [
  ["polling", "GET", POLL],
  ["polling of protocol 3", "GET", "EIO=3&transport=polling"],
  ["polling without EIO", "GET", "transport=polling"],
  ["EIO 5", "GET", "EIO=5&transport=polling"],
  ["EIO 04", "GET", "EIO=04&transport=polling"],
  ["EIO twice", "GET", "EIO=3&EIO=4&transport=polling"],
  ["base64", "GET", "EIO=3&transport=polling&b64=1"],
  ["no query", "GET", "/socket.io/"],
  ["no transport", "GET", "EIO=4"],
  ["an empty transport", "GET", "EIO=4&transport="],
  ["an unknown transport", "GET", "EIO=4&transport=tcp"],
  ["webtransport", "GET", "EIO=4&transport=webtransport"],
  ["a transport of the prototype", "GET", "EIO=4&transport=constructor"],
  ["a transport in upper case", "GET", "EIO=4&transport=POLLING"],
  ["an escaped transport", "GET", "EIO=4&transport=%70olling"],
  ["transport twice", "GET", "EIO=4&transport=tcp&transport=polling"],
  ["websocket without an upgrade", "GET", SOCKET],
  ["an empty sid", "GET", `${POLL}&sid=`],
  ["an unknown sid", "GET", `${POLL}&sid=unknown`],
  ["an unknown sid posts", "POST", `${POLL}&sid=unknown`, BODY],
  ["a sid of the prototype", "GET", `${POLL}&sid=__proto__`],
  ["a sid and no transport", "GET", "EIO=4&sid=unknown"],
  ["POST without a sid", "POST", POLL, BODY],
  ["PUT without a sid", "PUT", POLL, BODY],
  ["DELETE without a sid", "DELETE", POLL],
  ["HEAD without a sid", "HEAD", POLL],
  ["OPTIONS without CORS", "OPTIONS", POLL],
  ["PATCH to websocket", "PATCH", SOCKET],
  ["Internet Explorer", "GET", POLL, { headers: { "user-agent": "Mozilla/4.0 (compatible;MSIE 8.0)" } }],
  ["Trident", "GET", POLL, { headers: { "user-agent": "Mozilla/5.0 (Windows NT 6.3; Trident/7.0)" } }],
  ["an origin", "GET", POLL, { headers: { origin: "http://a.example" } }],
  ["an origin in UTF-8", "GET", POLL, { headers: { origin: "http://\xc3\xa9.example" } }],
  ["an origin with a tab", "GET", POLL, { headers: { origin: "http://a\tb" } }],
  ["the path and more", "GET", `/socket.io/more/path?${POLL}`],
  ["a path with two slashes", "GET", `/socket.io//?${POLL}`],
  ["an escaped path", "GET", `/socket%2eio/?${POLL}`],
  ["a path with dots", "GET", `/x/../socket.io/?${POLL}`],
  ["the path in upper case", "GET", `/SOCKET.IO/?${POLL}`],
  ["the path without its slash", "GET", `/socket.io?${POLL}`],
  ["another path", "GET", `/other/?${POLL}`],
  ["a path that begins so", "GET", `/socket.iox/?${POLL}`],
  ["the root", "GET", "/"],
  [
    "an absolute target",
    "GET",
    "",
    { head: `GET http://localhost/socket.io/?${POLL} HTTP/1.1\r\nhost: localhost\r\n\r\n` },
  ],
  ["a fragment", "GET", `${POLL}#sid=unknown`],
  ["semicolons", "GET", "EIO=4;transport=polling"],
  ["a broken escape", "GET", `${POLL}&x=%zz%`],
  ["a cookie of the client", "GET", POLL, { headers: { cookie: "io=unknown" } }],
];

const handshakes = requests.map(([name, method, target, options]) => ({
  name: `handshake: ${name}`,
  play: (s) => s.ask(method, target, options),
}));

/** [name, query or target, changed headers] */
const upgrades = [
  ["websocket", SOCKET],
  ["websocket of protocol 3", "EIO=3&transport=websocket"],
  ["websocket without EIO", "transport=websocket"],
  ["no transport", "EIO=4"],
  ["an unknown transport", "EIO=4&transport=tcp"],
  ["transport polling", POLL],
  ["an unknown sid", `${SOCKET}&sid=unknown`],
  ["an unknown sid and polling", `${POLL}&sid=unknown`],
  ["an origin", SOCKET, { Origin: "http://a.example" }],
  ["an origin in UTF-8", SOCKET, { Origin: "http://\xc3\xa9.example" }],
  ["no key", SOCKET, { "Sec-WebSocket-Key": undefined }],
  ["a bad key", SOCKET, { "Sec-WebSocket-Key": "short" }],
  ["no version", SOCKET, { "Sec-WebSocket-Version": undefined }],
  ["version 8", SOCKET, { "Sec-WebSocket-Version": "8" }],
  ["version 12", SOCKET, { "Sec-WebSocket-Version": "12" }],
  ["Upgrade in upper case", SOCKET, { Upgrade: "WEBSOCKET" }],
  ["Upgrade to something else", SOCKET, { Upgrade: "h2c" }],
  ["a sub-protocol", SOCKET, { "Sec-WebSocket-Protocol": "chat, v2" }],
  [
    "an extension that is off",
    SOCKET,
    { "Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits" },
  ],
  ["the path and more", `/socket.io/more?${SOCKET}`],
];

const websockets = upgrades.map(([name, query, headers]) => ({
  name: `handshake over WebSocket: ${name}`,
  async play(s) {
    const ws = await s.wsAt(query, { headers });
    if (ws.open) await ws.recv();
    if (ws.open) await ws.gone();
  },
}));

const kinds = [
  ["eio4", "EIO=3&transport=polling"],
  ["eio4", "transport=polling"],
  ["eio4", POLL],
  ["door", POLL],
  ["door", `${POLL}&refuse=tired`],
  ["pollingOnly", POLL],
  ["pollingOnly", SOCKET],
  ["websocketOnly", POLL],
  ["websocketOnly", SOCKET],
  ["noUpgrades", POLL],
  ["path", `/own/path?${POLL}`],
  ["path", `/own/path/?${POLL}`],
  ["path", `/own/path/more?${POLL}`],
  ["path", `/own/pathmore?${POLL}`],
  ["path", `/own?${POLL}`],
  ["path", `/socket.io/?${POLL}`],
  ["small", POLL],
].map(([server, target]) => ({
  name: `server ${server}: GET ${target}`,
  server,
  play: (s) => s.ask("GET", target),
}));

const socketKinds = [
  ["eio4", "EIO=3&transport=websocket"],
  ["eio4", SOCKET],
  ["door", SOCKET],
  ["door", `${SOCKET}&refuse=tired`],
  ["pollingOnly", SOCKET],
  ["websocketOnly", SOCKET],
  ["noUpgrades", SOCKET],
  ["small", SOCKET],
].map(([server, query]) => ({
  name: `server ${server}: WebSocket ${query}`,
  server,
  async play(s) {
    const ws = await s.wsAt(query);
    if (ws.open) await ws.recv();
    if (ws.open) await ws.gone();
  },
}));

/** Methods of a request that belongs to a session. */
const methods = ["PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"].map((method) => ({
  name: `session: ${method}`,
  async play(s) {
    const a = await s.polling({ join: true });
    await s.ask(method, a.query, { who: "a" });
    await a.sync();
  },
}));

const mismatches = [
  ["another protocol", (a) => `EIO=3&transport=polling&sid=${a.sid}`],
  ["no protocol", (a) => `transport=polling&sid=${a.sid}`],
  ["another transport without an upgrade", (a) => `EIO=4&transport=websocket&sid=${a.sid}`],
  ["no transport", (a) => `EIO=4&sid=${a.sid}`],
  ["an unknown transport", (a) => `EIO=4&transport=tcp&sid=${a.sid}`],
].map(([name, query]) => ({
  name: `session: a request with ${name}`,
  async play(s) {
    const a = await s.polling({ join: true });
    await s.ask("GET", query(a));
    await a.sync();
  },
}));

const overSocket = {
  name: "session: polling beside a WebSocket",
  async play(s) {
    const ws = await s.ws({ join: true });
    await s.ask("GET", `EIO=4&transport=polling&sid=${ws.sid}`);
    await s.ask("POST", `EIO=4&transport=polling&sid=${ws.sid}`, BODY);
    await ws.sync();
  },
};

export const handshake = [handshakes, websockets, kinds, socketKinds, methods, mismatches, overSocket].flat();
