"""What is left of connections that have gone: looked for among all objects that the garbage collector knows.

No class is listed here that belongs to a connection. Every object of the package does, unless it is a value, or of one
of the places named below, which outlive connections; so a class that is written tomorrow is looked for tomorrow.

Each test is looked at twice. While its server still runs, and all clients have left it, nothing may be there that was
not there before the first of them came: what a running server forgets to let go of. And after the test, when the
server is gone as well: what a module, a cache or an exception holds.
"""

from __future__ import annotations

import gc
import logging
import traceback
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import is_dataclass
from enum import Enum
from types import CoroutineType, FrameType, ModuleType
from typing import Any

import msgspec
import trio

__all__ = ["Leaks", "describe", "left", "let_go_of_frames", "let_go_of_records", "living"]

PACKAGE = "triolet."

OUTLIVING = (
    "admin.alone.",  # the operator's listener's
    "admin.bodies.",
    "admin.figures.",
    "admin.guard.",
    "admin.listener.Office",
    "admin.reckoner.",
    "admin.watch.",
    "app.extension.",  # an app's, which a test may make at any time
    "app.apps.",
    "app.identify.",
    "app.routes.",
    "counters.",
    "limits.",
    "pattern.",
    "log.",  # what is stored
    "sqlite.",
    "redis.",
    "sync.home.",  # of a log, or an app
    "hub.audience.",  # a channel's, and so are its events
    "hub.policies.",  # an app's
    "hub.reducer.",
    "hub.window.",
    "identity.fetch.",  # an app's
    "identity.jwt.",
    "identity.key_sources.",
    "identity.url_keys.",
    "runs.",  # which go on without their readers
    "presence.leases.",  # of processes
    "presence.record.",  # what was read from the log
    "testing.",  # a test's own ends
    "wire.address.",  # where a client goes to, as the program that follows knows it
    "workers.",
)
"""What may stay in a running server when a connection has ended."""

OF_AN_APP = (
    "app.extension.",
    "app.apps.",
    "app.desk.",
    "app.identify.",
    "app.routes.",
    "app.serve.Clients",
    "app.service.",
    "budget.",
    "connection.registry.",
    "hub.reducer.Reducer",
    "monitoring.prometheus.",
    "pattern.",
    "sockets.server_state.",
    "transports.origins.",
)
"""What an app has that is made once, in a module, and is served by one test after another."""

OF_A_PROGRAM = ("client.",)
"""The other end, in the hands of the test while the server runs. After the test it is looked for like all others."""

OF_LOGS = ("log.", "sqlite.", "redis.")

CHAIN, WIDTH = 16, 200
"""How far it is told by what an object is held, and how many are looked at, at each step."""
TOLD = 6
"""Of how many types that is told."""


class Leaks:
    """Watches the servers of one test, one of which must have let go of everything before it ends."""

    def __init__(self) -> None:
        self._before: set[int] | None = None
        self._servers = 0

    def server_made(self) -> None:
        """There is one more, whose own parts come and go with it."""
        self._servers += 1

    def client_comes(self, server: Any) -> None:
        """Remember what there was before a server's first client."""
        if not getattr(server, "_had_clients", False):
            server._had_clients = True
            self._remember()

    def all_have_left(self) -> list[Any]:
        """What is left of the clients, where one server alone was there for all of them."""
        if self._before is None or self._servers > 1:
            return []
        things = [thing for thing in left(OUTLIVING + OF_A_PROGRAM) if id(thing) not in self._before]
        asked = _in_hand_of_logs() if things else ()
        return [thing for thing in things if id(thing) not in asked]

    def _remember(self) -> None:
        gc.collect()
        self._before = set(map(id, _ours()))


def left(but: tuple[str, ...] = OUTLIVING + OF_AN_APP) -> list[Any]:
    """Every object of the package that is left, but for values and those places. Cost: a look at all that was made
    since :func:`gc.freeze`."""
    gc.collect()
    return living(but)


def living(but: tuple[str, ...] = OUTLIVING + OF_AN_APP) -> list[Any]:
    """The same with what only the garbage collector would free."""
    found = _ours()
    logs = {id(part) for thing in found if _name(thing).startswith("log.") for part in gc.get_referents(thing)}
    return [
        thing for thing in found if not _name(thing).startswith(but) and not _is_value(thing) and id(thing) not in logs
    ]


def _in_hand_of_logs() -> set[int]:
    """What the functions of logs work with at this moment: one looks again by itself, whatever clients do."""
    # Some objects may only be asked for their type: a proxy of what is gone.
    running = [one.cr_frame for one in gc.get_objects() if type(one) is CoroutineType]
    frames = [frame for frame in running if frame is not None and _module_of(frame).startswith(OF_LOGS)]
    return {id(local) for frame in frames for local in frame.f_locals.values()}


