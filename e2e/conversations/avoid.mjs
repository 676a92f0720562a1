// What a conversation does not say, because Patio means to differ from Node there (../differential/differences.mjs):
// the rules by which the generator keeps away from each row. Other rows need no rule of their own here:
//
// - "a missing Upgrade header is named", "an upgrade is refused before the 101", "targets may be absolute": every
//   request of the player is well-formed HTTP with an `Upgrade` where one belongs.
// - "what cannot be upgraded is not probed": the player offers a WebSocket only to a session that polls.
// - "packets are done one by one": the player sends in one piece only what is good (`fitTogether`).
// - "packets have limits": no packet is so long or so deep.

const rules = [
  {
    difference: "malformed packets are errors",
    // Types, ids and counts that only JavaScript takes for numbers, and a placeholder for half an attachment.
    meets: ({ text, v }) =>
      /^4\s/.test(text) ||
      /^4[56](?!\d*-)[^[{"/]*-/.test(text) ||
      /^4\d(?:\d*-)?(?:\/[^,]*,?)?(?:\d*\s[\d\s]*|\d{16,})/.test(text) ||
      /"num":-?\d*(?:\.\d*[1-9]|e)/i.test(text) ||
      (v === 3 && text.startsWith("b")),
  },
  {
    difference: "values stay as they were sent",
    meets: ({ text }) =>
      numbers(text).some((number) => /e/i.test(number) || number.length > 15) || sorts(text),
  },
  { difference: "half of a surrogate pair becomes U+FFFD", meets: ({ text }) => /\\ud[89a-f]/i.test(text) },
  { difference: "to no room is to nobody", meets: ({ text }) => /"room_send",\[\]/.test(text) },
  {
    difference: "names of namespaces are taken as they are",
    meets: ({ text, v }) => {
      const [, nsp] = /^4\d(?:\d*-)?(\/[^,]*)/.exec(text) ?? [];
      return v === 3 && nsp && !TOKEN.test(text) && (/[^\w/@-]/.test(nsp) || nsp.includes("//"));
    },
  },
];

/** How a client of protocol 3 gives its token. */
const TOKEN = /^40\/admin\?token=\w*,/;

/** The difference that a packet of protocol `v` would meet, if any. */
export const meets = (text, v) => rules.find((rule) => rule.meets({ text, v }))?.difference;

const packedRules = [
  {
    difference: "a packet means the same in MessagePack as in JSON",
    // Names and ids that JSON could not carry, and values that it does not know.
    meets: ({ type, data, id }) =>
      id < 0 ||
      (type === 2 && Array.isArray(data) && !/^(string|number)$/.test(typeof data[0])) ||
      isStrange(data),
  },
  {
    difference: "names of namespaces are taken as they are",
    meets: ({ nsp = "/" }, v) => v === 3 && !/^\/[\w/-]*$/.test(nsp),
  },
];

/** The same for what a packet of MessagePack says. */
export const meetsPacked = (packet, v) => packedRules.find((rule) => rule.meets(packet, v))?.difference;

/** Whether a value is, or has within, what JSON does not know. The packet itself may lack its data. */
function isStrange(value, top = true) {
  if (value === undefined) return !top;
  if (typeof value === "number") return !Number.isSafeInteger(value) && !(value % 1);
  if (typeof value !== "object" || value === null || Buffer.isBuffer(value)) return false;
  if (value instanceof Date || value instanceof ArrayBuffer) return true;
  return Object.values(value).some((inner) => isStrange(inner, false));
}

/** The numbers of JSON, outside of its strings. */
function numbers(text) {
  return text.replace(/"(?:[^"\\]|\\.)*"/g, '""').match(/\d[\d.eE+-]*/g) ?? [];
}

/** Whether an object has keys that JavaScript would put in front. */
const sorts = (text) => /[{,]\s*"\d+"\s*:/.test(text);
