"""Programs that use the Python client: what the checker says of what they were given, and that plans have them."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from hunt import Plan, check, draw, perform
from hunt.folding import key_of, name_of
from hunt.history import Appended, Banned, History, Left, Lost, Weather
from hunt.identities import Ban
from hunt.plan import PYTHON, ClientPlan, ProgramPlan, Rung
from hunt.program_history import (
    Became,
    Began,
    Ceased,
    Commits,
    Committed,
    Did,
    Faulted,
    Followed,
    Gone,
    NotAnswered,
    Saved,
    Took,
    Unfollowed,
)
from hunt.program_store import Disk, DiskError, Handle
from hunt.program_wire import Wire
from hunt.steps import Kill, Publish, Wait
from triolet import Cursor, Limits
from triolet.testing.network import link_pair

from .story import event

FOLLOW = "A1 c0"


class Story:
    """Tells line by line what one follow of a program's was given; ``at`` is the time of what is told next."""

    def __init__(self, rungs: tuple[Rung, ...] = (), store: str = "", **client: Any) -> None:
        who = ClientPlan("A", PYTHON, program=ProgramPlan(store=store), **client)
        self.plan = Plan(seed=1, limits=Limits(), routes=(rungs,), clients=(who,), steps=())
        self.history = History()
        self.at = 0.0
        self._stored = 0
        self.history.add(Lost(0, "a"))

    def kinds(self) -> list[str]:
        """The kinds of what the checker finds."""
        return [finding.kind for finding in check(self.plan, self.history)]

    def add(self, kind: Any, *what: Any) -> None:
        self.history.add(kind(self.at, "A", FOLLOW, *what))

    def stores(self, count: int) -> None:
        for _ in range(count):
            number, self._stored = self._stored, self._stored + 1
            what = (name_of(number), [number, ""], key_of(number))
            self.history.add(Appended(self.at, "c0", Cursor("a", number + 1), *what, None, 10))

    def follows(self, after: str | None = "0", stored: str | None = None) -> None:
        self.history.add(Began(self.at, "A"))
        self.add(Followed, "c0", after, stored)

    def takes(self, *offsets: int) -> None:
        for offset in offsets:
            self.add(Took, {"type": "event", **event(f"a.{offset}", offset - 1)})

    def lives(self, cursor: str) -> None:
        self.add(Became, "live", None)
        self.add(Took, {"type": "live", "cursor": cursor})

    def loses(self, why: str = "the connection ended") -> None:
        self.add(Became, "connecting", why)

    def gap(self, begin: str, end: str, reason: str, missed: int | None) -> None:
        self.add(Took, {"type": "gap", "from": begin, "to": end, "reason": reason, "missed": missed})

    def stops(self, cursor: str, *, killed: bool = False) -> None:
        self.add(Unfollowed, cursor, killed)
        self.history.add(Ceased(self.at, "A", "it is stopped", killed))


def caught_up(**client: Any) -> Story:
    """A program has the three events that there are."""
    story = Story(**client)
    story.stores(3)
    story.follows()
    story.takes(1, 2, 3)
    story.lives("a.3")
    return story


def test_all_of_it_once_and_in_order_is_right() -> None:
    story = caught_up()
    story.stores(1)
    story.takes(4)
    story.stops("a.4")
    story.follows("a.4")
    story.stores(1)
    story.takes(5)
    story.lives("a.5")
    assert story.kinds() == []


@pytest.mark.parametrize(
    ("offset", "kind"), [(5, "a lost event"), (3, "a repeated event"), (6, "a lost event")], ids=str
)
def test_what_is_missing_or_comes_again(offset: int, kind: str) -> None:
    story = caught_up()
    story.stores(3)
    story.takes(offset)
    assert story.kinds() == [kind]


def test_it_is_held_to_what_the_log_has() -> None:
    story = caught_up()
    story.takes(4)
    assert story.kinds() == ["an event of no log"]
    story = caught_up()
    story.gap("a.3", "a.5", "expired", 2)
    assert story.kinds() == ["a gap"] or story.kinds() == ["a gap that is not"]
    story = caught_up()
    story.add(Took, {"type": "event", **event("a.4", 3), "channel": "c1"})
    assert story.kinds() == ["another channel"]


