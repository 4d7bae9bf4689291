"""Clients and apps that misuse renewals, tickets and identities: what each costs the others is bounded."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
import trio
from quart import request
from quart_trio import QuartTrio
from trio.testing import MockClock

from triolet import DataError, Draft, Event, Identity, Limits, LogAway, Triolet
from triolet.clock import wall_time
from triolet.identity.bounds import CONTROL_WAITING, IDENTITY_BYTES
from triolet.identity.control import IDENTITY_CHANNEL
from triolet.log.memory import MemoryLog

from .shop import ORDERS, PATHS, Shared, bearer, make_shop, post, served


class Away(Shared):
    """A process's hands on a log, which do not reach it at times."""

    away = False

    async def append(self, channel: str, drafts: Sequence[Draft]) -> list[Event]:
        if self.away and channel == IDENTITY_CHANNEL:
            raise LogAway("away")
        return await self._log.append(channel, drafts)


async def test_renewals_of_unknown_streams_keep_no_revocation_from_being_told(autojump_clock: MockClock) -> None:
    store = MemoryLog()
    hands = Away(store)
    here, live = make_shop(log=hands)
    there, _ = make_shop(log=Shared(store))
    statuses: list[int] = []
    async with store.open(), served(here) as one, served(there) as other:

        async def flood() -> None:
            for n in range(20):
                answer = await post(one, "/triolet/renew", bearer("eve"), {"key": str(n)})
                statuses.append(answer.status)
                if answer.status == 503:
                    assert (answer.json["error"], answer.headers["retry-after"]) == ("elsewhere", "1")

        async with other.websocket(ORDERS, headers=bearer("ann")) as client:
            await client.until("live")
            hands.away = True
            async with trio.open_nursery() as nursery:
                for _ in range(CONTROL_WAITING // 16):
                    nursery.start_soon(flood)
            assert set(statuses) == {202, 503}
            assert await live.revoke(subject="ann") is False
            hands.away = False
            assert (await client.until("bye"))["code"] == 4403  # its close frame may be on its way still


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", ["renew", "ticket"])
async def test_an_app_that_never_says_who_it_is_keeps_no_request_for_ever(
    name: str, path: str, autojump_clock: MockClock
) -> None:
    app, _ = make_shop(Limits(write_seconds=5), ask_seconds=math.inf)
    async with served(app, path) as server:
        with trio.fail_after(20):
            answer = await post(server, f"/triolet/{name}", bearer("ann"), {"key": "x"})
        assert (answer.status, answer.json["error"]) == (503, "slow")


class ForeignBug(BaseException):
    """What no library should raise."""


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("what", [ForeignBug, RuntimeError, "an identity", Identity])
async def test_an_identify_that_fails_in_whatever_way_ends_that_request_alone(
    what: Any, path: str, autojump_clock: MockClock
) -> None:
    app = QuartTrio("orders")
    live = Triolet(app)

    @live.identify
    async def who(token: str | None) -> Any:
        if token == "ann":
            return Identity("ann")
        if isinstance(what, type) and issubclass(what, BaseException):
            raise what
        return what

    @live.channel("/orders/<order_id>/events")
    async def events(order_id: str) -> str:
        return f"orders/{order_id}"

    @live.command("/pick")
    async def pick(command: Any) -> str:
        return "done"

    async with served(app, path) as server, server.websocket(ORDERS, headers=bearer("ann")) as ann:
        await ann.until("live")
        await ann.say(type="auth", token="bad")
        assert (await ann.expect("expiring"))["refused"] is True
        bad = bearer("bad")
        for method, url in (("POST", "/triolet/renew"), ("POST", "/triolet/ticket"), ("GET", ORDERS)):
            assert (await server.request(method, url, bad)).status == 500
        keyed = {**bad, "idempotency-key": '"1"'}
        assert (await server.request("POST", "/pick", keyed)).status == 500
        await live.publish("orders/7", 1)
        await ann.expect("event", data=1)


async def test_claims_that_are_huge_are_told_to_no_other_process_and_stored_under_no_ticket(
    autojump_clock: MockClock,
) -> None:
    app, live = make_shop()
    async with served(app):
        fits = Identity("ann", claims={"x": "y" * (IDENTITY_BYTES - 300)})
        assert await live.ticket(fits)
        with pytest.raises(DataError, match="claims"):
            await live.ticket(Identity("ann", claims={"x": "y" * IDENTITY_BYTES}))


@pytest.mark.parametrize(
    "expires",
    [1e308, 10**400, -(10**400), math.nan, "soon", True],
    ids=["far", "farther", "long ago", "nan", "text", "bool"],
)
def test_an_end_that_no_clock_reaches_is_none(expires: Any) -> None:
    with pytest.raises(DataError, match="expires_at"):
        Identity("ann", expires_at=expires)


def test_an_end_in_the_year_9999_is_one() -> None:
    assert Identity("ann", expires_at=wall_time() + 7_000 * 365 * 86_400).subject == "ann"


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("transport", ["websocket", "sse"])
async def test_a_view_that_is_asked_again_does_not_see_the_ticket_either(
    transport: str, path: str, autojump_clock: MockClock
) -> None:
    app, seen = QuartTrio("orders"), list[str]()
    live = Triolet(app)
    live.identify(lambda token: None if token is None else Identity(token))

    @live.channel("/events", recheck=1)
    async def events() -> str:
        seen.append(request.url)
        return "orders"

    async with served(app, path) as server:
        ticket = await live.ticket(Identity("ann"))
        async with server.client(transport, f"/events?a=1&ticket={ticket}&b=2") as client:
            await client.until("live")
            await trio.sleep(5)
    assert len(seen) > 3
    assert {url.partition("?")[2] for url in seen} == {"a=1&b=2"}
