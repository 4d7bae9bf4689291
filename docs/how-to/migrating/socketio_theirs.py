"""A chat over python-socketio."""

from typing import Any

import socketio

sio = socketio.AsyncServer(async_mode="asgi")
app = socketio.ASGIApp(sio)


@sio.event
async def connect(sid: str, environ: dict[str, Any], auth: dict[str, str] | None) -> None:
    if not auth or auth.get("token") != "token-of-ann":
        raise socketio.exceptions.ConnectionRefusedError("who are you?")
    await sio.save_session(sid, {"name": "ann"})


@sio.event
async def join(sid: str, room: str) -> None:
    await sio.enter_room(sid, room)


@sio.event
async def say(sid: str, data: dict[str, str]) -> dict[str, str]:
    session = await sio.get_session(sid)
    await sio.emit("said", {"by": session["name"], "text": data["text"]}, room=data["room"])
    return {"said": data["text"]}


@sio.event
async def typing(sid: str, data: dict[str, str]) -> None:
    session = await sio.get_session(sid)
    await sio.emit("typing", {"who": session["name"]}, room=data["room"], skip_sid=sid)
