// The page's chat. Everything that comes from a peer becomes text (textContent), never markup.
//
// The protocol, on namespace "/" (the other side is ../src/chat.rs):
//
//   page → server, each answered by an ack
//     enter {name, room}   {ok: true, members: [{id, name}]}, oneself among them
//                          {ok: false, error: {field: "name" | "room", message}}
//                          name: 1–32 characters and free in that room; room: 1–64; both after trimming.
//                          A socket is in one room: entering another one leaves the first.
//     say text             {ok: true} or {ok: false, error: {field: "text", message}}; 1–2000 characters
//     leave                {ok: true}
//     rtt                  nothing: the page measures the time until the ack
//
//   server → the room
//     said {id, name, text, at}   at: ms since the epoch, by the server's clock; the sender gets it too
//     entered {id, name}          to the others
//     left {id, name}             to the others, also when a connection ends

import { Socket } from "./socket.js";

const RTT_EVERY = 3_000; // ms
const RTT_SHOWN = 30; // bars in the little chart
const LOG_MOST = 400; // entries that stay in the document
const TOGETHER = 120_000; // ms: lines of one person within this time share one heading
const STALE_FOR = 60_000; // ms: how long the server may still hold our name after a connection broke unseen

const $ = (id) => document.getElementById(id);
const socket = new Socket();
const people = new Map(); // id → name, of the room we are in
let here = null; // {name, room} while we are in a room, also while the connection is away
let unread = 0;
let following = true; // whether the log shows its end, and goes on doing so
let lastSaid = null; // {id, at} of the newest log entry, if that is a message

// ─── The door ───────────────────────────────────────────────────────────────────────────────────────────────

$("enter").addEventListener("submit", async (event) => {
  event.preventDefault();
  const name = $("name").value.trim();
  const room = $("room").value.trim();
  refuse("name");
  refuse("room");
  $("enter-button").disabled = true;
  const answer = await ask("enter", { name, room });
  $("enter-button").disabled = false;
  if (!answer.ok) return refuse(answer.error.field === "room" ? "room" : "name", answer.error.message);
  remember(name);
  settle({ name, room }, answer.members);
  $("text").focus();
});

$("switch").addEventListener("submit", async (event) => {
  event.preventDefault();
  const room = $("other-room").value.trim();
  refuse("switch");
  if (room === here.room) return refuse("switch", "You are in that room.");
  const answer = await ask("enter", { name: here.name, room });
  if (!answer.ok) return refuse("switch", answer.error.message);
  $("other-room").value = "";
  settle({ name: here.name, room }, answer.members);
  $("text").focus();
});

$("leave").addEventListener("click", async () => {
  await ask("leave");
  here = null;
  show();
  $("room").focus();
});

function settle(place, members) {
  const came = here?.room !== place.room;
  here = place;
  people.clear();
  for (const { id, name } of members) people.set(id, name);
  if (came) {
    $("log").replaceChildren();
    $("newer").hidden = following = true;
    lastSaid = null;
    unread = 0;
    note(members.length > 1 ? `You are in ${place.room}.` : `You are in ${place.room}, alone so far.`);
    $("room").value = place.room;
    history.replaceState(null, "", `#${encodeURIComponent(place.room)}`);
  }
  show();
}

/** After a reconnection: into the same room again. The server may hold our old connection, and name, a while. */
async function comeBack() {
  const until = Date.now() + STALE_FOR;
  const place = here;
  const { id } = socket; // another connection begins this anew
  for (let told = false; here === place && socket.id === id; await pause(2_000)) {
    const answer = await ask("enter", place);
    if (here !== place || socket.id !== id) return;
    if (answer.ok) {
      settle(place, answer.members);
      return note("Connected again. What was said meanwhile is not kept.");
    }
    if (!answer.error.field) continue; // no answer in time: once more
    if (Date.now() > until) {
      here = null;
      show();
      return refuse("name", answer.error.message);
    }
    if (!told) note("The server still holds your earlier connection. Trying until it lets go…");
    told = true;
  }
}

function refuse(field, message = "") {
  const input = { switch: "other-room", say: "text" }[field] ?? field;
  $(`${field}-error`).textContent = message;
  $(input).setAttribute("aria-invalid", String(message !== ""));
  if (message) $(input).focus();
}

