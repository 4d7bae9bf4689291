"""Explanations: why one client is slow, gapped or closed, in sentences that a developer can act on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import trio

from .. import closing as closings
from ..bounds import EXPLAIN_EVENTS, EXPLAIN_SECONDS, EXPLAINED_CHANNELS
from ..closing import Closing
from ..connection import Connection
from ..counters import BY_CLIENT
from ..errors import where
from ..hub import Follower, Lag, Policy, State, Step
from ..hub.policies import ask
from .snapshot import ConnectionSnapshot, FollowerSnapshot, snapshot

__all__ = ["Explanation", "explain_ended", "explain_open"]


WHY: Final[dict[Closing, str]] = {
    closings.NORMAL: "The app's handler returned, or closed it.",
    closings.ENDED: "The channel has ended, and it was told so: nothing comes after that.",
    closings.PROTOCOL_ERROR: "It sent bytes that the WebSocket protocol forbids: look at the client's library.",
    closings.UNSUPPORTED: "It sent a binary message where only JSON text is spoken.",
    closings.GONE: "The client went without goodbye: its network, its process, or a proxy in between cut it off.",
    closings.NOT_UTF8: "It sent a text that is no UTF-8.",
    closings.BAD_MESSAGE: "It sent a message of no known shape, or one that it did not finish in time.",
    closings.FLOOD: (
        "It sent more than the limits allow, or read too few of its answers, or the app's handler left its messages "
        "waiting for limits.stall_seconds."
    ),
    closings.TOO_BIG: "It sent a message over limits.message_bytes.",
    closings.CRASHED: "An error in the app's handler or in the log ended it: the server's log says where.",
    closings.EXPIRED: (
        "Its client's identity had expired, and was not renewed in time. It may come back with a new credential."
    ),
    closings.RESTARTING: "The server drained.",
    closings.OVERLOADED: "The server was out of room or memory, and this client was the furthest behind.",
    closings.SLOW: (
        "Its kernel took nothing for limits.stall_seconds: the client had stopped reading, or its network did not "
        "carry. Its cursor is good: it may come back with it."
    ),
    closings.SILENT: (
        "Nothing was heard from it for limits.silence_seconds, not even a pong: its network forgot the connection, or "
        "its page was frozen."
    ),
    closings.LAGGING: "It read, but not fast enough for its policy.",
    closings.REFUSED: "The app refused it: its view, asked again, said no.",
    closings.REVOKED: "The app has revoked what it was let in with (live.revoke).",
}


HAPPENED: Final = {
    "fell behind": "it fell behind",
    "caught up": "it caught up",
    "gap": "it was told of a gap",
    "snapshot": "it was given the state",
    "policy": "its policy stepped in",
    "refused": "the app took a channel from it",
    "ended": "a channel ended, and it was told so,",
}


@dataclass(frozen=True, slots=True)
class Explanation:
    """An explanation of one connection. ``str()`` gives it as text, one sentence a line.

    Attributes:
        verdict: ``closed``, ``stalled`` (its kernel takes nothing), ``behind`` or ``up to date``.
        sentences: what it does, since when it is behind and why, what will happen, and what happened to it.
        connection: the snapshot that the sentences are made of.
    """

    verdict: str
    sentences: tuple[str, ...]
    connection: ConnectionSnapshot

    def __str__(self) -> str:
        return "\n".join(self.sentences)


def explain_open(conn: Connection) -> Explanation:
    """Explain a connection that is open, and what its policies will do next."""
    seen = snapshot(conn)
    behind = _behind(seen)
    sentences = [f"Connection {seen.id} ({seen.transport}) has been open for {_seconds(seen.open_seconds)}."]
    sentences += _identified(seen)
    sentences += _followed(seen, behind)
    if seen.pending_bytes:
        left = max(0.0, conn.limits.stall_seconds - seen.stalled_seconds)
        sentences += [
            f"Its kernel took nothing for {_seconds(seen.stalled_seconds)}, and {seen.pending_bytes:,} bytes wait: the "
            "client does not read, or its network does not carry.",
            f"If that goes on, it is closed as slow (4408) in {_seconds(left)}.",
        ]
    if seen.handler_behind:
        sentences.append("The app's handler does not take its messages, so nothing more is read from it.")
    for follower in sorted(conn.followers.values(), key=_furthest)[:EXPLAINED_CHANNELS]:
        sentences += _outlook(follower)
    sentences += _history(seen, seen.taken_at)
    verdict = "stalled" if seen.pending_bytes else "behind" if behind else "up to date"
    return Explanation(verdict, tuple(sentences), seen)


def explain_ended(seen: ConnectionSnapshot) -> Explanation:
    """Explain a connection that has ended, from what was known of it then."""
    closing = seen.closing or closings.GONE
    now = trio.current_time()
    sentences = [
        f"Connection {seen.id} ({seen.transport}) ended {_seconds(now - seen.taken_at)} ago, after it had been open "
        f"for {_seconds(seen.open_seconds)}: {closing.code} {closing.reason or BY_CLIENT}.",
        WHY.get(closing, "The client said goodbye."),
        *_identified(seen),
    ]
    sentences += [
        f"In {follower.channel} it was {_far(follower)} behind, for {_seconds(follower.since_seconds)} by then."
        for follower in _behind(seen)[:EXPLAINED_CHANNELS]
    ]
    if seen.pending_bytes:
        sentences.append(
            f"Its kernel had taken nothing for {_seconds(seen.stalled_seconds)}, while {seen.pending_bytes:,} bytes "
            "waited."
        )
    if seen.handler_behind:
        sentences.append("The app's handler had not taken its messages.")
    sentences += _history(seen, now)
    return Explanation("closed", tuple(sentences), seen)


def _identified(seen: ConnectionSnapshot) -> Iterator[str]:
    """Say who its client is, or was, and until when. The claims are the app's, and are not told."""
    if seen.subject is None:
        return
    left = seen.expires_seconds
    until = "without end" if left is None else f"for another {_seconds(left)}" if left else "until then"
    yield f"Its client {'is' if seen.closing is None else 'was'} {seen.subject!r}, {until}."


