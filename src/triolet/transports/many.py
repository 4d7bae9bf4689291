"""Many channels by one request: what it asks for, how a poll of them is answered, and their codec.

An event stream of many channels is one as any other (sse.py): its connection has a follower for each, as a WebSocket
has. A poll waits for all of them in one task.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Final
from urllib.parse import parse_qsl, urlencode

import trio

from ..closing import CRASHED
from ..connection import Context
from ..event import Cursor
from ..hub import Park, Polled, Subscription
from ..identity import Grant
from ..identity.revocations import WaitingPolls
from ..limits import Limits
from ..wire.messages import Refused
from ..wire.places import PlacesError, parse_places, place_key, write_places
from ..wire.poll_body import Followed, many_body
from .negotiate import ANOTHER_SERVERS, Answer, Ask, AskError, Scope, Wish, can_be_followed, header, parse_ask
from .polling import answer, read_pages, retry_of, selected

__all__ = ["ManyAsk", "parse_many", "poll_many"]

NOT_ASKED: Final = (
    "this URL speaks WebSocket; who asks with GET names what to follow: ?follow=URL, once for each channel"
)


class ManyAsk(Ask, frozen=True):
    """What a request asks for that follows many channels.

    Attributes:
        urls: the URLs that are followed, as the client wrote them, each once.
        places: where the client stands, by the key of each channel, in the order in which it said so.
        is_strange: whether it says a place that no Triolet gave.
    """

    urls: tuple[str, ...] = ()
    places: Mapping[str, Cursor] = {}
    is_strange: bool = False

    def place(self, channel: str) -> Cursor | None:
        """Where the client stands in a channel; None where it does not say."""
        return ANOTHER_SERVERS if self.is_strange else self.places.get(place_key(channel))


def parse_many(scope: Scope, limits: Limits) -> ManyAsk:
    """Read what a request for many channels asks for: the transport as for one channel, ``follow=`` for each URL, and
    the cursor of all of them.

    As for one channel, the cursor is the ``Last-Event-ID`` header's, else that of ``?after=``, and a header that no
    Triolet gave is answered with a gap in each channel.

    Raises:
        AskError: 426, nothing is named to follow; 400, it can be none, or the cursor or the wait has no known form.

    Bounds: ``limits.follows`` URLs, each of ``FOLLOW_URL_CHARACTERS``.
    """
    pairs = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    urls = tuple(dict.fromkeys(text for name, text in pairs if name == "follow"))
    if not urls:
        raise AskError(426, "upgrade", NOT_ASKED)
    if len(urls) > limits.follows:
        raise AskError(400, "follows", f"one request follows at most {limits.follows} URLs, and not {len(urls)}")
    for url in urls:
        if not can_be_followed(url):
            said = f"follow= is a URL of this server in printable ASCII, encoded once more: not {url!r:.80}"
            raise AskError(400, "follow", said)
    if any(name == "format" and text != "triolet" for name, text in pairs):
        raise AskError(400, "format", "many channels have one format, triolet: plain is for a stream of one channel")
    # The same request without its place, which is no cursor of one channel.
    headers = [(name, value) for name, value in scope["headers"] if name != b"last-event-id"]
    query = urlencode([(name, text) for name, text in pairs if name == "wait"]).encode()
    ask = parse_ask({**scope, "headers": headers, "query_string": query}, limits)
    last = header(scope, b"last-event-id")
    text = last or next((text for name, text in pairs if name == "after"), "")
    try:
        places = parse_places(text, limits.follows) if text else {}
    except PlacesError as error:
        if last:
            return ManyAsk(ask.transport, Wish(None), ask.wait, urls=urls, is_strange=True)
        raise AskError(400, "cursor", str(error)) from None
    return ManyAsk(ask.transport, Wish(None), ask.wait, urls=urls, places=places)


async def poll_many(
    context: Context,
    subscriptions: Sequence[Subscription],
    refused: Sequence[Refused],
    ask: ManyAsk,
    if_none_match: str | None,
    grant: Grant | None,
    held: WaitingPolls,
    park: Park = trio.sleep_forever,
) -> Answer:
    """Answer a poll of many channels: the events of all of them, and one cursor.

    Args:
        subscriptions: the channels, each from where the client stands.
        refused: what was refused beside them.
        held: says what is taken from the poll because it was revoked.

    The others, what it raises, and what a cancellation loses are as of :func:`.poll`.
    """
    # Who had events last comes last: a channel whose pages are always full keeps none of the others from its turn.
    turns = {key: number for number, key in enumerate(ask.places)}
    subscriptions = sorted(subscriptions, key=lambda one: turns.get(place_key(one.channel), -1))
    read = await read_pages(context, subscriptions, ask, grant, held, park)
    left = [(one, page) for one, page in zip(subscriptions, read, strict=True) if one.channel not in held.taken]
    refused = [*refused, *(Refused(one.url, one.channel) for one in subscriptions if one.channel in held.taken)]
    failed = [one for one, page in left if page.failed]
    refused += [Refused(one.url, one.channel, reason="snapshot", retry=context.retry(CRASHED)) for one in failed]
    left = [(one, page) for one, page in left if not page.failed]
    live = all(page.end == page.head and not page.unread for _, page in left)
    stale = context.hub.stale
    ends = [page.ending for _, page in left if page.ending is not None]
    retry = None if len(ends) == len(left) and not failed else retry_of(context, ask, live, held)
    left = [(one, page) for one, page in left if not page.unread]  # it begins anew with the next, and is the first then
    cursor = _cursor(left, ask, context.limits.follows)
    states = [page.snapshot.message(one.channel) for one, page in left if page.snapshot is not None]
    follows = [Followed(one.url, one.channel, str(page.end), one.allow is not None) for one, page in left]
    # Some of what makes one answer another is in no cursor: who is refused where, and who may see what.
    seen = "".join(selected(page, one.allow) for one, page in left)
    told = repr((ask.urls, tuple(ask.places.items()), cursor, seen, refused, follows, stale)).encode()

    def body() -> bytes:
        pages = [page for _, page in left]
        gaps = [(one.channel, page.gap) for one, page in left if page.gap is not None]
        events = [event for page in pages for event in page.events]
        heard = [event for page in pages for event in page.told]
        now = int(context.now() * 1000)
        return many_body(events, gaps, follows, refused, cursor, live, retry, now, stale, ends, states, heard)

    etag = f'"{sha256(told).hexdigest()[:32]}"'
    return answer(context, ask, None if states else if_none_match, etag, b"private, no-cache", body)


def _cursor(left: Sequence[tuple[Subscription, Polled]], ask: ManyAsk, most: int) -> str:
    """Where the client stands with an answer: with it also where it said that it stands in what is not followed."""
    quiet = [(place_key(one.channel), page.end) for one, page in left if not page.says_something]
    spoke = [(place_key(one.channel), page.end) for one, page in left if page.says_something]
    followed = {key for key, _ in (*quiet, *spoke)}
    others = [(key, cursor) for key, cursor in ask.places.items() if key not in followed]
    return write_places([*others[: most - len(followed)], *quiet, *spoke])
