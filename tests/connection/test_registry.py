"""The registry: which connections are open, and what was last seen of those that ended."""

from __future__ import annotations

from triolet.connection import Registry


class Numbered:
    """What the registry knows of a connection."""

    def __init__(self, number: int) -> None:
        self.id = number


def seen(conn: Numbered) -> str:
    return f"connection {conn.id}"


def test_one_that_is_open_is_found_by_its_number() -> None:
    registry = Registry[Numbered, str](seen)
    conn = Numbered(7)
    registry.add(conn)
    assert registry.open == {7: conn}
    assert not registry.ended


def test_one_that_ends_is_looked_at_once() -> None:
    registry = Registry[Numbered, str](seen)
    conn = Numbered(7)
    registry.add(conn)
    assert [registry.remove(conn), registry.remove(conn)] == [True, False]
    assert (registry.open, [*registry.ended]) == ({}, ["connection 7"])


def test_one_that_was_never_open_leaves_no_trace() -> None:
    registry = Registry[Numbered, str](seen)
    assert not registry.remove(Numbered(7))
    assert not registry.ended


def test_only_the_latest_that_ended_are_remembered() -> None:
    registry = Registry[Numbered, str](seen, 2)
    for number in range(5):
        conn = Numbered(number)
        registry.add(conn)
        registry.remove(conn)
    assert [*registry.ended] == ["connection 3", "connection 4"]


def test_without_a_way_to_look_nothing_is_remembered() -> None:
    registry = Registry[Numbered, str]()
    conn = Numbered(7)
    registry.add(conn)
    assert registry.remove(conn)
    assert not registry.ended
