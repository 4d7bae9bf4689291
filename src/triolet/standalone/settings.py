"""What the file says, frozen: read once, and checked as far as it can be before anything is opened."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import partial
from inspect import signature
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from ..app.open_log import open_log
from ..app.routes import stream_form
from ..bounds import RECHECK_LEAST_SECONDS
from ..errors import ChannelNameError, ConfigError
from ..event import OWN_PREFIX, check_channel
from ..hub import Policy, policies
from ..identity import JWT
from ..limits import Keep, Limits
from ..transports.negotiate import FULL, Form
from ..transports.origins import check_origins
from ..wire.address import quoted
from .rules import Rule, Template, values_of
from .table import Table, nearest, read_file, shown

__all__ = ["ChannelSettings", "Settings", "read_settings"]

_FILE: Final = ("callback", "channels", "deflate", "jwt", "limits", "log", "origins", "policy", "socket")
_CHANNEL: Final = ("channel", "done", "follow", "format", "keep", "policy", "presence", "publish", "recheck", "url")
_JWT: Final = (
    "algorithms",
    "audience",
    "issuer",
    "keys",
    "leeway",
    "refresh",
    "require",
    "session_claim",
    "subject_claim",
)
_LIMITS: Final = tuple(field.name for field in fields(Limits) if field.name != "keep")
_POLICIES: Final[Mapping[str, Callable[..., Policy]]] = {
    "block": policies.block,
    "disconnect": policies.disconnect,
    "fold": policies.fold,
    "latest": policies.latest,
    "skip": policies.skip,
}
_WHO: Final = ("anyone", "callback", "token")
_ENVIRONMENT: Final = "env:"
_OWN_URL: Final = "/triolet"
_HEADER: Final = re.compile(r"[-!#$%&'*+.^_`|~0-9A-Za-z]+")  # RFC 9110, section 5.6.2

HEADERS: Final = ("authorization", "cookie", "origin", "user-agent")
"""Headers of a client's that a callback is asked with, where the file does not say."""

_NEVER_HEADERS: Final = ("connection", "content-length", "content-type", "host", "te", "transfer-encoding", "upgrade")
"""Those that are of the request to the callback itself."""


class ChannelSettings(msgspec.Struct, frozen=True):
    """One entry of ``[[channels]]``.

    Attributes:
        url: the rule of the URLs.
        channel: the name of the channel behind each.
        follow: who may follow.
        publish: who may publish by a POST to the URL; None is nobody.
        recheck: within how many seconds it is asked again whether a client may still follow; None is never.
        policy: what happens when a client stays behind; None is the file's.
        presence: the rule of the URLs at which those who may follow hear who else does; None is none.
        form: how event streams look.
        table: it in the file, by which a mistake is named with its line.
    """

    url: str
    channel: Template
    follow: Rule
    publish: Rule | None
    recheck: float | None
    policy: Policy | None
    presence: str | None
    form: Form
    table: Table


class Settings(msgspec.Struct, frozen=True):
    """The whole file.

    Attributes:
        log: the URL of the log.
        limits: those of the app, and how channels are kept.
        origins: whose pages may follow.
        deflate: whether permessage-deflate is agreed on.
        policy: what happens when a client stays behind, where its channel says nothing else.
        socket: the rule of the URL at which many channels are followed; None is none.
        jwt: says who a client is by its token; None where tokens mean nothing here.
        headers: of a client's, with which callbacks are asked.
        channels: in the file's order.
        file: all of it, by which a mistake is named with its line.
    """

    log: str
    limits: Limits
    origins: tuple[str, ...]
    deflate: bool
    policy: Policy | None
    socket: str | None
    jwt: JWT | None
    headers: tuple[str, ...]
    channels: tuple[ChannelSettings, ...]
    file: Table


def read_settings(path: str) -> Settings:
    """Read a file.

    Raises:
        ConfigError: something is wrong with it. The message is one sentence, which names the line.
    """
    file = read_file(path, _FILE)
    tables = file.tables("channels", _CHANNEL)
    if not tables:
        raise file.missing("channels", "write [[channels]], and below it url = … and follow = …")
    limits = _limits(file, tables)
    log = _secret(file, "log") or "memory:"
    file.tried("log" if "log" in file else None, partial(open_log, log, limits))
    jwt = _jwt(file)
    callback = file.table("callback", ("headers", "url"))
    if callback is not None and "url" in callback:
        _callback_url(callback, "url")
    taken: dict[str, str] = {}
    return Settings(
        log=log,
        limits=limits,
        origins=_origins(file),
        deflate=file.flag("deflate"),
        policy=_policy(file),
        socket=_url(file, "socket", taken),
        jwt=jwt,
        headers=_headers(callback),
        channels=tuple(_channel(table, jwt is not None, callback, taken) for table in tables),
        file=file,
    )


