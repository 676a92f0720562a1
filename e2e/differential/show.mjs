// How bytes look in a transcript.

/** Text as it is; control characters, and all bytes of what is no text, as \xNN. */
export function show(bytes) {
  const text = Buffer.from(bytes).toString("utf8");
  const isText = Buffer.from(text).equals(Buffer.from(bytes));
  const shown = isText ? text : Buffer.from(bytes).toString("latin1");
  return shown.replace(
    isText ? /[\0-\x1f\x7f]/g : /[^ -~]/g,
    (one) => `\\x${one.charCodeAt(0).toString(16).padStart(2, "0")}`,
  );
}
