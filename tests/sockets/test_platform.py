"""The options of sockets that are not everywhere."""

from __future__ import annotations

import socket

import pytest

from triolet.sockets import platform


def test_linux_has_all_options() -> None:
    if not platform.LINUX or not hasattr(socket, "TCP_USER_TIMEOUT"):
        pytest.skip("this is another system, or is played")
    assert dict(platform.tcp_options(7, 3)) == {socket.TCP_NOTSENT_LOWAT: 7, socket.TCP_USER_TIMEOUT: 3_000}


def test_what_is_missing_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(socket, "TCP_NOTSENT_LOWAT", raising=False)
    monkeypatch.delattr(socket, "TCP_USER_TIMEOUT", raising=False)
    assert list(platform.tcp_options(7, 3)) == []


def test_macos_has_a_name_of_its_own_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(socket, "TCP_NOTSENT_LOWAT", raising=False)
    monkeypatch.delattr(socket, "TCP_USER_TIMEOUT", raising=False)
    monkeypatch.setattr("sys.platform", "darwin")
    assert list(platform.tcp_options(7, 3)) == [(platform.TCP_RXT_CONNDROPTIME, 3)]
