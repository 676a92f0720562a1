// Polling by script elements.

import { FORM, payload } from "../script.mjs";

const ECHO = '42["echo",1]';
const form = { headers: { "content-type": FORM } };
const d = (text) => `d=${encodeURIComponent(text)}`;

/** Queries of a handshake. */
const handshakes = [
  ["an index", "j=0"],
  ["a large index", "j=12345678901234567890"],
  ["an index with letters", "j=a1b2"],
  ["an index without digits", "j=x"],
  ["an empty index", "j="],
  ["an index that is an attack", "j=1]);alert(1)//"],
  ["two indexes", "j=1&j=2"],
].flatMap(([name, query]) =>
  [4, 3].map((v) => ({
    name: `JSONP ${v}: ${name}`,
    play: (s) => s.ask("GET", `EIO=${v}&transport=polling&${query}`),
  })),
);

/** Bodies of a POST: [name, v => body, options] */
const posts = [
  ["an event", (v) => d(payload(v, ECHO))],
  ["two events", (v) => d(payload(v, ECHO, '42["echo",2]'))],
  ["UTF-8", (v) => d(payload(v, '42["echo","é😀"]'))],
  ["a line feed", (v) => d(payload(v, '42["echo","\\n"]').replaceAll("\\n", "\\\\n"))],
  ["an escaped line feed", (v) => d(payload(v, '42["echo","\\\\n"]'))],
  [
    "spaces as plus",
    (v) => `d=${payload(v, '42["echo","a b"]').replaceAll(" ", "+").replaceAll('"', "%22")}`,
  ],
  ["no field", (v) => encodeURIComponent(payload(v, ECHO))],
  ["an empty field", () => "d="],
  ["nothing", () => ""],
  ["another field", (v) => `e=${encodeURIComponent(payload(v, ECHO))}`],
  ["another field before", (v) => `e=1&${d(payload(v, ECHO))}`],
  ["another field behind", (v) => `${d(payload(v, ECHO))}&e=1`],
  ["the field twice", (v) => `${d(payload(v, ECHO))}&${d(payload(v, ECHO))}`],
  ["a broken escape", (v) => `${d(payload(v, ECHO))}%zz`],
  ["a packet that is none", () => d("x")],
  ["text", (v) => payload(v, ECHO), { headers: { "content-type": "text/plain" } }],
].flatMap(([name, body, options = form]) =>
  [4, 3].map((v) => ({
    name: `JSONP ${v}: POST of ${name}`,
    async play(s) {
      const a = await s.polling({ v, query: "&j=7", join: false });
      if (v === 3) await a.get();
      else (await a.post(d("40"), form), await a.get());
      await a.post(body(v), options);
      // As the session has an index, what is synced is posted as a form too.
      const answer = await a.post(d(payload(v, "40/nowhere,")), form);
      if (answer.status === 200) await a.get();
      a.left = true;
      await a.post(d(payload(v, "1")), { ...form, hide: true });
    },
  })),
);

const separators = [4, 3].map((v) => ({
  name: `JSONP ${v}: line separators and tags`,
  async play(s) {
    const a = await s.polling({ v, query: "&j=7" });
    if (v === 3) await a.get();
    else (await a.post(d("40"), form), await a.get());
    await a.post(d(payload(v, '42["echo","\u2028\u2029</script>&<!--"]')), form);
    await a.get();
    a.left = true;
    await a.post(d(payload(v, "1")), { ...form, hide: true });
  },
}));

const bytes = {
  name: "JSONP 3: bytes",
  async play(s) {
    const a = await s.polling({ v: 3, query: "&j=7&b64=1" });
    await a.get();
    await a.post(d(payload(3, '42["burst",1]')), form);
    await a.get();
    a.left = true;
    await a.post(d(payload(3, "1")), { ...form, hide: true });
  },
};

export const jsonp = [handshakes, posts, separators, bytes].flat();
