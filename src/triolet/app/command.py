"""A command: what a view of ``@live.command`` is given, and how it is read from its request."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Any, Final, TypeAlias
from urllib.parse import quote

import msgspec
import trio

from ..errors import DataError, LocalError
from ..event import Draft
from ..identity import Identity
from ..limits import Limits
from ..sync.home import Home
from ..transports.negotiate import AskError, Scope
from ..value import name_twice_within, nesting_exceeds
from ..wire.idempotency_key import parse_key
from .publishing import check_drafts, publishable

__all__ = ["Command", "Writes", "key_of", "print_of", "read_data", "read_id"]

Writes: TypeAlias = Sequence[tuple[str, Sequence[Draft]]]
"""What is published together: for each channel its events."""

_encode: Final = msgspec.json.Encoder(order="deterministic").encode


class Command:
    """A command, as its view is given it.

    Attributes:
        id: the client's, 1 to ``limits.command_id_bytes`` bytes of ASCII. It is the same for every repeat, so what the
            view does elsewhere (a database, a payment) can be made idempotent with it.
        data: the JSON value that was sent; None where none was.
        identity: who asks; None is nobody.

    Bounds: ``limits.command_events`` events, of ``limits.event_bytes`` together.
    """

    __slots__ = ("_answered", "_bytes", "_home", "_limits", "_writes", "data", "id", "identity")

    def __init__(self, id: str, data: Any, identity: Identity | None, limits: Limits) -> None:
        self.id = id
        self.data = data
        self.identity = identity
        self._limits = limits
        self._home = Home()
        self._writes: list[tuple[str, Draft]] = []
        self._bytes = 0
        self._answered = False

    async def publish(
        self,
        channel: str,
        data: Any,
        *,
        name: str = "message",
        key: str | None = None,
        dedupe: str | None = None,
        fold: str | None = None,
    ) -> None:
        """Publish an event together with this command's answer, in one transaction.

        It is held back until the view has returned: nothing is published where the answer is of 400 or more, or the
        view raises. Events of several channels may be published, and are stored in the order of these calls.

        It has no ``within=``: an event is part of one transaction, and this one is the answer's, which comes when the
        view has returned and a transaction of its own is over. For rows and their event use
        ``live.publish(…, within=db, dedupe=command.id)``, and put ``command.id`` into a row.

        Args:
            channel, data, name, key, fold: as for :meth:`Triolet.publish`.
            dedupe: as there: where the channel remembers the same text, also of another command, nothing is stored for
                it, and the answer is.

        Raises:
            DataError, ChannelNameError: it cannot be published, or is more than one command may publish.
            LocalError: the command is answered already.
            WrongThreadError: called from another thread or event loop than the app's.

        Cancellation: it is not published.
        """
        self._home.check("Command.publish")
        await trio.lowlevel.checkpoint_if_cancelled()  # what it may publish is bounded: no other task waits long
        if self._answered:
            raise LocalError(
                "this command is answered already, and what it publishes is stored with the answer: use live.publish"
            )
        draft = Draft.of(data, name=name, key=key, dedupe=dedupe, fold=fold)
        check_drafts([draft], self._limits)
        if len(self._writes) >= self._limits.command_events:
            raise DataError(f"a command publishes at most {self._limits.command_events} events: limits.command_events")
        if self._bytes + len(draft.json) > self._limits.event_bytes:
            raise DataError("the events of one command are at most limits.event_bytes of JSON, all together")
        self._writes.append((publishable(channel), draft))
        self._bytes += len(draft.json)

    def close(self) -> Writes:
        """The view has returned: nothing more can be published. Return what is to be."""
        self._answered = True
        writes: list[tuple[str, list[Draft]]] = []
        for channel, draft in self._writes:
            if not writes or writes[-1][0] != channel:
                writes.append((channel, []))
            writes[-1][1].append(draft)
        return writes


def key_of(identity: Identity | None, path: str, query: bytes, id: str, host: str | None = None) -> bytes:
    """Return the key of a command: of the client's subject, the URL below the app, and the id; and of the host, where
    the app tells hosts apart."""
    url = quote(path) + (f"?{query.decode('latin-1')}" if query else "")
    names = [None if identity is None else identity.subject, url, id]
    return sha256(_encode(names if host is None else [*names, host])).digest()


def read_id(scope: Scope, limits: Limits) -> str:
    """Return what a request's command is called. Raises AskError: 400."""
    said = [value.decode("latin-1") for name, value in scope["headers"] if name == b"idempotency-key"]
    id = parse_key(said[0]) if len(said) == 1 else None
    if id is None or len(id) > limits.command_id_bytes:
        most = limits.command_id_bytes
        raise AskError(400, "id", f'a command needs one Idempotency-Key: "…", of 1 to {most} bytes of printable ASCII')
    return id


def read_data(body: bytes, limits: Limits) -> Any:
    """Return the JSON value in a body; None where there is no body. Raises AskError."""
    if len(body) > limits.message_bytes:
        raise AskError(413, "size", f"a command's body is at most {limits.message_bytes} bytes")
    if not body:
        return None
    try:
        data = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, ValueError):
        raise AskError(400, "json", "a command's body is JSON, or there is none") from None
    if nesting_exceeds(body, limits.message_depth):
        raise AskError(400, "json", f"a command's JSON is nested deeper than {limits.message_depth}")
    twice = name_twice_within(body, data)
    if twice is not None:  # another reader of the same body, a gateway say, would have the other value
        raise AskError(400, "json", f"{twice!r:.80} stands twice in an object of a command's JSON: say it once")
    return data


def print_of(data: Any) -> bytes:
    """Return the fingerprint of a JSON value: the same for whatever is equal, however it was written."""
    return sha256(_encode(data)).digest()