def _origins(file: Table) -> tuple[str, ...]:
    origins = file.texts("origins", '["https://shop.example"]') or []
    file.tried("origins", partial(check_origins, origins))
    return tuple(origins)


def _limits(file: Table, channels: list[Table]) -> Limits:
    table = file.table("limits", _LIMITS)
    given = {} if table is None else table.numbers(table)
    keep: dict[str, Keep] = {}
    for channel in channels:
        if (kept := channel.table("keep", ("bytes", "events", "seconds"))) is not None:
            pattern = _template(channel).pattern
            made = channel.tried("keep", partial(Keep, **kept.numbers(kept)))
            if keep.setdefault(pattern, made) != made:
                raise channel.mistake("keep", f"{pattern!r} is kept otherwise by an entry before this one")
    try:
        return Limits(keep=keep, **given)
    except ConfigError as error:
        raise _named(table or file, str(error), "limits.", " ") from None


def _jwt(file: Table) -> JWT | None:
    table = file.table("jwt", _JWT)
    if table is None:
        return None
    keys = _secret(table, "keys")
    if keys is None:
        raise table.missing("keys", 'write "env:NAME" for a secret, "file:…" or "https://…"')
    if not table.value("keys").startswith((_ENVIRONMENT, "file:", "https:", "http:")):
        table.wrong("keys", '"env:NAME" for what is in the environment, "file:…" or "https://…"')
    if "audience" not in table:
        raise table.missing("audience", 'say whom tokens are for, or "*" to take those as well that are for others')
    table.numbers(("leeway", "refresh"))
    options = {name: table.value(name) for name in table if name not in ("keys", "audience")}
    audience = table.value("audience")
    make = partial(JWT, keys=keys, audience=JWT.ANY if audience == "*" else audience, **options)
    try:
        return make()
    except ConfigError as error:
        raise _named(table, str(error), "JWT(", "=") from None


def _named(table: Table, said: str, before: str, after: str) -> ConfigError:
    """The error of what was made of a table, with the line of the key that it names between two marks."""
    name = said.removeprefix(before).partition(after)[0] if said.startswith(before) else ""
    return table.mistake(name if name in table else None, said)


def _headers(callback: Table | None) -> tuple[str, ...]:
    named = None if callback is None else callback.texts("headers", f'["{HEADERS[0]}"]')
    if callback is None or named is None:
        return HEADERS
    for name in named:
        if not _HEADER.fullmatch(name):
            raise callback.mistake("headers", f"{name!r:.80} is no header's name")
        if name.lower() in _NEVER_HEADERS or name.lower().startswith("sec-websocket-"):
            raise callback.mistake("headers", f"{name!r} is of the request itself, and is not passed on")
    return tuple(dict.fromkeys(name.lower() for name in named))


def _channel(table: Table, tokens: bool, callback: Table | None, taken: dict[str, str]) -> ChannelSettings:
    url = _url(table, "url", taken)
    if url is None:
        raise table.missing("url", 'write the URLs of these channels, as "/orders/<order_id>/events"')
    template = _template(table)
    follow = _rule(table, "follow", template, tokens, callback)
    if follow is None:
        raise table.missing("follow", f"say who may: {_who()}")
    presence = _url(table, "presence", taken)
    if presence is not None and set(values_of(presence)) != set(values_of(url)):
        raise table.mistake("presence", f"{presence!r:.80} has not the same values as {url!r:.80}")
    return ChannelSettings(
        url=url,
        channel=template,
        follow=follow,
        publish=_rule(table, "publish", template, tokens, callback),
        recheck=table.number("recheck", RECHECK_LEAST_SECONDS),
        policy=_policy(table),
        presence=presence,
        form=table.tried("format", partial(stream_form, table.text("format") or "triolet", table.flag("done")))
        if "format" in table or "done" in table
        else FULL,
        table=table,
    )


def _url(table: Table, name: str, taken: dict[str, str]) -> str | None:
    """A URL rule, of which nothing else in the file has the same."""
    url = table.text(name)
    if url is None:
        return None
    if not url.startswith("/") or not url.isprintable() or set("?#") & set(url):
        raise table.mistake(
            name, f"{quoted(url)} is no URL below this server: it begins with a slash, and has no ? or #"
        )
    if f"{url}/".startswith(f"{_OWN_URL}/"):
        raise table.mistake(name, f"what is below {_OWN_URL} is Triolet's own")
    values = values_of(url)
    if len(set(values)) < len(values) or not all(value.isidentifier() for value in values) or url.count("<path:") > 1:
        raise table.mistake(
            name, f"{url!r:.80} has values that cannot be told apart: each has a name of its own, and one is <path:…>"
        )
    shape = "/".join("<>" if values_of(part) else part for part in url.split("/"))
    if shape in taken:
        raise table.mistake(name, f"{url!r:.80} means the same URLs as {taken[shape]!r:.80}, which stands before it")
    taken[shape] = url
    return url


