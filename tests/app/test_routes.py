"""A Triolet route takes what Quart's ``route`` takes, and behaves as it does."""

from __future__ import annotations

import math
from typing import Any

import pytest
from quart import Blueprint
from quart_trio import QuartTrio
from trio.testing import MockClock

from triolet import ConfigError, Connection, Triolet, policies
from triolet.testing.clients import TRANSPORTS
from triolet.testing.server import MemoryServer, serve


async def status(server: MemoryServer, transport: str, path: str, host: str = "test") -> int:
    """Ask for a transport under a host's name, and return the answer's status."""
    headers = {"host": host}
    if transport == "websocket":
        return (await server.upgrade(path, headers)).status
    if transport == "sse":
        async with server.events(path, headers=headers) as stream:
            return stream.status
    return (await server.request("GET", path + ("?wait=1" if transport == "long poll" else ""), headers)).status


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_channel_lives_under_the_host_it_names(transport: str, autojump_clock: MockClock) -> None:
    app = QuartTrio("hosts", host_matching=True, static_folder=None)
    live = Triolet(app)

    @live.channel("/news", host="shop.example")
    async def news() -> str:
        return "news"

    @live.channel("/own", host="<tenant>.example")
    async def own(tenant: str) -> str:
        return f"own/{tenant}"

    @app.get("/news", host="other.example")
    async def other() -> str:
        return "another page"

    welcome = 101 if transport == "websocket" else 200
    async with serve(app) as server:
        assert await status(server, transport, "/news", "shop.example") == welcome
        assert await status(server, transport, "/own", "ada.example") == welcome
        assert await status(server, transport, "/news", "else.example") == 404
        for host in ("shop.example", "other.example", "anything:8000"):
            assert (await server.request("GET", "/triolet/triolet.js", {"host": host})).status == 200
            assert (await server.request("GET", "/triolet/none.js", {"host": host})).status == 404


async def test_a_socket_lives_under_the_host_it_names_and_follows_there(autojump_clock: MockClock) -> None:
    app = QuartTrio("hosts", host_matching=True, static_folder=None)
    live = Triolet(app)
    live.socket("/live", host="test")
    live.socket("/live", host="b.example", raw=True)

    @live.channel("/news", host="<name>")
    async def news(name: str) -> str:
        return f"news/{name}"

    async with serve(app) as server, server.websocket("/live") as client:
        assert (await client.follow("/news"))["channel"] == "news/test"
        assert await status(server, "websocket", "/live", "b.example") == 101
        assert await status(server, "websocket", "/live", "c.example") == 404


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_channel_lives_under_the_subdomain_it_names(transport: str, autojump_clock: MockClock) -> None:
    app = QuartTrio("subdomains", subdomain_matching=True, static_folder=None)
    app.config["SERVER_NAME"] = "shop.example"
    live = Triolet(app)

    @live.channel("/news", subdomain="live")
    async def news() -> str:
        return "news"

    async with serve(app) as server:
        assert await status(server, transport, "/news", "live.shop.example") == (
            101 if transport == "websocket" else 200
        )
        assert await status(server, transport, "/news", "shop.example") == 404


@pytest.mark.parametrize("blueprint", [False, True])
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_view_stands_at_several_rules_with_defaults(
    transport: str, blueprint: bool, autojump_clock: MockClock
) -> None:
    app, live = QuartTrio("pages"), Triolet()
    part = Blueprint("part", "part") if blueprint else None

    @live.channel("/news/", defaults={"topic": "all"}, blueprint=part)
    @live.channel("/news/<topic>", blueprint=part)
    async def news(topic: str) -> str:
        return f"news/{topic}"

    live.init_app(app)
    if part is not None:
        app.register_blueprint(part)
    async with serve(app) as server:
        for path, channel in (("/news/", "news/all"), ("/news/sport", "news/sport")):
            await live.publish(channel, path)
            async with server.client(transport, path, after=0) as client:
                assert (await client.until("event"))["data"] == path


def test_one_view_with_two_policies_needs_two_endpoints() -> None:
    live = Triolet(QuartTrio("policies"))

    async def news() -> str:
        return "news"

    live.channel("/latest", policy=policies.latest(events=10))(news)
    with pytest.raises(AssertionError, match="endpoint"):
        live.channel("/all")(news)
    live.channel("/all", endpoint="all")(news)


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize(("strict", "path", "found"), [(True, "/news/", False), (False, "/news/", True)])
async def test_slashes_are_as_strict_as_the_rule_says(
    strict: bool, path: str, found: bool, transport: str, autojump_clock: MockClock
) -> None:
    app = QuartTrio("slashes")
    live = Triolet(app)

    @live.channel("/news", strict_slashes=strict)
    async def news() -> str:
        return "news"

    async with serve(app) as server:
        assert (await status(server, transport, path) in (101, 200)) is found


@pytest.mark.parametrize("automatic", [None, True, False])
async def test_options_are_answered_as_for_a_page_of_quarts(automatic: bool | None, autojump_clock: MockClock) -> None:
    app = QuartTrio("options")
    live = Triolet(app)

    @live.channel("/news", provide_automatic_options=automatic)
    @app.route("/page", endpoint="page", provide_automatic_options=automatic)
    async def news() -> str:
        return "news"

    async with serve(app) as server:
        ours, quarts = [await server.request("OPTIONS", path) for path in ("/news", "/page")]
        assert (ours.status, ours.headers["allow"]) == (quarts.status, quarts.headers["allow"])
        assert (ours.status == 200) is (automatic is None)  # Quart's True answers 405


@pytest.mark.parametrize("option", [{"methods": ["POST"]}, {"websocket": True}])
def test_a_route_is_asked_with_get_whatever_the_transport(option: dict[str, Any]) -> None:
    live = Triolet(QuartTrio("methods"))
    with pytest.raises(ConfigError, match="GET"):
        live.channel("/news", **option)(lambda: "news")
    with pytest.raises(ConfigError, match="GET"):
        live.socket("/live", **option)


@pytest.mark.parametrize("option", [{"member": "ann"}, {"recheck": 1e300}, {"recheck": 10**400}, {"recheck": math.nan}])
def test_an_option_that_no_route_can_have_is_refused_at_once(option: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"^{next(iter(option))}= is a"):
        Triolet().channel("/news", **option)


@pytest.mark.parametrize("decorator", ["channel", "socket", "command"])
def test_a_decorator_without_its_url_says_so(decorator: str) -> None:
    live = Triolet(QuartTrio("parentheses"))
    with pytest.raises(ConfigError, match="a URL comes first"):
        getattr(live, decorator)(lambda: "news")


async def test_the_script_is_not_found_under_a_name_that_no_file_can_have(autojump_clock: MockClock) -> None:
    app = QuartTrio("script")
    Triolet(app)
    async with serve(app) as server:
        for name in (
            "x" * 300 + ".js",
            "x" * 5_000 + ".js",
            "%00.js",
            "a%00b.js",
            "%ff.js",
            "/" * 300 + ".js",
            "..%2f.js",
        ):
            assert (await server.get(f"/triolet/{name}")).status in (308, 404)


async def test_a_handler_of_a_socket_is_found_behind_every_rule_it_stands_at(autojump_clock: MockClock) -> None:
    app = QuartTrio("desks")
    live = Triolet(app)

    @live.socket("/left")
    @live.socket("/right", defaults={"side": "right"})
    async def desk(conn: Connection, side: str = "left") -> None:
        await conn.send(side)

    async with serve(app) as server:
        for path in ("/left", "/right"):
            async with server.websocket(path) as client:
                assert (await client.until("message"))["data"] == path[1:]
