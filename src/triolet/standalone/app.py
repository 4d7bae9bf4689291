"""From a file to an app: an ordinary Quart-Trio app with a Triolet, as anybody could write it."""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

from quart_trio import QuartTrio

from ..app.command import Command
from ..app.extension import Triolet
from ..client.dial import Dial
from ..errors import ConfigError
from ..identity import Identity
from .doors import Doors
from .rules import Rule
from .settings import ChannelSettings, Settings, read_settings

__all__ = ["load_file", "make_app"]


def load_file(path: str) -> QuartTrio:
    """Return the app that a file describes.

    Raises:
        ConfigError: something is wrong with the file. The message is one sentence, which names the line.
    """
    app, _ = make_app(read_settings(path))
    # It would tell each callback, one for each client that comes, with its URL and the key that may stand in that.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    return app


def make_app(settings: Settings, dial: Dial | None = None) -> tuple[QuartTrio, Triolet]:
    """Make an app of what a file says, and return it with its Triolet.

    Args:
        settings: the file.
        dial: a network of one's own, through which callbacks are asked.

    Raises:
        ConfigError: a URL that cannot be served, with its line.
    """
    app = QuartTrio(__name__, static_folder=None)
    live = Triolet(
        app,
        log=settings.log,
        limits=settings.limits,
        origins=settings.origins,
        deflate=settings.deflate,
        policy=settings.policy,
    )
    live.identify(settings.jwt or _nobody)
    doors = Doors(live, settings.headers, dial)
    app.before_serving(doors.open)
    app.after_serving(doors.close)
    for number, entry in enumerate(settings.channels):
        entry.table.tried("url", partial(_routed, _serve, live, doors, entry, number))
        if entry.presence is not None:
            entry.table.tried("presence", partial(_routed, _serve_presence, live, doors, entry, number))
    if settings.socket is not None:
        settings.file.tried("socket", partial(_routed, live.socket, settings.socket))
    return app, live


async def _nobody(token: str | None) -> Identity | None:
    """Where no token means anything, a client is nobody; a callback may know it by its cookie."""
    return None


def _routed(add: Any, *arguments: Any) -> None:
    """Add a route. Raises ConfigError: there can be none with such a URL."""
    try:
        add(*arguments)
    except ConfigError:
        raise
    except (ValueError, LookupError, TypeError) as error:  # what werkzeug says of a rule
        raise ConfigError(f"this is no rule of URLs: {error}") from None


def _serve(live: Triolet, doors: Doors, entry: ChannelSettings, number: int) -> None:
    async def follow(**values: Any) -> Any:
        return await doors.follow(entry, values)

    live.channel(entry.url, endpoint=f"follow-{number}")(follow)
    if entry.publish is not None:
        live.command(entry.url, endpoint=f"publish-{number}")(_publishing(doors, entry, entry.publish))


def _publishing(doors: Doors, entry: ChannelSettings, rule: Rule) -> Any:
    async def publish(command: Command, **values: Any) -> Any:
        return await doors.publish(entry, rule, values, command)

    return publish


def _serve_presence(live: Triolet, doors: Doors, entry: ChannelSettings, number: int) -> None:
    async def watch(**values: Any) -> Any:
        return await doors.watch(entry, values)

    live.channel(entry.presence or "", endpoint=f"presence-{number}")(watch)
