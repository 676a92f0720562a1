// Lies: what a server that is wrong in one place would have said. Each must turn its script red.

/** Changes the first line that `from` is found in. */
const instead = (from, to) => (line) => line.replace(from, to);

const unknown = (s) => s.ask("GET", "EIO=4&transport=polling&sid=unknown");

async function echo(s) {
  const ws = await s.ws({ join: true });
  ws.text('42["echo",1]');
  await ws.recv();
  ws.text("4nonsense");
  await ws.closed();
}

export const lies = [
  { name: "another status", play: unknown, lie: instead("< 400", "< 404") },
  { name: "another header", play: unknown, lie: instead("application/json", "text/html") },
  { name: "another body", play: unknown, lie: instead('"code":1', '"code":2') },
  { name: "another frame", play: echo, lie: instead('["echo",1]', '["echo",2]') },
  { name: "another kind of frame", play: echo, lie: instead("< text", "< binary") },
  { name: "another close code", play: echo, lie: instead("close without a code", "close 1000") },
  { name: "another reason", play: echo, lie: instead("forced close", "parse error") },
];
