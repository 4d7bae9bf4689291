"""A request to an operator's listener (``triolet serve --admin``), as the commands make it."""

from __future__ import annotations

import argparse
import http.client
import os
import ssl
from typing import Final, TypeVar

import msgspec

from ..bounds import ADMIN_ANSWER_BYTES, OPERATOR_ANSWER_SECONDS
from ..errors import ConfigError, LogUncertain, TrioletError
from ..wire.address import Base, quoted

__all__ = ["ask", "key_of", "read_answer"]

Form = TypeVar("Form")

KEY_VARIABLE: Final = "TRIOLET_ADMIN_KEY"


class _Refused(msgspec.Struct):
    """The body of an answer that is a no: its sentence names the line that it is about."""

    message: str


def key_of(options: argparse.Namespace) -> str | None:
    """Return the operator's key: the first line of ``--key-file``, or TRIOLET_ADMIN_KEY; None where there is none.

    Raises:
        ConfigError: the file cannot be read, or what is in it is no key.
    """
    key = os.environ.get(KEY_VARIABLE, "")
    where = KEY_VARIABLE
    if options.key_file is not None:
        where = f"the file {options.key_file!r}"
        try:
            with open(options.key_file, encoding="ascii") as lines:
                key = lines.readline().strip()
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or error
            raise ConfigError(f"cannot read the operator's key from {options.key_file!r}: {why}") from None
    if not key and options.key_file is None:
        return None
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise ConfigError(f"there is no key in {where}: it is printable ASCII without a space, on the first line")
    return key


def ask(url: str, path: str, key: str | None, body: bytes | None = None, kind: str = "application/json") -> bytes:
    """Ask an operator's listener, and return the body of its answer. Redirects are not followed.

    Args:
        url: where the listener is: ``http://127.0.0.1:9100``, or below a proxy's path.
        path: what is asked for there.
        key: the operator's key.
        body: what is posted; None asks with GET.
        kind: its media type.

    Raises:
        ConfigError: there is no listener, or it refuses; the message is the listener's own.
        LogUncertain: what was posted was sent, and not answered.

    Bounds: ``ADMIN_ANSWER_BYTES`` of answer, and ``OPERATOR_ANSWER_SECONDS`` for each step.
    """
    connection, target = _connection(url, path)
    headers = {"Accept": "application/json"}
    if key is not None:
        headers["Authorization"] = f"Bearer {key}"
    if body is not None:
        headers["Content-Type"] = kind
    try:
        try:
            connection.connect()
        except OSError as error:
            raise ConfigError(f"no operator's listener is at {url}: {error}. Is it served with --admin?") from None
        try:
            connection.request("GET" if body is None else "POST", target, body, headers)
            answer = connection.getresponse()
            said = answer.read(ADMIN_ANSWER_BYTES)
        except (OSError, http.client.HTTPException) as error:
            raise _unanswered(url, error, body is not None) from None
    finally:
        connection.close()
    if answer.status != 200:
        raise _refusal(url, answer.status, said)
    return said


def read_answer(url: str, said: bytes, form: type[Form]) -> Form:
    """Return what an answer says. Raises ConfigError: it is not an operator's listener's."""
    try:
        return msgspec.json.decode(said, type=form)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise ConfigError(
            f"what answers at {url} is no operator's listener: give the address of serve --admin"
        ) from None


def _connection(url: str, path: str) -> tuple[http.client.HTTPConnection, str]:
    """To whom it leads, and what to ask for there."""
    try:
        base = Base(url)
    except ConfigError:
        raise ConfigError(
            f"{quoted(url)} is no URL of an operator's listener: write it as http://127.0.0.1:9100"
        ) from None
    target, seconds = base.target(path), OPERATOR_ANSWER_SECONDS
    if not base.tls:
        return http.client.HTTPConnection(base.host, base.port, timeout=seconds), target
    context = ssl.create_default_context()
    return http.client.HTTPSConnection(base.host, base.port, timeout=seconds, context=context), target


def _unanswered(url: str, error: Exception, posted: bool) -> TrioletError:
    why = str(error) or type(error).__name__
    if not posted:
        return ConfigError(f"{url} has not answered: {why}")
    return LogUncertain(
        f"{url} has not answered ({why}): this may be published. A repeat with the same --dedupe is safe"
    )


def _refusal(url: str, status: int, said: bytes) -> TrioletError:
    try:
        return ConfigError(read_answer(f"{url} (with {status})", said, _Refused).message)
    except ConfigError as error:
        return error
