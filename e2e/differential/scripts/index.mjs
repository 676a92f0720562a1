// All scripts, numbered: the number is a script's tag, and part of the names of its rooms and namespaces.

import { handshake } from "./handshake.mjs";

export const scripts = [handshake].flat().map((script, number) => ({ server: "plain", ...script, number: number + 1 }));

const names = new Set(scripts.map(({ name }) => name));
if (names.size < scripts.length) throw new Error("two scripts have the same name");
