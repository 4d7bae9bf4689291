"""``@live.channel`` and ``@live.socket``: their rules in an app or a blueprint, and the views that decide there."""

from __future__ import annotations

import logging
import re
from base64 import urlsafe_b64encode
from collections.abc import Awaitable, Callable, Collection
from functools import partial, wraps
from hashlib import sha256
from inspect import isawaitable, signature
from pathlib import Path
from typing import Any, Final, NamedTuple

from quart import Blueprint, Response, abort, current_app, has_request_context, has_websocket_context, request
from quart_trio import QuartTrio

from ..bounds import RECHECK_LEAST_SECONDS
from ..clock import wall_time
from ..connection import Connection
from ..errors import ChannelNameError, ConfigError, named, only_exceptions, str_of
from ..event import Event, check_channel
from ..hub import Policy, Reducer, Source, StateFunction, check_allow, check_policy, takes_identity
from ..identity import Grant, Identity
from ..identity.control import check_follows
from ..limits import MOST_SECONDS, Limits
from ..presence.members import Member
from ..presence.statements import check_size, presence_channel
from ..transports.negotiate import FULL, Form
from ..transports.websocket import SUBPROTOCOL
from ..wire.codec import Rendered
from ..wire.handshake import is_token
from .identify import EXTENSION, Identifier, snapshot
from .rendering import rendering
from .renewal import POSTED
from .views import OWN_POSTS, SCRIPT, Decision, decided, mark, mark_command, matched_once

__all__ = [
    "ChannelOptions",
    "Routes",
    "channel_view",
    "check_rule",
    "command_view",
    "followable",
    "socket_endpoint",
    "socket_view",
    "stream_form",
]

STATIC = Path(__file__).parents[1] / "static"
STATIC_URL = "/triolet"

logger = logging.getLogger("triolet")

OUTSIDE: Final = (
    "Not within a ",
    "There is no request",
    "There is no websocket",
    "'NoneType' object has no attribute 'acc",
)
"""How the errors begin that Quart raises where there is no request: those of 0.22, and of 0.23."""

NO_REQUEST: Final = (
    "a live.socket's handler outlives its request, so Quart's request, session and websocket are not there: "
    "conn.request has the request as it was, and conn.request.session what the session held"
)

View = Callable[..., Any]


class ChannelOptions(NamedTuple):
    """What a channel's route says of those that follow it; see :meth:`triolet.Triolet.channel`."""

    policy: Policy | None = None
    member: View | None = None
    allow: Callable[[Event, Identity | None], bool] | None = None
    recheck: float | None = None
    snapshot: Callable[..., Any] | Reducer | None = None
    form: Form = FULL

    def check(self) -> None:
        """Refuse what cannot be. Raises ConfigError."""
        if self.policy is not None:
            check_policy(self.policy)
        if self.member is not None and not callable(self.member):
            raise ConfigError(f"member= is a function of the URL's values, as the view is, not {self.member!r:.60}")
        if self.allow is not None:
            check_allow(self.allow)
        if self.recheck is not None:
            _check_seconds(self.recheck)
        if self.snapshot is not None and not self.has_personal_state and self.allow is not None:
            raise ConfigError(
                "a route whose clients may not see all (allow=) gives each a state of its own: let snapshot= be a "
                "function of the channel and of who asks, state_of(channel, identity)"
            )

    @property
    def has_personal_state(self) -> bool:
        """Whether what returns the channel's state is told who asks. Raises ConfigError."""
        return self.snapshot is not None and not isinstance(self.snapshot, Reducer) and takes_identity(self.snapshot)

    def source(self, grant: Grant | None) -> Source | None:
        """Where a client's states of the channel come from."""
        if self.snapshot is None or isinstance(self.snapshot, Reducer):
            return self.snapshot
        return StateFunction(self.snapshot, grant, is_personal=self.has_personal_state)