def _module_of(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__")).removeprefix(PACKAGE)


def describe(things: list[Any]) -> str:
    """Say of which types they are, how many, and what holds the first of each."""
    counts = Counter(map(_name, things))
    firsts = {_name(thing): thing for thing in reversed(things)}
    gc.unfreeze()  # what holds them may be older than the test
    try:
        holders = Holders(things, firsts)
        lines = [f"{count} {name}" for name, count in counts.most_common()]
        for at, (name, _) in enumerate(counts.most_common(TOLD)):
            lines[at] += f"\n    {holders.chain(firsts[name])}"
    finally:
        gc.freeze()
    return "left of connections:\n" + "\n".join(lines)


def let_go_of_frames(errors: Iterable[BaseException | None]) -> None:
    """Clear the frames of errors that a test keeps, in its log for instance: what stood in them is not held by us."""
    seen: set[int] = set()
    waiting = [error for error in errors if error is not None]
    while waiting:
        error = waiting.pop()
        if id(error) in seen:
            continue
        seen.add(id(error))
        for frame, _ in traceback.walk_tb(error.__traceback__):
            _clear_from(frame)
        waiting += [other for other in (error.__cause__, error.__context__) if other is not None]
        waiting += getattr(error, "exceptions", ())


def let_go_of_the_log() -> None:
    """The same for the errors in the log that pytest keeps of the running test."""
    records = [record for handler in logging.getLogger().handlers for record in getattr(handler, "records", ())]
    let_go_of_records(records)


def let_go_of_records(records: Iterable[logging.LogRecord]) -> None:
    """The same for what some records of a log keep: an error, and its traceback as it was then."""
    raised = [record.exc_info for record in records if record.exc_info]
    let_go_of_frames(error for _, error, _ in raised)
    for _, _, trace in raised:
        for frame, _ in traceback.walk_tb(trace):
            _clear_from(frame)


def _clear_from(frame: FrameType | None) -> None:
    """Clear a frame and those that it was called from: from Python 3.13 on it holds them after all have ended."""
    while frame is not None:
        with suppress(RuntimeError):  # it has not ended
            frame.clear()
        frame = frame.f_back


class Holders:
    """Tells by what an object is held, and that by what, up to a module."""

    def __init__(self, *own: Any) -> None:
        self._own = {id(thing) for thing in own} | {id(self), id(self.__dict__)}

    def chain(self, thing: Any) -> str:
        """Describe the shortest way, or the longest one where none leads to a module."""
        ways, passed = {id(thing): (thing,)}, self._own | {id(thing)}
        longest: tuple[Any, ...] = ()
        for _ in range(CHAIN):
            if not ways:
                break
            longest = next(iter(ways.values()))
            found = [way for way in self._longer(ways, passed) if not _is_looking(way[-1])][:WIDTH]
            for way in found:
                if isinstance(way[-1], ModuleType):
                    return _told(way)
            ways = {id(way[-1]): way for way in found}
            passed |= ways.keys()
        return _told(longest)

    def _longer(self, ways: dict[int, tuple[Any, ...]], passed: set[int]) -> list[tuple[Any, ...]]:
        """One more step behind each way: all with one look at everything there is, which takes its time."""
        own = passed | {id(way) for way in ways.values()} | {id(ways)}
        holders = [one for one in gc.get_referrers(*[way[-1] for way in ways.values()]) if id(one) not in own]
        return [
            (*ways[id(held)], holder)
            for holder in holders
            for held in [next((one for one in gc.get_referents(holder) if id(one) in ways), None)]
            if held is not None
        ]


def _told(way: tuple[Any, ...]) -> str:
    return "held by " + (" <- ".join(map(_short, way[1:])) or "what cannot be seen")


def _is_looking(holder: Any) -> bool:
    """Whether it holds an object only because that is being looked for."""
    if isinstance(holder, FrameType):
        return str(holder.f_globals.get("__name__")) in (__name__, f"{__package__}.conftest")
    return False


def _ours() -> list[Any]:
    """Every object of the package's types. There are many objects, and few types: each type is asked once."""
    things = gc.get_objects()
    kinds = {kind for kind in set(map(type, things)) if _is_ours(kind)}
    return [thing for thing in things if type(thing) in kinds]


def _is_ours(kind: type) -> bool:
    module = kind.__module__
    return isinstance(module, str) and module.startswith(PACKAGE)


def _name(thing: Any) -> str:
    kind = type(thing)
    return f"{kind.__module__}.{kind.__qualname__}".removeprefix(PACKAGE)


def _is_value(thing: Any) -> bool:
    """Whether it never changes, and so is nobody's."""
    if isinstance(thing, tuple | Enum | BaseException | type):
        return True
    if isinstance(thing, msgspec.Struct):
        return thing.__struct_config__.frozen
    options: Any = getattr(type(thing), "__dataclass_params__", None)
    return is_dataclass(thing) and bool(options.frozen)


def _short(thing: Any) -> str:
    if isinstance(thing, FrameType):
        return f"the frame of {thing.f_code.co_qualname if hasattr(thing.f_code, 'co_qualname') else thing.f_code}"
    if isinstance(thing, dict) and "__spec__" in thing:
        return f"the names of {thing['__name__']}"
    if isinstance(thing, dict):
        return f"a dict with {', '.join(map(repr, list(thing)[:4]))}"[:120]
    if isinstance(thing, trio.lowlevel.Task):
        return f"the task {thing.name}"
    name = getattr(thing, "__qualname__", "") if isinstance(thing, Callable) else ""  # type: ignore[arg-type]
    return f"{type(thing).__module__}.{type(thing).__qualname__} {name}".strip()
