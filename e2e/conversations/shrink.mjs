// Makes a conversation that differs as small as it can be: without clients, actions and packets that it differs without,
// and with the simplest of what is left. Every candidate is played again against both servers.

/** Candidates that are played at once. */
const TOGETHER = 4;

/** The most plays: what is smaller still is not worth the wait. */
const PLAYS = 1_500;

/** The smallest conversation found for which `differs(conversation)` resolves to something. */
export async function shrink(conversation, differs) {
  let plays = 0;

  /** The first candidate that still differs, if any. */
  async function first(candidates) {
    for (let at = 0; at < candidates.length && plays < PLAYS; at += TOGETHER) {
      const some = candidates.slice(at, at + TOGETHER);
      plays += some.length;
      const found = await Promise.all(some.map(differs));
      const one = some.find((_, i) => found[i]);
      if (one) return one;
    }
    return undefined;
  }

  let smallest = conversation;
  for (const steps of [withoutClients, withoutActions, withoutActions, simpler]) {
    for (let next; (next = await first(steps(smallest)));) smallest = next;
  }
  return smallest;
}

const withActions = (conversation, actions) => ({ ...conversation, actions });

function withoutClients(conversation) {
  const clients = [...new Set(conversation.actions.map(([who]) => who))];
  return clients.map((gone) =>
    withActions(
      conversation,
      conversation.actions.filter(([who]) => who !== gone),
    ),
  );
}

/** Without each run of 1/2, 1/4, … of the actions, the longest runs first. */
function withoutActions(conversation) {
  const { actions } = conversation;
  const candidates = [];
  for (let size = Math.ceil(actions.length / 2); size > 0; size = size > 1 ? Math.ceil(size / 2) : 0)
    for (let from = actions.length - size; from >= 0; from -= size)
      candidates.push(withActions(conversation, actions.toSpliced(from, size)));
  return candidates;
}

/** With one action simpler, or gone. */
function simpler(conversation) {
  const { actions } = conversation;
  return actions.flatMap((action, at) => [
    withActions(conversation, actions.toSpliced(at, 1)),
    ...simplerActions(action).map((other) => withActions(conversation, actions.with(at, other))),
  ]);
}

/** How many arguments an action needs. */
const needed = { frame: 2, switch: 0, close: 0 };

function simplerActions([who, what, ...args]) {
  const others = [];
  if (what === "open") {
    const [v, by] = args;
    if (v === 3) others.push([4, by]);
    if (by === "polling") others.push([v, "websocket"]);
  } else {
    args.forEach((arg, at) => {
      if (at >= (needed[what] ?? 1)) others.push(args.toSpliced(at, 1));
      if (what === "say" && args.length > 1 && at === 0) others.push(args.slice(1));
      for (const simple of simplerPackets(arg)) others.push(args.with(at, simple));
    });
  }
  return others.map((other) => [who, what, ...other]);
}

function simplerPackets(packet) {
  if (packet?.m) {
    const { data } = packet.m;
    const plain = packet.as ? [{ m: packet.m }] : [];
    return [...plain, ...simplerData(data).map((data) => ({ ...packet, m: { ...packet.m, data } }))];
  }
  if (packet?.b) return packet.b.length > 4 ? [{ b: "" }, { b: packet.b.slice(0, 4) }] : [{ b: "" }];
  if (typeof packet !== "string") return [];
  const [, head, id, json] = /^(4\d(?:\d+-)?(?:\/[^,]*,)?)(\d*)(.*)$/s.exec(packet) ?? [];
  if (head === undefined) return [];
  let data;
  try {
    data = JSON.parse(json);
  } catch {
    return id && json ? [head + json] : [];
  }
  const others = simplerData(data).map((data) => head + id + JSON.stringify(data));
  return id ? [head + json, ...others] : others;
}

/** The arguments of an event: fewer, or simpler. The name stays. */
function simplerData(data) {
  if (!Array.isArray(data)) return [];
  return data.slice(1).flatMap((value, i) => {
    const fewer = data.toSpliced(i + 1, 1);
    if (Array.isArray(value) && value.length > 1) return [fewer, data.with(i + 1, value.slice(0, 1))];
    return value === 1 || typeof value === "string" || value?._placeholder
      ? [fewer]
      : [fewer, data.with(i + 1, 1)];
  });
}
