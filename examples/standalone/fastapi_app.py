"""A shop in FastAPI beside the server of channels.toml: it signs tokens, publishes, and says who may enter a room.

hypercorn fastapi_app:app --bind 127.0.0.1:9000
"""

from __future__ import annotations

import os
import time
from typing import Annotated, Any

import httpx
import jwt
from fastapi import Cookie, FastAPI, HTTPException, Response

PUBLISH = os.environ.get("PUBLISH_URL", "http://127.0.0.1:9100/publish")
KEY = os.environ["TOKEN_KEY"]
USERS: dict[str, dict[str, list[str]]] = {
    "ann": {"orders": ["A1"], "rooms": ["packing"]},
    "bob": {"orders": ["A2"], "rooms": []},
}

app = FastAPI()
Login = Annotated[str | None, Cookie()]


async def publish(channel: str, data: Any, **more: str) -> None:
    """Publish an event: when this returns it is in the log."""
    key = {"Authorization": f"Bearer {os.environ['TRIOLET_ADMIN_KEY']}"}
    async with httpx.AsyncClient() as client:
        answer = await client.post(PUBLISH, json={"channel": channel, "data": data, **more}, headers=key)
        answer.raise_for_status()


def user_of(login: str | None) -> str | None:
    """Who asks, by the cookie of the login."""
    try:
        return None if login is None else str(jwt.decode(login, KEY, ["HS256"], audience="shop")["sub"])
    except jwt.InvalidTokenError:
        return None


@app.post("/login/{user}")
async def log_in(user: str, response: Response) -> dict[str, str]:
    """Log in: a shop would ask for a password."""
    if user not in USERS:
        raise HTTPException(404)
    claims = {"sub": user, "aud": "shop", "exp": time.time() + 3600}
    response.set_cookie("login", jwt.encode(claims, KEY), httponly=True, samesite="lax")
    return {"user": user}


@app.get("/token")
async def token(login: Login = None) -> dict[str, str]:
    """A token for the page, with what its visitor may follow."""
    user = user_of(login)
    if user is None:
        raise HTTPException(401)
    claims = {"sub": user, "aud": "live", "exp": time.time() + 600, "orders": USERS[user]["orders"]}
    return {"token": jwt.encode(claims, KEY)}


@app.post("/orders/{order_id}/{state}")
async def advance(order_id: str, state: str) -> dict[str, str]:
    """Something happens to an order."""
    await publish(f"orders/{order_id}", {"state": state}, name="order-status")
    return {"state": state}


@app.post("/live/may")
async def may(asked: dict[str, Any], login: Login = None) -> dict[str, Any]:
    """The callback: may this visitor enter the room?"""
    user, room = user_of(login), asked["values"]["room"]
    if user is None or room not in USERS[user]["rooms"]:
        return {"allow": False}
    return {"allow": True, "subject": user, "expires_in": 3600}
