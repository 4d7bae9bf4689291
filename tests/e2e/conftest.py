"""What end-to-end tests share: what they start ignores no signal, and what a second interpreter need not repeat."""

from __future__ import annotations

import os
import signal

import pytest

# What runs under nohup, or behind & in a script, ignores SIGHUP or SIGINT, and so does all that it starts: Triolet
# leaves ignored what it finds so. A handler, unlike that, is not handed down.
for number in (signal.SIGHUP, signal.SIGINT):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, lambda *_: None)

HANGS_AFTER = 400.0
"""Seconds after which a test counts as one that hangs. It is no promise, and nothing else bounds how long a child that
is waited for may take: on a machine with other work on it what takes nine seconds took two minutes."""
OURS = {"openssl"}
"""Programs that only prepare a test, of what is Python's."""


def pytest_itemcollected(item: pytest.Item) -> None:
    if item.get_closest_marker("timeout") is None:
        item.add_marker(pytest.mark.timeout(HANGS_AFTER))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where all has run on another interpreter (``AGAIN=yes``) leave out what needs a program that has a part in it (a
    browser, a proxy, Redis, node): that is the same on each Python. The promises over the real paths are kept again."""
    if os.environ.get("AGAIN") != "yes":
        return
    left_out = [item for item in items if _is_of_others(item)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in set(left_out)]


def _is_of_others(item: pytest.Item) -> bool:
    needed = {tool for mark in item.iter_markers("needs") for tool in mark.args}
    return "e2e" in item.path.parts and item.path.parent.name != "paths" and bool(needed - OURS)
