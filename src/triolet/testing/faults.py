"""What goes wrong on a network, each for the time of a block. None of it waits, and all of it is deterministic.

*Who* is a client of the kit's (all its connections, those it makes later included), a :class:`ClientEnd` (that one
connection), or a :class:`Network` (everybody, newcomers included).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Protocol

from .line import Connection
from .network import ClientEnd, Network

__all__ = ["Station", "cut", "half_open", "reordered_accepts", "slow_reader", "stalled"]


class Station(Protocol):
    """One client: all that connects from its address."""

    @property
    def network(self) -> Network:
        """What it is connected through."""

    @property
    def address(self) -> str:
        """Where it connects from."""


Who = Station | Network


@contextmanager
def stalled(*who: Who) -> Iterator[None]:
    """Carry nothing either way; when the block ends all of it flows on, in order, and nothing is lost."""
    with _each(who, Connection.stall, Connection.flow):
        yield


@contextmanager
def cut(*who: Who, fin: bool = True) -> Iterator[None]:
    """End the connections at once, and let nobody connect from these addresses until the block ends.

    Args:
        fin: both sides see an orderly end. Else the client finds its side broken, and the server is told nothing: what
            it sends vanishes, and after the block is answered by a reset.
    """
    begin, end = (Connection.end, _nothing) if fin else (_lose, Connection.forget)
    with _each(who, begin, end, newcomers=False), _unreachable(who):
        yield


@contextmanager
def half_open(*who: Who) -> Iterator[None]:
    """Swallow what is sent either way; neither side is told. After the block whoever sends is answered by a reset, and
    so is who has sent meanwhile: its kernel tries again."""
    with _each(who, Connection.swallow, Connection.forget):
        yield


@contextmanager
def slow_reader(*who: Who, bytes_per_second: float) -> Iterator[None]:
    """Let clients read no faster than this; what they leave fills their kernel, then the server's.

    Raises:
        ValueError: a rate that is not above 0.
    """
    if bytes_per_second <= 0:
        raise ValueError(f"nobody reads {bytes_per_second} bytes a second")

    def begin(connection: Connection) -> None:
        connection.rates.append(bytes_per_second)

    def end(connection: Connection) -> None:
        connection.rates.remove(bytes_per_second)
        connection.client.wake()

    with _each(who, begin, end):
        yield


@contextmanager
def reordered_accepts(network: Network, *, hold: int | None = None) -> Iterator[None]:
    """Let the connections made in the block reach the server at its end, in an order drawn by the network.

    Args:
        hold: do so whenever this many have come, and not only at the end.
    """
    held: list[Callable[[], None]] = []
    before = network.arrival

    def let_in() -> None:
        network.random.shuffle(held)
        while held:
            enter = held.pop(0)
            before(enter) if before is not None else enter()

    def arrive(enter: Callable[[], None]) -> None:
        held.append(enter)
        if len(held) == hold:
            let_in()

    network.arrival = arrive
    try:
        yield
    finally:
        network.arrival = before
        let_in()


def _lose(connection: Connection) -> None:
    connection.swallow()
    connection.client.lose()


def _nothing(_: Connection) -> None:
    """For what needs no end."""


@contextmanager
def _each(
    who: tuple[Who, ...],
    begin: Callable[[Connection], None],
    end: Callable[[Connection], None],
    *,
    newcomers: bool = True,
) -> Iterator[None]:
    """Do something to every connection that is meant, once, and undo it at the end of the block."""
    _check(who)
    met: dict[Connection, None] = {}

    def meet(connection: Connection, one: Who) -> None:
        if _means(one, connection) and connection not in met:
            met[connection] = None
            begin(connection)

    with ExitStack() as stack:
        for one in who:
            for connection in _network(one).connections:
                meet(connection, one)
            if newcomers:
                stack.enter_context(_newcomers(_network(one), partial(meet, one=one)))
        try:
            yield
        finally:
            for connection in met:
                end(connection)


@contextmanager
def _unreachable(who: tuple[Who, ...]) -> Iterator[None]:
    """Let no connection come about from the addresses of these."""

    def meet(connection: Connection, one: Who) -> None:
        if isinstance(one, Network) or connection.address == one.address:
            connection.refuse()

    with ExitStack() as stack:
        for one in who:
            stack.enter_context(_newcomers(_network(one), partial(meet, one=one)))
        yield


@contextmanager
def _newcomers(network: Network, meet: Callable[[Connection], None]) -> Iterator[None]:
    network.newcomers.append(meet)
    try:
        yield
    finally:
        network.newcomers.remove(meet)


def _network(one: Who) -> Network:
    return one if isinstance(one, Network) else one.network


def _check(who: tuple[Who, ...]) -> None:
    """A fault that is done to nobody would let a test pass that shows nothing."""
    if not who:
        raise TypeError("to whom is this done? Name clients, or a network for everybody: server.network")
    for one in who:
        if not (isinstance(one, Network) or (hasattr(one, "network") and hasattr(one, "address"))):
            raise TypeError(f"{one!r} is neither a client nor a network; for everybody say server.network")


def _means(one: Who, connection: Connection) -> bool:
    if isinstance(one, ClientEnd):
        return connection is one.connection
    return isinstance(one, Network) or connection.address == one.address
