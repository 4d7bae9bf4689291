"""Commands as the kit's clients ask for them: over HTTP, and again with the same id until they are answered."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any, Final

import h11
import trio

from .cookies import Cookies
from .http import PATIENCE_SECONDS, Answer, ask, read_answer
from .network import ClientEnd
from .seed import current
from .transcript import Message

__all__ = ["as_reply", "new_id", "post", "until_answered"]

UNHEARD_SECONDS: Final = 1.0
"""Before asking again where nothing was answered."""


def new_id() -> str:
    """An id that no other command has: 32 hexadecimal digits, which the seed decides."""
    return f"{current().random('commands').getrandbits(128):032x}"


async def until_answered(once: Callable[[], Awaitable[Message | None]]) -> Message:
    """Ask again until there is an answer that does not say when to ask again.

    Args:
        once: asks; None: nobody answered.

    Raises:
        trio.TooSlowError: there was none within an hour.
    """
    with trio.fail_after(PATIENCE_SECONDS):
        while True:
            reply = await once()
            if reply is not None and "retry" not in reply:
                return reply
            await trio.sleep(UNHEARD_SECONDS if reply is None else reply["retry"] / 1000)


async def post(
    end: ClientEnd, url: str, headers: dict[str, str], id: str, data: Any, cookies: Cookies | None = None
) -> Message | None:
    """Ask once, with a POST request on a connection of its own. Return the reply; None where no answer came."""
    asked = {**headers, "content-type": "application/json", "idempotency-key": f'"{id}"'}
    try:
        head = await ask(end, "POST", url, asked, json.dumps(data).encode(), cookies=cookies)
        answer = await read_answer(end, *head)
    except (trio.BrokenResourceError, trio.ClosedResourceError, h11.RemoteProtocolError):
        return None
    return as_reply(id, answer)


def as_reply(id: str, answer: Answer) -> Message:
    """An answer as it would be on a WebSocket."""
    data: Any = answer.text or None
    if data is not None and answer.headers.get("content-type", "").startswith("application/json"):
        data = answer.json
    reply = {"type": "reply", "id": id, "status": answer.status, "data": data}
    if answer.headers.get("retry-after", "").isdecimal():
        reply["retry"] = 1000 * int(answer.headers["retry-after"])
    if "idempotency-replayed" in answer.headers:
        reply["repeated"] = True
    return reply
