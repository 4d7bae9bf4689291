"""The arithmetic: from what is asked and what was measured to servers, and to what each of them carries."""

from __future__ import annotations

from math import ceil

import msgspec

from ..errors import ConfigError
from ..limits import Limits
from .figures import FIGURES
from .kernel import Machine, Setting, settings
from .question import Question

__all__ = ["Load", "Plan", "work_out"]


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """What so many clients cost.

    Attributes:
        clients: so many.
        memory: bytes of the processes, for these clients alone.
        kernel_memory: bytes of the kernel, for their connections.
        cores: that they keep busy.
        beats, polls: a second.
        event_bytes, header_bytes, beat_bytes: that are sent to them a second.
    """

    clients: int
    memory: float
    kernel_memory: float
    cores: float
    beats: float
    polls: float
    event_bytes: float
    header_bytes: float
    beat_bytes: float

    @property
    def bytes(self) -> float:
        """All that is sent a second."""
        return self.event_bytes + self.header_bytes + self.beat_bytes

    @classmethod
    def of(cls, clients: int, asked: Question) -> Load:
        """What so many cost that are as is asked."""
        streams = asked.transport in ("websocket", "sse")
        beats = clients / asked.heartbeat if streams else 0.0
        if asked.transport == "long-poll":
            polls = clients * max(1 / asked.wait, asked.rate)  # each event ends the poll of each client
        else:
            polls = clients / asked.poll if asked.transport == "poll" else 0.0
        delivery = clients * asked.rate * _figure(f"{asked.transport} delivery") if streams else 0.0
        answer = 0.0 if streams else _figure(asked.transport.replace("-", " "))
        # Measured over a minute, with three beats in it.
        return cls(
            clients=clients,
            memory=clients * 1e3 * _figure("stream memory" if streams else "held poll memory"),
            kernel_memory=clients * 1e3 * _figure("kernel memory"),
            cores=(delivery + polls * answer + beats * _figure("idle stream") / 3) / 1e6,
            beats=beats,
            polls=polls,
            event_bytes=clients * asked.rate * asked.event_bytes,
            header_bytes=polls * asked.header_bytes,
            beat_bytes=beats * asked.beat_bytes,
        )


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it.

    Attributes:
        question: what was asked.
        capacity: clients that one server holds, and ``bound`` by what: memory, cores, ``limits.connections``, or as it
            was asked.
        least: servers that hold all. ``each_then``: clients of one of these, if so many are away (``lost``) and the
            others have to hold them; None where none would be left.
        tight: servers that hold all with so many away, and have no room then.
        servers: those that have room then: the ones to take. ``each``: clients of one of these when all are there.
        whole: what all clients cost; ``one``: what those of one server cost, with so many away.
        base_memory: bytes of the processes of one server, without clients.
        descriptors: of one worker.
        ports: connections from one address of a proxy's to one of a server's; 0: there is no proxy.
        returning: clients a second that come to a server when those of another one come back, and
            ``returning_cores``: what that takes.
        drain: seconds in which a worker asks all of its clients to leave, and ``grace``: what to give it for that.
        settings: of the kernel and the processes.
        warnings: what does not fit, in sentences.
        assumes: what was taken for granted, in sentences.
    """

    question: Question
    capacity: int
    bound: str
    least: int
    each_then: int | None
    tight: int
    servers: int
    each: int
    whole: Load
    one: Load
    base_memory: float
    descriptors: int
    ports: int
    returning: float
    returning_cores: float
    drain: float
    grace: int
    settings: list[Setting]
    warnings: list[str]
    assumes: list[str]


def work_out(asked: Question) -> Plan:
    """Work it out.

    Raises:
        ConfigError: a number that can be none, or a server that would hold nobody.
    """
    asked.check()
    capacity, bound = _capacity(asked)
    least = _up(asked.clients / capacity)
    servers = _up(asked.clients / (capacity * (1 - asked.room))) + asked.lost
    each, each_with_lost = _up(asked.clients / servers), _up(asked.clients / (servers - asked.lost))
    a_worker = _up(each_with_lost / asked.cores)
    returning = each / max(1, servers - 1) / asked.spread
    drain = _up(each / asked.cores) / asked.leaves
    ports = _up(each_with_lost / (asked.proxies * asked.addresses)) if asked.proxies else 0
    one, base_memory = Load.of(each_with_lost, asked), _base_memory(asked)
    back = returning * _figure("return") / 1e6
    return Plan(
        question=asked,
        capacity=capacity,
        bound=bound,
        least=least,
        each_then=_up(asked.clients / (least - asked.lost)) if least > asked.lost else None,
        tight=least + asked.lost,
        servers=servers,
        each=each,
        whole=Load.of(asked.clients, asked),
        one=one,
        base_memory=base_memory,
        descriptors=a_worker,
        ports=ports,
        returning=returning,
        returning_cores=back,
        drain=drain,
        grace=max(10, _up(3 * drain)),
        settings=settings(Machine(each_with_lost, a_worker, ports, returning)),
        warnings=_warnings(asked, one, base_memory, a_worker, back),
        assumes=_assumes(asked),
    )


def _capacity(asked: Question) -> tuple[int, str]:
    """How many clients one server holds, and what bounds that."""
    if asked.a_server is not None:
        return asked.a_server, "as asked"
    one = Load.of(1_000_000, asked)
    room = asked.memory * asked.used - _base_memory(asked)
    bounds = [
        (room / (one.memory + one.kernel_memory) * 1e6, "memory"),
        (asked.cores * asked.used / one.cores * 1e6, "cores"),
        (float(Limits().connections * asked.cores), "limits.connections"),
    ]
    capacity, bound = min(bounds)
    if capacity < 1:
        raise ConfigError(f"such a server holds nobody: its {bound} would be spent by one client")
    return int(capacity), bound


def _base_memory(asked: Question) -> float:
    """Bytes of a server's processes without clients: its workers and their supervisor."""
    return (asked.cores + 1) * 1e6 * _figure("process memory")


