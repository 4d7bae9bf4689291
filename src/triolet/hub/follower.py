"""One client's position in one channel, and its states."""

# House rules:
#
# 1. A follower is in one state. `_become` is the only place that changes it, and only as MOVES allows.
# 2. `position` says up to where everything was given to the outlet, or told as a gap: no more, no less. The task that
#    writes to the client moves it.
# 3. To a LIVE follower only the pump writes, to one that is BEHIND only its connection's writer, to ENDED nobody. So
#    two tasks never write events of one channel to one client.
# 4. No await between reading a position and being live. What is published in between would reach neither.
# 5. The lists of the audience follow the states: of the live and of the watched nothing else puts a follower in or out.
# 6. All of it is synchronous, so that no cancellation leaves half of it done.
#
# A cursor, and not a queue
# -------------------------
# The usual shape for this is a queue of messages for each client: what is published is put into all of them, and a task
# for each client takes from its own. A queue must be bounded, and whatever happens at its bound is wrong for somebody:
# to wait stops everybody for the slowest, to drop loses events without a word, to close throws away what the client had
# nearly read. And a thousand slow clients hold a thousand queues of the same events.
#
# The events are in the log anyway, and the newest in the window. So a follower is only a place in them: a cursor. A
# client that is slow costs the rest of one batch in its outlet, however far behind it is. One that comes back after a
# night is the same case as one whose kernel was full for a moment: it is BEHIND, from another cursor. There is no bound
# to meet, and what to do about a client that stays behind is a question for its policy, which is asked with numbers
# before anything is left out, and whose answer the client is told.
#
#                   the outlet is full, or there is a hole
#            LIVE ------------------------------------------> BEHIND   <- begins here
#             |   <------------------------------------------   |
#             |      all is read up to `flushed`, and the       |
#             |      outlet is empty                            |
#             +--------------------> ENDED <--------------------+
#
# A follower may have read further than `flushed`: it read from the window what came while a round was being written. It
# cannot be live then, for the next round would write the same again. It waits as one of the `early` until the next
# round begins, and then looks whether it stands at `flushed`.

from __future__ import annotations

from enum import Enum
from typing import Final, Protocol

import trio

from ..event import Cursor
from ..sockets.outlet import Outlet
from ..wire.codec import Codec
from .filter import Filter, Marker
from .policies import Lag, Policy, Step, ask
from .subscription import Subscription
from .window import Window

__all__ = ["MOVES", "FilteredFollower", "Follower", "Owner", "Place", "State", "waits_for_state"]


class State(Enum):
    """The states of a follower. Live means: at ``window.flushed``, with an empty outlet, written to by the pump."""

    BEHIND = "behind"
    LIVE = "live"
    ENDED = "ended"


MOVES: Final[dict[State, tuple[State, ...]]] = {
    State.BEHIND: (State.LIVE, State.ENDED),
    State.LIVE: (State.BEHIND, State.ENDED),
    State.ENDED: (),
}
"""From each state, the states that may come next."""


class Owner(Protocol):
    """The connection that a follower belongs to."""

    @property
    def codec(self) -> Codec:
        """The form of its events on the wire."""

    @property
    def outlet(self) -> Outlet:
        """The outlet that they are written to."""

    @property
    def marks(self) -> Marker | None:
        """What is written before each of their events, where that differs from client to client."""

    def fell_behind(self, follower: Follower) -> None:
        """Have the writer read on for a follower."""

    def finish(self, follower: Follower) -> None:
        """Follow no longer: the channel has ended, and the client was told."""

    def stepped(self, follower: Follower, step: Step, lag: Lag) -> None:
        """Act on what a follower's policy says, where that is something new."""


class Place(Protocol):
    """The channel that a follower is in: its events, and the lists that are kept of its followers."""

    @property
    def window(self) -> Window:
        """The channel's newest events."""

    def moved(self, follower: Follower, before: State | None) -> None:
        """Take note that a follower has another state now; ``before`` is None for one that was just made."""

    def advanced(self, follower: Follower) -> None:
        """Take note that a follower that is behind was sent something."""

    def wait_for_round(self, follower: Follower) -> None:
        """Have a follower told when the next round begins."""


