"""The chat over Triolet."""

from quart import abort
from quart_trio import QuartTrio

from triolet import Command, Connection, Identity, Triolet

app = QuartTrio(__name__)
live = Triolet(app, log="sqlite:///chat.db")


@live.identify
async def identify(token: str | None) -> Identity | None:
    return Identity("ann") if token == "token-of-ann" else None


async def name() -> str:
    identity = await live.identity()
    if identity is None:
        abort(401)
    return identity.subject


@live.channel("/rooms/<room>/events")
async def room_events(room: str) -> str:
    await name()  # and whether this one may be in this room
    return f"rooms/{room}"


@live.command("/rooms/<room>/say")
async def say(room: str, command: Command) -> dict[str, str]:
    await command.publish(f"rooms/{room}", {"by": await name(), "text": command.data["text"]}, name="said")
    return {"said": command.data["text"]}


@live.socket("/live")
async def typing(conn: Connection) -> None:
    async for message in conn:
        match message:
            case {"typing": str(room)} if conn.identity is not None:
                live.tell(f"rooms/{room}", {"who": conn.identity.subject}, name="typing")
