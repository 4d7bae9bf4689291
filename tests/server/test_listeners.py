"""Which listening sockets a worker accepts on, and what becomes of them; with sockets that are none."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any, cast

from triolet import Limits
from triolet.server.listeners import Listeners, close_listener


class Socket:
    """A bound socket, which takes note of what is done to it."""

    def __init__(self, name: str | tuple[str, int] = ("127.0.0.1", 8_000)) -> None:
        self.family = socket.AF_UNIX if isinstance(name, str) else socket.AF_INET
        self.name = name
        self.path = str(name)
        self.identity: tuple[int, int] | None = None
        self.done: list[str] = []

    def is_bound(self) -> None:
        """Its name was made for it."""
        found = Path(self.path).stat()
        self.identity = (found.st_dev, found.st_ino)

    def fileno(self) -> int:
        return -1 if "closed" in self.done else 1_000_000

    def getsockname(self) -> str | tuple[str, int]:
        return self.name

    def setblocking(self, flag: bool) -> None:
        self.done.append("prepared")

    def setsockopt(self, *_: int) -> None:
        """Which options is a link's matter."""

    def listen(self, backlog: int) -> None:
        self.done.append(f"listens for {backlog}")

    def close(self) -> None:
        self.done.append("closed")


def listeners(*own: Socket) -> Any:
    return Listeners(cast(Any, own), Limits(backlog=7))


async def test_a_socket_is_prepared_before_anybody_can_connect() -> None:
    own, lent = Socket(), Socket()
    ours = listeners(own)
    assert list(ours) == []
    ours.listen()
    ours.adopt(lent)
    assert list(ours) == [own, lent]
    assert own.done == lent.done == ["prepared", "listens for 7"]


async def test_a_lent_socket_that_is_released_is_closed_once() -> None:
    lent = Socket()
    ours = listeners()
    ours.adopt(lent)
    for _ in range(2):
        ours.release(lent)
    ours.close()
    assert list(ours) == []
    assert lent.done.count("closed") == 1


async def test_a_unix_sockets_name_goes_with_its_owner_alone(tmp_path: Path) -> None:
    names = [tmp_path / "own", tmp_path / "lent"]
    for name in names:
        name.touch()
    own, lent = (Socket(str(name)) for name in names)
    own.is_bound()
    lent.is_bound()
    ours = listeners(own)
    ours.adopt(lent)
    ours.close()
    ours.close()
    assert (own.done[-1], lent.done[-1]) == ("closed", "closed")
    assert [name.exists() for name in names] == [False, True]


def test_a_name_that_another_server_has_put_there_stays(tmp_path: Path) -> None:
    name = tmp_path / "name"
    name.touch()
    ours = Socket(str(name))
    ours.is_bound()
    (tmp_path / "theirs").touch()
    (tmp_path / "theirs").rename(name)
    close_listener(cast(Any, ours))
    assert name.exists()
    assert ours.done == ["closed"]


async def test_a_socket_that_was_never_listened_on_is_closed_too() -> None:
    own = Socket()
    listeners(own).close()
    assert own.done == ["closed"]


def test_a_name_that_is_gone_already_is_no_error(tmp_path: Path) -> None:
    listener = Socket(str(tmp_path / "gone"))
    close_listener(cast(Any, listener))
    assert listener.done == ["closed"]
