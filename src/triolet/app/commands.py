"""``@live.command``: POST views that take effect once, whatever carries them.

A command is a request of its own, which is given to the app in a task of the app's and not of its client's: all of
Quart's dispatch runs there, from ``before_request`` and the session over the view to ``after_request`` and the teardown
functions. So the request's context is there for as long as the view is, although the client goes, and nothing has to be
carried from one context into another. Whoever asks (an HTTP request, a message on a WebSocket) is told by a call, and
runs no task for it.

A client that goes before its command has begun takes it along; once it has begun, which is when its key is claimed,
it is brought to its end.

What makes it happen once, behind ``before_request`` and ``@live.identify``, which are asked each time:

1. The **key** is made of the client's subject, the URL below the app (and its host, where routes have one), and the id.
2. A run of the same key **in this process** is waited for, and its answer is given to all that wait; where it was
   broken off, one of them runs it.
3. Else the key is **claimed** in the log, for a lease. One task renews the leases of all that run. What is there
   instead is given: the answer that is kept; or 409, since another process runs it. A client whose identity has expired
   or was revoked by now is refused: from here on its command takes effect.
4. The view runs. What it publishes is held back.
5. Answer and events are **stored in one transaction**, if the claim is still held. If it is not (this process stood
   still for so long), what the other has answered is given, and nothing of this run is published.
6. Where there is nothing to keep (an answer of 5xx, a deadline, a log that is full), the claim is **given back**.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Callable
from functools import partial
from inspect import signature
from typing import Any, Final, NoReturn, TypeAlias

import trio
from quart import request
from quart.globals import app_ctx

from ..bounds import COMMAND_RETRY_SECONDS, GRACE_LEAVING_PART, LEASE_RENEWALS
from ..closing import REVOKED
from ..connection import Context
from ..errors import ChannelEnded, ConfigError, DataError, LogError, named, only_exceptions, printable, str_of, where
from ..hub import Hub
from ..identity import Grant, Identity
from ..limits import Limits
from ..log import EventLog, Kept
from ..sockets.server_state import ServerState
from ..transports.negotiate import Answer, AskError, Scope, expired, is_not_now, own_answer
from ..transports.polling import ENDED_POLLS
from .answers import KeptAnswer, answer_of, as_response, keep
from .claim import Claim
from .command import Command, Writes, key_of, print_of, read_data, read_id
from .identify import GRANT
from .views import headers_of

__all__ = ["Asked", "Commands", "Tell"]

logger = logging.getLogger("triolet")

ASKED: Final = "triolet.asked"
"""Under which name an asked command stands in its request's scope."""

DRAINING: Final = own_answer(503, "draining", "this server shuts down; ask another", COMMAND_RETRY_SECONDS)
TOO_MANY: Final = own_answer(429, "commands", "too many of your commands are running; try again", COMMAND_RETRY_SECONDS)
BUSY: Final = own_answer(503, "busy", "too many commands are running; try again", COMMAND_RETRY_SECONDS)
LOG: Final = own_answer(503, "log", "what came of it cannot be stored now; try again", COMMAND_RETRY_SECONDS)
RUNNING: Final = own_answer(409, "running", "this command is running elsewhere; ask again", COMMAND_RETRY_SECONDS)
MISMATCH: Final = own_answer(422, "id", "this id was used with other data; draw an id for each command")
TIMEOUT: Final = own_answer(504, "timeout", "this command has taken too long")
CHANNEL_ENDED: Final = own_answer(409, "ended", "a channel that it publishes to has ended; nothing was done")
FAILED: Final = own_answer(500, "failed", "this command has failed")
REVOKED_CLIENT: Final = own_answer(*ENDED_POLLS[REVOKED])
EXPIRED_CLIENT: Final = expired().answer
AGAIN: Final = own_answer(503, "again", "it was not done, and can be asked again", COMMAND_RETRY_SECONDS)


class Asked:
    """A command that is asked and not answered yet.

    Attributes:
        body: the request's.
        position: among the revocations, when it was asked.
        tell: tells its client what it is answered; None where that has gone.
        since: when it was asked.
        scope: cancels it, at the latest after so many seconds.
        begun: whether it goes on without its client: it is claimed, or about to be.
        outcome: what came of it, where its status does not say that.
        subject: as whose it is counted; None as nobody's.
    """

    __slots__ = ("begun", "body", "outcome", "position", "scope", "since", "subject", "tell")

    def __init__(self, body: bytes, position: int, seconds: float = math.inf, tell: Tell | None = None) -> None:
        self.body = body
        self.position = position
        self.tell = tell
        self.since = trio.current_time()
        self.scope = trio.CancelScope(deadline=self.since + seconds)
        self.begun = False
        self.outcome: str | None = None
        self.subject: str | None = None

    def leave(self) -> None:
        """Its client has gone: nobody is told. If it has begun it goes on to its end; else it is given up."""
        self.tell = None
        if not self.begun:
            self.scope.cancel()