class Routes:
    """The routes of one Triolet: kept, since its apps may come later, and given to each of them.

    Bounds: one entry a route.

    Attributes:
        reducers: those that make the states of their channels.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._rules: list[Callable[[QuartTrio], None]] = []
        self._apps: list[QuartTrio] = []
        self._views: dict[tuple[View, ChannelOptions], View] = {}
        self._commands: dict[View, View] = {}
        self._rendered: dict[Any, Rendered | None] = {}
        self.reducers: list[Reducer] = []

    def channel(self, view: View, options: ChannelOptions) -> View:
        """Return the deciding view of a channel's, always the same: a view may stand at several rules, as in Quart."""
        if isinstance(options.snapshot, Reducer) and options.snapshot not in self.reducers:
            self.reducers.append(options.snapshot)
        return self._views.setdefault((view, options), channel_view(view, options, self._limits))

    def rendered(self, render: Any) -> Rendered | None:
        """Return the codecs of a ``render=``, always the same, as :meth:`channel`. Raises ConfigError."""
        if render not in self._rendered:
            self._rendered[render] = rendering(render, self._limits)
        return self._rendered[render]

    def add(
        self,
        rule: str,
        endpoint: str,
        view: View,
        blueprint: Blueprint | None,
        options: dict[str, Any],
        method: str = "GET",
    ) -> None:
        """Add a rule to a blueprint, or to all apps, those that come later too.

        Raises:
            ConfigError: an option that no rule of Triolet's can have.
        """
        if not options.keys().isdisjoint(("methods", "websocket")):
            what = "channel or socket" if method == "GET" else "command"
            raise ConfigError(f"a {what} is asked with {method}, whatever the transport: no methods=, no websocket=")
        if blueprint is not None:
            blueprint.add_url_rule(rule, endpoint, view, methods=[method], **options)
            return

        def register(app: QuartTrio) -> None:
            app.add_url_rule(rule, endpoint, view, methods=[method], **options)

        self._rules.append(register)
        for app in self._apps:
            register(app)

    def take_posts(self) -> None:
        """Have what concerns identities posted to, below Triolet's own path: the app says who a client is."""
        for name, view in POSTED.items():

            def register(app: QuartTrio, name: str = name, view: View = view) -> None:
                rule = f"{STATIC_URL}/{name}"
                app.add_url_rule(rule, f"{OWN_POSTS}{name}", view, methods=["POST"], **_everywhere(app))

            self._rules.append(register)
            for app in self._apps:
                register(app)

    def add_command(
        self, rule: str, endpoint: str, view: View, blueprint: Blueprint | None, options: dict[str, Any]
    ) -> None:
        """Add a command's rule. Raises ConfigError as :meth:`add`."""
        if re.search(r"<(?:[^<>]*:)?command>", rule):
            raise ConfigError(f"{rule!r:.100} has a value called command, which is what its view is given by that name")
        _check_takes_command(view)
        asked = self._commands.setdefault(view, command_view(view))  # always the same, as a channel's
        self.add(rule, endpoint, asked, blueprint, options, "POST")

    def give_to(self, app: QuartTrio) -> None:
        """Register all rules in an app, and that of the browser's script."""
        matched_once(app)
        self._apps.append(app)
        for register in self._rules:
            register(app)
        rule = f"{STATIC_URL}/<path:filename>"
        app.add_url_rule(rule, SCRIPT, _send_static, methods=["GET"], **_everywhere(app))


def _everywhere(app: QuartTrio) -> dict[str, Any]:
    return {"host": "<triolet_host>"} if app.url_map.host_matching else {}


def channel_view(view: View, options: ChannelOptions, limits: Limits) -> View:
    """Return a Quart view that asks one of the app's which channel it is, and answers with the decision."""

    @wraps(view)
    async def decide(*args: Any, **kwargs: Any) -> Any:
        grant = await identifier().grant()
        answer = await current_app.ensure_async(view)(*args, **kwargs)
        if not isinstance(answer, str):
            return await _refusal(view, answer)
        who = None if options.member is None else await _who(options.member(*args, **kwargs), limits)
        return decided(
            Decision(
                followable(answer, who is not None),
                policy=options.policy,
                member=who,
                grant=grant,
                allow=None if options.allow is None else partial(_allows, options.allow, grant),
                recheck=options.recheck,
                snapshot=options.source(grant),
                form=options.form,
            )
        )

    return mark(decide)  # type: ignore[no-any-return]


async def _refusal(view: View, answer: Any) -> Any:
    """Return what a channel's view has returned in place of a name as a response. Where it is none Quart fails at it,
    as at a page's; but its error says nothing of the view."""
    try:
        return await current_app.make_response(answer)
    except TypeError as error:
        logger.error(
            "the view %s of a channel returned neither its name, as text, nor a response that refuses: %s",
            named(view),
            str_of(error),
        )
        return answer


def socket_view(handlers: list[Any], raw: bool, subprotocols: tuple[str, ...]) -> View:
    """Return a Quart view that decides for a socket, with the app's handler if there is one by then."""

    known = subprotocols if raw else (SUBPROTOCOL, *subprotocols)

    async def decide(**kwargs: Any) -> Any:
        app: Any = current_app
        grant = await identifier().grant()
        handler = partial(_call, app._get_current_object(), handlers[0], kwargs) if handlers else None
        if handler is not None:
            grant = grant or Grant(None, wall_time())
            grant.request = snapshot()
        return decided(Decision(None, handler, raw, subprotocols=known, grant=grant))

    return mark(decide)  # type: ignore[no-any-return]


def command_view(view: View) -> View:
    """Return a Quart view that has one of the app's take effect once."""

    @wraps(view)
    async def ask(**kwargs: Any) -> Any:
        service = current_app.extensions[EXTENSION]
        since = service.life.commands.decided_at()
        grant = await service.options.identifier.grant()
        return await service.life.commands.once(view, kwargs, grant, since)

    return mark_command(ask)  # type: ignore[no-any-return]  # it marks what it is given


