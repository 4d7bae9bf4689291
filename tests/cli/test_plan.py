"""``triolet plan``: what it understands, and how it says what came of it."""

from __future__ import annotations

import io
import json
import sys

import pytest

from triolet.cli import main
from triolet.cli.plan import OPTIONS
from triolet.plan import Question


def test_a_plan_is_said_in_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--clients", "240000", "--a-server", "60000", "--proxies", "1"]) == 0
    told = capsys.readouterr().out
    assert "servers           6: 40,000 clients each, 48,000 with 1 away" in told
    assert "4 would hold them; with 1 away, 80,000 each" in told
    assert "5 would be tight" in told
    assert "systemctl edit shop  # [Service] LimitNOFILE=16384" in told
    assert "sysctl -w net.ipv4.ip_local_port_range='1024 65535'" in told
    assert "7.91 µs: CPU of an event to one client" in told


def test_a_plan_is_said_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        main(["plan", "--clients", "20000", "--transport", "long-poll", "--rate", "0", "--memory", "16G", "--json"])
        == 0
    )
    told = json.loads(capsys.readouterr().out)
    assert (told["whole"]["polls"], told["question"]["memory"]) == (800, 16e9)
    assert told["figures"]["return"]["table"] == "held-killed"


@pytest.mark.parametrize(
    ("written", "code", "says"),
    [
        ([], 2, "required: --clients"),
        (["--clients", "many"], 2, "argument --clients: 'many' is no whole number, as 1000"),
        (["--clients", "10", "--rate", "much"], 2, "argument --rate: 'much' is no number, as 1.5"),
        (["--clients", "10", "--rate=--"], 2, "--rate=--: -- is no value"),
        (["--clients", "5", "--memory", "x"], 2, "bytes, as 16G or 512M"),
        (["--clients", "5", "--transport", "pigeon"], 2, "invalid choice"),
        (["--clients", "0"], 1, "triolet: --clients 0: a number, more than 0"),
    ],
)
def test_what_is_wrong_is_said(written: list[str], code: int, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        ended = main(["plan", *written])
    except SystemExit as exit_:
        ended = int(exit_.code or 0)
    assert ended == code
    assert says in capsys.readouterr().err


def test_nobody_has_to_read_to_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", Gone())
        assert main(["plan", "--clients", "5"]) == 0
        sys.stdout.close()


def test_every_field_of_a_question_has_its_option() -> None:
    assert {name for name, *_ in OPTIONS} | {"clients", "transport"} == {*Question.__struct_fields__}