def _behind(seen: ConnectionSnapshot) -> list[FollowerSnapshot]:
    """Return the followers that are behind, the furthest first."""
    behind = [follower for follower in seen.followers if follower.events_behind and follower.state == "behind"]
    return sorted(behind, key=lambda follower: -follower.events_behind)


def _followed(seen: ConnectionSnapshot, behind: list[FollowerSnapshot]) -> Iterator[str]:
    if not seen.followers:
        yield "It follows nothing."
    elif not behind:
        yield f"It follows {_count(len(seen.followers), 'channel')} and is up to date."
    for follower in behind[:EXPLAINED_CHANNELS]:
        source = "the log" if follower.from_log else "memory"
        yield (
            f"In {follower.channel} it is {_far(follower)} behind, for {_seconds(follower.since_seconds)} now, and is "
            f"sent what it missed from {source}, from {follower.cursor} on."
        )
        if follower.step != Step.CATCH_UP.name.lower():
            yield f"Its policy says {follower.step}."
        yield _retention(follower.until_retention_seconds)
    if len(behind) > EXPLAINED_CHANNELS:
        yield f"It is behind in {len(behind) - EXPLAINED_CHANNELS} more of its {len(seen.followers)} channels."


def _retention(seconds: float) -> str:
    if seconds > 0:
        return f"Retention passes it there in some {_seconds(seconds)}, and then it is told of a gap."
    return "Retention has passed it there: it is told of a gap where its next events are no longer in memory either."


def _history(seen: ConnectionSnapshot, now: float) -> Iterator[str]:
    for happening in seen.happenings:
        where = "" if happening.channel is None else f" in {happening.channel}"
        detail = f": {happening.detail}" if happening.detail else ""
        yield f"{_seconds(now - happening.at)} ago {HAPPENED[happening.what]}{where}{detail}."


def _furthest(follower: Follower) -> int:
    return -follower.events_behind


def _outlook(follower: Follower) -> Iterator[str]:
    """Say what the policy of a follower that is behind will say next: it is a pure function, so it can be asked."""
    policy = follower.policy
    if policy is None or follower.state is not State.BEHIND:
        return
    try:
        yield from _foreseen(policy, follower.lag())
    except Exception as error:  # the app's own
        yield f"Its policy fails: {where(error)}."


def _foreseen(policy: Policy, lag: Lag) -> Iterator[str]:
    now = ask(policy, lag)

    def later(seconds: float) -> Lag:
        stalled = lag.stalled + seconds if lag.pending else 0.0
        return lag._replace(seconds=lag.seconds + seconds, stalled=stalled)

    def further(events: float) -> Lag:
        return lag._replace(events=lag.events + int(events))

    # A drastic step follows a mild one, and not the other way round: so the first moment is found by halving, with some
    # twenty questions. A policy of the app's own that is not like that is explained less exactly.
    seconds = _first(lambda by: ask(policy, later(by)) > now, EXPLAIN_SECONDS, 0.05)
    if seconds is not None:
        yield f"If it stays behind, its policy says {_step(ask(policy, later(seconds)))} in {_seconds(seconds)}."
    events = _first(lambda by: ask(policy, further(by)) > now, EXPLAIN_EVENTS, 0.01)
    if events is not None:
        said = _step(ask(policy, further(events)))
        yield f"If it falls {_count(int(events), 'event')} further behind, its policy says {said}."


def _first(holds: Callable[[float], bool], most: float, precision: float) -> float | None:
    """Return the smallest number up to ``most`` from which on something holds, too large by ``precision`` at most; None
    if it does not hold for ``most``."""
    if not holds(most):
        return None
    low, high = 0.0, most
    while high - low > precision:
        middle = (low + high) / 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def _step(step: Step) -> str:
    return step.name.lower().replace("_", " ")


def _far(follower: FollowerSnapshot) -> str:
    return f"{_count(follower.events_behind, 'event')} and {_seconds(follower.seconds_behind)}"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _seconds(seconds: float) -> str:
    if seconds < 600:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 36_000 else f"{seconds / 3_600:.0f} h"
