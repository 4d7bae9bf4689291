"""The cookies of one user, as a browser keeps them (RFC 6265): by name and path, until their time is over."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from email.utils import mktime_tz, parsedate_tz
from typing import NamedTuple

from ..clock import system, wall_time

__all__ = ["Cookies"]


class _Cookie(NamedTuple):
    value: str
    until: float | None


class Cookies(MutableMapping[str, str]):
    """What answers have set, by name: ``user.cookies["session"]``; it may be changed.

    All is one host, and as good as HTTPS: ``Domain`` and ``Secure`` say nothing here. The time is
    :func:`triolet.clock.wall_time`'s, which goes with a test's clock.
    """

    def __init__(self, cookies: Mapping[str, str]) -> None:
        self._kept = {(name, "/"): _Cookie(value, None) for name, value in cookies.items()}

    def __getitem__(self, name: str) -> str:
        return self._values()[name]

    def __setitem__(self, name: str, value: str) -> None:
        self._forget(name)
        self._kept[name, "/"] = _Cookie(value, None)

    def __delitem__(self, name: str) -> None:
        if name not in self:
            raise KeyError(name)
        self._forget(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._values())

    def __len__(self) -> int:
        return len(self._values())

    def __repr__(self) -> str:
        return f"<Cookies {', '.join(self) or 'none'}>"

    def sent_to(self, target: str) -> dict[str, str]:
        """The header of a request: ``cookie``, or none."""
        path = target.partition("?")[0]
        good = [(under, name, cookie.value) for (name, under), cookie in self._good() if _is_under(path, under)]
        good.sort(key=lambda one: -len(one[0]))  # the closest path first
        return {"cookie": "; ".join(f"{name}={value}" for _, name, value in good)} if good else {}

    def take(self, target: str, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Keep what an answer sets, and forget what it takes back."""
        for name, field in headers:
            if name.lower() == b"set-cookie":
                self._set(target, field.decode("latin-1"))

    def _set(self, target: str, field: str) -> None:
        pair, *rest = field.split(";")
        name, is_pair, value = (part.strip() for part in pair.partition("="))
        said = {key.strip().lower(): text.strip() for key, _, text in (one.partition("=") for one in rest)}
        if not is_pair:
            return
        path = said.get("path", "")
        under = path if path.startswith("/") else target.partition("?")[0].rpartition("/")[0] or "/"
        until = _until(said)
        if until is not None and until <= wall_time():
            self._kept.pop((name, under), None)
        else:
            self._kept[name, under] = _Cookie(value, until)

    def _forget(self, name: str) -> None:
        self._kept = {key: cookie for key, cookie in self._kept.items() if key[0] != name}

    def _values(self) -> dict[str, str]:
        return {name: cookie.value for (name, _), cookie in self._good()}

    def _good(self) -> list[tuple[tuple[str, str], _Cookie]]:
        now = wall_time()
        return [(key, cookie) for key, cookie in self._kept.items() if cookie.until is None or now < cookie.until]


def _until(said: dict[str, str]) -> float | None:
    """When a cookie's time is over; None: not before the user is gone."""
    seconds = said.get("max-age", "")
    if seconds.removeprefix("-").isdecimal():
        return wall_time() + int(seconds)
    date = parsedate_tz(said.get("expires", ""))
    # Apps reckon dates by the system's clock, which a test's is apart from.
    return None if date is None else wall_time() + mktime_tz(date) - system()


def _is_under(path: str, under: str) -> bool:
    return path == under or path.startswith(under if under.endswith("/") else f"{under}/")
