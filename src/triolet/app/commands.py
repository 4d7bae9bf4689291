"""``@live.command``: POST views that take effect once, whatever carries them.

A command is a request of its own, which is given to the app in a task of the app's and not of its client's: all of
Quart's dispatch runs there, from ``before_request`` and the session over the view to ``after_request`` and the teardown
functions. So the request's context is there for as long as the view is, although the client goes, and nothing has to be
carried from one context into another. Whoever asks (an HTTP request, a message on a WebSocket) only waits to be told.

A client that goes before its command has begun takes it along; once it has begun, which is when its key is claimed,
it is brought to its end.

What makes it happen once, behind ``before_request`` and ``@live.identify``, which are asked each time:

1. The **key** is made of the client's subject, the URL below the app (and its host, where routes have one), and the id.
2. A run of the same key **in this process** is waited for, and its answer is given to all that wait.
3. Else the key is **claimed** in the log, for a lease that is renewed beside the run. What is there instead is given:
   the answer that is kept; or 409, since another process runs it. A client whose identity has expired or was revoked
   by now is refused: from here on its command takes effect.
4. The view runs. What it publishes is held back.
5. Answer and events are **stored in one transaction**, if the claim is still held. If it is not (this process stood
   still for so long), what the other has answered is given, and nothing of this run is published.
6. Where there is nothing to keep (an answer of 5xx, a deadline, a log that is full), the claim is **given back**.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from functools import partial
from inspect import signature
from typing import Any, Final, NoReturn, TypeVar

import trio
from quart import current_app, request
from quart.globals import app_ctx
from quart.utils import encode_headers

from ..closing import REVOKED
from ..connection import Context
from ..errors import LogError, where
from ..hub import Hub
from ..identity import Grant
from ..limits import COMMAND_RETRY_SECONDS, GRACE_LEAVING_PART
from ..log import EventLog, Kept
from ..sockets.server_state import ServerState
from ..transports.negotiate import AskError, Scope, expired
from ..transports.polling import ENDED_POLLS
from .answers import Answer, KeptAnswer, as_response, is_kept, keep, own_answer
from .claim import Claim
from .command import Command, key_of, print_of, read_data, read_id
from .identify import GRANT
from .views import body_of, only_exceptions

__all__ = ["Commands"]

logger = logging.getLogger("triolet")

ASKED: Final = "triolet.asked"
"""Under which name an asked command stands in its request's scope."""

DRAINING: Final = own_answer(503, "draining", "this server shuts down; ask another", COMMAND_RETRY_SECONDS)
BUSY: Final = own_answer(503, "busy", "too many commands are running; try again", COMMAND_RETRY_SECONDS)
LOG: Final = own_answer(503, "log", "what came of it cannot be stored now; try again", COMMAND_RETRY_SECONDS)
RUNNING: Final = own_answer(409, "running", "this command is running elsewhere; ask again", COMMAND_RETRY_SECONDS)
MISMATCH: Final = own_answer(422, "id", "this id was used with other data; draw an id for each command")
TIMEOUT: Final = own_answer(504, "timeout", "this command has taken too long")
FAILED: Final = own_answer(500, "failed", "this command has failed")
REVOKED_CLIENT: Final = own_answer(*ENDED_POLLS[REVOKED])
EXPIRED_CLIENT: Final = Answer(
    401,
    [(b"content-type", b"application/json"), (b"www-authenticate", b'Bearer error="invalid_token"')],
    expired().body,
)
AGAIN: Final = own_answer(503, "again", "it was not done, and can be asked again", COMMAND_RETRY_SECONDS)

T = TypeVar("T")


class Asked:
    """A command that is asked and not answered yet.

    Attributes:
        body: the request's.
        position: among the revocations, when it was asked.
        scope: cancels it.
        begun: whether it goes on without its client: it is claimed, or about to be.
        outcome: what came of it, where its status does not say that.
        answer: what it was answered; None where it was cancelled.
        done: set when it is over.
    """

    __slots__ = ("answer", "begun", "body", "done", "outcome", "position", "scope")

    def __init__(self, body: bytes, position: int) -> None:
        self.body = body
        self.position = position
        self.scope = trio.CancelScope()
        self.begun = False
        self.outcome: str | None = None
        self.answer: Answer | None = None
        self.done = trio.Event()