def _figure(name: str) -> float:
    return FIGURES[name].value


def _up(number: float) -> int:
    """The next whole number, if it is not one but for how numbers are held."""
    return ceil(round(number, 6))


def _warnings(asked: Question, one: Load, base_memory: float, a_worker: int, back: float) -> list[str]:
    """What does not fit, of a server with others away."""
    told = []
    memory = (one.memory + one.kernel_memory + base_memory) / asked.memory
    if memory > asked.used:
        told.append(f"memory: {memory:.0%} of a server's is for its clients then: take more servers, or larger ones")
    if one.cores > asked.used * asked.cores:
        told.append(f"CPU: its clients take {one.cores:.2g} cores of its {asked.cores} then: take more servers")
    if back > asked.cores:
        told.append(f"the way back takes {back:.2g} cores, more than it has: it lasts longer; take more servers")
    if a_worker > Limits().connections:
        told.append(f"a worker takes {Limits().connections:,} connections: Limits(connections={a_worker}) or more")
    if asked.proxies and a_worker / asked.proxies > Limits().connections_per_address:
        most = _up(a_worker / asked.proxies)
        told.append(
            "of one address too, where --forwarded-allow-ips does not list the proxy: "
            f"Limits(connections_per_address={most}) or more"
        )
    return told


def _assumes(asked: Question) -> list[str]:
    streams = asked.transport in ("websocket", "sse")
    told = [
        f"{asked.used:.0%} of a server's memory and cores is for clients, the rest for system, log, app and peaks",
        f"{asked.room:.0%} of a server stays free while {asked.lost} of them are away",
        f"each client gets {asked.rate:g} events a second of {asked.event_bytes} bytes on the wire",
        "what the app does for its clients, TLS, compression and events of the app's own handlers are not counted",
        "a worker runs on each core, and clients are shared out evenly",
        f"clients come back within {asked.spread:g} s, evenly: a server that drains says 5, after a crash it is 1",
    ]
    if streams:
        told.append(f"beats come each {asked.heartbeat:g} s, also where events do, of {asked.beat_bytes} bytes")
    elif asked.transport == "long-poll":
        told.append("each event ends the poll of each client: few come so close together that they share an answer")
    if asked.transport == "sse":
        told.append("an event stream takes the memory of a WebSocket, which is a little more")
    return told
