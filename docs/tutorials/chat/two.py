"""A chat: rooms that anybody may read, and write in, and a page for them."""

from quart import Response, abort
from quart_trio import QuartTrio

from triolet import Command, Triolet

ROOMS = {"lobby", "kitchen"}

app = QuartTrio(__name__)
live = Triolet(app, log="sqlite:///chat.db")
app.config["SEND_FILE_MAX_AGE_DEFAULT"] = 0  # or browsers keep pages and scripts for twelve hours


@app.get("/")
async def page() -> Response:
    return await app.send_static_file("chat.html")


@live.channel("/rooms/<room>/events")
async def room_events(room: str) -> str:
    if room not in ROOMS:
        abort(404)
    return f"rooms/{room}"


@live.command("/rooms/<room>/say")
async def say(room: str, command: Command) -> dict[str, str]:
    match command.data:
        case {"text": str(text)} if room in ROOMS and 0 < len(text) <= 500:
            await command.publish(f"rooms/{room}", {"text": text}, name="said")
            return {"said": text}
    abort(400)