def stream_form(format: str, done: bool, rendered: Rendered | None = None) -> Form:
    """Return how a route's event streams look. Raises ConfigError."""
    try:
        return Form.of(format, done)._replace(rendered=rendered)
    except ValueError as error:
        raise ConfigError(str(error)) from None


def check_rule(rule: Any) -> None:
    """Refuse what is no rule: a view, where a decorator was written without its parentheses. Raises ConfigError."""
    if not isinstance(rule, str):
        raise ConfigError(f'a URL comes first, as in @live.channel("/orders/<order_id>/events"), not {rule!r:.100}')


def _check_takes_command(view: View) -> None:
    parameters = signature(view, follow_wrapped=False).parameters  # what is called: it may wrap another
    if "command" not in parameters and all(one.kind != one.VAR_KEYWORD for one in parameters.values()):
        raise ConfigError(
            f"the view {getattr(view, '__name__', view)!r:.100} of a command is given it by name, besides the URL's "
            "values: let it take command: Command"
        )


def check_subprotocols(names: Any) -> tuple[str, ...]:
    """Return the names of an app's own subprotocols. Raises ConfigError."""
    if isinstance(names, str | bytes) or not isinstance(names, Collection):
        raise ConfigError('subprotocols is a list of names, like ["ocpp1.6"], not one text')
    for name in names:
        if not isinstance(name, str) or not is_token(name):
            raise ConfigError(f"a subprotocol's name is a token of HTTP (RFC 6455 section 4.1), not {name!r:.100}")
        if name.lower().startswith("triolet."):
            raise ConfigError(f"the subprotocol {name!r:.100} is Triolet's own: it speaks that by itself")
    return tuple(names)


def socket_endpoint(rule: str, options: dict[str, Any]) -> str:
    """Return the name of a socket's endpoint, where it was given none: a rule may stand at several hosts."""
    where = [str(options[name]) for name in ("host", "subdomain") if options.get(name) is not None]
    return " ".join(["socket", rule, *where]).replace(".", "_")


def identifier() -> Identifier:
    """What says who a client of the present app is."""
    found: Identifier = current_app.extensions[EXTENSION].options.identifier
    return found


def followable(name: str, has_members: bool) -> str:
    """Return a channel's name that was made from a URL. One that can be none, also with its presence, is like a channel
    that is not there: 404."""
    try:
        if has_members:
            presence_channel(name)
        return check_follows(check_channel(name))
    except ChannelNameError:
        abort(404)


def _allows(check: Callable[[Event, Identity | None], bool], grant: Grant | None, event: Event) -> bool:
    """Ask a route's ``allow`` about an event, with the client's identity as it is then: it may have been renewed."""
    return check(event, None if grant is None else grant.identity)


def _check_seconds(seconds: Any) -> None:
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds <= MOST_SECONDS:
        raise ConfigError(f"recheck= is a number of seconds, at most {MOST_SECONDS:g}, not {seconds!r:.60}")
    if seconds < RECHECK_LEAST_SECONDS:
        raise ConfigError(
            f"recheck={seconds!r:.60} is less than {RECHECK_LEAST_SECONDS} s: each costs the app as much as a request. "
            "What is taken from a client at once is said with live.revoke"
        )


async def _who(answer: Any, limits: Limits) -> Member | None:
    """What a route's ``member`` has returned, as a member that can join. Raises DataError."""
    who = await answer if isawaitable(answer) else answer
    return None if who is None else check_size(who if isinstance(who, Member) else Member(who), limits)


async def _call(
    app: QuartTrio, handler: Callable[..., Awaitable[None]], kwargs: dict[str, Any], conn: Connection
) -> None:
    with only_exceptions():
        async with app.app_context():
            try:
                await handler(conn, **kwargs)
            except (RuntimeError, AttributeError) as error:
                if has_request_context() or has_websocket_context() or not str_of(error).startswith(OUTSIDE):
                    raise
                raise ConfigError(NO_REQUEST).with_traceback(error.__traceback__) from error


async def _send_static(filename: str, triolet_host: str = "") -> Any:
    # Looked for among those that are there: what a client writes is never a path (of 300 characters it cannot be one).
    path = {path.name: path for path in STATIC.glob("*.js")}.get(filename)
    cors = current_app.extensions[EXTENSION].origins.answer(request.scope, [])  # a page elsewhere imports it
    headers = {name.decode(): value.decode("latin-1") for name, value in cors}
    if path is None:
        return Response(b"", status=404, headers=headers)
    script = path.read_bytes()
    # Kept, and asked for each time: a page never has a client of before an upgrade, and none comes twice. The tag is of
    # what it is made of, so all processes of a version give the same.
    tag = f'"{urlsafe_b64encode(sha256(script).digest()[:18]).decode()}"'
    headers |= {"cache-control": "no-cache", "etag": tag, "x-content-type-options": "nosniff"}
    response: Any = Response(script, mimetype="text/javascript", headers=headers)
    return await response.make_conditional(request)
