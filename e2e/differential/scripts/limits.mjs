// Limits that Node lacks: each row of them is one appearance of the same deliberate difference.

const deep = (n) => `42["echo",${"[".repeat(n)}${"]".repeat(n)}]`;

export const limits = [
  {
    name: "limit that Node lacks: JSON that is 1000 deep",
    async play(s) {
      const ws = await s.ws({ join: true });
      ws.text(deep(1000));
      await ws.sync();
    },
  },
  {
    name: "limit that Node lacks: an event name of 2000 bytes",
    async play(s) {
      const ws = await s.ws({ join: true });
      ws.text(`42["${"n".repeat(2000)}"]`);
      await ws.sync();
    },
  },
  {
    name: "limit that Node lacks: 5000 packets in a payload",
    async play(s) {
      const a = await s.polling({ join: true });
      await a.emit(...Array(5000).fill("6"));
      await a.sync();
    },
  },
];
