"""``triolet follow`` prints what a channel gives, and says in a sentence what is wrong."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.shop import ORDER, ORDERS, make_shop
from triolet import Reducer
from triolet.cli import main
from triolet.cli.command import COMMANDS
from triolet.cli.follow import add_follow_arguments, follow_to
from triolet.testing import MemoryServer, serve

URL = f"http://shop.test{ORDERS}"


async def printed(server: MemoryServer, *written: str, url: str = URL) -> list[Any]:
    """What the command prints."""
    parser = argparse.ArgumentParser()
    add_follow_arguments(parser)
    lines: list[bytes] = []

    async def dial(host: str, port: int) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        return server.connect()

    await follow_to(lines.append, parser.parse_args([url, *written]), dial=dial)
    return [json.loads(line) for line in lines]


async def test_each_item_is_a_line_as_on_the_wire(
    autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    app, live = make_shop()
    async with serve(app) as server:
        first = await live.publish(ORDER, {"a": "ä"}, name="paid", key="k")
        await live.publish(ORDER, 2)
        for transport in ("websocket", "sse", "poll"):
            lines = await printed(server, "--after", "0", "--count", "2", "--transport", transport, "--verbose")
            assert [line["type"] for line in lines] == ["event", "event"]
            assert lines[0] == {
                "type": "event",
                "channel": ORDER,
                "id": str(first.cursor),
                "event": "paid",
                "data": {"a": "ä"},
                "time": int(first.published_at * 1000),
                "key": "k",
            }
        said = capsys.readouterr().err
        assert "triolet: behind\ntriolet: live\n" in said
        gap, live_line = (await printed(server, "--after", "other.7", "--count", "1"))[0:2]
        assert (gap["type"], gap["reason"]) == ("gap", "epoch")
        assert live_line["type"] == "event"


async def test_a_store_goes_on_where_the_last_run_ended(tmp_path: Path, autojump_clock: MockClock) -> None:
    app, live = make_shop()
    async with serve(app) as server:
        for number in range(4):
            await live.publish(ORDER, number)
        heard = [
            [
                line["data"]
                for line in await printed(server, "--after", "0", "--store", str(tmp_path / "c"), "--count", "2")
            ]
            for _ in range(2)
        ]
        assert heard == [[0, 1], [2, 3]]


@pytest.mark.parametrize("transport", ["websocket", "sse", "long-poll", "poll"])
async def test_the_end_is_the_last_line(transport: str, tmp_path: Path, autojump_clock: MockClock) -> None:
    app, live = make_shop()
    async with serve(app) as server:
        await live.publish(ORDER, 1)
        end = await live.end(ORDER, {"outcome": "done"})
        line = {"type": "end", "cursor": str(end.cursor), "data": {"outcome": "done"}}
        asked = ("--after", "0", "--transport", transport, "--store", str(tmp_path / "c"))
        first, last = await printed(server, *asked)
        assert (first["data"], last) == (1, line)
        assert await printed(server, *asked) == [line]


@pytest.mark.parametrize("transport", ["websocket", "sse", "long-poll", "poll"])
async def test_a_state_and_folded_events_are_asked_for(transport: str, autojump_clock: MockClock) -> None:
    app, live = make_shop()

    @live.channel("/text/events", snapshot=Reducer(lambda text, event: text + event.data, initial="", name="texts"))
    async def text_events() -> str:
        return "text"

    async with serve(app) as server:
        for letter in "ab":
            at = await live.publish("text", letter, key="k", fold="concat")
        await live.end("text")
        asked = ("--transport", transport)
        (event, _) = await printed(server, "--after", "0", "--fold", *asked, url="http://shop.test/text/events")
        assert event.pop("time") > 0
        assert event == {
            "type": "event",
            "channel": "text",
            "id": str(at.cursor),
            "event": "message",
            "data": "ab",
            "key": "k",
            "fold": "concat",
            "folded": 2,
        }
        (state, end) = await printed(server, "--snapshot", *asked, url="http://shop.test/text/events")
        assert state == {"type": "snapshot", "cursor": end["cursor"], "data": "ab", "missed": 0}
        assert end["type"] == "end"


@pytest.mark.parametrize(
    ("written", "says"),
    [
        (["/orders"], "no URL of a channel"),
        ([URL, "--after", "now"], "'now' is no cursor"),
        ([URL, "--token", "a b"], "visible ASCII"),
        ([URL, "--header", "X"], "'Name: text'"),
        ([URL, "--transport", "pigeon"], "each of websocket"),
        (["http://a:b@shop.test/x"], "has a user and a password in it: say who asks with --token"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(written: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["follow", *written]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert says in line


@pytest.mark.parametrize("after", ["-epoch.3", "--_.0", "-50", "x.3"])
def test_a_cursor_may_begin_with_a_minus(after: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[argparse.Namespace] = []

    def run(options: argparse.Namespace, _: object) -> int:
        asked.append(options)
        return 0

    monkeypatch.setitem(COMMANDS, "follow", (*COMMANDS["follow"][:2], run))
    assert main(["follow", URL, "--after", after, "--verbose"]) == 0
    assert (asked[0].after, asked[0].verbose) == (after, True)


async def test_nothing_for_a_terminal_is_printed_and_the_json_says_it_all_the_same(autojump_clock: MockClock) -> None:
    app, live = make_shop()
    lines: list[bytes] = []

    async with serve(app) as server:
        said = {"a\x7f\x9b31m": "\u202e\u2066\x85\u2028\x1b[31m\n"}
        await live.publish(ORDER, said, name="x\x9b", key="\u2067")

        async def dial(host: str, port: int) -> trio.abc.Stream:
            await trio.lowlevel.checkpoint()
            return server.connect()

        parser = argparse.ArgumentParser()
        add_follow_arguments(parser)
        await follow_to(lines.append, parser.parse_args([URL, "--after", "0", "--count", "1"]), dial=dial)
    (line,) = lines
    assert json.loads(line)["data"] == said
    assert line.decode().removesuffix("\n").isprintable()