def test_the_client_blames_nobody() -> None:
    for kind in ("hole", "repeat"):
        story = caught_up()
        story.add(Faulted, kind, "a.3", "a.5")
        assert story.kinds() == [f"a false {kind}"]
    story = caught_up()
    story.gap("a.3", "a.5", "hole", 2)
    assert story.kinds() == ["a false hole"]


def test_live_is_not_said_before_what_there_was() -> None:
    story = Story()
    story.stores(3)
    story.at = 5
    story.follows()
    story.takes(1, 2)
    story.lives("a.2")
    assert story.kinds() == ["live too early"]


def test_an_event_that_comes_late_where_nothing_hinders() -> None:
    for hindered in (False, True):
        story = caught_up()
        story.at = 10
        story.stores(1)
        if hindered:
            story.history.add(Weather(10, "A", "stall", 12))
        story.at = 14
        story.takes(4)
        assert story.kinds() == ([] if hindered else ["a late event"])


def test_where_it_would_go_on_is_where_it_stands() -> None:
    story = caught_up()
    story.stores(1)
    story.stops("a.4", killed=True)
    assert story.kinds() == ["program's cursor"]


def test_a_connection_ends_for_a_reason() -> None:
    story = caught_up()
    story.at = 20
    story.loses()
    assert story.kinds() == ["an end without a cause"]
    story = caught_up()
    story.at = 20
    story.history.add(Weather(19, "A", "its network goes", 19))
    story.loses()
    assert story.kinds() == []


@pytest.mark.parametrize("renews", [0, 2.5])
def test_a_token_that_is_there_in_time_is_renewed(renews: float) -> None:
    story = caught_up(subject="u", lasts=5, renews=renews)
    story.at = 20
    story.loses("expired")
    assert story.kinds() == ([] if renews else ["no renewal"])


@pytest.mark.parametrize("kind", ["refused", "revoked", "expired", "bad answer", "done"])
def test_it_is_over_only_where_somebody_has_said_so(kind: str) -> None:
    for banned in (False, True):
        story = caught_up(subject="u")
        story.at = 20
        if banned:
            story.history.add(Banned(19, Ban("subject", "u"), 19, 40, 0, True))
        story.add(Gone, kind, "why")
        assert story.kinds() == ([] if banned and kind in ("refused", "revoked") else ["an end"])


def test_a_token_that_is_the_only_one_expires() -> None:
    story = Story(subject="u", lasts=5)
    story.history.add(Began(0, "A", 5))
    story.add(Followed, "c0", "0", None)
    story.at = 5
    story.add(Gone, "expired", "expired")
    assert story.kinds() == []


# --- what is kept


def kept(keeps: str = "auto") -> Story:
    """A program was done with two of three events, and its store has the second."""
    story = Story(store=keeps)
    story.stores(5)
    story.follows()
    for offset in (1, 2):
        story.takes(offset)
        story.add(Did) if keeps == "auto" else story.add(Commits)
        story.add(Saved, f"a.{offset}")
        if keeps == "explicit":
            story.add(Committed)
    story.takes(3)
    return story


@pytest.mark.parametrize("keeps", ["auto", "explicit"])
def test_what_was_in_hand_comes_again_and_nothing_else(keeps: str) -> None:
    story = kept(keeps)
    story.at = 1
    story.stops("a.3", killed=True)
    story.follows(stored="a.2")
    story.takes(3, 4)
    assert story.kinds() == []
    story = kept(keeps)
    story.at = 1
    story.stops("a.3", killed=True)
    story.follows(stored="a.2")
    story.takes(4)
    assert story.kinds() == ["a lost event"]


def test_what_is_kept_before_it_is_done() -> None:
    story = kept()
    story.add(Saved, "a.3")
    assert story.kinds() == ["kept too early"]


def test_what_was_done_and_is_not_kept() -> None:
    story = kept()
    story.add(Did)
    story.at = 1
    story.takes(4)
    story.stops("a.4", killed=True)
    story.follows(stored="a.2")
    assert story.kinds() == ["a lost commit"]
    story = kept("explicit")
    story.add(Commits)
    story.add(Committed)
    assert story.kinds() == ["a lost commit"]


