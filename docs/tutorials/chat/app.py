"""A chat: rooms, names, who is there, and a logout that ends what is open."""

import secrets
from typing import Any

from quart import Response, abort, redirect, request, session
from quart_trio import QuartTrio

from triolet import Command, Identity, Triolet

ROOMS = {"lobby", "kitchen"}

app = QuartTrio(__name__)
app.config["SEND_FILE_MAX_AGE_DEFAULT"] = 0  # or browsers keep pages and scripts for twelve hours
app.secret_key = "change me, and keep me out of the repository"
app.config["SESSION_COOKIE_SAMESITE"] = "Lax"  # pages of other sites cannot post with it
live = Triolet(app, log="sqlite:///chat.db")
logins: set[str] = set()  # yours are in a database, which all processes share


@live.identify
async def identify(token: str | None) -> Identity | None:
    if session.get("login") in logins:
        return Identity(session["name"], session=session["login"])
    return None


async def my_name() -> str:
    identity = await live.identity()
    if identity is None:
        abort(401)
    return identity.subject


@app.get("/")
async def page() -> Response:
    known = await live.identity() is not None
    return await app.send_static_file("chat.html" if known else "login.html")


@app.post("/login")
async def login() -> Any:
    name = (await request.form).get("name", "")
    if not 0 < len(name) <= 30:
        abort(400)
    session.update(name=name, login=secrets.token_urlsafe())  # a real chat asks for a password
    logins.add(session["login"])
    return redirect("/", 303)


@app.post("/logout")
async def logout() -> Any:
    if "login" in session:
        logins.discard(session["login"])  # first: nobody comes in with it from now on
        await live.revoke(session=session["login"])  # and what is open with it ends
    session.clear()
    return redirect("/", 303)


async def room_of(room: str) -> str:
    if room not in ROOMS:
        abort(404)
    return f"rooms/{room}"


async def present(room: str) -> str:
    return await my_name()


@live.channel("/rooms/<room>/events", member=present)
async def room_events(room: str) -> str:
    await my_name()
    return await room_of(room)


@live.channel("/rooms/<room>/presence")
async def room_presence(room: str) -> str:
    await my_name()
    return live.presence(await room_of(room)).channel


@live.command("/rooms/<room>/say")
async def say(room: str, command: Command) -> dict[str, str]:
    name = await my_name()
    match command.data:
        case {"text": str(text)} if 0 < len(text) <= 500:
            await command.publish(await room_of(room), {"by": name, "text": text}, name="said")
            return {"said": text}
    abort(400)


live.socket("/live")
