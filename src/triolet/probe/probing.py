"""One run: the first answer, and then everything at once."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from functools import partial
from ssl import SSLContext
from typing import Final

import trio

from ..client.bounds import CLIENT_PROBE_SECONDS
from ..client.choice import TRANSPORTS, Choice, Transport
from ..client.credentials import Credentials
from ..client.dial import Dial
from ..client.errors import Ended
from ..client.http import BROKEN, Http, usual_tls
from ..client.way import Way, lost
from ..wire.address import Base, without_secrets
from .asked import Asking, Beginning, begin, cache, cors, http_version, last_event_id, origin
from .cures import proxy_of
from .findings import CHECKS, Check, Finding, Heard, Report, unknown, well
from .listened import compression, encoding, long_poll, silence, sse, websocket

__all__ = ["probe_url"]

LIBRARY: Final = "trio-websocket"


async def probe_url(
    url: str,
    *,
    base: str,
    token: str | None,
    headers: dict[str, str],
    seconds: float,
    page: str | None,
    patience: float = CLIENT_PROBE_SECONDS,
    tls: SSLContext | None = None,
    dial: Dial | None = None,
    begun: Callable[[], object] = lambda: None,
) -> Report:
    """Look at the way to a channel's URL, as a client meets it. The server needs no help: what is asked is what any
    client may ask, and nothing is published.

    Args:
        url: the channel's.
        base: where the server is: the URL without its path.
        token: who asks, as a bearer token.
        headers: of every request.
        seconds: for which streams and a held poll are listened to: about as long as it takes.
        page: the origin of another page, which the app lists, to ask as that; None: none is asked as.
        patience: seconds within which a stream's first word has to come: those after which Triolet's clients leave it.
        tls: what certificates are checked with; without, as httpx does it.
        dial: a network of one's own; None: TCP, and the environment's proxies.
        begun: called when a channel is there, and listening begins.

    Raises:
        ConfigError: a URL, a token or a header that can be none.
        ClientError: no channel of Triolet's is there, or not for who asks.

    Bounds: three connections that stay for ``seconds``, and ten requests.
    """
    where = Base(base)
    context: SSLContext | bool = (tls or usual_tls()) if where.tls else False
    credentials, choice = Credentials(token, headers), Choice(TRANSPORTS)
    http = Http(where.host, context, dial)
    way = Way(where, context, dial, http, credentials, LIBRARY, choice, seconds, seconds, random.random)
    began = trio.current_time()
    try:
        asking = Asking(way, url, await credentials.headers(), max(seconds, 10), patience, page)
        asking.target()  # a URL that is none is said before anybody is asked
        beginning = await begin(asking)
        begun()
        found, transports = await _look(asking, beginning, seconds)
    finally:
        with trio.CancelScope(shield=True, deadline=trio.current_time() + 1):  # its connections are closed by us alone
            await http.aclose()
    lasted = round(trio.current_time() - began, 1)
    proxy = proxy_of(beginning.answer.headers)
    return Report(without_secrets(url), lasted, proxy, found, transports, _chosen(transports))


async def _look(asking: Asking, beginning: Beginning, seconds: float) -> tuple[list[Finding], dict[Transport, bool]]:
    found: dict[Check, Finding] = {
        "server": well("server", f"channel {beginning.page.channel!r:.80}, in {beginning.seconds * 1000:.0f} ms"),
        "http version": http_version(beginning),
    }
    heard: dict[str, Heard] = {}
    given: str | None = None

    async def ask(check: Check, call: Callable[[], Awaitable[Finding]]) -> None:
        try:
            found[check] = await call()
        except trio.TooSlowError:
            found[check] = unknown(check, f"no answer in {asking.seconds:g} s")
        except Ended as ended:
            found[check] = unknown(check, str(ended))
        except BROKEN as error:
            found[check] = unknown(check, str(lost(error)))

    async def listen(check: Check, call: Callable[[], Awaitable[tuple[Finding, Heard]]]) -> None:
        found[check], heard[check] = await call()

    async def offer() -> None:
        nonlocal given
        given = await encoding(asking, beginning, seconds)

    async def requests() -> None:
        await ask("cache", partial(cache, asking, beginning))
        await ask("last-event-id", partial(last_event_id, asking, beginning))
        await ask("origin", partial(origin, asking))
        await ask("cors", partial(cors, asking))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(requests)
        nursery.start_soon(offer)
        nursery.start_soon(listen, "websocket", partial(websocket, asking, beginning, seconds))
        nursery.start_soon(listen, "sse", partial(sse, asking, beginning, seconds))
        nursery.start_soon(listen, "long poll", partial(long_poll, asking, beginning, seconds))
    found["compression"] = compression(given, found["sse"])
    found["silence"] = silence(heard, seconds)
    works: dict[Transport, bool] = {
        "websocket": heard["websocket"].works,
        "sse": heard["sse"].works,
        "long-poll": heard["long poll"].works,
        "poll": True,
    }
    return [found[check] for check in CHECKS], works


def _chosen(works: dict[Transport, bool]) -> Transport:
    """What a client comes to that begins with the first: its own choice, told what fails."""
    choice = Choice(TRANSPORTS)
    while not works[choice.current]:  # type: ignore[index]  # it is one of TRANSPORTS
        choice.fails(choice.current, Ended("does not work", blames=True), cut=False)
    return choice.current  # type: ignore[return-value]  # likewise
