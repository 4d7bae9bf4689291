"""What single requests tell: each is answered at once, and the server's own answers say what became of them.

- *Whether* ``Last-Event-ID`` *comes through*: where it does it counts, and nobody looks at ``?after=``. Without it an
  ``?after=`` that is no cursor is answered 400.
- *Whether a cache answers*: the answer to a poll has the server's time in it.
- *Whether the server knows the name that its pages know*: it refuses a page of its own origin, if it takes that for
  another's. It is asked with a cookie, since without one it refuses no poll.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from itertools import count, repeat
from secrets import token_hex
from typing import Any, Final

import trio

from ..client.errors import ClientError, Ended
from ..client.heard import Page, read_page
from ..client.http import BROKEN, Answer, refusal
from ..client.way import Way, lost
from ..wire.address import without_secrets
from .findings import Finding, broken, unknown, well

__all__ = ["Asking", "Beginning", "begin", "cache", "cors", "http_version", "last_event_id", "origin"]

PROBE: Final = "triolet-probe"
"""In a poll's query: the server says in a header of this name in which version of HTTP the request has come. Its value
is another one each time, so no cache knows the URL."""

NO_CURSOR: Final = "none"


@dataclass(frozen=True)
class Asking:
    """How the server is asked.

    Attributes:
        way: to it.
        url: the channel's, as it was given.
        headers: of every request: who asks.
        seconds: that an answer is waited for.
        patience: seconds within which a stream's first word has to come.
        page: another page's origin; None: none was named.
    """

    way: Way
    url: str
    headers: dict[str, str]
    seconds: float
    patience: float
    page: str | None
    _names: Iterator[str] = field(default_factory=lambda: map("{}.{}".format, repeat(token_hex(4)), count()))

    def target(self, **query: str | None) -> str:
        """A path and query that nobody has asked for before."""
        return self.way.base.target(self.url, **{PROBE: next(self._names), **query})

    async def poll(self, target: str, method: str = "GET", **more: str) -> Answer:
        """Ask. Raises what :data:`BROKEN` names, Ended, and TooSlowError beyond ``seconds``."""
        headers = {"accept": "application/json", **self.headers}
        headers |= {name.replace("_", "-"): text for name, text in more.items()}
        with trio.fail_after(self.seconds):
            return await self.way.http.ask(method, self.way.base.url(target), headers)


@dataclass(frozen=True)
class Beginning:
    """What the first answer says.

    Attributes:
        target: what was asked.
        answer: all of it.
        page: what it says of the channel.
        seconds: how long it took.
        time: when the server made it, in its own milliseconds; None: it does not say.
        ahead: by how many seconds the server's clock is ahead of ours; None likewise.
    """

    target: str
    answer: Answer
    page: Page
    seconds: float
    time: int | None
    ahead: float | None


async def begin(asking: Asking) -> Beginning:
    """Ask for the first time: is a channel of Triolet's there at all?

    Raises:
        ClientError: it is not, or not for who asks. The message is a sentence that says what to do.
    """
    target, began = asking.target(), trio.current_time()
    try:
        answer = await asking.poll(target)
    except trio.TooSlowError:
        raise ClientError(f"{without_secrets(asking.url)}: no answer in {asking.seconds:g} s", "network") from None
    except BROKEN as error:
        raise ClientError(f"{without_secrets(asking.url)}: {_unreached(error)}", "network") from None
    except Ended as ended:
        raise ended.as_error(asking.url) from None
    try:
        if answer.status != HTTPStatus.OK or "json" not in answer.headers.get("content-type", ""):
            raise refusal(answer)
        page = read_page(answer.body)
    except Ended as ended:
        said = f"{without_secrets(asking.url)}: {ended}{'' if ended.kind == 'login' else _advice(answer)}"
        raise ClientError(said, ended.kind, status=answer.status) from None
    now, time = trio.current_time(), _time(answer)
    return Beginning(target, answer, page, now - began, time, None if time is None else time / 1000 - now)


def _unreached(error: BaseException) -> str:
    """Why nobody was reached, and where TLS is to blame, that."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"TLS: the certificate does not hold: {cause.verify_message}"
        if isinstance(cause, ssl.SSLError):
            return f"TLS: {cause.reason or cause}: does the server speak TLS on this port?"
        cause = cause.__cause__ or cause.__context__
    return f"nobody answers there: {lost(error)}"


