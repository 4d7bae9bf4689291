"""The doors: the views of the app that is made of a file. Each asks whether a client may, and answers for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from quart import Response, current_app, request
from werkzeug.datastructures import Headers

from ..app.command import Command
from ..app.extension import Triolet
from ..app.identify import EXTENSION, GRANT, credential
from ..app.routes import followable
from ..app.views import Decision, decided
from ..client.dial import Dial
from ..errors import ChannelNameError, DataError
from ..event import Cursor, encode_json
from ..hub import StateFunction
from ..identity import Grant
from ..limits import Limits
from ..presence.members import Member
from ..presence.statements import PREFIX, check_size
from .access import Access, Permit
from .callback import Callbacks, Question, Unanswered
from .rules import Rule
from .settings import ChannelSettings

__all__ = ["Doors"]

_RETRY_SECONDS: Final = "5"


class Doors:
    """Answers for all channels of a file, while the app is served.

    Args:
        live: the app's.
        headers: those of a client's request that callbacks are asked with.
        dial: a network of one's own, through which they are asked.
    """

    def __init__(self, live: Triolet, headers: tuple[str, ...], dial: Dial | None) -> None:
        self._live = live
        self._headers = headers
        self._dial = dial
        self._callbacks: Callbacks | None = None
        self._access: Access | None = None

    async def open(self) -> None:
        """The app is served from here on."""
        counted = current_app.extensions[EXTENSION].server.counters.callbacks
        self._callbacks = Callbacks(self._live.limits, counted, self._dial)
        self._access = Access(self._callbacks, self._live.limits)

    async def close(self) -> None:
        """The app is served no longer."""
        if self._callbacks is not None:
            await self._callbacks.aclose()

    async def follow(self, entry: ChannelSettings, values: Mapping[str, Any]) -> Response:
        """Answer a client that wants to follow a channel."""
        permit = await self._ask(entry.follow, "follow", entry, values)
        if isinstance(permit, Response):
            return permit
        try:
            member = _member(permit, self._live.limits) if entry.presence is not None else None
        except DataError as error:
            return _refusal(403, "member", str(error))
        return decided(  # type: ignore[no-any-return]  # a response of Quart's
            Decision(
                followable(permit.channel, member is not None),
                policy=entry.policy,
                member=member,
                grant=request.scope[GRANT],  # type: ignore[typeddict-item]  # Hypercorn types it
                recheck=_soonest(entry.recheck, permit.seconds),
                form=entry.form,
            )
        )

    async def watch(self, entry: ChannelSettings, values: Mapping[str, Any]) -> Response:
        """Answer a client that wants to hear who follows a channel: whoever may follow it may."""
        permit = await self._ask(entry.follow, "follow", entry, values)
        if isinstance(permit, Response):
            return permit
        followable(permit.channel, True)
        return decided(  # type: ignore[no-any-return]  # a response of Quart's
            Decision(
                self._live.presence(permit.channel).channel,
                grant=request.scope[GRANT],  # type: ignore[typeddict-item]  # Hypercorn types it
                recheck=_soonest(entry.recheck, permit.seconds),
                snapshot=StateFunction(self._roster, None, is_personal=False),
            )
        )

    async def publish(self, entry: ChannelSettings, rule: Rule, values: Mapping[str, Any], command: Command) -> Any:
        """Answer a client that wants to publish: the command's data is the event's."""
        permit = await self._ask(rule, "publish", entry, values, command.data)
        if isinstance(permit, Response):
            return permit
        data = command.data if permit.data is msgspec.UNSET else permit.data
        name, key = request.args.get("name", "message"), request.args.get("key")
        try:
            await command.publish(permit.channel, data, name=name, key=key)
        except (DataError, ChannelNameError) as error:
            return _refusal(400, "data", str(error))
        return {"published": permit.channel}

    async def _ask(
        self,
        rule: Rule,
        action: str,
        entry: ChannelSettings,
        values: Mapping[str, Any],
        data: Any = msgspec.UNSET,
    ) -> Permit | Response:
        """Ask whether a client may, or return what it is answered."""
        assert self._access is not None, "the app is served"
        scope: Any = request.scope
        grant: Grant = scope[GRANT]
        query = scope["query_string"].decode("latin-1")
        question = Question(
            action,
            entry.channel.fill(values),
            f"{request.path}?{query}" if query else request.path,
            {name: str(value) for name, value in values.items()},
            None if grant.identity is None else grant.identity.subject,
            request.remote_addr,
            data,
        )
        try:
            permit = await self._access.ask(rule, grant, self._passed_on(scope), question, values)
        except Unanswered:
            answer = _refusal(503, "callback", "nobody can say now whether you may; try again")
            answer.headers["Retry-After"] = _RETRY_SECONDS
            return answer
        if permit is not None:
            return permit
        if grant.identity is None and rule.kind in ("token", "claim"):
            answer = _refusal(401, "token", "this needs a token")
            answer.headers["WWW-Authenticate"] = "Bearer"
            return answer
        return _refusal(403, "refused", f"you may not {action} this channel")

    def _passed_on(self, scope: Any) -> dict[str, str]:
        """The headers of a client's request that a callback is asked with; none that are no ASCII."""
        given = Headers([(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]])
        passed = {
            name: ("; " if name == "cookie" else ", ").join(given.getlist(name))
            for name in self._headers
            if name in given
        }
        passed = {name: text for name, text in passed.items() if text.isascii()}
        token = credential(scope)  # of a page's WebSocket it is in no header of its own
        if token is not None and token.isascii() and "authorization" in self._headers:
            passed.setdefault("authorization", f"Bearer {token}")
        return passed

    async def _roster(self, channel: str) -> tuple[list[dict[str, Any]], Cursor]:
        """The state of a channel of presence: who is there."""
        roster = await self._live.presence(channel.removeprefix(PREFIX)).roster()
        return [msgspec.to_builtins(one) for one in roster.sessions], roster.cursor


def _member(permit: Permit, limits: Limits) -> Member | None:
    """Who a client is to the others; None is nobody. Raises DataError."""
    if permit.subject is None:
        return None
    return check_size(Member(permit.subject, None if permit.data is msgspec.UNSET else permit.data), limits)


def _soonest(*seconds: float | None) -> float | None:
    return min((one for one in seconds if one is not None), default=None)


def _refusal(status: int, error: str, message: str) -> Response:
    return Response(encode_json({"error": error, "message": message}), status=status, content_type="application/json")