Tell: TypeAlias = Callable[[Asked, Answer], None]
"""Tells the client of a command what it is answered. It raises nothing."""


class Running:
    """A key that is being done in this process.

    Attributes:
        print: the fingerprint of what is asked.
        claim: on its key.
        held: whether that is held: else the id may turn out to be of other data.
        answer: once it is done: what is kept; where nothing is, what others are told that wait for it. None: it was
            broken off (its client went at the moment at which it began, or its time was over): another may do it.
        done: set when it is over.
    """

    __slots__ = ("answer", "claim", "done", "held", "print")

    def __init__(self, print: bytes, claim: Claim) -> None:
        self.print = print
        self.claim = claim
        self.held = False
        self.answer: KeptAnswer | Answer | None = None
        self.done = trio.Event()


class Commands:
    """The commands of one app, while it is served.

    Args:
        app: asks its views.
        log: keeps claims and answers.
        hub: publishes.
        nursery: of the app's life: commands run in it.
        context: what the app's clients share: the limits, and what was revoked.
        server: whose draining ends them.

    Bounds: ``limits.commands_running`` commands, ``limits.commands_each`` of one subject, each with a body of
    ``limits.message_bytes``, its events and its answer; for each twice ``limits.command_run_seconds`` and
    ``limits.write_seconds``, in all.
    """

    def __init__(
        self, app: Any, log: EventLog, hub: Hub, nursery: trio.Nursery, context: Context, server: ServerState
    ) -> None:
        self._app = app
        self._log = log
        self._hub = hub
        self._nursery = nursery
        self._limits = context.limits
        self._revocations = context.revocations
        self._server = server
        self._asked: dict[Asked, None] = {}
        self._running: dict[bytes, Running] = {}
        self._subjects: Counter[str] = Counter()
        self._ending = False
        self._over: trio.Event = trio.Event()

    # --- for those that ask

    def ask(self, request: Any, body: bytes, tell: Tell) -> Asked | Answer:
        """Have a command done. Return it; or what it is answered at once, since it cannot be.

        Args:
            request: its request, with the body.
            body: the same.
            tell: is called with the command's answer, once, unless its client leaves before: ``Asked.leave``.
        """
        refusal = self._refusal()
        if refusal is not None:
            self._server.counters.command_answered("refused", 0)
            return refusal
        # The view and the storing have bounds of their own; the rest is for what the app does before and after.
        most = 2 * (self._limits.command_run_seconds + self._limits.write_seconds)
        asked = request.scope[ASKED] = Asked(body, self._revocations.position, most, tell)
        if not self._asked:
            self._over = trio.Event()
        self._asked[asked] = None
        self._nursery.start_soon(self._run, asked, request)
        return asked

    def _refusal(self) -> Answer | None:
        if self._ending or self._server.draining.is_set():
            return DRAINING
        return BUSY if len(self._asked) >= self._limits.commands_running else None

    async def _run(self, asked: Asked, request: Any) -> None:
        answer: Answer | None = None
        self._server.budget.hold(len(asked.body))
        try:
            with asked.scope:
                answer = await _ask_app(self._app, request)
        finally:
            self._server.budget.hold(-len(asked.body))
            del self._asked[asked]
            if asked.subject is not None:
                self._uncount(asked.subject)
            outcome = asked.outcome or _outcome(answer)
            self._server.counters.command_answered(outcome, trio.current_time() - asked.since)
            if asked.tell is not None:
                asked.tell(asked, answer or (DRAINING if self._ending else TIMEOUT))
            if not self._asked:
                self._over.set()

    async def renew(self) -> NoReturn:
        """Hold the claims of all that runs, for as long as it runs: most end before they are looked at once.

        A log that does not answer is left alone when the next turn comes.
        """
        seconds = self._limits.lease_seconds / LEASE_RENEWALS
        due = trio.current_time()
        while True:
            due = max(due + seconds, trio.current_time())
            await trio.sleep_until(due)
            with trio.move_on_after(seconds):
                async with trio.open_nursery() as nursery:
                    self._renew_all(nursery)

    def _renew_all(self, nursery: trio.Nursery) -> None:
        for running in self._running.values():
            if running.held:
                nursery.start_soon(running.claim.renew)

    # --- at the end

    async def drain(self) -> None:
        """Wait for the server to drain, and then for as long as clients have; end what runs still.

        Their claims are given back, so that another process can do them at once.
        """
        await self._server.draining.wait()
        await self.finish(self._server.leave_seconds / GRACE_LEAVING_PART)

    async def finish(self, seconds: float) -> None:
        """Take no more commands, let those that run end within so many seconds, and end those that do not.

        Cancellation: those that run still are not ended here.
        """
        self._ending = True
        with trio.move_on_after(seconds):
            await self._all_over()
        for asked in self._asked:
            asked.scope.cancel()
        await self._all_over()

    async def _all_over(self) -> None:
        if self._asked:
            await self._over.wait()

    # --- in the request's context

    def decided_at(self) -> int:
        """The position among the revocations before the app was, or is, asked who the client of this request is."""
        scope: Scope = request.scope  # type: ignore[assignment]  # as below
        asked = scope.get(ASKED)
        return asked.position if asked is not None and GRANT in scope else self._revocations.position

    async def once(self, view: Callable[..., Any], kwargs: dict[str, Any], grant: Grant | None, since: int) -> Any:
        """Have a view take effect once, in the present request's context. Return its response, or the one that is kept.

        Args:
            view: the app's.
            kwargs: the URL's values.
            grant: what the client was let in with.
            since: of :meth:`decided_at`, before that was decided.

        Raises:
            Exception: what the view raises and no error handler takes; it was logged.
        """
        current: Any = request
        asking = current._get_current_object()  # a proxy looks for it each time
        scope: Scope = asking.scope
        asked = scope.get(ASKED) or Asked(bytes(await asking.body), since)  # the latter where the app is asked past us
        try:
            id, data = read_id(scope, self._limits), read_data(asked.body, self._limits)
        except AskError as error:
            return as_response(error.answer)
        identity = None if grant is None else grant.identity
        if not self._counts(asked, identity):
            return as_response(TOO_MANY)
        command = Command(id, data, identity, self._limits)
        key = key_of(identity, asking.path, scope["query_string"], id, _host(asking))
        print = print_of(data)
        while (other := self._running.get(key)) is not None:
            if other.print != print and other.held:
                asked.outcome = "mismatch"
                return as_response(MISMATCH)
            await other.done.wait()  # of other data: it is not known yet which of the two the id belongs to
            if other.print == print and other.answer is not None:
                return _same(other.answer, asked)
        claim = Claim(self._log, self._hub, self._limits, key, print)
        running = self._running[key] = Running(print, claim)
        asked.begun = True
        try:
            called = partial(self._app.ensure_async(view), **kwargs, command=command)
            return await self._perform(asked, running, called, command, partial(self._lost, grant, since, asking.path))
        except Exception as error:
            running.answer = FAILED
            logger.error("a command failed: %s", where(error))
            raise
        finally:
            try:
                await claim.give_back()
            finally:
                del self._running[key]
                running.done.set()

    def _counts(self, asked: Asked, identity: Identity | None) -> bool:
        """Count a command as its subject's until it is over. Return False where that has as many as it may."""
        if identity is not None and asked in self._asked:
            if self._subjects[identity.subject] >= self._limits.commands_each:
                return False
            asked.subject = identity.subject
            self._subjects[asked.subject] += 1
        return True

    def _uncount(self, subject: str) -> None:
        self._subjects[subject] -= 1
        if not self._subjects[subject]:
            del self._subjects[subject]

    def _lost(self, grant: Grant | None, since: int, path: str) -> Answer | None:
        """Why a client may not have its command done that it was let in for; None where it may."""
        if grant is not None and grant.until <= trio.current_time():
            return EXPIRED_CLIENT
        closing = self._revocations.since(since, None if grant is None else grant.identity, None, (path,))
        return None if closing is None else REVOKED_CLIENT if closing is REVOKED else AGAIN

    async def _perform(
        self,
        asked: Asked,
        running: Running,
        view: Callable[[], Any],
        command: Command,
        lost: Callable[[], Answer | None],
    ) -> Any:
        """Claim it, run the view, and store what comes of it."""
        try:
            found = await running.claim.take()
        except LogError as error:
            logger.error("a command could not be claimed: %s", where(error))
            return _tell(running, LOG)
        if (answer := lost()) is not None:
            return as_response(answer)
        if found is not None:
            return _found(asked, running, found)
        running.held = True
        try:
            with trio.move_on_after(self._limits.command_run_seconds) as patience:
                response = await _respond(self._app, view)
                kept = await _kept(view, response, self._limits)
        finally:
            writes = command.close()
        if patience.cancelled_caught:
            asked.outcome = "timeout"
            return _tell(running, TIMEOUT)
        if kept is None:
            running.answer = own_answer(response.status_code, "again", "it was not done, and can be asked again")
            return response
        return await self._store(asked, running, response, kept, writes if kept.status < 400 else [])

    async def _store(self, asked: Asked, running: Running, response: Any, kept: KeptAnswer, writes: Writes) -> Any:
        """Store what a view has answered and published. Return what is answered in the end."""
        try:
            found = await running.claim.commit(kept.encode(), writes)
        except ChannelEnded as error:  # known here alone: what a view publishes is stored when it has returned
            logger.warning("a command published to %r, which has ended; nothing was stored", error.channel)
            asked.outcome = "refused"
            return _tell(running, CHANNEL_ENDED)
        except LogError as error:
            logger.error("what came of a command could not be stored: %s", where(error))
            return _tell(running, LOG)
        if found is not None:
            return _found(asked, running, found)
        running.answer = kept
        return response


