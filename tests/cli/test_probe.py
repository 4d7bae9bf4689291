"""``triolet probe``: what it understands, and how it says what it has found."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any, get_args

import pytest
import trio
from trio.testing import MockClock

from tests.pages import text_of
from tests.shop import ORDERS, make_shop
from triolet.cli import main
from triolet.cli.probe import add_probe_arguments, probe_to
from triolet.probe import CURES, PROXIES
from triolet.probe.findings import Fault
from triolet.testing import proxy, serve

URL = f"http://shop.test{ORDERS}"
ROOT = Path(__file__).parents[2]


def parsed(*written: str, url: str = URL) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_probe_arguments(parser)
    return parser.parse_args([url, *written])


async def said(*written: str, url: str = URL, **manner: Any) -> tuple[int, list[str]]:
    """The exit code and what is printed, of a shop behind a proxy."""
    app, _ = make_shop()
    lines: list[str] = []
    async with serve(app) as server, proxy(server, **manner) as front:

        async def dial(host: str, port: int) -> trio.abc.Stream:
            await trio.lowlevel.checkpoint()
            return front.connect()

        code = await probe_to(lines.append, parsed(*written, url=url), dial=dial)
    return code, lines


async def test_all_is_well_and_it_exits_with_0(autojump_clock: MockClock) -> None:
    code, lines = await said()
    assert code == 0
    assert lines[0].startswith(f"{URL}, in 30")
    assert [line.split()[0] for line in lines[1:-1]] == ["ok"] * 10 + ["unknown"]
    assert lines[-1] == "clients would choose websocket; what works: websocket, sse, long-poll, poll"


async def test_what_is_broken_has_its_cure_below_it_and_it_exits_with_1(autojump_clock: MockClock) -> None:
    code, lines = await said(strips_upgrade=True)
    assert code == 1
    (at,) = [number for number, line in enumerate(lines) if line.startswith("  broken")]
    assert "websocket" in lines[at]
    assert lines[at + 1].strip() == "nginx: write   proxy_http_version 1.1;"
    assert any("apache" in line for line in lines), "nobody says whose proxy it is, so all are told"
    assert "haproxy" not in "".join((await said("--proxy", "caddy", strips_upgrade=True))[1])


@pytest.mark.parametrize("form", [[], ["--json"]])
async def test_what_it_prints_has_no_secret_of_the_url_and_nothing_for_a_terminal(
    form: list[str], autojump_clock: MockClock
) -> None:
    _, lines = await said(*form, url=f"{URL}?ticket=CANARY&x\x9b\u202e=CANARY&after=0")
    told = "\n".join(lines)
    assert f"{URL}?ticket=…&x" in told
    assert "=…&after=0" in told
    assert not {"\x9b", "\u202e"} & set(told)
    assert "CANARY" not in told


async def test_it_is_said_as_json(autojump_clock: MockClock) -> None:
    code, (line,) = await said("--json", "--silence", "25", idle_timeout=10)
    told = json.loads(line)
    assert code == 1
    assert (told["ok"], told["faults"], told["chosen"]) == (False, ["idle"], "websocket")
    assert told["cures"]["idle"]["nginx"] == {"write": ["proxy_read_timeout 60s;"]}
    assert told["transports"] == {"websocket": True, "sse": True, "long-poll": False, "poll": True}
    assert {finding["check"]: finding["state"] for finding in told["findings"]}["silence"] == "broken"


@pytest.mark.parametrize(
    ("written", "says"),
    [
        (["ftp://shop.test/x"], "no URL of a channel"),
        (["http://[::1/x"], "no URL of a channel"),
        (
            ["http://ann:secret@shop.test/x"],
            "'http://…@shop.test/x' has a user and a password in it: say who asks",
        ),
        (["ftp://ann:secret@shop.test/x"], "no URL of a channel"),
        (["http://ann:secret@[::1/x"], "no URL of a channel"),
        ([URL, "--silence", "0"], "must be 1 to 600 seconds"),
        ([URL, "--silence", "long"], "must be 1 to 600 seconds"),
        ([URL, "--origin", "shop"], "it begins with its scheme"),
        ([URL, "--origin", "https://*.shop.example"], "one origin, and no pattern"),
        ([URL, "--proxy", "varnish"], "invalid choice"),
        ([URL, "--after", "3"], "unrecognized arguments"),
    ],
)
def test_a_wrong_command_line_is_said_and_it_exits_with_2(
    written: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["probe", *written])
    assert ended.value.code == 2
    told = capsys.readouterr()
    assert says in told.err
    assert "secret" not in told.err
    assert "listens" not in told.err
    assert not told.out


def test_a_token_that_is_none_is_said_in_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["probe", URL, "--token", "a b"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "visible ASCII" in line


def test_the_proxies_to_choose_from_are_those_that_are_known(capsys: pytest.CaptureFixture[str]) -> None:
    for name in (*PROXIES, "all"):
        assert parsed("--proxy", name).proxy == name


def test_every_fault_and_option_is_on_the_page() -> None:
    page = text_of("probing.rst")
    parser = argparse.ArgumentParser(add_help=False)
    add_probe_arguments(parser)
    options = [option for action in parser._actions for option in action.option_strings]
    assert [name for name in (*get_args(Fault), *options) if f"``{name}" not in page] == []
    assert {*get_args(Fault)} - CURES.keys() == {"refused", "unlisted origin"}