def _advice(answer: Answer) -> str:
    match answer.status:
        case HTTPStatus.UNAUTHORIZED:
            return ": say who asks, with --token or --header"
        case HTTPStatus.FORBIDDEN:
            return ": this client may not follow it; another may, with --token or --header"
        case HTTPStatus.NOT_FOUND:
            return ": no channel has this URL"
        case HTTPStatus.UPGRADE_REQUIRED:
            return ": this is a socket's URL: name one of a channel"
        case HTTPStatus.OK:
            return ": is this a channel of a server of Triolet's?"
    return ""


def http_version(beginning: Beginning) -> Finding:
    """In which version of HTTP requests come to the server."""
    version = beginning.answer.headers.get(PROBE)
    if version is None:
        return unknown("http version", "the server does not say (it is an older one, or a proxy takes headers off)")
    if version.startswith("1.0"):
        says = "requests come to the server as HTTP/1.0, which can neither upgrade nor keep connections"
        return broken("http version", "http/1.0", says)
    return well("http version", f"requests come to the server as HTTP/{version}")


async def cache(asking: Asking, beginning: Beginning) -> Finding:
    """Whether a cache answers polls, where only the server may: the same URL is asked again."""
    await trio.sleep(0.05)  # or the server could be right in saying the same time again
    answer = await asking.poll(beginning.target)
    again = _time(answer)
    if again is None or beginning.time is None:
        return unknown("cache", f"the second poll was answered with HTTP {answer.status}, and no time")
    if again <= beginning.time:
        return broken("cache", "cache", "the second poll was given the answer to the first: a cache keeps them")
    return well("cache", "each poll is answered by the server")


async def last_event_id(asking: Asking, beginning: Beginning) -> Finding:
    """Whether ``Last-Event-ID`` reaches the server."""
    answer = await asking.poll(asking.target(after=NO_CURSOR), last_event_id=beginning.page.cursor)
    if answer.status == HTTPStatus.OK:
        return well("last-event-id", "Last-Event-ID comes to the server")
    if _error(answer) == "cursor":
        says = "Last-Event-ID does not come to the server: an EventSource that comes back has lost its place"
        return broken("last-event-id", "last-event-id", says)
    return unknown("last-event-id", f"a poll with Last-Event-ID was answered with HTTP {answer.status}")


async def origin(asking: Asking) -> Finding:
    """Whether the server knows the origin that its own pages have."""
    own = asking.way.base.url("")
    if await _is_refused(asking, own):
        says = f"the server takes {own} for another origin than its own, and refuses its own pages' cookies and sockets"
        return broken("origin", "origin", says)
    return well("origin", f"the server knows that it is {own}, or lists it")


async def cors(asking: Asking) -> Finding:
    """Whether a page of another origin, which the app lists, is let read."""
    page = asking.page
    if page is None:
        return unknown("cors", "not asked: name a page of another origin, as --origin https://shop.example")
    answer = await asking.poll(asking.target(), origin=page)
    allowed = answer.headers.get("access-control-allow-origin")
    if allowed not in (page, "*"):
        if await _is_refused(asking, page):
            return broken("cors", "unlisted origin", f"the app does not list {page}: Triolet(origins=[{page!r}])")
        says = f"Access-Control-Allow-Origin does not come back to {page}, or its Origin does not come to the server"
        return broken("cors", "cors", says)
    asks = {"access_control_request_method": "GET", "access_control_request_headers": "last-event-id"}
    answer = await asking.poll(asking.target(), "OPTIONS", origin=page, **asks)
    may = answer.headers.get("access-control-allow-headers", "").lower()
    if not 200 <= answer.status < 300 or "last-event-id" not in may:
        says = f"a preflight of {page} does not come through: HTTP {answer.status}, and it may send {may!r:.100}"
        return broken("cors", "cors", says)
    return well("cors", f"pages of {page} may read, and send Last-Event-ID")


async def _is_refused(asking: Asking, page: str) -> bool:
    """Whether the server refuses a page whose request may carry somebody's rights."""
    carried = {} if {"cookie", "authorization"} & asking.headers.keys() else {"cookie": f"{PROBE}=1"}
    answer = await asking.poll(asking.target(), origin=page, **carried)
    return answer.status == HTTPStatus.FORBIDDEN and _error(answer) == "origin"


def _error(answer: Answer) -> Any:
    said = answer.json()
    return said.get("error") if isinstance(said, dict) else None


def _time(answer: Answer) -> int | None:
    said = answer.json()
    time = said.get("time") if isinstance(said, dict) else None
    return time if isinstance(time, int) else None
