"""A chat: rooms and their history, who is there and who types, logins that end, and moderators. All is in its log."""

import os
import secrets
from pathlib import Path
from typing import Any
from unicodedata import normalize

import trio
from quart import Response, abort, redirect, render_template, request, session
from quart_trio import QuartTrio

from triolet import Command, Cursor, Event, Identity, Keep, Limits, Member, Triolet
from triolet.clock import wall_time

ROOMS = {"garden": "What grows", "kitchen": "What to make of it", "shed": "Tools, and mending them", "gate": "The rest"}
POLICY = "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
PASSWORD = os.environ.get("CHAT_PASSWORD") or "weeds"
CONTROLS = dict.fromkeys([*range(9), *range(11, 32), *range(127, 160)])  # what no message has: all but tabs and lines
LOGIN_SECONDS, FOR_EVER = 12 * 3600, 1 << 40

app = QuartTrio(__name__)
app.config.update(SESSION_COOKIE_SAMESITE="Lax", SEND_FILE_MAX_AGE_DEFAULT=0)  # no posts from elsewhere; no old pages
app.secret_key = os.environ.get("CHAT_SECRET") or "for a demo: the session holds a login's id, which nobody can guess"
database = Path(os.environ.get("CHAT_DB") or Path(__file__).with_name("chat.db")).resolve()
live = Triolet(app, log=f"sqlite:///{database}", limits=Limits(keep={"desk": Keep(1_000_000, float("inf"))}))
live.socket("/live")

desk: dict[str | None, Any] = {}  # what holds in all processes: each event of the channel "desk" sets its key's row
read_up_to, reading = Cursor("", 0), trio.Lock()
NOBODY = [None, 0, False]  # in the row of a name: which login has it, until when, and whether it is a moderator's


async def read_desk(key: str) -> Any:
    """The row of a key, by all that was written up to now. A name is taken if it is free, and left by who has it."""
    global read_up_to
    async with reading:
        while (page := await live.log.read("desk", read_up_to, limit=1_000, max_bytes=1 << 20)).events:
            for event in page.events:
                row = desk.get(event.key, NOBODY)
                if event.name not in ("taken", "left") or row[1] <= event.published_at or row[0] == event.data[0]:
                    desk[event.key] = event.data
            read_up_to = page.events[-1].cursor
    return desk.get(key, NOBODY)


@live.identify
async def identify(token: str | None = None) -> Identity | None:
    """Who has a name by the session's login. The desk is asked each time."""
    name, login = session.get("member", ("", ""))
    id, until, moderator = await read_desk(f"name {name.casefold()}")
    return Identity(name, login, until, {"moderator": moderator}) if id == login and until > wall_time() else None


async def enter(room: str) -> Member:
    """Who asks, as the others see them, whatever the client was let in with."""
    who = await identify() or abort(401)
    return Member(who.subject, who.claims) if room in ROOMS else abort(404)


def is_shown(event: Event, who: Identity | None) -> bool:
    """What was removed is sent to nobody any more, neither as history nor to who comes back."""
    return f"removed {event.channel} {event.cursor}".casefold() not in desk


@live.channel("/rooms/<room>/events", member=enter, allow=is_shown, recheck=30)
async def room_events(room: str) -> str:
    await enter(room)
    return f"rooms/{room}"


@live.channel("/rooms/<room>/presence", recheck=30)
async def room_presence(room: str) -> str:
    await enter(room)
    return live.presence(f"rooms/{room}").channel


@live.command("/rooms/<room>/messages")
async def say(room: str, command: Command) -> Any:
    who, channel = await enter(room), f"rooms/{room}"
    if f"muted {channel} {who.id}".casefold() in desk:
        return {"message": "A moderator has muted you in this room."}, 403
    match command.data:
        case {"text": str(said)} if 1 <= len(text := said.translate(CONTROLS).strip()) <= 2_000:
            await command.publish(channel, {"who": who.id, "text": text, "sent": command.id})
            return {"room": room}
    return {"message": "A message has 1 to 2,000 letters."}, 400


@live.command("/rooms/<room>/<any(removed, muted, banned):what>")
async def judge(room: str, what: str, command: Command) -> Any:
    """Remove the message with an id, or mute or ban the member with a name."""
    who, channel, about = await enter(room), f"rooms/{room}", command.data
    if not who.info["moderator"]:
        abort(403)
    if not isinstance(about, str) or not about.isprintable() or not 1 <= len(about) <= 32 or about == who.id:
        return {"message": "Which message, or whom?"}, 400
    row = f"name {about}" if what == "banned" else f"{what} {channel} {about}"
    await live.publish("desk", [secrets.token_urlsafe(), FOR_EVER, False], key=row.casefold(), dedupe=command.id)
    if what == "banned":  # from now on nobody comes in by this name, and what is open ends, in all tabs and processes
        await live.revoke(subject=about)
    await command.publish(channel, {"about": about, "by": who.id}, name=what)
    return {what: about}


@app.post("/rooms/<room>/typing")
async def typing(room: str) -> Any:
    """What is only for now: whoever is there sees it, and nothing keeps it."""
    live.tell(f"rooms/{room}", {"who": (await enter(room)).id}, name="typing")
    return "", 204


@app.get("/")
async def index() -> str:
    who = await live.identity()
    return await render_template("login.html" if who is None else "chat.html", who=who, rooms=ROOMS)


@app.post("/login")
async def login() -> Any:
    form, id = await request.form, secrets.token_urlsafe()
    name, password = " ".join(normalize("NFKC", form.get("name", "")).split()), form.get("password", "")
    row = f"name {name.casefold()}"
    if not name.isprintable() or not 1 <= len(name) <= 24:  # it would pass for another's
        problem = "A name has 1 to 24 letters that can be seen."
    elif password and not secrets.compare_digest(password.encode(), PASSWORD.encode()):
        problem = "That is not the moderators’ password."
    else:
        if (await read_desk(row))[1] <= wall_time():  # or nothing is written: who is refused fills no log
            await live.publish("desk", [id, wall_time() + LOGIN_SECONDS, bool(password)], name="taken", key=row)
        if (await read_desk(row))[0] == id:  # of two who want one name at once, one has got it
            session["member"] = [name, id]
            return redirect("/", 303)
        problem = "Somebody is here by this name, or was banned: choose another."
    return await render_template("login.html", problem=problem, name=name), 403


@app.post("/logout")
async def logout() -> Any:
    if who := await live.identity():
        await live.publish("desk", [who.session, 0, False], name="left", key=f"name {who.subject.casefold()}")
        await live.revoke(session=who.session)  # from now on nobody comes in with it, and what is open ends
    session.clear()
    return redirect("/", 303)


@app.after_request
async def harden(response: Response) -> Response:
    response.headers.update({"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff"})
    return response