for (const [input, field] of Object.entries({ name: "name", room: "room", "other-room": "switch", text: "say" })) {
  $(input).addEventListener("input", () => refuse(field));
}

// ─── The room ───────────────────────────────────────────────────────────────────────────────────────────────

$("say").addEventListener("submit", async (event) => {
  event.preventDefault();
  const text = $("text").value;
  refuse("say");
  if (!text.trim()) return;
  if (socket.state !== "connected") return refuse("say", "Not connected: your message stays here until you send it again.");
  $("text").value = "";
  const answer = await ask("say", text);
  if (answer.ok) return;
  if (!$("text").value) $("text").value = text;
  refuse("say", answer.error.message);
});

$("text").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  $("say").requestSubmit();
});

socket.on("said", ({ id, name, text, at }) => {
  if (!here) return;
  const line = element("div", "said");
  if (id === socket.id) line.classList.add("mine");
  if (lastSaid?.id === id && at - lastSaid.at < TOGETHER) line.classList.add("more");
  const time = element("time", "", new Date(at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" }));
  time.dateTime = new Date(at).toISOString();
  const head = element("p", "head");
  head.append(element("bdi", `who tint-${tint(name)}`, name), time);
  line.append(face(name), head, element("p", "text", text));
  append(line, { id, at });
});

socket.on("entered", ({ id, name }) => {
  if (!here) return;
  people.set(id, name);
  note(`${name} came in.`);
  show();
});

socket.on("left", ({ id, name }) => {
  if (!here || !people.delete(id)) return;
  note(`${name} left.`);
  show();
});

function note(text) {
  append(element("p", "note", text), null);
}

function append(line, said) {
  const log = $("log");
  log.append(line);
  while (log.childElementCount > LOG_MOST) log.firstElementChild.remove();
  if (following || line.classList.contains("mine")) toEnd();
  else if (said) $("newer").hidden = false;
  lastSaid = said;
  if (said && document.hidden) unread += 1;
  title();
}

function toEnd() {
  $("log").scrollTop = $("log").scrollHeight;
}

$("newer").addEventListener("click", () => {
  toEnd();
  $("text").focus();
});
$("log").addEventListener("scroll", () => {
  const { scrollHeight, scrollTop, clientHeight } = $("log");
  following = scrollHeight - scrollTop - clientHeight < 80;
  if (following) $("newer").hidden = true;
});
new ResizeObserver(() => following && toEnd()).observe($("log"));
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) unread = 0;
  title();
});

// ─── The wire ───────────────────────────────────────────────────────────────────────────────────────────────

let begun = 0; // performance.now() when the present attempt began
let samples = []; // {ms, over}
let over = null; // the transport in use
let countdown = 0; // the interval that counts down to the next attempt

socket.onstate = (state, { reason, retryAt } = {}) => {
  clearInterval(countdown);
  const texts = { connecting: "Connecting…", connected: "Connected", refused: `Not connected: ${reason}.`, closed: "Not connected" };
  $("state").dataset.state = state;
  $("state-text").textContent = texts[state] ?? "Connection lost";
  $("retry").hidden = state !== "waiting" && state !== "refused";
  if (state === "connecting") {
    begun = performance.now();
    $("steps").replaceChildren();
  }
  if (state === "connected") {
    step("joined the namespace /");
    measure();
    if (here) comeBack();
  }
  if (state === "waiting") {
    // Only the number changes from here on, outside the status role, lest a screen reader counts along.
    const tick = () => ($("retry").textContent = `Try now (${Math.max(0, Math.ceil((retryAt - Date.now()) / 1000))})`);
    tick();
    countdown = setInterval(tick, 500);
  } else {
    $("retry").textContent = "Try now";
  }
  if (state !== "connected") wire(null);
  const away = state !== "connected";
  if (here && away && !document.body.hasAttribute("data-away")) {
    note(state === "closed" ? "Reconnecting…" : `Connection lost: ${reason}.`);
  }
  document.body.toggleAttribute("data-away", away);
  show();
};

socket.ontransport = (name) => {
  wire(name);
  if (name === "websocket") {
    step("moved to the websocket");
    measure();
  }
};
socket.onstep = step;

