// Runs a part of the table in headless Chromium: node browser.mjs --server "node reference.mjs" A page of its
// own origin carries one client's dist bundle and runs the same checks as Node does (peer.mjs and checks.mjs
// are plain modules). The browser's own view of the network must agree with the cell: which transports were
// used, and that client 2 gets and posts binary over polling in its old binary form. CHROMIUM names the
// browser when it is not /usr/bin/chromium.

import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { chromium } from "playwright-core";
import { browserCells } from "./cells.mjs";
import { options, runAll } from "./harness.mjs";

const here = (path) => new URL(path, import.meta.url);
const module = { file: (name) => here(name), type: "text/javascript; charset=utf-8" };
const bundles = {
  "2.5.0": "node_modules/socket.io-client-2/dist/socket.io.js",
  "4.8.4": "node_modules/socket.io-client-4/dist/socket.io.js",
  "4.8.4 msgpack": "node_modules/socket.io-client-4/dist/socket.io.msgpack.min.js",
};

// The page server: an empty page, the two modules and the bundles.
const pages = createServer(async ({ url }, response) => {
  const [, name] = decodeURIComponent(url).split("/");
  if (name === "")
    return response.setHeader("content-type", "text/html").end("<!doctype html><title>e2e</title>");
  const path = ["peer.mjs", "checks.mjs"].includes(name) ? name : bundles[name];
  if (!path) return response.writeHead(404).end();
  response.setHeader("content-type", module.type).end(await readFile(here(path)));
});
await new Promise((resolve) => pages.listen(0, "127.0.0.1", resolve));
const origin = `http://127.0.0.1:${pages.address().port}`;

const flags =
  "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking " +
  "--disable-component-update --disable-sync --disable-dev-shm-usage";
const settings = options(4);
const browser = settings.list
  ? undefined
  : await chromium.launch({
      executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
      args: flags.split(" "),
    });

// Pages at rest, to be navigated anew: a browser context each, since the browser allows six HTTP connections
// to a host in a context, and a renderer process each, which is what takes time to start.
const idle = [];

async function run(cell, url) {
  const page = idle.pop() ?? (await (await browser.newContext()).newPage());
  const seen = new Seen(page, `e2e=${tag(cell)}`);
  try {
    await page.goto(origin);
    await page.addScriptTag({ url: `${origin}/${[cell.client, cell.parser].filter(Boolean).join(" ")}` });
    const failure = await page.evaluate(runInPage, { ...cell, url, tag: tag(cell) });
    if (failure) throw new Error(failure);
    seen.check(cell);
    await page.goto("about:blank"); // ends what is left of the cell before the next one uses the page
    idle.push(page);
  } catch (error) {
    await page.context().close();
    throw error;
  } finally {
    seen.stop();
  }
}

function tag({ number }) {
  return `page-${number}`;
}

// Runs in the page: returns the message of the failure, if any.
async function runInPage({ number, client, transport, check, url, tag }) {
  const [{ Cell }, checks] = await Promise.all([import("/peer.mjs"), import("/checks.mjs")]);
  const cell = new Cell({
    ...{ number, client, transport, url, tag },
    io: globalThis.io,
    Binary: "ArrayBuffer",
  });
  try {
    await checks[check](cell);
    await cell.finish();
  } catch (error) {
    return String(error?.message ?? error) || "an error without a message";
  } finally {
    cell.abandon();
  }
}

// What the browser's network saw of one cell, known by the query of its URLs.
class Seen {
  sockets = []; // URLs of WebSockets
  polls = []; // content types of the answers to polls
  posts = []; // content types of posts

  constructor(page, query) {
    const onSocket = (socket) => socket.url().includes(query) && this.sockets.push(socket.url());
    const onResponse = (response) => {
      const request = response.request();
      if (!response.url().includes(query)) return;
      if (request.method() === "GET") this.polls.push(response.headers()["content-type"]);
      if (request.method() === "POST") this.posts.push(request.headers()["content-type"]);
    };
    page.on("websocket", onSocket).on("response", onResponse);
    this.stop = () => page.off("websocket", onSocket).off("response", onResponse);
  }

  check({ client, transport, check, parser }) {
    const { sockets, polls, posts } = this;
    const expect = (condition, what) => {
      const types = [polls, posts].map((list) => [...new Set(list)]);
      if (!condition)
        throw new Error(`${what}: sockets ${sockets}; types of polls ${types[0]}, of posts ${types[1]}`);
    };
    expect(transport === "websocket" ? polls.length === 0 : polls.length > 0, "polls that the browser saw");
    expect(
      transport === "polling" ? sockets.length === 0 : sockets.length > 0,
      "WebSockets that the browser saw",
    );
    if (transport === "upgrade")
      expect(
        sockets.every((url) => url.includes("sid=")),
        "WebSockets that are upgrades",
      );
    if (transport === "polling" && (check === "binary" || parser)) {
      const old = client === "2.5.0";
      const binary = (types) => types.some((type) => type?.startsWith("application/octet-stream"));
      expect(binary(polls) === old, "polls in the old binary form");
      expect(binary(posts) === old, "posts in the old binary form");
    }
  }
}

const status = settings.list
  ? await runAll(browserCells(), settings)
  : await runAll(browserCells(), settings, run, `--cors ${origin}`);
await browser?.close();
process.exit(status);