def _host(asking: Any) -> str | None:
    """The host that a request asks, where its rule depends on that: two tenants' commands are two."""
    rule = asking.url_rule
    return asking.host.lower() if rule is not None and (rule.host or rule.subdomain) else None


async def _ask_app(app: Any, request: Any) -> Answer:
    """Give a request to the app, and return all of its answer."""
    try:
        with only_exceptions():
            response = await app.handle_request(request)
        return await answer_of(response)
    except Exception as error:  # an app in testing or debug mode raises; its client is answered all the same
        logger.exception("a request for the command %s failed: %s", printable(request.path), where(error))
        return FAILED


async def _respond(app: Any, view: Callable[[], Any]) -> Any:
    """Return the response that a view comes to, be it by an error that the app has a handler for.

    Raises:
        Exception: it has none.
    """
    try:
        with only_exceptions():
            return await _made(app, view, await view())
    except Exception as error:
        # Quart 0.23 gives its context along.
        context = [app_ctx._get_current_object()] if len(signature(app.handle_user_exception).parameters) > 1 else []
        return await app.make_response(await app.handle_user_exception(*context, error))


async def _made(app: Any, view: Callable[[], Any], answer: Any) -> Any:
    """Return what a view has returned as a response. Raises ConfigError: it is none."""
    try:
        return await app.make_response(answer)
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigError(
            f"the view {named(view)} of a command returned no response ({{}} is one that says nothing): {str_of(error)}"
        ) from error


