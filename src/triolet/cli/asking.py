"""Whom a command asks that is a client, and who it says that it is."""

from __future__ import annotations

import argparse
import os
from urllib.parse import urlsplit

from ..errors import ConfigError
from ..wire.address import quoted

__all__ = ["add_credentials", "base_of", "headers_of", "token_of"]

TOKEN_VARIABLE = "TRIOLET_TOKEN"


def add_credentials(parser: argparse.ArgumentParser) -> None:
    """Declare the options that say who asks."""
    parser.add_argument(
        "--token",
        help="who asks. Others on this machine see command lines: better in the environment, TRIOLET_TOKEN",
    )
    parser.add_argument(
        "--header", action="append", default=[], metavar="NAME: TEXT", help="sent with every request; may be repeated"
    )


def token_of(options: argparse.Namespace) -> str | None:
    """The token, from the command line or the environment; None: there is none."""
    return options.token or os.environ.get(TOKEN_VARIABLE) or None


def headers_of(options: argparse.Namespace) -> dict[str, str]:
    """The headers that were given. Raises ConfigError."""
    pairs = [header.partition(":") for header in options.header]
    if not all(colon for _, colon, _ in pairs):  # what stands there may be a credential
        raise ConfigError("a --header has no colon in it: write it as 'Name: text'")
    return {name.strip(): text.strip() for name, _, text in pairs}


def base_of(url: str) -> str:
    """The server of a channel's URL: its scheme, host and port. Raises ConfigError."""
    wrong = ConfigError(f"{quoted(url)} is no URL of a channel: write it as https://shop.example/orders/A/events")
    try:
        parts = urlsplit(url)
    except ValueError:
        raise wrong from None
    if parts.scheme not in ("http", "https", "ws", "wss") or not parts.netloc:
        raise wrong
    if "@" in parts.netloc:
        raise ConfigError(f"{quoted(url)} has a user and a password in it: say who asks with --token or --header")
    return f"{parts.scheme}://{parts.netloc}"