class Running:
    """A key that is being done in this process.

    Attributes:
        print: the fingerprint of what is asked.
        held: whether its claim is: else the id may turn out to be of other data.
        answer: once it is done: what is kept; where nothing is, what others are told that wait for it.
        done: set when it is over.
    """

    __slots__ = ("answer", "done", "held", "print")

    def __init__(self, print: bytes) -> None:
        self.print = print
        self.held = False
        self.answer: KeptAnswer | Answer = FAILED
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

    Bounds: ``limits.commands_running`` commands, each with a body of ``limits.message_bytes``, its events and its
    answer; for each twice ``limits.command_run_seconds`` and ``limits.write_seconds``, in all.
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
        self._ending = False
        self._over: trio.Event = trio.Event()

    # --- for those that ask

    async def ask(self, request: Any, body: bytes) -> Answer:
        """Have a command done, and return its answer.

        Args:
            request: its request, of :func:`~.views.posted`.
            body: the request's.

        Cancellation: what has begun goes on to its end; what has not is given up.
        """
        refusal = self._refusal()
        if refusal is not None:
            self._server.counters.command_answered("refused", 0)
            return refusal
        asked = request.scope[ASKED] = Asked(body, self._revocations.position)
        if not self._asked:
            self._over = trio.Event()
        self._asked[asked] = None
        self._nursery.start_soon(self._run, asked, request)
        try:
            await asked.done.wait()
        finally:
            if not asked.begun:
                asked.scope.cancel()
        return asked.answer or (DRAINING if self._ending else TIMEOUT)

    def _refusal(self) -> Answer | None:
        if self._ending or self._server.draining.is_set():
            return DRAINING
        return BUSY if len(self._asked) >= self._limits.commands_running else None

    async def _run(self, asked: Asked, request: Any) -> None:
        began = trio.current_time()
        # The view and the storing have bounds of their own; the rest is for what the app does before and after.
        asked.scope.deadline = began + 2 * (self._limits.command_run_seconds + self._limits.write_seconds)
        try:
            with asked.scope, self._server.budget.holding(len(asked.body)):
                asked.answer = await _ask_app(self._app, request)
        finally:
            del self._asked[asked]
            outcome = asked.outcome or _outcome(asked.answer)
            self._server.counters.command_answered(outcome, trio.current_time() - began)
            asked.done.set()
            if not self._asked:
                self._over.set()

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
        scope: Scope = request.scope  # type: ignore[assignment]  # Hypercorn types it
        asked = scope.get(ASKED) or Asked(bytes(await request.body), since)  # the latter where the app is asked past us
        try:
            id, data = read_id(scope, self._limits), read_data(asked.body, self._limits)
        except AskError as error:
            return as_response(own_answer(error.status, error.error, str(error)))
        identity = None if grant is None else grant.identity
        command = Command(id, data, identity, self._limits)
        key = key_of(identity, request.path, scope["query_string"], id, _host())
        print = print_of(data)
        while (other := self._running.get(key)) is not None:
            if other.print == print or other.held:
                return await _wait_for(other, print, asked)
            await other.done.wait()  # it is not known yet which of the two data the id belongs to
        running = self._running[key] = Running(print)
        asked.begun = True
        claim = Claim(self._log, self._hub, self._limits, key, print)
        try:
            called = partial(current_app.ensure_async(view), **kwargs, command=command)
            return await self._perform(asked, running, claim, called, command, partial(self._lost, grant, since))
        except Exception as error:
            logger.error("a command failed: %s", where(error))
            raise
        finally:
            try:
                await claim.give_back()
            finally:
                del self._running[key]
                running.done.set()

    async def _perform(
        self,
        asked: Asked,
        running: Running,
        claim: Claim,
        view: Callable[[], Any],
        command: Command,
        lost: Callable[[], Answer | None],
    ) -> Any:
        try:
            found = await claim.take()
        except LogError as error:
            logger.error("a command could not be claimed: %s", where(error))
            return _tell(running, LOG)
        if (answer := lost()) is not None:
            running.answer = AGAIN  # who waits for this run may have been let in anew
            return as_response(answer)
        if found is not None:
            return _found(asked, running, found)
        running.held = True
        return await _beside(claim.renew, partial(self._carry_out, asked, running, claim, view, command))

    def _lost(self, grant: Grant | None, since: int) -> Answer | None:
        """Why a client may not have its command done that it was let in for; None where it may."""
        if grant is not None and grant.until <= trio.current_time():
            return EXPIRED_CLIENT
        closing = self._revocations.since(since, None if grant is None else grant.identity, None, (request.path,))
        return None if closing is None else REVOKED_CLIENT if closing is REVOKED else AGAIN

    async def _carry_out(
        self, asked: Asked, running: Running, claim: Claim, view: Callable[[], Any], command: Command
    ) -> Any:
        """Run the view, and store what comes of it."""
        try:
            with trio.move_on_after(self._limits.command_run_seconds) as patience:
                response = await _respond(view)
                kept = await keep(response, self._limits) if is_kept(response.status_code) else None
        finally:
            writes = command.close()
        if patience.cancelled_caught:
            asked.outcome = "timeout"
            return _tell(running, TIMEOUT)
        if kept is None:
            running.answer = own_answer(response.status_code, "again", "it was not done, and can be asked again")
            return response
        try:
            with trio.move_on_after(self._limits.command_run_seconds) as patience:
                found = await claim.commit(kept.encode(), writes if kept.status < 400 else [])
        except LogError as error:
            logger.error("what came of a command could not be stored: %s", where(error))
            return _tell(running, LOG)
        if patience.cancelled_caught:
            logger.error("what came of a command could not be stored: its log was away for too long")
            return _tell(running, LOG)
        if found is not None:
            return _found(asked, running, found)
        running.answer = kept
        return response


