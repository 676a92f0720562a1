// Drives the page of the binary in headless Chromium, as two people in two tabs: node page.mjs --url http://127.0.0.1:3000/
// The checks run in order and build on each other. CHROMIUM names the browser if it is not where Debian puts it.
// Ends with `N passed, N failed, N skipped`; without a Chromium everything is skipped.

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { parseArgs } from "node:util";
import { chromium } from "playwright-core";

const { values } = parseArgs({ options: { url: { type: "string", default: "http://127.0.0.1:3000/" } } });
const url = new URL(values.url).href;
const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
const PATIENCE = 15_000; // ms, for anything that a check waits for
const run = Date.now().toString(36); // rooms of our own, also on a server that others use
const [hall, attic] = [`hall ${run}`, `attic ${run}`];

let context, ada, ben;
const complaints = []; // console errors, exceptions and CSP violations of any tab

const checks = {
  async "the server sends the page with a content security policy"() {
    const response = await fetch(url);
    assert.equal(response.status, 200);
    assert.match(response.headers.get("content-type"), /^text\/html; *charset=utf-8$/i);
    const policy = response.headers.get("content-security-policy");
    assert.match(policy, /default-src '(self|none)'/);
    assert.doesNotMatch(policy, /unsafe|\*/);
    assert.equal(response.headers.get("x-content-type-options"), "nosniff");
  },

  async "both tabs connect by polling and move to a websocket"() {
    ada = await tab();
    ben = await tab();
    for (const page of [ada, ben]) {
      await text(page, "#transport", /^websocket$/);
      await text(page, "#state-text", /^Connected$/);
      const steps = (await page.locator("#steps li").allTextContents()).map((step) => step.replace(/^\d+ ms/, ""));
      assert.equal(steps[0], "session opened");
      assert.deepEqual(steps.slice(1).sort(), ["joined the namespace /", "moved to the websocket", "probe answered", "probe sent"]);
      assert.ok(page.seen.some((to) => to.includes("transport=polling")), "no polling request was made");
      assert.equal(page.sockets.length, 1);
    }
  },

  async "a round-trip time appears"() {
    for (const page of [ada, ben]) await text(page, "#rtt", /^\d+(\.\d)? ms$/);
  },

  async "names that the server refuses are explained"() {
    await enter(ada, "  ", hall);
    await text(ada, "#name-error", /name/i);
    assert.equal(await ada.getAttribute("#name", "aria-invalid"), "true");
    assert.equal(await ada.evaluate(() => document.activeElement.id), "name");
    await enter(ada, "x".repeat(33), hall);
    await text(ada, "#name-error", /32/);
    await enter(ada, "Ada", "y".repeat(65));
    await text(ada, "#room-error", /64/);
    assert.equal(await ada.isVisible("#chat"), false);
  },

  async "a person enters with the keyboard alone"() {
    await ada.fill("#name", "");
    await ada.focus("#name");
    await ada.keyboard.type("Ada");
    await ada.keyboard.press("Tab");
    await ada.keyboard.press("Control+A");
    await ada.keyboard.type(hall);
    await ada.keyboard.press("Enter");
    await text(ada, "#chat-title", hall);
    await people(ada, ["Ada"]);
    assert.equal(await ada.evaluate(() => document.activeElement.id), "text");
  },

  async "a name that is taken in the room is refused"() {
    await enter(ben, "ada", hall);
    await text(ben, "#name-error", /already/);
    assert.equal(await ben.isVisible("#chat"), false);
  },

  async "both see who is in the room"() {
    await enter(ben, "Ben", hall);
    await people(ben, ["Ben", "Ada"]);
    await people(ada, ["Ada", "Ben"]);
    await logged(ada, "Ben came in.");
  },

  async "messages go both ways, as text"() {
    const markup = "<img src=x onerror=alert(1)> & <b>bold</b>";
    await say(ada, "Is anybody here?");
    await said(ben, "Is anybody here?");
    await say(ben, markup);
    await said(ada, markup);
    await said(ben, markup); // the sender sees it in the same order as the others
    assert.equal(await ada.locator("#log img, #log b").count(), 0);
    await ada.focus("#text");
    await ada.keyboard.type("two");
    await ada.keyboard.press("Shift+Enter");
    await ada.keyboard.type("lines");
    await ada.keyboard.press("Enter");
    await said(ben, "two\nlines");
  },

  async "messages keep their order"() {
    const words = Array.from({ length: 20 }, (_, index) => `word ${index}`);
    for (const word of words) await say(ada, word);
    await said(ben, words.at(-1));
    const got = await ben.locator("#log .text").allTextContents();
    assert.deepEqual(got.filter((line) => line.startsWith("word ")), words);
  },

  async "a message that is too long is refused and kept"() {
    const long = "z".repeat(2001);
    await say(ada, long);
    await text(ada, "#say-error", /2000/);
    assert.equal(await ada.inputValue("#text"), long);
    await ada.fill("#text", "");
    assert.equal(await ada.textContent("#say-error"), "");
  },

  async "rooms are apart"() {
    await ben.fill("#other-room", attic);
    await ben.press("#other-room", "Enter");
    await text(ben, "#chat-title", attic);
    await people(ben, ["Ben"]);
    await people(ada, ["Ada"]);
    await logged(ada, "Ben left.");
    await say(ben, "only the attic hears this");
    await said(ben, "only the attic hears this");
    await say(ada, "only the hall hears this");
    await said(ada, "only the hall hears this");
    assert.doesNotMatch(await ada.textContent("#log"), /attic hears/);
    assert.doesNotMatch(await ben.textContent("#log"), /hall hears/);
  },

  async "they meet again in the other room"() {
    await ada.fill("#other-room", attic);
    await ada.press("#other-room", "Enter");
    await people(ada, ["Ada", "Ben"]);
    await people(ben, ["Ben", "Ada"]);
    await say(ada, "here I am");
    await said(ben, "here I am");
    await say(ben, "welcome up");
    await said(ada, "welcome up");
  },

  async "a new connection comes back into the room"() {
    const before = ada.sockets.length;
    await ada.click("#reconnect");
    await logged(ada, /^Connected again/);
    await text(ada, "#transport", /^websocket$/);
    assert.equal(ada.sockets.length, before + 1);
    await logged(ben, "Ada came in.");
    assert.deepEqual((await ben.locator("#log .note").allTextContents()).slice(-2), ["Ada left.", "Ada came in."]);
    await people(ben, ["Ben", "Ada"]);
    await people(ada, ["Ada", "Ben"]);
    await say(ben, "after the break");
    await said(ada, "after the break");
  },

  async "a third tab starts in the room that the link names"() {
    const opened = context.waitForEvent("page");
    await ada.click("#second-tab");
    const third = watch(await opened);
    await third.waitForFunction((room) => document.getElementById("room").value === room, attic);
    await enter(third, "Cleo", attic);
    await people(third, ["Cleo", "Ada", "Ben"]);
    await people(ada, ["Ada", "Ben", "Cleo"]);
    await third.close();
    await people(ada, ["Ada", "Ben"]); // noticed by the end of the connection alone
    await logged(ben, "Cleo left.");
  },

  async "leaving leads back to the door"() {
    await ben.click("#leave");
    await ben.waitForSelector("#door", { timeout: PATIENCE });
    await people(ada, ["Ada"]);
    await enter(ben, "Ben", attic);
    await people(ada, ["Ada", "Ben"]);
  },

  async "it fits a phone, in the dark too"() {
    await ada.emulateMedia({ colorScheme: "dark" });
    for (const width of [320, 390, 768]) {
      await ada.setViewportSize({ width, height: 740 });
      const over = await ada.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      assert.ok(over <= 0, `${over} px too wide at ${width} px`);
      assert.ok(await ada.isVisible("#say-button"));
    }
    const [ground, ink] = await ada.evaluate(() => {
      const { backgroundColor, color } = getComputedStyle(document.body);
      return [backgroundColor, color].map((value) => value.match(/\d+/g).reduce((sum, part) => sum + Number(part), 0));
    });
    assert.ok(ground < ink, "the dark page has dark letters");
  },

  async "every control has a name"() {
    for (const page of [ada, ben]) {
      const nameless = await page.evaluate(() =>
        [...document.querySelectorAll("input, textarea, button, a")]
          .filter((control) => !control.labels?.length && !control.textContent.trim() && !control.ariaLabel)
          .map((control) => control.outerHTML),
      );
      assert.deepEqual(nameless, []);
    }
  },

  async "nothing was loaded from elsewhere, and nothing complained"() {
    const { host } = new URL(url);
    for (const page of [ada, ben]) {
      for (const to of [...page.seen, ...page.sockets]) assert.equal(new URL(to).host, host, to);
    }
    assert.deepEqual(complaints, []);
  },
};