def _template(table: Table) -> Template:
    url = table.text("url") or ""
    written = table.text("channel")
    template = Template.of_url(url) if written is None else Template(written)
    name = "url" if written is None else "channel"
    table.tried(name, partial(template.check, values_of(url)))
    table.tried(name, template.check_names_one)
    try:
        check_channel(template.pattern or "*")
    except ChannelNameError as error:
        raise table.mistake(name, str(error)) from None
    if template.text.startswith(OWN_PREFIX):
        raise table.mistake(name, f"channels that begin with {OWN_PREFIX!r} are Triolet's own")
    return template


def _rule(table: Table, name: str, channel: Template, tokens: bool, callback: Table | None) -> Rule | None:
    said = table.value(name)
    if said is None:
        return None
    if isinstance(said, dict):
        rule = _table_rule(table.element(name, None, said, ("callback", "claim", "is")), channel)
    elif said in _WHO:
        rule = Rule(said, url=_callback_url(callback, "url") if said == "callback" and callback is not None else "")
        if said == "callback" and not rule.url:
            raise table.mistake(name, f'which callback? write [callback] and its url, or {name} = {{ callback = "…" }}')
    else:
        named = quoted(said) if isinstance(said, str) else "this"
        raise table.mistake(name, f"{named:.40} says nobody who may{nearest(str(said), _WHO)}, and tables: {_who()}")
    if rule.kind in ("token", "claim") and not tokens:
        raise table.mistake(name, "nobody can have a token: write [jwt], with the keys that tokens are signed with")
    return rule


def _table_rule(table: Table, channel: Template) -> Rule:
    if ("callback" in table) == ("claim" in table) or ("is" in table and "claim" not in table):
        raise table.mistake(None, f"this says nobody who may: {_who()}")
    if "callback" in table:
        return Rule("callback", url=_callback_url(table, "callback"))
    said = table.value("claim")
    names = [said] if isinstance(said, str) else said
    if not isinstance(names, list) or not names or not all(isinstance(one, str) and one for one in names):
        table.wrong("claim", "a claim's name, or the list of names that lead to it")
    written = table.text("is")
    if written is None:
        return Rule("claim", tuple(names))
    equals = Template(written)
    # A value that the channel's name has not could be any: the claim would be asked for what the client has chosen.
    table.tried("is", partial(equals.check, channel.names, "the channel's name"))
    return Rule("claim", tuple(names), equals)


def _callback_url(table: Table, name: str) -> str:
    url = table.text(name) or ""
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good or parts.username is not None or not url.isascii() or not url.isprintable() or " " in url:
        raise table.mistake(name, "a callback is a URL of http or https, without a password in it")
    return url


def _who() -> str:
    return '"anyone", "token", "callback", { claim = "…" }, { claim = "…", is = "…" } or { callback = "https://…" }'


def _policy(table: Table) -> Policy | None:
    said = table.value("policy")
    if said is None:
        return None
    rungs = [_rung(table, None if said is rung else number, rung) for number, rung in enumerate(_several(said))]
    return table.tried("policy", lambda: rungs[0] if len(rungs) == 1 else policies.ladder(*rungs))


def _several(said: Any) -> list[Any]:
    return said if isinstance(said, list) else [said]


def _rung(table: Table, number: int | None, said: Any) -> Policy:
    if said == "catch_up":
        return policies.catch_up()
    if not isinstance(said, dict) or len(said) != 1:
        named = quoted(said) if isinstance(said, str) else shown(said)
        written = 'a policy is "catch_up", or a table as { latest = { events = 100 } }, or several'
        raise table.mistake("policy", f"{written}, not {named:.40}")
    rung = table.element("policy", number, said, _POLICIES)
    (name,) = said
    make = _POLICIES[name]
    options = rung.table(name, signature(make).parameters)
    assert options is not None
    missing = [one.name for one in signature(make).parameters.values() if one.default is one.empty]
    for one in missing:
        if one not in options:
            raise options.missing(one, f"write {name} = {{ {', '.join(f'{each} = …' for each in missing)} }}")
    return rung.tried(name, lambda: make(**{one: options.value(one) for one in options}))


def _secret(table: Table, name: str) -> str | None:
    """A text, or what the environment has where the file says ``env:NAME``: what is secret stands in no file."""
    said = table.text(name)
    if said is None or not said.startswith(_ENVIRONMENT):
        return said
    variable = said.removeprefix(_ENVIRONMENT)
    if not (found := os.environ.get(variable)):
        raise table.mistake(name, f"the environment has no {variable!r:.80}, or an empty one")
    return found
