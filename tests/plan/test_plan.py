"""The arithmetic of a plan against what was worked out by hand, and its figures against the benchmarks' tables."""

from __future__ import annotations

import csv
from typing import Any

import pytest

from tests.pages import kept
from triolet import ConfigError
from triolet.limits import Limits
from triolet.plan import FIGURES, Plan, Question, work_out

TABLES = kept("benchmarks")


def plan(clients: int, **more: Any) -> Plan:
    return work_out(Question(clients=clients, **more))


def test_240_000_at_60_000_a_server_are_four_five_is_tight_and_six_is_sensible() -> None:
    made = plan(240_000, a_server=60_000)
    assert (made.least, made.each_then) == (4, 80_000)
    assert (made.tight, made.servers) == (5, 6)
    assert (made.each, made.one.clients) == (40_000, 48_000)


def test_1_000_who_ask_every_2_seconds_are_500_requests_a_second() -> None:
    assert plan(1_000, transport="poll", poll=2).whole.polls == 500


def test_20_000_long_polls_of_25_seconds_are_800_a_second_and_720_kb_of_headers() -> None:
    whole = plan(20_000, transport="long-poll", wait=25, rate=0, header_bytes=900).whole
    assert (whole.polls, whole.header_bytes, whole.bytes) == (800, 720_000, 720_000)


def test_an_event_a_second_ends_every_long_poll() -> None:
    assert plan(20_000, transport="long-poll", rate=1).whole.polls == 20_000


def test_10_000_viewers_of_220_bytes_a_second_are_2_2_mb() -> None:
    assert plan(10_000, transport="sse", rate=1, event_bytes=220).whole.event_bytes == 2_200_000


def test_10_000_connections_are_500_beats_a_second_and_50_kb() -> None:
    whole = plan(10_000, heartbeat=20).whole
    assert (whole.beats, whole.beat_bytes) == (500, 50_000)


def test_a_worker_of_15_000_leaves_in_15_seconds_and_has_45_of_grace() -> None:
    made = plan(60_000, a_server=60_000, lost=0, room=0, cores=4, leaves=1_000)
    assert (made.servers, made.each, made.drain, made.grace) == (1, 60_000, 15, 45)
    assert made.returning == 12_000, "to itself, within 5 s"


def test_those_of_a_lost_server_come_to_the_others_within_the_spread() -> None:
    made = plan(240_000, a_server=60_000, spread=5)
    assert made.returning == 40_000 / 5 / 5
    assert made.returning_cores == pytest.approx(1_600 * FIGURES["return"].value / 1e6)


def test_what_one_client_costs_is_what_was_measured() -> None:
    one = plan(1, lost=0, room=0, rate=0, heartbeat=20).whole
    assert one.memory == pytest.approx(FIGURES["stream memory"].value * 1_000)
    assert one.cores * 60 == pytest.approx(FIGURES["idle stream"].value / 1e6), "in a minute, which has three beats"
    busy = plan(1, rate=10, heartbeat=20).whole
    assert busy.cores - one.cores == pytest.approx(10 * FIGURES["websocket delivery"].value / 1e6)
    polled = plan(1, transport="poll", poll=2).whole
    assert polled.cores == pytest.approx(FIGURES["poll"].value / 2 / 1e6)


@pytest.mark.parametrize(
    ("more", "bound"),
    [
        ({"memory": 1e9, "rate": 0}, "memory"),
        ({"memory": 1e12, "cores": 1, "rate": 10}, "cores"),
        ({"memory": 1e12, "cores": 2, "rate": 0}, "limits.connections"),
        ({"a_server": 10}, "as asked"),
    ],
)
def test_what_a_server_holds_is_bounded_by_what_is_spent_first(more: dict[str, Any], bound: str) -> None:
    made = plan(1_000_000, **more)
    assert made.bound == bound
    if bound == "limits.connections":
        assert made.capacity == 2 * Limits().connections
    if bound == "memory":  # half a gigabyte, less five processes
        assert made.capacity == int((0.5e9 - 5 * 65.4e6) / (15.9e3 + 10.3e3))


