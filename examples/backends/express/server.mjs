// A backend of the server `patio` on Express: it lets users in, gets their messages, and publishes.
//
//   patio --config ../patio.toml          in one terminal
//   npm install && npm start              in another; then open http://localhost:8000

import express from "express";
import jwt from "jsonwebtoken";
import { Webhook } from "standardwebhooks";

const {
  PORT = 8000,
  PATIO_URL = "http://127.0.0.1:3000",
  PATIO_API_KEY = "an example's key: make your own",
  JWT_SECRET = "an example's secret: make your own",
  HOOK_SECRET = "whsec_YW4gZXhhbXBsZSdzIHNlY3JldDogbWFrZSB5b3VyIG93bg==",
} = process.env;

const app = express();
const messages = [];

// Who may connect: here everybody may, under the name they like. Yours asks its session.
app.get("/token", (request, response) => {
  const user = String(request.query.user ?? "guest");
  response.type("text").send(jwt.sign({ sub: user, rooms: ["lobby"], data: { name: user } }, JWT_SECRET, { expiresIn: "1h" }));
});

// What clients send. The signature says that it comes from Patio, so it is looked at first, on the bytes as they came.
const webhook = new Webhook(HOOK_SECRET);
app.post("/patio/event", express.text({ type: "*/*" }), (request, response) => {
  let hook;
  try {
    hook = webhook.verify(request.body, request.headers);
  } catch {
    return response.status(401).json({ error: "the signature is wrong" });
  }
  const message = { from: hook.user, text: String(hook.args[0]), number: messages.length + 1 };
  messages.push(message);
  response.json({
    ack: [{ number: message.number }],
    ops: [{ op: "emit", to: ["lobby"], event: "message", args: [message] }],
  });
});

// What happens here and concerns a user.
app.post("/notify/:user", express.json(), async (request, response) => {
  const operation = { op: "emit", to: [`user:${request.params.user}`], event: "notice", args: [request.body] };
  const answer = await fetch(`${PATIO_URL}/api`, {
    method: "POST",
    headers: { authorization: `Bearer ${PATIO_API_KEY}`, "content-type": "application/json" },
    body: JSON.stringify(operation),
  });
  response.status(answer.status).json(await answer.json());
});

app.use("/client", express.static(`${import.meta.dirname}/node_modules/socket.io-client/dist`));
app.get("/", (_, response) => response.sendFile("page.html", { root: `${import.meta.dirname}/..` }));
app.get("/patio-url", (_, response) => response.type("text").send(PATIO_URL));
const server = app.listen(PORT, "127.0.0.1", () => console.log(`open http://localhost:${server.address().port}`));