async def _kept(view: Callable[[], Any], response: Any, limits: Limits) -> KeptAnswer | None:
    """Return what is kept of a view's response, if anything is. Raises DataError: it is none that can be sent."""
    try:
        if not is_not_now(response.status_code):
            return await keep(response, limits)
        headers_of(response)
        return None
    except DataError as error:
        raise DataError(f"the view {named(view)} of a command: {error}") from error


def _same(answer: KeptAnswer | Answer, asked: Asked) -> Any:
    """Return the response that says what another request with the same key was answered in this process."""
    if isinstance(answer, Answer):
        return as_response(answer)
    asked.outcome = "repeated"
    return answer.response()


def _found(asked: Asked, running: Running, found: Kept) -> Any:
    """Return the response that says what the log has under the key."""
    if found.print != running.print:
        asked.outcome = "mismatch"
        return _tell(running, MISMATCH)
    if found.answer is None:
        asked.outcome = "conflict"
        return _tell(running, RUNNING)
    asked.outcome = "repeated"
    try:
        kept = running.answer = KeptAnswer.read(found.answer)
    except LogError as error:
        logger.error("a command is done, and its answer cannot be told: %s", where(error))
        return _tell(running, LOG)
    return kept.response()


def _tell(running: Running, answer: Answer) -> Any:
    """Return the response with an answer of our own, which is also told to those that wait."""
    running.answer = answer
    return as_response(answer)


def _outcome(answer: Answer | None) -> str:
    if answer is None or answer.status >= 500:
        return "failed"
    return "refused" if answer.status >= 400 else "done"
