"""A callback: an app behind a URL is asked who may, with the headers that a client's request brought.

It is asked by a POST whose body is JSON, and says yes with 200 and ``{"allow": true}``. An answer that is no clear yes
is a no: a page in HTML, a redirect (which is not followed), more bytes than are read. Where there is no answer at all,
in time and below 500, nobody can say: for a client that comes that is a no as well, and one that is in already stays
(see :mod:`triolet.standalone.access`).
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from http import HTTPStatus
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

import msgspec
import trio

from ..bounds import RECHECK_LEAST_SECONDS
from ..client.dial import Dial
from ..client.http import BROKEN, Answer, Http
from ..errors import ChannelNameError, DataError, printable, where
from ..event import check_channel, encode_json
from ..identity.control import check_follows
from ..limits import Limits
from ..transports.negotiate import is_not_now
from ..value import MAX_DEPTH
from ..wire.address import without_secrets

__all__ = ["Callbacks", "Question", "Unanswered", "Yes"]

logger = logging.getLogger("triolet")


class Question(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a callback is asked.

    Attributes:
        action: ``follow`` or ``publish``.
        channel: as the file names it.
        url: path and query of the client's request.
        values: those of the URL.
        subject: who the client is by its token; None where it has none.
        remote: the client's address.
        data: what it wants to publish.
    """

    action: str
    channel: str
    url: str
    values: Mapping[str, str]
    subject: str | None
    remote: str | None
    data: Any = msgspec.UNSET


class Yes(msgspec.Struct, frozen=True):
    """A callback's yes.

    Attributes:
        channel: in place of the one that was asked about.
        expires_in: for how many seconds it is good; None for as long as nobody asks again.
        subject: who the client is to the others, in place of what its token says.
        data: what else the others see of it; or, of a publish, what is published in place of what was sent.
    """

    channel: str | None = None
    expires_in: float | None = None
    subject: str | None = None
    data: Any = msgspec.UNSET


class Unanswered(Exception):
    """A callback has not said anything. Its ``args`` are the outcome that is counted: ``away`` or ``late``."""


class _Said(msgspec.Struct, frozen=True):
    allow: bool
    channel: Annotated[str, msgspec.Meta(min_length=1)] | None = None
    expires_in: Annotated[float, msgspec.Meta(gt=0, le=1e9)] | None = None
    subject: Annotated[str, msgspec.Meta(min_length=1)] | None = None
    data: Any = msgspec.UNSET


_decode: Final = msgspec.json.Decoder(_Said).decode


class Callbacks:
    """Asks callbacks, while an app is served.

    Args:
        limits: ``callbacks``, ``callback_seconds`` and ``callback_bytes`` bound it.
        counted: what came of each is counted here.
        dial: a network of one's own; None: TCP, and the environment's proxies.

    Bounds: one HTTP client for each host that is asked, with ``limits.callbacks`` requests under way in all.
    """

    def __init__(self, limits: Limits, counted: Counter[str], dial: Dial | None) -> None:
        self._limits = limits
        self._counted = counted
        self._dial = dial
        self._turns = trio.CapacityLimiter(limits.callbacks)
        self._clients: dict[str, Http] = {}
        self._well: dict[str, bool] = {}

    async def ask(self, url: str, headers: Mapping[str, str], question: Question) -> Yes | None:
        """Ask one, and return its yes; None is a no.

        Args:
            url: the callback's.
            headers: of the client's request.
            question: what is asked.

        Raises:
            Unanswered: nobody can say.

        Bounds: ``limits.callback_seconds``, of which a part may be spent in line.

        Cancellation: the request is broken off.
        """
        body = encode_json(msgspec.to_builtins(question), MAX_DEPTH + 1)  # around what the client has sent
        outcome, answer, why = "late", None, f"no answer within {self._limits.callback_seconds:g} s"
        with trio.move_on_after(self._limits.callback_seconds):
            async with self._turns:
                try:
                    answer = await self._ask(url, headers, body)
                except BROKEN as error:
                    outcome, why = "away", where(error)
        said = None
        if answer is not None:
            outcome, said, why = _judge(answer)
        self._tell(url, outcome, why)
        if outcome in ("away", "late"):
            raise Unanswered(outcome)
        if said is None:
            return None
        seconds = None if said.expires_in is None else max(said.expires_in, float(RECHECK_LEAST_SECONDS))
        return Yes(said.channel, seconds, said.subject, said.data)

    async def aclose(self) -> None:
        """Close all connections."""
        while self._clients:
            await self._clients.popitem()[1].aclose()

    async def _ask(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        host = urlsplit(url).hostname or ""
        client = self._clients.get(host)
        if client is None:
            client = self._clients[host] = Http(host, True, self._dial, keeps_cookies=False)
        asked = {**headers, "content-type": "application/json", "accept": "application/json"}
        async with client.stream("POST", url, asked, body) as (answer, chunks):
            if answer.status == HTTPStatus.OK and not answer.is_html:
                whole = bytearray()
                async for chunk in chunks:
                    whole += chunk
                    if len(whole) > self._limits.callback_bytes:
                        break
                answer.body = bytes(whole)
            return answer

    def _tell(self, url: str, outcome: str, why: str) -> None:
        """Count what came of one. In the log stands when a callback begins to fail, and when it is well again."""
        self._counted[outcome] += 1
        well = outcome in ("yes", "no")
        shown = without_secrets(url)
        if self._well.get(url, True) and not well:
            logger.warning("the callback %s gives no yes or no, which is a no: %s", shown, printable(why))
        elif well and not self._well.get(url, True):
            logger.warning("the callback %s answers again", shown)
        self._well[url] = well


def _judge(answer: Answer) -> tuple[str, _Said | None, str]:
    """What an answer is counted as, what it says where that is yes, and a word about it."""
    status = answer.status
    if is_not_now(status):
        return "away", None, f"HTTP {status}"
    if status >= HTTPStatus.BAD_REQUEST:
        return "no", None, ""
    if status != HTTPStatus.OK or answer.is_html:
        return "unclear", None, f"HTTP {status}, {answer.headers.get('content-type', 'no type'):.80}"
    try:
        encode_json(msgspec.Raw(answer.body), MAX_DEPTH + 1)  # what says two things at once says nothing
        said = _decode(answer.body)
        if said.channel is not None:
            check_follows(check_channel(said.channel))
    except (msgspec.DecodeError, UnicodeError, RecursionError, DataError, ChannelNameError) as error:
        return "unclear", None, f'its answer is not {{"allow": true}} or {{"allow": false}}: {error!s:.200}'
    return ("yes", said, "") if said.allow else ("no", None, "")
