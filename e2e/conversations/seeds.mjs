// What every run plays: some seeds, so that a run can be repeated, and conversations in which the two once differed,
// each with what was wrong.

export const seeds = Array.from({ length: 60 }, (_, n) => 1 + n);

const plain = (...actions) => ({ server: "plain", actions });
const WRONG = '451-["echo",{"_placeholder":true,"num":"0"}]';

export const found = [
  {
    name: "a wrong placeholder was held against its packet before the attachments came",
    conversation: plain(
      ["a", "open", 4, "websocket"],
      ["a", "say", "40"],
      ["a", "say", WRONG],
      ["a", "say", "b"],
    ),
  },
  {
    name: "a session that had ended could not be upgraded",
    conversation: plain(
      ["b", "open", 4, "polling"],
      ["b", "say", '42["echo"]'],
      ["b", "probe"],
      ["b", "switch"],
    ),
  },
  {
    name: "a candidate was closed when its session had ended",
    conversation: plain(
      ["a", "open", 3, "polling"],
      ["a", "probe"],
      ["a", "say", '42["echo",1]'],
      ["a", "say", '42["disconnect_me",true]'],
      ["a", "switch"],
    ),
  },
  {
    name: "a namespace without its slash was taken for one with it",
    conversation: {
      server: "msgpack",
      actions: [
        ["b", "open", 4, "websocket"],
        ["b", "say", { m: { type: 0, nsp: "chat" } }],
      ],
    },
  },
];