def test_source_ports_are_those_between_two_addresses() -> None:
    made = plan(240_000, a_server=60_000, proxies=2)
    assert made.ports == 24_000
    assert "net.ipv4.ip_local_port_range" not in {setting.name for setting in made.settings}, "28,232 are enough"
    alone = plan(240_000, a_server=60_000, proxies=1)
    (ports,) = [setting for setting in alone.settings if setting.where == "proxy"]
    assert (alone.ports, ports.command) == (48_000, "sysctl -w net.ipv4.ip_local_port_range='1024 65535'")
    assert "addresses" not in ports.why, "64,512 are enough"
    many = plan(240_000, a_server=300_000, proxies=1, lost=0, room=0)
    assert "give the proxy or the server 4 addresses as well" in many.settings[-1].why


@pytest.mark.parametrize(
    ("more", "names"),
    [
        ({"clients": 20, "a_server": 100}, []),
        ({"clients": 4_000, "a_server": 60_000, "lost": 0}, ["LimitNOFILE"]),
        (
            {"clients": 10**7, "a_server": 10**7, "lost": 0, "room": 0},
            [
                "LimitNOFILE",
                "fs.nr_open",
                "net.core.somaxconn",
                "net.ipv4.tcp_max_syn_backlog",
                "net.netfilter.nf_conntrack_max",
            ],
        ),
    ],
)
def test_what_the_defaults_do_not_hold_is_to_be_set(more: dict[str, Any], names: list[str]) -> None:
    made = plan(**more)
    assert [setting.name for setting in made.settings] == names
    assert all(setting.value in setting.command and setting.why for setting in made.settings)


def test_what_does_not_fit_is_said() -> None:
    assert plan(240_000, a_server=60_000).warnings == []
    told = plan(3_000_000, a_server=1_000_000, proxies=1, spread=1).warnings
    assert [sentence.split()[0] for sentence in told] == ["memory:", "CPU:", "the", "a", "of"]


def test_what_it_assumes_is_said_with_the_numbers_that_were_asked() -> None:
    told = " ".join(plan(10, rate=3, room=0.3, spread=7, heartbeat=9).assumes)
    assert all(part in told for part in ("30% of a server", "3 events a second", "within 7 s", "each 9 s"))


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"clients": 0}, "--clients 0: a number, more than 0"),
        ({"clients": -3}, "--clients -3"),
        ({"rate": -1}, "--rate -1: a number, 0 or more"),
        ({"rate": float("nan")}, "--rate nan"),
        ({"wait": float("inf")}, "--wait inf"),
        ({"room": 1}, "--room 1: a part: 0.95 at most"),
        ({"used": 2}, "--used 2: a part: 1 at most"),
        ({"a_server": 0}, "--a-server 0"),
        ({"transport": "pigeon"}, "--transport 'pigeon': one of"),
        ({"memory": 1e6}, "holds nobody: its memory"),
        ({"rate": 1e9}, "holds nobody: its cores"),
    ],
)
def test_a_number_that_can_be_none_is_said_in_a_sentence(more: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError) as raised:
        plan(**{"clients": 10, **more})
    assert says in str(raised.value)


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_what_stands_in_its_table(name: str) -> None:
    figure = FIGURES[name]
    text = (TABLES / f"{figure.table}.inc").read_text(encoding="utf-8")
    rows = list(
        csv.reader(line.strip() for line in text.splitlines() if line.startswith("   ") and ":" not in line[:5])
    )
    head, *rows = [row for row in rows if len(row) > 1]
    (row,) = [row for row in rows if row[0] == figure.row]
    cell = float(row[head.index(figure.column)].split(" ")[0].replace(",", ""))
    assert figure.value == pytest.approx(cell / figure.over, rel=0.01)
