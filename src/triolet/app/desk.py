"""The desk of one process: what the operator's listener asks, answered by the app's Triolet."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from ..admin.bodies import Explanations, Members, PresentSession, Revoked
from ..admin.contract import Answer, Question, not_now, refusal
from ..admin.gather import encoded
from ..admin.requests import BadBody, Revoke
from ..bounds import ADMIN_RETRY_SECONDS
from ..errors import (
    ChannelEnded,
    ChannelNameError,
    ConfigError,
    CursorError,
    DataError,
    LogError,
    LogUncertain,
    NotServingError,
    TrioletError,
    UnknownConnectionError,
)
from ..event import check_channel, encode_json
from ..identity import Revocation
from ..value import name_twice
from .figures import sample
from .looking import connections, explained, history
from .posting import publish
from .service import Service

__all__ = ["ServiceDesk"]


class ServiceDesk:
    """Answers for one app's Triolet. See :class:`triolet.admin.contract.Desk`."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def answer(self, question: Question) -> Answer:
        """Answer a question, also with what went wrong."""
        try:
            return await _OPERATIONS[question.operation](self._service, question)
        except BadBody as error:
            where = "" if error.line is None else f"line {error.line}: "
            return refusal(error.status, "body", f"{where}{error.why}; nothing was published", line=error.line)
        except TrioletError as error:
            return _refused(error)


def _refused(error: TrioletError) -> Answer:
    """Return an answer that says what went wrong, by whose fault."""
    match error:
        case LogUncertain():
            return refusal(503, "uncertain", f"{error}; it may be stored: repeat it", retry=ADMIN_RETRY_SECONDS)
        case LogError() | NotServingError():
            return not_now("away", f"{error}; nothing was stored")
        case ChannelEnded():
            return refusal(409, "ended", f"{error}")
        case ChannelNameError() | CursorError() | DataError() | ConfigError():
            return refusal(400, "value", f"{error}")
    return refusal(500, "failed", f"{error}")


async def _metrics(service: Service, question: Question) -> Answer:
    kind, text = service.exposition()
    return Answer(200, text, kind)


async def _presence(service: Service, question: Question) -> Answer:
    channel = check_channel(question.values["channel"])
    roster = await service.presence.roster(channel)
    sessions = [
        PresentSession(one.member, msgspec.Raw(encode_json(one.info)), one.session, one.since)
        for one in roster.sessions
    ]
    return encoded(Members(channel, list(roster.members), sessions))


async def _connections(service: Service, question: Question) -> Answer:
    return encoded(connections(service.context, question.values))


async def _figures(service: Service, question: Question) -> Answer:
    return encoded(sample(service))


async def _explain(service: Service, question: Question) -> Answer:
    id = int(question.values["id"])
    try:
        return encoded(Explanations([explained(service.explain(id))]))
    except UnknownConnectionError:  # whose message is for the app's own code
        ended = service.limits.ended_connections
        return refusal(
            404,
            "connection",
            f"no connection {id} is open, nor one of the last {ended} that ended in a process: ask with an id of "
            "GET /connections, or of the server's log",
        )


async def _revoke(service: Service, question: Question) -> Answer:
    return encoded(Revoked(await service.life.revoker.revoke(_revocation(question))))


async def _revoke_here(service: Service, question: Question) -> Answer:
    service.life.revoker.apply(_revocation(question))
    return encoded(Revoked(True))


def _revocation(question: Question) -> Revocation:
    try:
        said = msgspec.json.decode(question.body, type=Revoke)
        twice = name_twice(question.body)
    except (msgspec.DecodeError, RecursionError, ValueError) as error:
        raise DataError(f"{error}") from None
    if twice is not None:
        raise DataError(f"{twice!r} stands twice in the revocation: say it once")
    if said == Revoke():
        raise DataError(
            "a revocation names one of subject, session, channel, channels and url at least: else it is everybody's"
        )
    return Revocation.of(said.subject, said.session, said.channel, said.url, said.channels)


_OPERATIONS: Final[dict[str, Callable[[Service, Question], Awaitable[Answer]]]] = {
    "metrics": _metrics,
    "publish": publish,
    "history": history,
    "presence": _presence,
    "connections": _connections,
    "explain": _explain,
    "figures": _figures,
    "revoke": _revoke,
    "revoke_here": _revoke_here,
}
