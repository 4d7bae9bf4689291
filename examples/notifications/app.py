"""Notifications: a channel for each user, whose events the server renders. The page has htmx, and no script of ours.

Run it with ``make notifications``, or in this folder with ``triolet serve app:app``. The log is kept in
``notifications.db`` beside this file, or where the environment's ``NOTIFICATIONS_DB`` says.
"""

import os
import re
import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader
from quart import Response, abort, redirect, request, session
from quart_trio import QuartTrio

from triolet import Event, Reducer, Triolet

PEOPLE = ["Ada", "Ben", "Cleo"]
MOST_NOTES = 50
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
POLICY = "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
HEADERS = {"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff"}

app = QuartTrio(__name__)
app.config["SEND_FILE_MAX_AGE_DEFAULT"] = 0  # or browsers keep pages and scripts for twelve hours
app.secret_key = os.environ.get("NOTIFICATIONS_SECRET") or "for a demo: keep yours out of the code"
app.config.update(SESSION_COOKIE_SAMESITE="Lax", MAX_CONTENT_LENGTH=1 << 16)  # pages of other sites cannot post with it
database = Path(os.environ.get("NOTIFICATIONS_DB") or Path(__file__).with_name("notifications.db")).resolve()
live = Triolet(app, log=f"sqlite:///{database}")
pages = Environment(loader=FileSystemLoader(Path(__file__).with_name("templates")), autoescape=True, trim_blocks=True)
pages.filters["clock"] = lambda at: datetime.fromtimestamp(at, UTC).strftime("%d %b, %H:%M UTC")


# --- an inbox: its events, the state that they make, and how each of them looks -----------------------------


def take(inbox: list[dict[str, Any]], event: Event) -> list[dict[str, Any]]:
    match event.data:
        case {"read": id}:
            return [{**note, "unread": note["unread"] and note["id"] != id} for note in inbox]
        case note:
            return [*inbox, {**note, "at": event.published_at, "unread": True}][-MOST_NOTES:]


inboxes = Reducer(take, initial=[], name="inboxes", channels="inboxes/*")


def as_html(event: Event) -> str:
    """What the page swaps in: a note, or the mark of one that was read."""
    return pages.get_template("heard.html").render(heard=event.data, at=event.published_at)


@live.channel("/inboxes/<user>/events", format="plain", render=as_html, snapshot=inboxes)
async def inbox_events(user: str) -> str:
    """For that user alone. To anybody else it is as one that is not there."""
    if user not in PEOPLE or session.get("user") != user:
        abort(404)
    return f"inboxes/{user}"


# --- what is looked at -------------------------------------------------------------------------------------


def me() -> str:
    user: str = session.get("user", "")
    return user if user in PEOPLE else abort(401)


@app.get("/")
async def index() -> str:
    """The inbox as it is at ``cursor``. Its page follows from there on, so nothing is lost between the two."""
    if session.get("user") not in PEOPLE:
        return pages.get_template("door.html").render(people=PEOPLE)
    inbox, cursor = await live.state(f"inboxes/{me()}", inboxes)
    unread = sum(note["unread"] for note in inbox)
    return pages.get_template("inbox.html").render(user=me(), inbox=inbox, unread=unread, cursor=cursor, **a_form())


@app.get("/unread")
async def unread() -> str:
    inbox, _ = await live.state(f"inboxes/{me()}", inboxes)
    return str(sum(note["unread"] for note in inbox))


def a_form(**said: str) -> dict[str, Any]:
    """What an empty form is made of. It has an id of its own, so it is taken once, however often it is sent."""
    return {"people": PEOPLE, "once": secrets.token_hex(16), **said}


# --- what is done: by forms, with htmx or without -----------------------------------------------------------


@app.post("/notes")
async def send() -> Any:
    form = await request.form
    to, once, text = form.get("to", ""), form.get("once", ""), CONTROLS.sub("", form.get("text", "")).strip()
    if to not in PEOPLE or not once.isalnum() or len(once) > 64:
        abort(400)
    if not 1 <= len(text) <= 500:
        return pages.get_template("form.html").render(
            a_form(to=to, text=text, said="A note has 1 to 500 letters.")
        ), 400
    note = {"id": secrets.token_hex(8), "by": me(), "text": text}
    await live.publish(f"inboxes/{to}", note, dedupe=f"{me()} {once}")
    return done(pages.get_template("form.html").render(a_form(to=to, said=f"Sent to {to}.")))


@app.post("/read")
async def read() -> Any:
    id = (await request.form).get("id", "")
    if not id.isalnum() or len(id) > 64:
        abort(400)
    await live.publish(f"inboxes/{me()}", {"read": id}, dedupe=f"read {id}")
    return done("")


def done(fragment: str) -> Any:
    """To htmx a part of the page; to a browser without it the way back."""
    return fragment if "HX-Request" in request.headers else redirect("/", 303)


@app.post("/login")
async def login() -> Any:
    session["user"] = (await request.form).get("user")
    return redirect("/", 303)


@app.post("/logout")
async def logout() -> Any:
    user = session.pop("user", None)
    if user in PEOPLE:
        await live.revoke(channel=f"inboxes/{user}")  # who is still this user comes back, and has missed nothing
    return redirect("/", 303)


@app.after_request
async def harden(response: Response) -> Response:
    response.headers.update(HEADERS)
    return response
