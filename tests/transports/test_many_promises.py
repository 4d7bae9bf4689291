"""A stream or a poll that follows many channels keeps, in each of them, every promise of a transport."""

from __future__ import annotations

from typing import Any

import pytest
from trio.testing import MockClock

from triolet.testing.client_poll import LongPollClient, ShortPollClient
from triolet.testing.client_sse import SseClient
from triolet.testing.clients import Client, Message, with_after
from triolet.testing.http import RefusedError
from triolet.testing.many import placed
from triolet.testing.reach import Reach
from triolet.testing.transports import TRANSPORT_CHECKS, TransportCheck

OTHER = "/channels/other"


class OneOfMany(Client):
    """Follows a channel beside another one, which is quiet, and hears what is of that channel alone."""

    def __init__(self, reach: Reach, path: str, after: str | None, beside: str, **options: Any) -> None:
        urls = dict.fromkeys([with_after(path, after), beside or with_after(path, after)])
        super().__init__(reach, "/live", follow=[*urls], **options)
        self._own = path.removeprefix("/channels/")
        self._all: str | None = None
        self.cursor = after

    def hear(self, message: Message) -> None:
        if message["type"] == "refused":
            raise RefusedError(str(message["url"]), None)
        if message["type"] == "beat":
            told = {name: at for name, at in message["cursors"].items() if name != "other"}
            message = placed({**message, "cursors": told}, getattr(message, "place", None))
        if message.get("channel") != "other":
            super().hear(message)

    def keep_cursor(self, message: Message) -> None:
        before = self.cursor
        super().keep_cursor(message)
        self._all = getattr(message, "place", None) or self._all
        self.cursor = self.cursors.get(self._own, before)

    async def connect(self) -> None:
        """Come back with the place in both channels."""
        here, self.cursor = self.cursor, self._all
        await super().connect()  # type: ignore[safe-super]  # a transport's, which comes next
        self.cursor = here


class ManySse(OneOfMany, SseClient):
    pass


class ManyLongPoll(OneOfMany, LongPollClient):
    pass


class ManyShortPoll(OneOfMany, ShortPollClient):
    pass


@pytest.mark.parametrize("client", [ManySse, ManyLongPoll, ManyShortPoll])
@pytest.mark.parametrize("check", TRANSPORT_CHECKS, ids=lambda check: check.__name__.removeprefix("_check_"))
async def test_each_channel_of_many_is_as_promised(
    check: TransportCheck, client: type[OneOfMany], autojump_clock: MockClock
) -> None:
    beside = "" if check.__name__ == "_check_stalls" else OTHER  # it counts one follower for each client
    await check(lambda reach, path, after: client(reach, path, after, beside), None)