function wire(name) {
  over = name;
  $("transport").textContent = name ?? "–";
  $("transport").dataset.is = name;
  $("rail").dataset.at = name ?? "none";
  if (!name) $("rtt").textContent = "–";
}

function step(text) {
  const line = element("li", "", text);
  line.prepend(element("span", "ms", `${Math.round(performance.now() - begun)} ms`));
  $("steps").append(line);
}

async function measure() {
  if (socket.state !== "connected") return;
  const before = performance.now();
  const transport = over;
  try {
    await socket.request("rtt");
  } catch {
    return; // the state says what happened
  }
  if (transport !== over) return; // sent by one transport and answered by the other: the time of neither
  const ms = performance.now() - before;
  $("rtt").textContent = `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`;
  samples = [...samples, { ms, over }].slice(-RTT_SHOWN);
  draw();
}
setInterval(measure, RTT_EVERY);

function draw() {
  const size = (ms) => Math.log1p(ms); // a poll takes many times as long as a WebSocket: both should be seen
  const top = size(Math.max(4, ...samples.map(({ ms }) => ms)));
  const bars = samples.map(({ ms, over }, index) => {
    const bar = document.createElementNS("http://www.w3.org/2000/svg", "rect");
    const height = Math.max(2, (34 * size(ms)) / top);
    const box = { x: index * 4, y: 36 - height, width: 3, height, rx: 1, class: over };
    for (const [key, value] of Object.entries(box)) bar.setAttribute(key, value);
    return bar;
  });
  $("spark").replaceChildren(...bars);
}

$("retry").addEventListener("click", () => socket.connect());
$("reconnect").addEventListener("click", () => {
  samples = [];
  socket.close();
  socket.connect();
});
addEventListener("online", () => socket.state === "waiting" && socket.connect());
addEventListener("pagehide", () => socket.close());
addEventListener("pageshow", ({ persisted }) => persisted && socket.connect());

// ─── The document ───────────────────────────────────────────────────────────────────────────────────────────

function show() {
  const inside = here !== null;
  document.body.dataset.view = inside ? "chat" : "door";
  $("door").hidden = inside;
  $("chat").hidden = !inside;
  $("people-panel").hidden = !inside;
  $("enter-button").disabled = socket.state !== "connected";
  title();
  if (!inside) return;
  $("chat-title").textContent = here.room;
  $("chat-note").textContent = `as ${here.name}`;
  $("people-count").textContent = people.size;
  $("second-tab").href = `#${encodeURIComponent(here.room)}`;
  const me = socket.id;
  const sorted = [...people].sort(([a, x], [b, y]) => (b === me) - (a === me) || x.localeCompare(y));
  $("people").replaceChildren(
    ...sorted.map(([id, name]) => {
      const line = element("li");
      line.append(face(name), element("bdi", "", name));
      if (id === me) line.append(element("span", "you", "you"));
      return line;
    }),
  );
}

function title() {
  document.title = here ? `${unread ? `(${unread}) ` : ""}${here.room} · Patio` : "Patio";
}

function element(tag, classes = "", text = "") {
  const made = document.createElement(tag);
  if (classes) made.className = classes;
  made.textContent = text;
  return made;
}

function face(name) {
  const made = element("span", `face tint-${tint(name)}`, [...name][0].toUpperCase());
  made.ariaHidden = "true";
  return made;
}

/** One of eight colours, the same for a name in every tab. */
function tint(name) {
  let sum = 7;
  for (const letter of name) sum = (sum * 31 + letter.codePointAt(0)) % 9973;
  return sum % 8;
}

/** The answer of the server, or one that says why there is none. */
async function ask(event, ...args) {
  try {
    return (await socket.request(event, ...args)) ?? { ok: true };
  } catch (error) {
    return { ok: false, error: { field: null, message: `That did not arrive: ${error.message}.` } };
  }
}

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

/** Per tab, so that two tabs may be two people. Storage may be switched off: then nothing is remembered. */
function remember(name) {
  try {
    sessionStorage.setItem("name", name);
  } catch {}
}

try {
  $("name").value = sessionStorage.getItem("name") ?? "";
} catch {}
try {
  $("room").value = decodeURIComponent(location.hash.slice(1)) || "lobby";
} catch {}
$("wire").open = matchMedia("(min-width: 56rem)").matches;
$("name").focus();
socket.connect();
