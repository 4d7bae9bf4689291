"""Who the client is for the server: its token and its headers, which may be functions that are asked anew."""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from ..errors import ConfigError
from .errors import Ended

__all__ = ["Credentials", "HeadersOption", "TokenOption"]

TokenOption = str | Callable[[], str | Awaitable[str | None] | None] | None
HeadersOption = Mapping[str, str] | Callable[[], Mapping[str, str] | Awaitable[Mapping[str, str]]] | None

_TOKEN: Final = re.compile(r"[\x21-\x7e]+")
_NAME: Final = re.compile(r"[-!#$%&'*+.^_`|~0-9A-Za-z]+")
_VALUE: Final = re.compile(r"[\x20-\x7e\t]*")


class Credentials:
    """The token and the headers of a client.

    Attributes:
        renewable: whether the credential may be another one next time.

    Raises:
        ConfigError: what is given can be no token, or no headers. Of the token itself nothing gets into an error.
    """

    def __init__(self, token: TokenOption, headers: HeadersOption) -> None:
        self._token = token
        self._headers = headers
        self.renewable = callable(token) or (token is None and callable(headers))
        if token is not None and not callable(token):
            _checked_token(token)
        if headers is not None and not callable(headers):
            _checked_headers(headers)

    @property
    def is_text(self) -> bool:
        """Whether there is one token and never another."""
        return isinstance(self._token, str)

    async def token(self) -> str | None:
        """The token to use now; None without one.

        Raises:
            Ended: the app's function has failed, which may pass; or it gave what is no token, which is final.
        """
        given = await _asked("token", self._token)
        try:
            return None if given is None else _checked_token(given)
        except ConfigError as error:
            raise Ended(str(error), "refused", retry=None) from None

    async def headers(self) -> dict[str, str]:
        """The headers to send now, the token among them. Raises as :meth:`token`."""
        given = await _asked("headers", self._headers)
        try:
            headers = {} if given is None else _checked_headers(given)
        except ConfigError as error:
            raise Ended(str(error), "refused", retry=None) from None
        token = await self.token()
        return headers if token is None else {**headers, "authorization": f"Bearer {token}"}


async def _asked(what: str, option: Any) -> Any:
    if not callable(option):
        return option
    try:
        given = option()
        return await given if inspect.isawaitable(given) else given
    except Exception as error:
        raise Ended(f"the function {what}= has failed: {type(error).__name__}: {error}"[:200]) from error


def _checked_token(token: Any) -> str:
    if not isinstance(token, str):
        raise ConfigError("token: a text, or a function that returns one")
    if not _TOKEN.fullmatch(token):
        raise ConfigError("token: has to be of visible ASCII characters, and not empty")
    return token


def _checked_headers(headers: Any) -> dict[str, str]:
    if not isinstance(headers, Mapping):
        raise ConfigError("headers: a mapping of texts, or a function that returns one")
    for name, text in headers.items():
        if not (isinstance(name, str) and _NAME.fullmatch(name) and isinstance(text, str) and _VALUE.fullmatch(text)):
            raise ConfigError(f"headers: {name!r:.60} is no header of ASCII text")
    return {name.lower(): text for name, text in headers.items()}
