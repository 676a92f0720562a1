"""A backend of the server `patio` on FastAPI: it lets users in, gets their messages, and publishes.

    patio --config ../patio.toml                              in one terminal
    pip install -r requirements.txt && python main.py         in another; then open http://localhost:8000
"""

import os
import time
from pathlib import Path

import httpx
import jwt
import uvicorn
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse, RedirectResponse
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

PORT = int(os.environ.get("PORT", 8000))
PATIO_URL = os.environ.get("PATIO_URL", "http://127.0.0.1:3000")
PATIO_API_KEY = os.environ.get("PATIO_API_KEY", "an example's key: make your own")
JWT_SECRET = os.environ.get("JWT_SECRET", "an example's secret: make your own")
HOOK_SECRET = os.environ.get("HOOK_SECRET", "whsec_YW4gZXhhbXBsZSdzIHNlY3JldDogbWFrZSB5b3VyIG93bg==")
CLIENT = "https://cdn.socket.io/4.8.1/socket.io.min.js"

app = FastAPI()
messages: list[dict] = []


@app.get("/token", response_class=PlainTextResponse)
def token(user: str = "guest") -> str:
    """Who may connect: here everybody may, under the name they like. Yours asks its session."""
    claims = {"sub": user, "rooms": ["lobby"], "data": {"name": user}, "exp": int(time.time()) + 3600}
    return jwt.encode(claims, JWT_SECRET, algorithm="HS256")


@app.post("/patio/event")
async def event(request: Request) -> dict:
    """What clients send. The signature says that it comes from Patio, so it is looked at first, on the bytes as they came."""
    try:
        hook = Webhook(HOOK_SECRET).verify(await request.body(), dict(request.headers))
    except WebhookVerificationError:
        raise HTTPException(401, "the signature is wrong")
    message = {"from": hook["user"], "text": str(hook["args"][0]), "number": len(messages) + 1}
    messages.append(message)
    return {
        "ack": [{"number": message["number"]}],
        "ops": [{"op": "emit", "to": ["lobby"], "event": "message", "args": [message]}],
    }


@app.post("/notify/{user}")
async def notify(user: str, request: Request) -> JSONResponse:
    """What happens here and concerns a user."""
    operation = {"op": "emit", "to": [f"user:{user}"], "event": "notice", "args": [await request.json()]}
    async with httpx.AsyncClient() as client:
        headers = {"authorization": f"Bearer {PATIO_API_KEY}"}
        answer = await client.post(f"{PATIO_URL}/api", json=operation, headers=headers)
    return JSONResponse(answer.json(), answer.status_code)


@app.get("/patio-url", response_class=PlainTextResponse)
def patio_url() -> str:
    return PATIO_URL


@app.get("/client/socket.io.js")
def client() -> RedirectResponse:
    return RedirectResponse(CLIENT)


@app.get("/")
def page() -> FileResponse:
    return FileResponse(Path(__file__).parent.parent / "page.html")


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=PORT)
