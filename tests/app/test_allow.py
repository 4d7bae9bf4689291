"""``@live.channel(…, allow=…)``: which events a client may see, by who it is when they are sent."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from quart_trio import QuartTrio
from trio.testing import MockClock, wait_all_tasks_blocked

from triolet import ConfigError, Event, Identity, Triolet

from .roads import ROADS, served

EVENTS = "/orders/7/events"


def may_see(event: Event, identity: Identity | None) -> bool:
    roles = identity.claims.get("roles", ()) if identity is not None else ()
    return event.data["for"] in ("all", *roles)


def make_app(*, identify: bool = True) -> tuple[QuartTrio, Triolet]:
    app = QuartTrio("orders")
    live = Triolet(app)

    if identify:

        @live.identify
        async def identity_of(token: str | None) -> Identity | None:
            return None if token is None else Identity("ann", claims={"roles": token.split("-")})

    @live.channel("/orders/<order_id>/events", allow=may_see)
    async def events(order_id: str) -> str:
        return f"orders/{order_id}"

    live.socket("/live")
    return app, live


async def publish(live: Triolet, *whom: str) -> None:
    await live.publish_many("orders/7", [{"for": one} for one in whom])


def bearer(token: str | None) -> dict[str, str]:
    return {} if token is None else {"authorization": f"Bearer {token}"}


SEEN: list[tuple[str | None, list[str]]] = [
    (None, ["all", "all"]),
    ("packer", ["packer", "all", "all"]),
    ("packer-boss", ["packer", "all", "boss", "all"]),
]


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize("transport", ["websocket", "sse", "follow"])
@pytest.mark.parametrize(("token", "seen"), SEEN)
async def test_a_stream_is_sent_what_its_client_may_see(
    token: str | None, seen: list[str], transport: str, road: str, autojump_clock: MockClock
) -> None:
    app, live = make_app()
    async with served(app, road) as server:
        await publish(live, "packer", "all")
        async with server.client(transport, EVENTS, headers=bearer(token), after=0) as client:
            opened = await client.pick(lambda message: message.get("channel") == "orders/7", "open")
            assert opened["filtered"] is True
            await client.until("live")
            await publish(live, "boss", "all")
            await wait_all_tasks_blocked()
            await trio.sleep(1)
            while len(client.events) < len(seen):
                await client.until("event")
            assert [event["data"]["for"] for event in client.events] == seen


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize("wait", ["", "&wait=5"])
@pytest.mark.parametrize(("token", "seen"), SEEN)
async def test_a_poll_is_answered_what_its_client_may_see(
    token: str | None, seen: list[str], wait: str, road: str, autojump_clock: MockClock
) -> None:
    app, live = make_app()
    async with served(app, road) as server:
        await publish(live, "packer", "all", "boss", "all")
        answer = await server.request("GET", f"{EVENTS}?after=0{wait}", bearer(token))
        assert answer.json["filtered"] is True
        assert [event["data"]["for"] for event in answer.json["events"]] == seen


@pytest.mark.parametrize("road", ROADS)
async def test_a_renewal_counts_for_the_next_event(road: str, autojump_clock: MockClock) -> None:
    app, live = make_app()
    async with served(app, road) as server, server.websocket(EVENTS, headers=bearer("packer")) as client:
        await client.until("live")
        await publish(live, "boss")
        await client.say(type="auth", token="boss")
        await client.until("renewed")
        await publish(live, "packer", "boss")
        assert (await client.event())["data"] == {"for": "boss"}
        assert len(client.events) == 1


async def test_where_nobody_is_known_the_identity_is_none(autojump_clock: MockClock) -> None:
    app, live = make_app(identify=False)
    async with served(app, "direct") as server:
        await publish(live, "packer", "all")
        answer = await server.request("GET", f"{EVENTS}?after=0", bearer("packer"))
        assert [event["data"]["for"] for event in answer.json["events"]] == ["all"]


async def later(event: Event, identity: Identity | None) -> bool:
    return True


@pytest.mark.parametrize("allow", [later, "all", True])
def test_what_can_be_no_check_is_refused_at_the_start(allow: Any) -> None:
    live = Triolet(QuartTrio("orders"))
    with pytest.raises(ConfigError, match="allow="):
        live.channel("/orders", allow=allow)
