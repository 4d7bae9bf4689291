"""How commands end that are clients."""

from __future__ import annotations

import signal
import sys

import pytest
import trio

from triolet import ConfigError
from triolet.cli.until_signal import until_signal
from triolet.workers.signals import Signals


def test_a_signal_ends_it_with_the_code_of_what_is_unfinished() -> None:
    async def call() -> int:
        signal.raise_signal(signal.SIGTERM)
        await trio.sleep_forever()
        return 0

    with Signals() as signals:
        assert until_signal(signals, call, unfinished=1) == 1
        assert until_signal(signals, call) == 0


def test_its_own_code_is_returned_and_its_own_error_is_raised() -> None:
    async def call() -> int:
        await trio.lowlevel.checkpoint()
        return 3

    async def fail() -> int:
        raise ConfigError("wrong")

    with Signals() as signals:
        assert until_signal(signals, call) == 3
        with pytest.raises(ConfigError, match="wrong"):
            until_signal(signals, fail)


def test_it_ends_where_nobody_reads_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    async def write() -> int:
        raise BrokenPipeError

    with monkeypatch.context() as patch, Signals() as signals:
        patch.setattr(sys, "stdout", sys.stdout)  # put back behind the test
        assert until_signal(signals, write, unfinished=1) == 1
        sys.stdout.close()
