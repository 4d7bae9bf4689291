"""A chat: rooms and their history, who is there and who types, logins that end, and moderators. All is in its log."""

import math
import os
import secrets
from pathlib import Path
from typing import Any

import trio
from desk import Desk, name_of, text_of
from quart import Response, abort, redirect, render_template, request, session
from quart_trio import QuartTrio

from triolet import Command, Event, Identity, Keep, Limits, Member, Triolet

ROOMS = {"garden": "What grows", "kitchen": "What to make of it", "shed": "Tools, and mending them", "gate": "The rest"}
POLICY = "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
HEADERS = {"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff"}
PASSWORD = os.environ.get("CHAT_PASSWORD") or "weeds"

app = QuartTrio(__name__)
app.config["SEND_FILE_MAX_AGE_DEFAULT"] = 0  # or browsers keep pages and scripts for twelve hours
app.secret_key = os.environ.get("CHAT_SECRET") or "for a demo: the session holds a login's id, which nobody can guess"
app.config["SESSION_COOKIE_SAMESITE"] = "Lax"  # pages of other sites cannot post with it
database = Path(os.environ.get("CHAT_DB") or Path(__file__).with_name("chat.db")).resolve()
live = Triolet(app, log=f"sqlite:///{database}", limits=Limits(keep={"desk": Keep(1_000_000, math.inf)}))
live.socket("/live")
desk = Desk(live)
entering = trio.Lock()


@app.before_serving
async def begin() -> None:
    await desk.begin(app.nursery)


@live.identify
async def identify(token: str | None) -> Identity | None:
    return desk.logins.get(session.get("login", ""))


async def enter(room: str) -> tuple[Identity, str]:
    """Who asks, and the room's channel. The desk is asked each time, whatever the client was let in with."""
    who = await live.identity()
    if who is None or who.session not in desk.logins:
        abort(401)
    if room not in ROOMS:
        abort(404)
    return who, f"rooms/{room}"


async def present(room: str) -> Member:
    who, _ = await enter(room)
    return Member(who.subject, {"moderator": who.claims["moderator"]})


def is_shown(event: Event, who: Identity | None) -> bool:
    """What was removed is sent to nobody any more, neither as history nor to who comes back."""
    return (event.channel, str(event.cursor)) not in desk.removed


@live.channel("/rooms/<room>/events", member=present, allow=is_shown, recheck=30)
async def room_events(room: str) -> str:
    return (await enter(room))[1]


@live.channel("/rooms/<room>/presence", recheck=30)
async def room_presence(room: str) -> str:
    return live.presence((await enter(room))[1]).channel


@live.command("/rooms/<room>/messages")
async def say(room: str, command: Command) -> Any:
    who, channel = await enter(room)
    text = text_of(command.data)
    if not 1 <= len(text) <= 2_000:
        return {"message": "A message has 1 to 2,000 letters."}, 400
    await command.publish(channel, {"who": who.subject, "text": text, "sent": command.id})
    return {"room": room}


@live.command("/rooms/<room>/<any(removed, banned):what>")
async def judge(room: str, what: str, command: Command) -> Any:
    """Remove the message with an id, or ban the member with a name."""
    who, channel = await enter(room)
    about = command.data
    if not who.claims["moderator"]:
        abort(403)
    if not isinstance(about, str) or not 1 <= len(about) <= 60 or about == who.subject:
        return {"message": "Which message, or whom?"}, 400
    await desk.write(what, [channel, about], dedupe=command.id)  # first: from now on nobody of this name comes in
    if what == "banned" and name_of(about):
        await live.revoke(subject=about)  # and what is open ends: in all tabs, in all processes
    await command.publish(channel, {"about": about, "by": who.subject}, name=what)
    return {what: about}


@app.post("/rooms/<room>/typing")
async def typing(room: str) -> Any:
    """What is only for now: whoever is there sees it, and nothing keeps it."""
    who, channel = await enter(room)
    live.tell(channel, {"who": who.subject}, name="typing")
    return "", 204


@app.get("/")
async def index() -> str:
    who = await live.identity()
    return await render_template("login.html" if who is None else "chat.html", who=who, rooms=ROOMS)


@app.post("/login")
async def login() -> Any:
    form = await request.form
    name, password = name_of(form.get("name", "")), form.get("password", "")
    async with entering:  # of two who want one name at once, one gets it
        problem = desk.problem(name)
        if password and not secrets.compare_digest(password.encode(), PASSWORD.encode()):
            problem = "That is not the moderators’ password."
        if problem:
            return await render_template("login.html", problem=problem, name=name), 403
        session["login"] = secrets.token_urlsafe()
        await desk.write("login", [session["login"], name, bool(password)])
    return redirect("/", 303)


@app.post("/logout")
async def logout() -> Any:
    ended = session.pop("login", "")
    if ended in desk.logins:
        await desk.write("logout", ended)  # first: from now on nobody comes in with it
        await live.revoke(session=ended)
    return redirect("/", 303)


@app.after_request
async def harden(response: Response) -> Response:
    response.headers.update(HEADERS)
    return response
