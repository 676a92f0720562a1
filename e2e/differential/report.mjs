// The comparison of two transcripts, and how it is shown.

const WIDTH = 100;

/** How a transcript says that a wait was in vain. */
export const NEVER = "! never: ";

/** Undefined if `seen` is what `expected` becomes by the listed differences, else the account. A difference that is
 *  listed for a script and does not show itself there is red too. */
export function report(name, expected, seen, differences) {
  if (expected.some((line) => line.startsWith(NEVER)) && !differs(expected, seen))
    return `FAILED ${name}: what is waited for never comes, from either\n${expected.join("\n")}`;
  let text = expected.join("\n");
  const listed = differences.filter(({ scripts }) => scripts.test(name));
  for (const difference of listed) {
    const changed = difference.changes.reduce((text, [node, patio]) => text.replaceAll(node, patio), text);
    if (changed !== text && !differs(expected, seen))
      return `FAILED ${name}: the listed difference "${difference.name}" is none any more; remove it`;
    if (changed !== text) difference.met = true;
    text = changed;
  }
  const wanted = text.split("\n");
  if (!differs(wanted, seen)) return undefined;
  return `FAILED ${name}\n${sideBySide(wanted, seen)}`;
}

const differs = (left, right) => left.join("\n") !== right.join("\n");

/** Both transcripts; a line that differs has a mark between. */
function sideBySide(left, right) {
  const rows = [[" Node", " ", " the other"]];
  for (let i = 0, j = 0; i < left.length || j < right.length;) {
    if (left[i] === right[j]) rows.push([left[i++], " ", right[j++]]);
    else if (i < left.length && j < right.length && left[i + 1] === right[j + 1])
      rows.push([left[i++], "|", right[j++]]);
    else if (i < left.length && right.indexOf(left[i], j) < 0) rows.push([left[i++], "<", ""]);
    else if (j < right.length && left.indexOf(right[j], i) < 0) rows.push(["", ">", right[j++]]);
    else rows.push([left[i++] ?? "", "|", right[j++] ?? ""]);
  }
  return rows.flatMap(([a, mark, b]) => wrap(a, mark, b)).join("\n");
}

function wrap(a, mark, b) {
  const rows = [];
  for (let at = 0; at === 0 || at < Math.max(a.length, b.length); at += WIDTH)
    rows.push(`  ${a.slice(at, at + WIDTH).padEnd(WIDTH)} ${mark} ${b.slice(at, at + WIDTH)}`.trimEnd());
  return rows;
}
