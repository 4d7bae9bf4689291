"""What the operator's listener shows: history, presence, connections, explanations; and what it revokes."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.shop import ORDER, ORDERS, make_shop
from triolet import Identity, Limits
from triolet.testing.server import serve

from .asking import ask, get, office


async def test_history_is_the_newest_and_from_a_cursor_on(autojump_clock: MockClock) -> None:
    app, live = make_shop()
    async with serve(app) as server:
        asked = office(server.worker)
        await live.publish_many("a", list(range(10)))
        newest = (await get(asked, "/history?channel=a&limit=3")).json
        assert [event["data"] for event in newest["events"]] == [7, 8, 9]
        assert (newest["gap"], newest["ended"], newest["cursor"]) == (None, False, newest["head"])
        first = (await get(asked, "/history?channel=a&limit=4&after=0")).json
        assert [event["data"] for event in first["events"]] == [0, 1, 2, 3]
        then = (await get(asked, f"/history?channel=a&after={first['cursor']}")).json
        assert [event["data"] for event in then["events"]] == [4, 5, 6, 7, 8, 9]
        assert then["events"][0].keys() == {"cursor", "name", "data", "time"}
        await live.end("a", "done")
        assert (await get(asked, f"/history?channel=a&after={then['cursor']}")).json["ended"] is True


async def test_what_is_lost_is_a_gap_and_none_to_who_asks_for_the_newest(autojump_clock: MockClock) -> None:
    app, live = make_shop(Limits(keep_events=5))
    async with serve(app) as server:
        asked = office(server.worker)
        await live.publish_many("a", list(range(10)))
        assert (await get(asked, "/history?channel=a")).json["gap"] is None
        gap = (await get(asked, "/history?channel=a&after=2")).json["gap"]
        assert (gap["missed"], gap["reason"]) == (3, "expired")


async def test_a_channel_that_nobody_has_heard_of_is_empty(autojump_clock: MockClock) -> None:
    app, _ = make_shop()
    async with serve(app) as server:
        told = await get(office(server.worker), "/history?channel=nothing")
        assert (told.status, told.json["events"], told.json["head"][-2:]) == (200, [], ".0")


async def test_presence_is_the_roster(autojump_clock: MockClock) -> None:
    app, live = make_shop()

    @live.channel("/room/events", member=lambda: "ann")
    async def room() -> str:
        return "room"

    async with serve(app) as server, server.events("/room/events") as stream:
        await stream.own("live")
        told = (await get(office(server.worker), "/presence?channel=room")).json
        assert (told["channel"], told["members"]) == ("room", ["ann"])
        assert told["sessions"][0].keys() == {"member", "info", "session", "since"}
        assert (await get(office(server.worker), "/presence?channel=empty")).json["members"] == []


def named(**options: Any) -> tuple[Any, Any]:
    """A shop whose clients are who their token says."""
    app, live = make_shop(**options)

    @live.identify
    async def who(token: str | None) -> Identity | None:
        return None if token is None else Identity(token)

    return app, live


async def test_connections_are_shown_and_found_by_channel_and_subject(autojump_clock: MockClock) -> None:
    app, _ = named()
    async with (
        serve(app) as server,
        server.sse(ORDERS, headers={"authorization": "Bearer ann"}) as ann,
        server.sse("/orders/B/events") as nobody,
    ):
        await ann.until("live")
        await nobody.until("live")
        asked = office(server.worker)
        told = (await get(asked, "/connections")).json
        assert (told["total"], told["silent"]) == (2, [])
        assert [(one["subject"], one["transport"], one["worker"]) for one in told["connections"]] == [
            ("ann", "sse", 0),
            (None, "sse", 0),
        ]
        assert told["connections"][0]["channels"][0]["until_retention_seconds"] is None
        for query, total in [("channel=orders/B", 1), ("subject=ann", 1), ("channel=x", 0), ("limit=1", 2)]:
            found = (await get(asked, f"/connections?{query}")).json
            assert (found["total"], len(found["connections"])) == (total, min(total, 1))


async def test_whoever_is_behind_is_shown_first_and_explained(autojump_clock: MockClock) -> None:
    app, live = make_shop()
    async with serve(app) as server:
        asked = office(server.worker)
        async with server.sse(ORDERS) as good, server.events(ORDERS) as slow:
            await good.until("live")
            await slow.own("live")
            await live.publish_many(ORDER, ["x" * 100_000] * 20)
            await trio.sleep(1)
            told = (await get(asked, "/connections")).json["connections"]
            assert [one["channels"][0]["state"] for one in told] == ["behind", "live"]
            explained = (await get(asked, f"/explain/{told[0]['id']}")).json
            [one] = explained["explanations"]
            assert one["verdict"] == "stalled"
            assert one["sentences"][0].startswith(f"Connection {told[0]['id']} (sse) has been open")
            assert (one["worker"], explained["silent"], one["connection"]["closed"]) == (0, [], None)
            id = told[0]["id"]
        await trio.sleep(30)
        ended = (await get(asked, f"/explain/{id}")).json["explanations"][0]
        assert (ended["verdict"], ended["connection"]["closed"]["code"]) == ("closed", 1006)
        nobody = await get(asked, "/explain/123456789")
        assert (nobody.status, nobody.json["error"]) == (404, "connection")
        assert nobody.json["message"] == (
            "no connection 123456789 is open, nor one of the last 256 that ended in a process: ask with an id of "
            "GET /connections, or of the server's log"
        )


async def test_what_is_revoked_ends(autojump_clock: MockClock) -> None:
    app, _ = named()
    async with serve(app) as server, server.sse(ORDERS, headers={"authorization": "Bearer ann"}) as ann:
        await ann.until("live")
        told = await ask(office(server.worker), "POST", "/revoke", {"subject": "ann"})
        assert (told.status, told.json) == (200, {"told": True, "workers": [0], "silent": []})
        assert (await ann.until("bye"))["code"] == 4403


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({}, "names one of subject, session, channel, channels and url at least"),
        ({"subject": None}, "names one of"),
        ({"subjct": "ann"}, "unknown field `subjct`"),
        ({"subject": 7}, "Expected `str | null`"),
        (b'{"subject":"ann","subject":"bob"}', "'subject' stands twice in the revocation"),
        ({"channel": ""}, "cannot name a channel"),
        ({"channels": ["orders/*", ""]}, "cannot name a channel"),
        ({"channels": []}, "takes a pattern"),
        ({"url": "no path"}, "takes a URL's path"),
        (b"subject=ann", "JSON"),
    ],
)
async def test_a_revocation_that_names_nothing_or_what_cannot_be_ends_nobody(
    body: Any, says: str, autojump_clock: MockClock
) -> None:
    app, _ = named()
    async with serve(app) as server, server.sse(ORDERS) as client:
        await client.until("live")
        told = await ask(office(server.worker), "POST", "/revoke", body, "application/json")
        assert told.status == 400
        assert says in told.json["message"]
        assert (await get(office(server.worker), "/connections")).json["total"] == 1