def _host() -> str | None:
    """The host that the present request asks, where its rule depends on that: two tenants' commands are two."""
    rule: Any = request.url_rule
    return request.host.lower() if rule is not None and (rule.host or rule.subdomain) else None


async def _ask_app(app: Any, request: Any) -> Answer:
    """Give a request to the app, and return all of its answer."""
    try:
        with only_exceptions():
            response = await app.handle_request(request)
        return Answer(response.status_code, encode_headers(response.headers), await body_of(response))
    except Exception as error:  # an app in testing or debug mode raises; its client is answered all the same
        logger.exception("a request for a command failed: %s", where(error))
        return FAILED


async def _respond(view: Callable[[], Any]) -> Any:
    """Return the response that a view comes to, be it by an error that the app has a handler for.

    Raises:
        Exception: it has none.
    """
    app: Any = current_app
    try:
        with only_exceptions():
            return await app.make_response(await view())
    except Exception as error:
        # Quart 0.23 gives its context along.
        context = [app_ctx._get_current_object()] if len(signature(app.handle_user_exception).parameters) > 1 else []
        return await app.make_response(await app.handle_user_exception(*context, error))


async def _beside(other: Callable[[], Awaitable[NoReturn]], work: Callable[[], Awaitable[T]]) -> T:
    """Do some work with other work beside it. What it raises is raised as it is, and not in the nursery's group."""
    outcome: list[T] = []
    failed: Exception | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        try:
            outcome.append(await work())
        except Exception as error:
            failed = error
        nursery.cancel_scope.cancel()
    try:
        if failed is not None:
            raise failed
        return outcome[0]
    finally:
        del failed  # it holds this frame, and this frame would hold it


async def _wait_for(running: Running, print: bytes, asked: Asked) -> Any:
    """Wait for the run of another request with the same key, and return its answer."""
    if running.print != print:
        asked.outcome = "mismatch"
        return as_response(MISMATCH)
    await running.done.wait()
    if isinstance(running.answer, Answer):
        return as_response(running.answer)
    asked.outcome = "repeated"
    return running.answer.response()


def _found(asked: Asked, running: Running, found: Kept) -> Any:
    """Return the response that says what the log has under the key."""
    if found.print != running.print:
        asked.outcome = "mismatch"
        return _tell(running, MISMATCH)
    if found.answer is None:
        asked.outcome = "conflict"
        return _tell(running, RUNNING)
    asked.outcome = "repeated"
    running.answer = KeptAnswer.read(found.answer)
    return running.answer.response()


def _tell(running: Running, answer: Answer) -> Any:
    """Return the response with an answer of our own, which is also told to those that wait."""
    running.answer = answer
    return as_response(answer)


def _outcome(answer: Answer | None) -> str:
    if answer is None or answer.status >= 500:
        return "failed"
    return "refused" if answer.status >= 400 else "done"
