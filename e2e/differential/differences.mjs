// Where Patio differs from Node, and means to: at most twelve rows. In the transcripts of `scripts`, `patio` stands where
// Node has `node`. A row that no script meets any more is red.

export const differences = [
  {
    name: "a missing Upgrade header is named",
    scripts: /without an upgrade|websocketOnly: GET .*websocket/,
    node: '"message":"Bad request"}',
    patio: '"message":"Bad request: the Upgrade header is missing (does a proxy remove it?)"}',
    reason: "The code and the status are the same, only the text says more.",
    gains: "whoever looks for the proxy that is not set up for WebSocket: the commonest fault of a new installation",
  },
  {
    name: "an unsupported protocol is refused before the 101",
    scripts: /^server eio4: WebSocket/,
    node:
      "a< close unfinished rsv 4 21584 /1.1 400 Bad Request\\x0d\\x0aConnection: close\\x0d\\x0a" +
      "Content-type: text/html\\x0d\\x0aContent-Length: \na< end after 28\\x0d\\x0a\\x0d\\x0aUnsupported protocol version",
    patio: "a< 400 [connection: close] [content-type: text/html] | Unsupported protocol version",
    reason: "Node accepts the WebSocket and writes its refusal into it as if it still spoke HTTP.",
    gains: "users of old clients: their client reports the status 400 instead of a broken frame",
  },
  {
    name: "an upgrade to polling is refused before the 101",
    scripts: /^handshake over WebSocket: transport polling/,
    node: "a< close without a code\na< end",
    patio: "a< 400 [connection: close] [content-type: text/html] | Bad request",
    reason: "Node accepts the WebSocket and closes it at once, without a word.",
    gains: "authors of clients and proxies: they are told that the request was wrong",
  },
  {
    name: "targets may be absolute",
    scripts: /^handshake: an absolute target/,
    node: "< 404 |",
    patio:
      '< 200 [cache-control: no-store] [content-type: text/plain; charset=UTF-8] | 0{"sid":"<id1>","upgrades":["websocket"],' +
      '"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}',
    reason: "HTTP/1.1 demands of servers that they accept them (RFC 9112, 3.2.2).",
    gains: "users behind proxies that send what they got",
  },
];

if (differences.length > 12) throw new Error("there may be twelve deliberate differences at most");