def test_a_place_that_was_never_kept() -> None:
    story = Story(store="auto")
    story.follows(None)
    story.lives("a.0")
    story.stores(1)
    story.takes(1)
    story.stops("a.1", killed=True)
    story.follows(None)
    assert story.kinds() == ["a lost place"]


# --- the rest


def test_a_command_that_is_not_answered() -> None:
    story = caught_up()
    story.history.add(NotAnswered(70, "A", 5, 10, True))
    assert story.kinds() == ["no reply"]
    story.history.add(Left(70, -1, "streams of a client", 1))
    assert set(story.kinds()) == {"no reply", "streams of a client left"}


def test_conflation_may_be_cut_off_and_begin_anew() -> None:
    for first, then in ((4, (6, 7, 8, 9)), (4, (5, 6, 7, 8, 9)), (5, ())):
        story = Story(rungs=(Rung("latest", events=1),))
        story.stores(9)
        story.follows("a.0")
        story.gap("a.0", "a.9", "conflated", 4)
        story.takes(first)
        story.gap(f"a.{first}", "a.9", "conflated", 1)
        story.takes(*then)
        assert story.kinds() == ([] if then else ["a lost event"])  # the fourth one has no key: nothing stands for it


def test_some_plans_have_programs_on_every_transport() -> None:
    plans = [draw(seed) for seed in range(300)]
    clients = [client for plan in plans for client in plan.clients]
    programs = [client for client in clients if client.transport == PYTHON]
    assert 0.15 < len(programs) / len(clients) < 0.25
    transports = {program.program.transports for program in programs}
    assert {
        ("websocket",),
        ("sse",),
        ("long-poll",),
        ("poll",),
        ("websocket", "sse", "long-poll", "poll"),
    } == transports
    assert {program.program.store for program in programs} == {"", "auto", "explicit"}
    assert {(program.program.shares, program.program.twin) for program in programs} == {
        *((True, True), (True, False), (False, True), (False, False))
    }
    kills = [step for plan in plans for step in plan.steps if isinstance(step, Kill)]
    assert {step.clean for step in kills} == {True, False}


@pytest.mark.parametrize("transport", ["websocket", "sse", "long-poll", "poll"])
@pytest.mark.parametrize("store", ["", "auto", "explicit"])
def test_a_program_hears_what_is_published_and_is_killed_in_the_midst_of_it(transport: str, store: str) -> None:
    who = ClientPlan("A", PYTHON, start="0", program=ProgramPlan((transport,), store=store))
    steps = (Publish(0, 5), Wait(1), Publish(0, 5), Kill(0, 3), Wait(5), Kill(0, clean=True), Publish(0, 5), Wait(3))
    performed = perform(Plan(seed=3, limits=Limits(), routes=((),), clients=(who,), steps=steps))
    assert performed.findings == ()
    taken = [record.message for record in performed.history.records if isinstance(record, Took)]
    assert {message["id"] for message in taken if message["type"] == "event"} == {f"a.{at}" for at in range(1, 16)}
    assert sum(isinstance(record, Began) for record in performed.history.records) == 3


async def test_a_disk_fails_in_turn_and_a_program_that_is_dead_writes_nothing(
    autojump_clock: MockClock,
) -> None:
    saved: list[tuple[str, str]] = []
    disk = Disk(0.5, 2, lambda: False, lambda *kept: saved.append(kept))
    handle = Handle(disk)
    await handle.save("a", "e.1")
    with pytest.raises(DiskError):
        await handle.save("a", "e.2")
    with trio.move_on_after(0.2):
        await handle.save("a", "e.3")
    handle.dead = True
    await handle.save("a", "e.4")
    assert await Handle(disk).load("a") == "e.1"
    assert saved == [("a", "e.1")]


async def test_a_wall_lets_no_upgrade_through_and_collects_streams(autojump_clock: MockClock) -> None:
    end, link = link_pair()
    wire = Wire(end, "streams")
    await wire.send_all(b"Upgrade: websocket")
    assert await link.receive_some(100) == b"Upg-ade: websocket"
    await wire.send_all(b"accept: text/event-stream")
    await link.receive_some(100)
    link.send(b"first")
    with trio.move_on_after(1) as patience:
        await wire.receive_some()
    assert patience.cancelled_caught