class Follower:
    """One client's position in one channel.

    While it is live the pump writes to it; while it is behind its connection's writer does, from
    ``position``. Its owner is told when there is work for the writer, and what the policy says.

    Bounds: the attributes below. A follower holds no event, however far behind it is.

    Attributes:
        place: the channel it is in.
        owner: the connection it belongs to.
        snapshot_at: the place of the state that its client was given last; None where it was given none.
        subscription: what its client asked for, and may have.
        position: up to where the client was sent everything, or told of a gap.
        came_at: the channel's head when the follower was made.
        behind_since: Trio's time when it was last live, or else was made.
        step: what the policy said last.
        opened: whether the client has been told where the stream begins.
        announced: whether it has been told that it is up to date, and nothing has come for it since.
        told: whether it has been told that publishers wait for it.
        logged: a bit for each step that was logged.
        index: its place in the list of live followers; -1 where it is not live.
    """

    __slots__ = (
        "announced",
        "behind_since",
        "came_at",
        "index",
        "logged",
        "opened",
        "owner",
        "place",
        "position",
        "snapshot_at",
        "state",
        "step",
        "subscription",
        "told",
    )

    def __init__(self, place: Place, subscription: Subscription, owner: Owner) -> None:
        self.place = place
        self.owner = owner
        self.subscription = subscription
        self.snapshot_at: Cursor | None = None
        self.came_at = place.window.cursor
        self.position = self.came_at if subscription.after is None else subscription.after
        self.state = State.BEHIND
        self.step = Step.CATCH_UP
        self.behind_since = trio.current_time()
        self.opened = False
        self.announced = False
        self.told = False
        self.logged = 0
        self.index = -1
        place.moved(self, None)  # last, when all attributes are there: the lists look at its policy

    @property
    def url(self) -> str | None:
        """The URL that was followed; None if the channel was followed by its name."""
        return self.subscription.url

    @property
    def policy(self) -> Policy | None:
        """What happens when it stays behind; None is to catch up."""
        return self.subscription.policy

    @property
    def folds(self) -> bool:
        """Whether its client has asked for what it missed with all events folded that go together."""
        return self.subscription.folds

    @property
    def window(self) -> Window:
        """The channel's newest events."""
        return self.place.window

    @property
    def channel(self) -> str:
        """The channel's name."""
        return self.place.window.channel

    @property
    def codec(self) -> Codec:
        """The form of its events on the wire."""
        return self.owner.codec

    @property
    def outlet(self) -> Outlet:
        """The outlet that its events are written to."""
        return self.owner.outlet

    @property
    def filter(self) -> Filter | None:
        """Which events its client may see; None: all of them, as they are sent to everybody."""
        return None

    @property
    def sent(self) -> int:
        """A number that changes when its client is sent something of the channel."""
        return self.position.offset

    def would_be_live(self, position: Cursor) -> bool:
        """Tell whether nothing more is to be read at a position."""
        # `flushed`, and not `head`: what lies between is for the round that comes, which writes it to the live. Where
        # the channel has ended nobody is live: its end is told, also to one that stands there.
        window = self.place.window
        return not window.ended and position.offset == window.flushed and position.epoch == window.epoch

    def go_live(self) -> bool:
        """Become live if caught up. No await lies between the check and its effect, so nothing falls between.

        Returns:
            Whether it is live now. If not, there is more to read, or its ``position`` is past the round that is being
            written and it has to wait for the next one.
        """
        # An outlet that still holds something comes first: what the pump writes now would overtake it.
        if not self.would_be_live(self.position) or not self.outlet.empty:
            return False
        if not self._become(State.LIVE):
            return False
        self.step = Step.CATCH_UP
        self.told = False
        return True

    def fall_behind(self, *, by_a_word: bool = False) -> None:
        """Stop being live: the outlet is full. The writer goes on from ``position``.

        Args:
            by_a_word: whether it is no event that has filled the outlet, but a beat, or that another one is up to date.
                Then this one is not told so again: of many on one outlet each word would set back all others.
        """
        # One that is behind already stays as it is: of one full outlet the pump tells, and the outlet's owner too.
        if self._become(State.BEHIND):
            self.announced = self.announced and by_a_word
            self.behind_since = trio.current_time()
            self.owner.fell_behind(self)

    def end(self) -> bool:
        """Follow no longer, and return whether it did until now. Synchronous, so nothing can cancel it."""
        return self._become(State.ENDED)

    def advance(self, position: Cursor) -> None:
        """Move to a position: everything up to it was given to the outlet, or told as a gap."""
        self.position = position
        self.place.advanced(self)

    def wait_for_round(self) -> None:
        """Have it told when the next round begins: it has read further than the present one."""
        self.place.wait_for_round(self)

    @property
    def events_behind(self) -> int:
        """Number of the channel's events that it was not sent yet; all of them if its epoch is another one."""
        window = self.place.window
        return max(0, window.head - (self.position.offset if window.knows(self.position) else 0))

    def lag(self) -> Lag:
        """Return how far it is behind, as its policy is told."""
        now = trio.current_time()
        window, outlet = self.place.window, self.outlet
        events, pending = self.events_behind, outlet.pending
        came_at = self.came_at.offset if self.came_at.epoch == window.epoch else 0
        return Lag(
            events,
            max(0, came_at - (self.position.offset if window.knows(self.position) else 0)),
            0.0 if self.state is State.LIVE else now - self.behind_since,
            now - outlet.progress_at if pending else 0.0,
            pending,
        )

    def judge(self) -> Step:
        """Ask the policy what to do now, tell the owner if that is something new, and return it.

        Raises:
            Exception: what the policy raises, or that it returned no step.
        """
        if self.policy is None or self.state is not State.BEHIND:
            return Step.CATCH_UP
        lag = self.lag()
        step = ask(self.policy, lag)
        if step is not self.step:
            self.step = step
            self.owner.stepped(self, step, lag)
        return step

    def _become(self, state: State) -> bool:
        """Change the state, and have the channel's lists follow. Return False where no such move is in the table."""
        if state not in MOVES[self.state]:
            return False
        before, self.state = self.state, state
        self.place.moved(self, before)
        return True


class FilteredFollower(Follower):
    """A follower that is written each its own: its client may not see every event, or is told more with each.

    Its position moves over the events that are not for it as over those that are: it says up to where the client was
    sent everything that it may see. A class of its own, since most followers see all, and should not pay for this.

    Attributes:
        filter: which events its client may see, and how it is sent them.
    """

    __slots__ = ("filter",)

    filter: Filter

    def __init__(self, place: Place, subscription: Subscription, owner: Owner, filter: Filter) -> None:
        self.filter = filter
        super().__init__(place, subscription, owner)

    @property
    def sent(self) -> int:
        # Not the position: a client that is sent nothing needs a heartbeat, however far the channel moves on.
        return self.filter.writes


def waits_for_state(follower: Follower) -> bool:
    """Whether its client is to be told the channel's state first. Cut off before that, it asks for it again, from
    nowhere."""
    asked = follower.subscription
    return not follower.opened and asked.snapshot is not None and asked.after is None
