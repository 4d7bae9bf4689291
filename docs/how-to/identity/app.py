"""A packing room: a login, tokens for scripts, orders that some may see, and commands that take effect once."""

import os
import secrets
from typing import Any

from quart import abort, request, session
from quart_trio import QuartTrio

from triolet import JWT, Command, Connection, Event, Identity, Triolet
from triolet.clock import wall_time

LOGIN_SECONDS = 8 * 3600

app = QuartTrio(__name__)
app.secret_key = os.environ.get("SHOP_SECRET") or secrets.token_hex()
app.config["SESSION_COOKIE_SAMESITE"] = "Lax"  # pages of other sites cannot post with it
live = Triolet(app, log=os.environ.get("SHOP_LOG", "memory:"))
jwt = JWT(keys=os.environ.get("SHOP_TOKEN_KEY") or secrets.token_hex(), audience="packing-room")

# Yours are in a database, which all processes share, and the passwords are hashed.
passwords = {"ann": "apple", "bob": "birch"}
orders = {"ann": {"A1", "A2"}, "bob": {"A2"}}
logins: set[str] = set()
picked: dict[str, str] = {}


@live.identify
async def identify(token: str | None) -> Identity | None:
    if token is not None:  # a script, or another service
        return await jwt(token)
    if session.get("login") in logins:  # a page
        return Identity(session["user"], session=session["login"], expires_at=session["until"])
    return None


@app.post("/login")
async def login() -> dict[str, str]:
    form = await request.form
    user, password = form["user"], form["password"]
    if user not in passwords or not secrets.compare_digest(passwords[user].encode(), password.encode()):
        abort(401)
    session.update(user=user, login=secrets.token_urlsafe(), until=wall_time() + LOGIN_SECONDS)
    logins.add(session["login"])
    return {"user": user}


@app.post("/logout")
async def logout() -> dict[str, None]:
    if "login" in session:
        logins.discard(session["login"])  # first: nobody comes in with it from now on
        await live.revoke(session=session["login"])  # and what is open ends: in all tabs, in all processes
    session.clear()
    return {"user": None}


async def subject() -> str:
    identity = await live.identity()
    if identity is None:
        abort(401)
    return identity.subject


@live.channel("/orders/<order_id>/events", recheck=30)
async def order_events(order_id: str) -> str:
    if order_id not in orders.get(await subject(), ()):
        abort(404)  # the same for an order that is not there
    return f"orders/{order_id}"


def is_for(event: Event, identity: Identity | None) -> bool:
    return identity is not None and event.key in (None, identity.subject)


@live.channel("/notices", allow=is_for)
async def notices() -> str:
    await subject()
    return "notices"


@live.command("/orders/<order_id>/pick")
async def pick(order_id: str, command: Command) -> Any:
    user = await subject()
    if order_id not in orders.get(user, ()):
        abort(404)
    if picked.setdefault(order_id, user) != user:
        return {"picked_by": picked[order_id]}, 409
    await command.publish(f"orders/{order_id}", {"state": "packed", "by": user}, name="order-status")
    return {"picked": order_id}


@app.post("/admin/<user>/block")
async def block(user: str) -> dict[str, str]:
    if await subject() != "ann":
        abort(403)
    orders.pop(user, None)
    await live.revoke(subject=user)
    return {"blocked": user}


@live.socket("/live")
async def desk(conn: Connection) -> None:
    async for message in conn:
        match message:
            case {"text": str(text), "to": str() | None as user} if conn.identity is not None:
                await live.publish("notices", {"text": text, "by": conn.identity.subject}, key=user)
