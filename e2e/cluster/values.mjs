// Values that travel through a cluster, and how they pass between the runner and its servers: JSON with tags for
// what JSON has not.

/** A value as JSON: {"$binary": base64}, {"$date": ms}, {"$undefined": true}. */
export function tag(value) {
  if (value === undefined) return { $undefined: true };
  if (value instanceof Date) return { $date: value.getTime() };
  const bytes = bytesOf(value);
  if (bytes) return { $binary: Buffer.from(bytes).toString("base64") };
  if (Array.isArray(value)) return value.map(tag);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, tag(member)]));
}

/** The value of such JSON. */
export function untag(value) {
  if (Array.isArray(value)) return value.map(untag);
  if (value === null || typeof value !== "object") return value;
  if ("$undefined" in value) return undefined;
  if ("$date" in value) return new Date(value.$date);
  if ("$binary" in value) return Buffer.from(value.$binary, "base64");
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, untag(member)]));
}

function bytesOf(value) {
  if (value instanceof ArrayBuffer) return new Uint8Array(value);
  if (ArrayBuffer.isView(value)) return new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
}

const bytes = Buffer.from([0, 1, 127, 128, 255]);
const when = new Date(1_700_000_000_123);

/** What is sent as arguments. `received`: what clients get, where that is something else. */
export const values = {
  json: { args: [1, -1, 1.5, true, { a: { b: [[], {}] } }, ["x"]] },
  "no arguments": { args: [] },
  binary: { args: [bytes] },
  "nested binary": { args: [{ a: [{ b: bytes }], c: bytes }, "x"] },
  null: { args: [null, { a: null }, [null]] },
  undefined: { args: [undefined, [undefined], 1], received: [null, [null], 1] },
  date: { args: [when, { when }], received: [when.toISOString(), { when: when.toISOString() }] },
  "empty strings": { args: ["", { "": "" }] },
  unicode: { args: ["é €\u{1F600} \0\u007f\ud7ff", { "ключ": "值" }] },
  // None beyond 2^64: notepack makes 0 of those.
  "large numbers": { args: [2 ** 31, 2 ** 32, 2 ** 53, -(2 ** 31) - 1, -(2 ** 53), 1e9 + 0.125, 5e-324] },
  "long strings and lists": { args: ["x".repeat(70_000), Array.from({ length: 70_000 }, (_, n) => n % 7)] },
};