/** A new tab on the page, which notes what it requests and complains about. */
async function tab() {
  const page = watch(await context.newPage());
  await page.goto(url);
  return page;
}

function watch(page) {
  page.seen = [];
  page.sockets = [];
  page.setDefaultTimeout(PATIENCE);
  page.on("request", (request) => page.seen.push(request.url()));
  page.on("websocket", (socket) => page.sockets.push(socket.url()));
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("console", (message) => ["error", "warning"].includes(message.type()) && complaints.push(message.text()));
  return page;
}

async function enter(page, name, room) {
  await page.fill("#name", name);
  await page.fill("#room", room);
  await page.click("#enter-button");
}

async function say(page, words) {
  await page.fill("#text", words);
  await page.press("#text", "Enter");
}

const said = (page, words) => one(page, "#log .text", words);
const logged = (page, words) => one(page, "#log .note", words);

/** Waits until the last element that the selector finds says this. */
const one = (page, selector, wanted) =>
  until(async () => (await page.locator(selector).allTextContents()).at(-1), wanted, selector);

const text = (page, selector, wanted) => until(() => page.textContent(selector), wanted, selector);

const people = (page, names) =>
  until(async () => (await page.locator("#people bdi").allTextContents()).join(", "), names.join(", "), "#people");

async function until(read, wanted, what) {
  const end = Date.now() + PATIENCE;
  const fits = (value) => (wanted instanceof RegExp ? wanted.test(value) : value === wanted);
  let value = await read();
  for (; !fits(value); value = await read()) {
    if (Date.now() > end) assert.fail(`${what}: expected ${wanted}, got ${JSON.stringify(value)}`);
    await new Promise((done) => setTimeout(done, 25));
  }
}

const counts = { passed: 0, failed: 0, skipped: 0 };
if (existsSync(executablePath)) {
  const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
  context = await browser.newContext();
  for (const [name, check] of Object.entries(checks)) {
    try {
      await check();
      counts.passed += 1;
      console.log(`ok      ${name}`);
    } catch (error) {
      counts.failed += 1;
      console.log(`FAILED  ${name}\n        ${error.message.replaceAll("\n", "\n        ")}`);
      if (complaints.length) console.log(`        the browser said: ${complaints.join(" | ")}`);
    }
  }
  await browser.close();
} else {
  counts.skipped = Object.keys(checks).length;
  console.log(`no Chromium at ${executablePath}: install it (apt install chromium) or set CHROMIUM`);
}
console.log(`${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`);
process.exit(counts.failed ? 1 : 0);
