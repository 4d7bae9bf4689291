"""How a page connects and follows, and what a test looks at in it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.e2e.browser import Tab

__all__ = ["channel_of", "join"]


def channel_of(request: pytest.FixtureRequest) -> str:
    """A channel that no other test uses."""
    return "".join(letter if letter.isalnum() else "-" for letter in request.node.name)


def join(page: Tab, channel: str, follows: tuple[Any, ...] = ("0",), **options: Any) -> None:
    """Connect, follow the channel from each of the cursors (None: from now on), and note what comes in ``heard``."""
    page.evaluate(
        f"""(async () => {{
            const {{connect}} = await import("/triolet/triolet.js");
            globalThis.client = connect("/", {json.dumps(options)});
            globalThis.heard = [];
            globalThis.states = [];
            client.on("state", (state) => states.push(state));
            globalThis.follows = {json.dumps(follows)}.map((after, index) => {{
                heard.push([]);
                const follow = client.follow("c/{channel}/events", {{after: after ?? undefined}});
                follow.on("event", (event) => heard[index].push(event.data));
                follow.on("gap", (gap) => heard[index].push(gap.reason));
                follow.on("fault", (fault) => heard[index].push(fault.kind));
                return follow;
            }});
            await client.ready({{timeout: 20_000}});
        }})()"""
    )
