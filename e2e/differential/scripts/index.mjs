// All scripts, numbered: the number is a script's tag, and part of the names of its rooms and namespaces.

import { acks } from "./acks.mjs";
import { binary } from "./binary.mjs";
import { cors } from "./cors.mjs";
import { frames } from "./frames.mjs";
import { handshake } from "./handshake.mjs";
import { heartbeat } from "./heartbeat.mjs";
import { jsonp } from "./jsonp.mjs";
import { limits } from "./limits.mjs";
import { msgpack } from "./msgpack.mjs";
import { namespaces } from "./namespaces.mjs";
import { packets } from "./packets.mjs";
import { polling } from "./polling.mjs";
import { recovery } from "./recovery.mjs";
import { rooms } from "./rooms.mjs";
import { upgrade } from "./upgrade.mjs";

const all = [
  ...[handshake, cors, frames, polling, jsonp, heartbeat, upgrade],
  ...[packets, binary, acks, namespaces, rooms, msgpack, recovery, limits],
].flat();

export const scripts = all.map((script, number) => ({ server: "plain", ...script, number: number + 1 }));

const names = new Set();
for (const { name } of scripts) {
  if (names.has(name)) throw new Error(`two scripts have the name ${name}`);
  names.add(name);
}
