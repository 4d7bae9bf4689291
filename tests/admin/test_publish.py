"""Publishing through the operator's listener: one event, many as lines, CloudEvents, and what is wrong with them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from cloudevents.core.bindings.http import to_binary_event, to_structured_event
from cloudevents.core.v1.event import CloudEvent
from trio.testing import MockClock

from tests.shop import ORDER, ORDERS, make_shop
from triolet import Cursor, Draft, Event, EventLog, Limits, LogAway, LogUncertain
from triolet.bounds import ADMIN_EVENTS
from triolet.log import MemoryLog
from triolet.testing.server import serve

from .asking import NDJSON, Told, ask, office

CLOUD = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"
CE = {"specversion": "1.0", "id": "7", "source": "/shop", "type": "order.paid", "channel": "a"}


def lines(*events: Any) -> bytes:
    return b"".join(json.dumps(event).encode() + b"\n" for event in events)


async def kept(log: EventLog, channel: str) -> list[Event]:
    page = await log.read(channel, Cursor("", 0), limit=20_000, max_bytes=1 << 30)
    return list(page.events)


async def post(server: Any, body: Any, kind: str = "", path: str = "/publish", **headers: str) -> Told:
    return await ask(office(server.worker), "POST", path, body, kind, **headers)


async def test_an_event_is_in_the_log_and_with_its_followers_when_it_is_answered(autojump_clock: MockClock) -> None:
    app, live = make_shop()
    async with serve(app) as server, server.events(ORDERS) as stream:
        await stream.own("live")
        event = {"channel": ORDER, "data": {"state": "paid"}, "name": "order-status", "key": "A123", "fold": "latest"}
        told = await post(server, event)
        assert told.status == 200
        [stored] = await kept(live.log, ORDER)
        assert told.json == {"events": [{"channel": ORDER, "cursor": str(stored.cursor)}]}
        assert (stored.name, stored.key, stored.fold, stored.data) == (
            "order-status",
            "A123",
            "latest",
            {"state": "paid"},
        )
        heard = await stream.event()
        assert heard is not None
        assert heard["data"] == {"state": "paid"}


async def test_a_channel_may_stand_in_the_url_and_that_of_the_event_counts_first(autojump_clock: MockClock) -> None:
    app, _ = make_shop()
    async with serve(app) as server:
        path = "/publish?channel=orders%2F1"
        assert (await post(server, {"data": 1}, path=path)).json["events"][0]["channel"] == "orders/1"
        assert (await post(server, {"data": 1, "channel": "b"}, path=path)).json["events"][0]["channel"] == "b"


async def test_a_repeat_with_dedupe_is_answered_as_the_first(autojump_clock: MockClock) -> None:
    app, live = make_shop()
    async with serve(app) as server:
        event = {"channel": "a", "data": 1, "dedupe": "payment-7"}
        first, second = await post(server, event), await post(server, event)
        assert (first.status, first.body) == (200, second.body)
        assert len(await kept(live.log, "a")) == 1


async def test_many_lines_are_many_events_in_their_order(autojump_clock: MockClock) -> None:
    app, live = make_shop()
    async with serve(app) as server:
        body = lines(*[{"channel": "a", "data": number} for number in range(ADMIN_EVENTS)])
        told = await post(server, body + b"\r\n\n", NDJSON)
        assert len(told.json["events"]) == ADMIN_EVENTS
        events = await kept(live.log, "a")
        assert [event.data for event in events] == list(range(ADMIN_EVENTS))
        assert told.json["events"][-1]["cursor"] == str(events[-1].cursor)


async def test_lines_of_several_channels_are_stored_together_and_answered_in_their_order(
    autojump_clock: MockClock,
) -> None:
    app, live = make_shop()
    async with serve(app) as server:
        told = await post(server, lines(*[{"channel": name, "data": name} for name in "abacb"]), NDJSON)
        assert [(one["channel"], one["cursor"][-2:]) for one in told.json["events"]] == [
            ("a", ".1"),
            ("b", ".1"),
            ("a", ".2"),
            ("c", ".1"),
            ("b", ".2"),
        ]
        assert live.statistics().counts.published == 5


BAD_LINES = [
    (b'{"channel":"a","data":', "it is no JSON: "),
    (b"[]", "Expected `object`, got `array`"),
    (b'{"channel":"a"}', "missing required field `data`"),
    (b'{"channel":7,"data":1}', "Expected `str | null`, got `int` - at `$.channel`"),
    (b'{"channel":"a","data":1,"dedup":"x"}', "unknown field `dedup`"),
    (b'{"channel":"a","data":{"a":1,"a":2}}', "a key stands twice"),
    (b'{"channel":"a","data":1,"channel":"b"}', "'channel' stands twice in the event: say it once"),
    (b'{"channel":"a","data":{"a":[{"a":":"}]},"d\\u0061ta":{}}', "'data' stands twice in the event"),
    (b'{"channel":"a","data":' + b"[" * 40 + b"]" * 40 + b"}", "nested deeper than 32"),
    (b'{"channel":"a","data":"' + b"x" * 2_000 + b'"}', "more than limits.event_bytes"),
    (b'{"channel":"a","data":1,"name":"triolet.bye"}', "name must not begin with 'triolet.'"),
    (b'{"channel":"a","data":1,"name":"triolet.end","dedupe":"triolet.end"}', "name must not begin with 'triolet.'"),
    (b'{"channel":"a","data":1,"name":"a\\nb"}', "no control character"),
    (b'{"channel":"a","data":1,"fold":"sum"}', "of an event with a key"),
    (b'{"channel":"","data":1}', "cannot name a channel: use text of 1 to 255 bytes"),
    (b'{"channel":"triolet.control","data":1}', "Triolet's own"),
    (b'{"data":1}', "no channel is named"),
    (b'{"channel":"a","data":"\xff"}', "Invalid UTF-8"),
]


@pytest.mark.parametrize(("line", "says"), BAD_LINES)
async def test_of_10000_lines_one_is_bad_and_named_and_none_is_published(
    line: bytes, says: str, autojump_clock: MockClock
) -> None:
    app, live = make_shop(Limits(event_bytes=1_000))
    good = [json.dumps({"channel": "a", "data": number}).encode() for number in range(200)]
    good[123] = line
    async with serve(app) as server:
        told = await post(server, b"\n".join(good), NDJSON)
        assert (told.status, told.json["error"], told.json["line"]) == (400, "body", 124)
        assert told.json["message"].startswith("line 124: ")
        assert told.json["message"].endswith("; nothing was published")
        assert says in told.json["message"]
        alone = await post(server, line, "application/json")
        assert (alone.status, alone.json.get("line")) == (400, None)
        assert says in alone.json["message"]
        assert await live.channels() == []


@pytest.mark.parametrize(
    ("body", "kind", "status", "says"),
    [
        (b"", NDJSON, 400, "there is no event in it"),
        (b"\n \r\n", NDJSON, 400, "there is no event in it"),
        (b"[]", BATCH, 400, "there is no event in it"),
        (b"{}", BATCH, 400, "Expected `array`, got `object`"),
        (lines(*[{"channel": "a", "data": 1}] * (ADMIN_EVENTS + 1)), NDJSON, 413, "at most 10000 events"),
    ],
)
async def test_none_and_too_many_are_refused(
    body: bytes, kind: str, status: int, says: str, autojump_clock: MockClock
) -> None:
    app, live = make_shop()
    async with serve(app) as server:
        told = await post(server, body, kind)
        assert told.status == status
        assert says in told.json["message"]
        assert await live.channels() == []


# --- CloudEvents


async def test_a_cloud_event_is_published_once_however_it_comes(autojump_clock: MockClock) -> None:
    app, live = make_shop()
    event = {**CE, "subject": "A123", "time": "2026-07-01T12:00:00Z", "traceparent": "00-x", "data": {"paid": 7}}
    headers = {f"ce_{name}": str(text) for name, text in event.items() if name != "data"}
    async with serve(app) as server:
        answers = [
            await post(server, event, CLOUD),
            await post(server, event, f"{CLOUD}; charset=UTF-8"),
            await post(server, [event], BATCH),
            await post(server, event["data"], **headers),
        ]
        assert {(told.status, told.body) for told in answers} == {(200, answers[0].body)}
        [stored] = await kept(live.log, "a")
        assert (stored.name, stored.key, stored.data) == ("order.paid", "A123", {"paid": 7})


async def test_what_the_library_of_cloud_events_sends_is_understood(autojump_clock: MockClock) -> None:
    app, live = make_shop()
    more = {"subject": "Größe 7", "datacontenttype": "application/json", "time": datetime(2026, 7, 1, tzinfo=UTC)}
    event = CloudEvent(attributes={**CE, **more}, data={"paid": "7 €"})
    async with serve(app) as server:
        for message in (to_binary_event(event), to_structured_event(event)):
            headers = {name.lower(): text for name, text in message.headers.items()}
            kind = headers.pop("content-type")
            assert (await post(server, message.body, kind, **headers)).status == 200
        [stored] = await kept(live.log, "a")
        assert (stored.name, stored.key, stored.data) == ("order.paid", "Größe 7", {"paid": "7 €"})


async def test_attributes_in_headers_are_percent_encoded_and_data_may_be_missing(autojump_clock: MockClock) -> None:
    app, live = make_shop()
    headers = {f"ce_{name}": text for name, text in {**CE, "subject": "Euro%20%E2%82%AC"}.items()}
    async with serve(app) as server:
        assert (await post(server, b"", "application/json", **headers)).status == 200
        [stored] = await kept(live.log, "a")
        assert (stored.key, stored.data) == ("Euro €", None)


async def test_long_names_of_cloud_events_are_told_apart(autojump_clock: MockClock) -> None:
    app, live = make_shop()
    async with serve(app) as server:
        for id in ("x" * 300, "x" * 301, "x" * 300):
            assert (await post(server, {**CE, "id": id}, CLOUD)).status == 200
        assert len(await kept(live.log, "a")) == 2


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in CE.items() if key != name}


@pytest.mark.parametrize(
    ("event", "says"),
    [
        (without("id"), "missing required field `id`"),
        (without("specversion"), "missing required field `specversion`"),
        ({**CE, "specversion": "0.3"}, "Invalid enum value"),
        ({**CE, "source": ""}, "`id` and `source` of a CloudEvent are not empty"),
        ({**CE, "type": ""}, "name must be text of 1 to 128 characters"),
        ({**CE, "type": "triolet.bye"}, "name must not begin with"),
        ({**CE, "data_base64": "AAAA"}, "the data of"),
        (without("channel"), "no channel is named"),
    ],
)
async def test_what_is_wrong_with_a_cloud_event_is_said(
    event: dict[str, Any], says: str, autojump_clock: MockClock
) -> None:
    app, live = make_shop()
    async with serve(app) as server:
        answers = [
            (await post(server, event, CLOUD), None),
            (await post(server, [{**CE, "id": "1"}, event], BATCH), 2),
        ]
        if "data_base64" not in event:  # which is the body there
            headers = {f"ce_{name}": text for name, text in event.items()}
            answers.append((await post(server, b"1", "application/json", **headers), None))
        for told, line in answers:
            assert (told.status, told.json.get("line")) == (400, line)
            assert says in told.json["message"]
        assert await live.channels() == []


@pytest.mark.parametrize("name", ["channel", "id", "traceparent"])
async def test_an_attribute_of_a_cloud_event_that_stands_twice_is_refused(name: str, autojump_clock: MockClock) -> None:
    app, live = make_shop()
    event = json.dumps({**CE, "traceparent": "00-x", "data": {"id": {"id": 1}}}).encode()
    twice = b'{"%s":"first",%s' % (name.encode(), event[1:])
    async with serve(app) as server:
        for told, line in [
            (await post(server, twice, CLOUD), None),
            (await post(server, b"[%s,%s]" % (event, twice), BATCH), 2),
        ]:
            assert (told.status, told.json.get("line")) == (400, line)
            assert f"'{name}' stands twice in the event" in told.json["message"]
        told = await post(server, b"1", "application/json", **{f"ce_{name}": "x", f"Ce_{name}": "y"})
        assert told.status == 400
        assert f"an attribute of a CloudEvent stands twice: ce-{name}" in told.json["message"]
        assert await live.channels() == []


# --- a log that does not do


class Broken(MemoryLog):
    """A log in memory whose appends and commits fail as the test wants."""

    error: Exception | None = None

    async def append(self, channel: str, drafts: Sequence[Draft]) -> list[Event]:
        if self.error is not None:
            raise self.error
        return await super().append(channel, drafts)

    async def commit(self, *args: Any) -> Any:
        if self.error is not None:
            raise self.error
        return await super().commit(*args)


@pytest.mark.parametrize("channels", ["a", "ab"])
async def test_a_log_that_is_away_is_503_and_says_whether_it_may_be_stored(
    channels: str, autojump_clock: MockClock
) -> None:
    app, _ = make_shop()
    log = Broken()
    body = lines(*[{"channel": name, "data": 1} for name in channels])
    async with serve(app, log=log) as server:
        log.error = LogAway("no answer from the log for 5 s")
        told = await post(server, body, NDJSON)
        assert (told.status, told.headers["retry-after"], told.json["error"]) == (503, "1", "away")
        assert told.json["message"] == "no answer from the log for 5 s; nothing was stored"
        log.error = LogUncertain("the log went away")
        told = await post(server, body, NDJSON)
        assert (told.status, told.headers["retry-after"], told.json["error"]) == (503, "1", "uncertain")
        assert "it may be stored" in told.json["message"]
        log.error = None
        assert (await post(server, body, NDJSON)).status == 200


async def test_a_channel_that_has_ended_takes_nothing_and_neither_do_the_others(autojump_clock: MockClock) -> None:
    app, live = make_shop()
    async with serve(app) as server:
        await live.end("b")
        for body in (lines({"channel": "b", "data": 1}), lines(*[{"channel": name, "data": 1} for name in "ab"])):
            told = await post(server, body, NDJSON)
            assert (told.status, told.json["error"]) == (409, "ended")
            assert "'b' has ended" in told.json["message"]
        assert await kept(live.log, "a") == []


class Plain(Broken):
    """A log that stores one channel at a time."""

    @property
    def can_commit(self) -> bool:
        return False


async def test_a_log_that_cannot_store_several_channels_together_says_so(autojump_clock: MockClock) -> None:
    app, live = make_shop()
    async with serve(app, log=Plain()) as server:
        told = await post(server, lines(*[{"channel": name, "data": 1} for name in "ab"]), NDJSON)
        assert told.status == 400
        assert "Plain cannot store events of several channels in one step" in told.json["message"]
        assert await live.channels() == []
