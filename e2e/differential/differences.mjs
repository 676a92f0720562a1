// Where Patio differs from Node, and means to: at most twelve rows. In the transcripts of `scripts`, of each pair of
// `changes` the second stands where Node has the first. A script that meets a row and does not differ is red, and so is
// a row that no script meets.

const OPEN =
  '0{"sid":"<id1>","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}';

const UNKNOWN =
  'a> post\na< 400 [content-type: application/json] | {"code":1,"message":"Session ID unknown"}';
const END = "\napp a: connect /\napp a: end / transport close 0";

const CLOSE = "a< close without a code\na< end";
const BYTES = '451-["echo",{"_placeholder":true,"num":0}]';

/** Node takes a packet and answers `texts`, Patio closes. */
function closed(...texts) {
  const forced = END.replace("transport close", "forced close");
  return texts.flatMap((text) => [
    [`a< text ${text}${END}`, `${CLOSE}${forced}`],
    [`a< packet ${text}${END}`, `a< packet 6\na< packet 1${forced}`],
  ]);
}

export const differences = [
  {
    name: "a missing Upgrade header is named",
    scripts: /without an upgrade|websocketOnly: GET .*websocket/,
    changes: [
      [
        '"message":"Bad request"}',
        '"message":"Bad request: the Upgrade header is missing (does a proxy remove it?)"}',
      ],
    ],
    reason: "The code and the status are the same, only the text says more.",
    gains:
      "whoever looks for the proxy that is not set up for WebSocket: the commonest fault of a new installation",
  },
  {
    name: "an upgrade is refused before the 101",
    scripts: /^server eio4: WebSocket|^handshake over WebSocket: transport polling|^upgrade: to polling/,
    changes: [
      [
        "a< close unfinished rsv 4 21584 /1.1 400 Bad Request\\x0d\\x0aConnection: close\\x0d\\x0a" +
          "Content-type: text/html\\x0d\\x0aContent-Length:\na< end after 28\\x0d\\x0a\\x0d\\x0aUnsupported protocol version",
        "a< 400 [content-type: text/html] | Unsupported protocol version",
      ],
      [/(\w)< close without a code\n\w< end/g, "$1< 400 [content-type: text/html] | Bad request"],
    ],
    reason:
      "Node accepts the WebSocket first. Then it writes its refusal of a protocol into it, as if it still spoke HTTP, " +
      "and closes one that names the transport polling without a word.",
    gains:
      "users of old clients, and authors of clients and proxies: they see the status 400 and what was wrong",
  },
  {
    name: "what cannot be upgraded is not probed",
    scripts: /^upgrade .: a probe (where none|for a session)/,
    changes: [["b< text 3probe\n", ""]],
    reason:
      "Node tells clients that there are no upgrades and takes them nevertheless; and it lets a second WebSocket, with " +
      "the id of a session that is one, replace the first.",
    gains:
      "whoever has turned upgrades off: they are off. And a stolen id does not move a WebSocket to the thief",
  },
  {
    name: "targets may be absolute",
    scripts: /^handshake: an absolute target/,
    changes: [
      ["< 404 | ", `< 200 [cache-control: no-store] [content-type: text/plain; charset=UTF-8] | ${OPEN}`],
    ],
    reason: "HTTP/1.1 demands of servers that they accept them (RFC 9112, 3.2.2).",
    gains: "users behind proxies that send what they got",
  },
  {
    name: "values stay as they were sent",
    scripts: /^event over .*: (a large integer|2\^53 \+ 1|a huge float|keys that are numbers)/,
    changes: [
      ['< text 42["echo",12345678901234567000]', '< text 42["echo",12345678901234567890]'],
      ['< packet 42["echo",12345678901234567000]', '< packet 42["echo",12345678901234567890]'],
      ['< text 42["echo",9007199254740992]', '< text 42["echo",9007199254740993]'],
      ['< packet 42["echo",9007199254740992]', '< packet 42["echo",9007199254740993]'],
      ['a< text 42["echo",null,null]\n', ""],
      ['a< packet 42["echo",null,null]\n', ""],
      ['< text 42["echo",{"1":4,"2":2,"b":1,"a":3,', '< text 42["echo",{"b":1,"2":2,"a":3,"1":4,'],
      ['< packet 42["echo",{"1":4,"2":2,"b":1,"a":3,', '< packet 42["echo",{"b":1,"2":2,"a":3,"1":4,'],
    ],
    reason:
      "Integers of 64 bits keep their digits and objects their order, where JavaScript rounds the ones and sorts the " +
      "others. A number that no f64 holds (1e400) is an error of the handler's arguments, not null.",
    gains: "whoever sends ids of 64 bits, or compares or signs what was sent",
  },
  {
    name: "half of a surrogate pair becomes U+FFFD",
    scripts: /^event over .*: a lone surrogate/,
    changes: [
      ['< text 42["echo","\\ud800"]', '< text 42["echo","\ufffd"]'],
      ['< packet 42["echo","\\ud800"]', '< packet 42["echo","\ufffd"]'],
    ],
    reason: "UTF-8 cannot hold it, so no String of Rust, no database and no other language can.",
    gains: "everyone behind the handler: text is text",
  },
  {
    name: "malformed packets are errors",
    scripts:
      /^event over .*: (spaces around|a tab before|an id of [34]00? digits)|^binary over .*: (num a fraction|a count with an? (fraction|exponent|space))|a length with a fraction|^engine packet over .* 3: base64|^binary: the frame \[(|9|52,1)\]|^POST of bytes: (empty bytes|a kind|bytes of|a length too)/,
    changes: [
      [/a< (text|packet) 43(0|1e\+30|Infinity)\[1?\]\n/g, ""],
      ...closed('42["echo",null]', '42["echo"]'),
      ...closed(`${BYTES}\na< binary \\x01`, `${BYTES}\na< binary \\x04\\x01`),
      ...closed(`${BYTES}\na< packet bAQ==`),
      [
        /(12\.0:.*\n.*\n)a< packet 42\["echo",1\]\napp a: connect \/\napp a: end \/ transport close/g,
        `$1${UNKNOWN}\napp a: connect /\napp a: end / parse error`,
      ],
      [
        /(a> (?:text b.*|binary (?:|\\x09|4\\x01))\n)(app a: connect \/\napp a: end \/) transport close/g,
        `$1${CLOSE}\n$2 parse error`,
      ],
      [
        /((?:\d:b.*|octet-stream\].*)\n.*\n)(app a: connect \/\napp a: end \/) transport close/g,
        `$1${UNKNOWN}\n$2 parse error`,
      ],
      [
        /(?<=\\x00\\x09\\x09\\xff4\n.*\n)a< packet 6\na< packet 1(\napp a: connect \/\napp a: end \/) forced close/g,
        `${UNKNOWN}$1 parse error`,
      ],
    ],
    reason:
      "Node reads ids, counts and lengths as JavaScript reads numbers: a blank is 0, `1e0` is 1, 30 digits are 1e+30, " +
      "which its own clients cannot read, and a placeholder may name attachment 0.5, which is undefined. Of bytes of " +
      "protocol 3 it ignores those without a type, or with an unknown one.",
    gains: "authors of clients: a malformed packet is an error, not another packet, and not silence",
  },
  {
    name: "packets are done one by one",
    scripts: /^binary over .*: too many|a bad message in the middle|CONNECT and events at once/,
    changes: [
      [/(a> binary (\\x04)?\\x02\n)(?=a< close)/g, `$1a< text ${BYTES}\na< binary $2\\x01\n`],
      [/(bAg==\na< .*\n)(?=a< packet 6)/g, `$1a< packet ${BYTES}\na< packet bAQ==\n`],
      [/(\\x1e42\[\\x1e.*\na< .*\n)(?=a< packet 6)/g, '$1a< packet 42["echo",1]\n'],
      [
        /(echo_ack",2\]\n)a< close without a code\na< end\napp a: connect \/\napp a: end \/ forced close 0/g,
        '$1a< text 40/chat,\na< text 42/chat,["echo",1]\na< text 43/chat,1[2]\napp a: connect /\napp a: connect /chat\n' +
          "app a: end / transport close 0\napp a: end /chat transport close 0",
      ],
      [
        /(echo_ack",2\]\n)a< close without a code\na< end$/g,
        '$1a< text 40/chat,{"sid":"<id2>"}\na< text 42/chat,["echo",1]\na< text 43/chat,1[2]\napp a: connect /chat\n' +
          "app a: end /chat transport close 0",
      ],
      [
        /(echo_ack",2\]\na< .*\n)a< packet 6\na< packet 1$/g,
        '$1a< packet 40/chat,{"sid":"<id2>"}\na< packet 42/chat,["echo",1]\na< packet 43/chat,1[2]\napp a: connect /chat\n' +
          "app a: end /chat transport close 0",
      ],
    ],
    reason:
      "Node reads all packets that came in one piece before it handles the first: what stands before a bad one is lost, " +
      "and an event right behind a CONNECT closes the connection, both only if the network did not cut between them.",
    gains: "everybody: what happens does not depend on how the network cuts, and good packets are not lost",
  },
  {
    name: "to no room is to nobody",
    scripts: /^rooms .*: to no room at all/,
    changes: [[/\n[abc]< (text|packet) 42\/dyn-\d+,\["room",1\]/g, ""]],
    reason:
      "In Node an empty list of rooms is no condition, so that everybody hears what was meant for a few.",
    gains: "whoever computes the rooms: nothing leaks when the list turns out empty",
  },
  {
    name: "packets have limits",
    scripts: /^limit that Node lacks/,
    changes: [
      [
        /(a> text 42\["echo".*\n)a< text .*\n(app a: connect \/\napp a: end \/) transport close/g,
        `$1${CLOSE}\n$2 forced close`,
      ],
      [
        /(a> text 42\["n.*\n)(app a: connect \/\napp a: end \/) transport close/g,
        `$1${CLOSE}\n$2 forced close`,
      ],
      [/(\| ok\n)(app a: connect \/\napp a: end \/) transport close/g, `$1${UNKNOWN}\n$2 parse error`],
    ],
    reason:
      "Depth, event names, packets in a payload: what no application needs and an attacker likes (builder.rs names all).",
    gains: "everybody else on a server that is attacked",
  },
  {
    name: "a packet means the same in MessagePack as in JSON",
    scripts: /^MessagePack/,
    changes: [
      [/(a< .*echo)\\xd7\\x00\\x00\\x00\\x01\\x8b\\xcf\\xe5h{/g, "$1\\xb82023-11-14T22:13:20.123Z"],
      [/(a< .*echo)\\xd4\\x00\\x00\\x81\\xa1a\\xd4\\x00\\x00/g, "$1\\xc0\\x80"],
      [/(a< .*echo)\\xc7\\x02\\x00/g, "$1\\xc4\\x02"],
      [/(a< .*)\\xcf\\x80\\x00(?=(?:\\x00){6}\\xcf)/g, "$1\\xcbC\\xe0"],
      [/a< .*\\xa2id\\xfb.*\n/g, ""],
      [
        /(a> binary .*type\\x02\\xa4data(?:\\x90|\\x91\\xc0|\\x91\\xaadisconnect)\\xa3nsp\\xa1\/\n)(app a: connect \/\napp a: end \/) transport close/g,
        `$1${CLOSE}\n$2 forced close`,
      ],
    ],
    reason:
      "Names are checked with both parsers; with socket.io-msgpack-parser a client may send `disconnect`, and Node runs " +
      "the handlers of that name. What is sent is what JSON knows, and bytes: a date is a string, undefined is null.",
    gains:
      "servers with old and new clients behind one adapter, and applications that trust the names of events",
  },
  {
    name: "names of namespaces are taken as they are",
    scripts: /^namespace over .* 3: a namespace with (a space|an accent|dots|a fragment|two slashes)/,
    changes: [
      ["44/ch%20at,", "44/ch at,"],
      ["44/%C3%A9,", "44/é,"],
      [
        /(dots|x\/\.\.\/chat,\n(?:a< 200.*\n)?)a< (text|packet) 40\/chat,/g,
        '$1a< $2 44/x/../chat,{"message":"Invalid namespace"}',
      ],
      [
        /(chat#x,\n(?:a< 200.*\n)?)a< (text|packet) 40\/chat,/g,
        '$1a< $2 44/chat#x,{"message":"Invalid namespace"}',
      ],
      [/\napp a: (connect|end) \/chat( .*)?/g, ""],
      [
        /(\/\/chat,\n)a< close without a code\na< end((?:\n.*)*) forced close/g,
        '$1a< text 44//chat,{"message":"Invalid namespace"}$2 transport close',
      ],
      [
        /(\/\/chat,\n.*\n)a< packet 6\na< packet 1((?:\n.*)*) forced (?:server )?close/g,
        '$1a< packet 44//chat,{"message":"Invalid namespace"}$2 transport close',
      ],
    ],
    reason:
      "Node reads those of protocol 3 as URLs, and answers under another name than the client has asked for.",
    gains: "users of old clients whose namespaces are not named in ASCII",
  },
];

if (differences.length > 12) throw new Error("there may be twelve deliberate differences at most");
