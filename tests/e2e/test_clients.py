"""Clients of other people against a real server: what each hears, drops, comes back for, and is told."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import httpx
import pytest

from .clients import CLIENTS, Client, HttpxSse, LongPoll, NodeEventSource, ShortPoll, Websockets
from .needs import needs, program
from .server import Server, serving, wait_for

every_client = pytest.mark.parametrize(
    "kind", [pytest.param(kind, id=name, marks=needs(*tools)) for name, (kind, tools) in CLIENTS.items()]
)
every_stream = pytest.mark.parametrize(
    "kind",
    [pytest.param(kind, id=name, marks=needs(*tools)) for name, (kind, tools) in CLIENTS.items() if kind.streams],
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    limits = {"beat_seconds": 0.5, "keep_events": 50}
    with serving(tmp_path_factory.mktemp("clients"), log="sqlite:///events.db", limits=limits) as server:
        yield server
        assert not server.crashes()


@pytest.fixture
def channel(request: pytest.FixtureRequest) -> str:
    """A channel that no other test uses."""
    return "".join(letter if letter.isalnum() else "-" for letter in request.node.name)


def url(server: Server, channel: str) -> str:
    return f"{server.url}/c/{channel}/events"


def offset(cursor: str) -> int:
    return int(cursor.rpartition(".")[2])


@every_client
def test_a_client_that_comes_back_misses_and_repeats_nothing(server: Server, channel: str, kind: type[Client]) -> None:
    ids = server.publish_many(channel, ["before 1", "before 2"])
    client = kind(url(server, channel), "0")
    client.hears("event", 2)
    client.hears("live")
    ids += [server.publish(channel, {"live": 1}), server.publish(channel, {"live": 2}, name="paid")]
    client.hears("event", 4)
    client.cut()
    ids += server.publish_many(channel, ["while away", "and more"])
    back = kind(url(server, channel), client.cursor)
    back.hears("event", 2)
    ids.append(server.publish(channel, "live again", name="packed"))
    back.hears("event", 3)
    back.cut()
    heard = client.events + back.events
    assert [event["id"] for event in heard] == ids
    assert [event["event"] for event in heard] == [*["message"] * 3, "paid", "message", "message", "packed"]
    assert [event["data"] for event in heard] == [
        *("before 1", "before 2", {"live": 1}, {"live": 2}),
        *("while away", "and more", "live again"),
    ]
    assert not client.of("gap") + back.of("gap")


@every_client
def test_a_client_without_a_cursor_hears_what_comes_from_now_on(
    server: Server, channel: str, kind: type[Client]
) -> None:
    head = server.publish(channel, "long ago")
    client = kind(url(server, channel))
    assert client.hears("live")[0]["cursor"] == head
    server.publish(channel, "news")
    client.hears("event")
    client.cut()
    assert client.data == ["news"]
    if kind.streams:
        assert [message["type"] for message in client.messages[:2]] == ["open", "live"]
        assert client.messages[0]["cursor"] == head


@every_client
def test_a_client_of_another_epoch_is_told_so(server: Server, channel: str, kind: type[Client]) -> None:
    server.publish_many(channel, [1, 2, 3])
    client = kind(url(server, channel), "another.2")
    client.hears("event", 3)
    client.cut()
    (gap,) = client.of("gap")
    assert (gap["reason"], gap["from"], gap["missed"]) == ("epoch", "another.2", None)
    assert offset(gap["to"]) == 0
    assert client.data == [1, 2, 3]


@every_client
def test_a_client_from_the_future_is_told_so(server: Server, channel: str, kind: type[Client]) -> None:
    head = server.publish(channel, 1)
    client = kind(url(server, channel), head.rpartition(".")[0] + ".9000")
    client.hears("gap")
    server.publish(channel, 2)
    client.hears("event")
    client.cut()
    (gap,) = client.of("gap")
    assert (gap["reason"], gap["to"], gap["missed"]) == ("future", head, None)
    assert client.data == [2]


@every_client
def test_a_client_that_was_away_too_long_is_told_what_it_missed(
    server: Server, channel: str, kind: type[Client]
) -> None:
    ids = server.publish_many(channel, list(range(1, 201)))
    client = kind(url(server, channel), ids[1])
    wait_for(lambda: client.ended or client.data[-1:] == [200], "the newest event")
    client.cut()
    (gap,) = client.of("gap")
    assert (gap["reason"], gap["from"]) == ("expired", ids[1])
    assert offset(gap["to"]) == 2 + gap["missed"]
    assert client.data == list(range(offset(gap["to"]) + 1, 201))
    assert len(client.data) >= 50


@every_stream
def test_a_quiet_client_hears_beats_with_its_cursor(server: Server, channel: str, kind: type[Client]) -> None:
    head = server.publish(channel, 1)
    client = kind(url(server, channel))
    beats = client.hears("beat", 2)
    client.cut()
    assert beats[0]["cursors"] == {f"c/{channel}": head}
    assert beats[0]["time"] <= beats[1]["time"]


@every_stream
def test_a_client_is_told_when_the_server_ends(tmp_path: Path, kind: type[Client]) -> None:
    with serving(tmp_path) as server:
        client = kind(url(server, "end"), "0")
        client.hears("live")
        assert server.terminate() == 0
        (bye,) = client.hears("bye")
        client.cut()
    assert bye["code"] == 1012
    assert isinstance(bye["retry"], int)
    if codes := client.of("close"):
        assert codes[0]["code"] == 1012


@needs("node", "npm:eventsource")
def test_an_event_source_comes_back_by_itself(tmp_path: Path) -> None:
    server = Server(tmp_path, log="sqlite:///events.db")
    server.start()
    try:
        client = NodeEventSource(url(server, "back"), "0")
        client.hears("live")
        ids = [server.publish("back", 1)]
        client.hears("event")
        server.kill()
        server.start()
        ids += [server.publish("back", 2), server.publish("back", 3)]
        client.hears("event", 3)
        client.cut()
        assert [event["id"] for event in client.events] == ids
        assert [message["type"] for message in client.messages].count("open") == 2
    finally:
        server.kill()


def test_all_transports_agree(server: Server, channel: str) -> None:
    values: list[Any] = [
        None,
        0,
        -1.5,
        "",
        "é\u2028\U0001f9a6",
        [],
        {"a": [1, {"b": None}]},
        "data: x\n\nevent: y",
        2**53,
    ]
    for number, value in enumerate(values):
        server.publish(channel, value, name=["message", "paid", "packed"][number % 3])
    heard = []
    for kind in (HttpxSse, Websockets, LongPoll, ShortPoll):
        client = kind(url(server, channel), "0")
        client.hears("event", len(values))
        client.hears("live")
        client.cut()
        heard.append([(event["id"], event["event"], event["data"]) for event in client.events])
    assert heard[0] == heard[1] == heard[2] == heard[3]
    assert [data for _, _, data in heard[0]] == values
    assert [offset(cursor) for cursor, _, _ in heard[0]] == list(range(1, len(values) + 1))


# --- answers, with curl


def curl(*arguments: str) -> tuple[int, dict[str, str], bytes]:
    """Run curl, and return status, headers (in small letters) and body."""
    done = subprocess.run([program("curl"), "-sS", "-i", "-m", "10", *arguments], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return parsed(done.stdout)


def parsed(said: bytes) -> tuple[int, dict[str, str], bytes]:
    """Status, headers (in small letters) and body of an answer."""
    head, _, body = said.partition(b"\r\n\r\n")
    status, *lines = head.decode("latin-1").split("\r\n")
    return int(status.split()[1]), {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines)}, body


@needs("curl")
@pytest.mark.parametrize("cursor", ["x", "-0", "1.2.3", "9" * 5_000, "%00", ".1", "a.", "1%20", "%0d%0a1"])
@pytest.mark.parametrize("question", ["", "&wait=1"], ids=["short", "long"])
@pytest.mark.parametrize("accept", ["application/json", "text/event-stream"], ids=["poll", "stream"])
def test_a_malformed_cursor_is_answered_with_what_a_cursor_looks_like(
    server: Server, cursor: str, question: str, accept: str
) -> None:
    status, headers, body = curl("-H", f"Accept: {accept}", f"{server.url}/c/x/events?after={cursor}{question}")
    assert status == 400
    assert headers["content-type"].startswith("application/json")
    error = json.loads(body)
    assert error["error"] == "cursor"
    assert "<epoch>.<offset>" in error["message"]


@needs("curl")
def test_the_last_event_id_wins_over_the_query(server: Server, channel: str) -> None:
    ids = server.publish_many(channel, [1, 2, 3])
    _, _, body = curl("-H", f"Last-Event-ID: {ids[1]}", f"{url(server, channel)}?after={ids[0]}")
    assert [event["data"] for event in json.loads(body)["events"]] == [3]
    status, _, body = curl("-H", "Last-Event-ID: nonsense", f"{url(server, channel)}?after={ids[0]}")
    assert (status, json.loads(body)["gap"]["reason"]) == (200, "epoch")  # another server's, which is no error
    status, _, _ = curl(f"{url(server, channel)}?after=nonsense")
    assert status == 400


@needs("curl")
def test_a_short_poll_with_nothing_new_costs_a_304(server: Server, channel: str) -> None:
    first = server.publish(channel, 1)
    status, headers, body = curl(f"{url(server, channel)}?after=0")
    answer = json.loads(body)
    assert (status, answer["cursor"], answer["gap"], answer["live"]) == (200, first, None, True)
    assert answer["retry"] > 0
    again = ("-H", f"If-None-Match: {headers['etag']}", f"{url(server, channel)}?after=0")
    status, _, body = curl(*again)
    assert (status, body) == (304, b"")
    server.publish(channel, 2)
    status, _, body = curl(*again)
    assert (status, [event["data"] for event in json.loads(body)["events"]]) == (200, [1, 2])


@needs("curl")
def test_a_long_poll_answers_at_once_when_there_is_something(server: Server, channel: str) -> None:
    head = server.publish(channel, 1)
    held = subprocess.Popen(
        [program("curl"), "-sS", f"{url(server, channel)}?after={head}&wait=20"], stdout=subprocess.PIPE
    )
    try:
        assert held.poll() is None
        server.publish(channel, 2)
        answer = json.loads(held.communicate()[0])
    finally:
        held.kill()
        held.wait()
    assert [event["data"] for event in answer["events"]] == [2]
    assert answer["retry"] == 0


@needs("curl")
def test_a_long_poll_ends_with_nothing_and_the_same_cursor(server: Server, channel: str) -> None:
    head = server.publish(channel, 1)
    status, _, body = curl(f"{url(server, channel)}?after={head}&wait=0.1")
    answer = json.loads(body)
    assert (status, answer["events"], answer["cursor"], answer["live"]) == (200, [], head, True)


@needs("curl")
def test_a_stream_says_that_nobody_may_keep_or_buffer_it(server: Server, channel: str) -> None:
    asks = ["-sS", "-i", "-N", "--compressed", "-H", "Accept: text/event-stream", url(server, channel)]
    with subprocess.Popen([program("curl"), *asks], stdout=subprocess.PIPE) as following:
        assert following.stdout is not None
        said = b""
        while b"retry:" not in said and (line := following.stdout.readline()):
            said += line
        following.kill()
    status, headers, body = parsed(said)
    assert status == 200
    assert headers["content-type"].startswith("text/event-stream")
    assert headers["cache-control"] == "no-store, no-transform"
    assert headers["x-accel-buffering"] == "no"
    assert "content-encoding" not in headers
    assert body.lstrip().startswith((b"retry:", b"b\r\nretry:"))


@needs("curl")
@pytest.mark.parametrize("accept", ["*/*", "text/event-stream"])
def test_absent_and_forbidden_are_what_the_view_says(server: Server, accept: str) -> None:
    for channel, status in (("forbidden", 403), ("absent", 404)):
        assert curl("-H", f"Accept: {accept}", url(server, channel))[0] == status


@pytest.mark.parametrize("path", ["/", "/nothing", "/c/x/events", "/c/x/events?after=x", "/triolet/triolet.js"])
def test_no_answer_names_the_server(server: Server, path: str) -> None:
    answer = httpx.get(server.url + path)
    assert "server" not in answer.headers
    assert "x-powered-by" not in answer.headers


@needs("node", "npm:ws")
def test_one_socket_follows_many_channels_by_their_urls(server: Server, channel: str) -> None:
    names = [f"{channel}-{number}" for number in range(3)]
    cursors = [server.publish(name, name) for name in names]
    follows: list[dict[str, Any]] = [
        *({"type": "follow", "url": f"/c/{name}/events", "after": "0"} for name in names),
        {"type": "follow", "url": "/c/forbidden/events"},
        {"type": "follow", "url": "/c/absent/events"},
    ]
    process = subprocess.Popen(
        [
            program("node"),
            str(Path(__file__).parent / "js" / "ws.mjs"),
            f"{server.websocket_url}/talk",
            *map(json.dumps, follows),
            json.dumps({"type": "message", "data": {"hello": 1}}),
        ],
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        said = (message for line in process.stdout if (message := json.loads(line))["type"] != "beat")
        heard = list(islice(said, 1 + 3 * 3 + 2 + 1))
    finally:
        process.kill()
        process.communicate()
    assert heard[0] == {"type": "open", "channel": None, "cursor": None}
    opened = {message["channel"]: message["url"] for message in heard[1:] if message["type"] == "open"}
    assert opened == {f"c/{name}": f"/c/{name}/events" for name in names}
    events = {message["channel"]: message["id"] for message in heard if message["type"] == "event"}
    assert events == {f"c/{name}": cursor for name, cursor in zip(names, cursors, strict=True)}
    refused = [message for message in heard if message["type"] == "refused"]
    assert sorted(message["url"] for message in refused) == ["/c/absent/events", "/c/forbidden/events"]
    assert all(message.keys() == {"type", "url"} for message in refused), "absent and forbidden look the same"
    assert {"type": "message", "data": {"echo": {"hello": 1}}} in heard
