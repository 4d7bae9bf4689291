"""What the probe says of what stands in between, below the sockets: proxies of the kit, and middleware that meddles."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from quart import request
from quart_trio import QuartTrio
from trio.testing import MockClock

from tests.shop import ORDER, ORDERS, make_shop
from triolet import ConfigError, Triolet
from triolet.client import ClientError
from triolet.probe import CURES, PROXIES, Report, probe_url
from triolet.probe.cures import proxy_of
from triolet.probe.findings import CHECKS
from triolet.testing import proxy, serve
from triolet.testing.reach import Reach

BASE = "http://shop.test"
PAGE = "https://page.example"

Meddle = Callable[[dict[str, Any]], None]


class Amid(NamedTuple):
    """What stands in between: a proxy, and what it does to a request's scope and to the head of an answer."""

    faults: list[str]
    chosen: str
    proxy: dict[str, Any] | None = None
    asked: Meddle = lambda scope: None
    said: Meddle = lambda head: None


def without(*names: bytes) -> Meddle:
    """Takes headers off, of a request or an answer."""

    def meddle(head: dict[str, Any]) -> None:
        head["headers"] = [pair for pair in head["headers"] if pair[0] not in names]

    return meddle


def with_(name: bytes, value: bytes) -> Meddle:
    """Puts one there, in place of another."""

    def meddle(head: dict[str, Any]) -> None:
        head["headers"] = [*(pair for pair in head["headers"] if pair[0] != name), (name, value)]

    return meddle


def as_http_1_0(scope: dict[str, Any]) -> None:
    scope["http_version"] = "1.0"


AMID = {
    "nothing": Amid([], "websocket"),
    "a proxy that is well": Amid([], "websocket", {}),
    "a proxy that is idle": Amid(["idle"], "websocket", {"idle_timeout": 10}),
    "a proxy that blocks upgrades": Amid(["upgrade"], "sse", {"blocks_upgrade": True}),
    "a proxy that strips upgrades": Amid(["upgrade"], "sse", {"strips_upgrade": True}),
    "a proxy that buffers, but heeds": Amid([], "websocket", {"buffers": True}),
    "a proxy that buffers": Amid(["buffering"], "websocket", {"buffers": True, "ignores_accel": True}),
    "only polls": Amid(
        ["upgrade", "buffering"], "long-poll", {"blocks_upgrade": True, "buffers": True, "ignores_accel": True}
    ),
    "only short polls": Amid(
        ["upgrade", "buffering", "idle"],
        "poll",
        {"blocks_upgrade": True, "buffers": True, "ignores_accel": True, "idle_timeout": 5},
    ),
    "compression": Amid(["compression"], "websocket", said=with_(b"content-encoding", b"gzip")),
    "http/1.0": Amid(["http/1.0"], "websocket", asked=as_http_1_0),
    "no last-event-id": Amid(["last-event-id"], "websocket", asked=without(b"last-event-id")),
    "another host": Amid(["origin"], "websocket", asked=with_(b"host", b"inner")),
    "no cors": Amid(["cors"], "websocket", said=without(b"access-control-allow-origin")),
    "no cors at the preflight": Amid(["cors"], "websocket", said=without(b"access-control-allow-headers")),
    "no origin": Amid(["cors"], "websocket", asked=without(b"origin")),
}


def stand_amid(app: QuartTrio, amid: Amid) -> None:
    below = app.asgi_app

    async def meddling(scope: Any, receive: Any, send: Any) -> None:
        async def send_changed(message: Any) -> None:
            if message["type"] == "http.response.start":
                amid.said(message)
            await send(message)

        if scope["type"] in ("http", "websocket"):
            scope = dict(scope)
            amid.asked(scope)
        await below(scope, receive, send_changed)

    app.asgi_app = meddling  # type: ignore[method-assign]  # as Quart's own documentation does


async def probed(server: Reach, url: str = BASE + ORDERS, **options: Any) -> Report:
    async def dial(host: str, port: int) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        return server.connect()

    asked: dict[str, Any] = {"base": BASE, "token": None, "headers": {}, "seconds": 30, "page": PAGE, **options}
    return await probe_url(url, dial=dial, **asked)


@pytest.mark.parametrize("name", AMID)
async def test_what_stands_in_between_is_named(name: str, autojump_clock: MockClock) -> None:
    amid = AMID[name]
    app, _ = make_shop(origins=[PAGE])
    if (amid.asked, amid.said) != (Amid.asked, Amid.said):
        stand_amid(app, amid)
    async with AsyncExitStack() as stack:
        server: Reach = await stack.enter_async_context(serve(app))
        if amid.proxy is not None:
            server = await stack.enter_async_context(proxy(server, **amid.proxy))
        report = await probed(server)
    assert sorted(report.faults) == sorted(amid.faults), report
    assert report.chosen == amid.chosen
    assert [finding.check for finding in report.findings] == list(CHECKS)
    assert report.seconds < 60


async def test_a_cache_that_answers_polls_is_named(autojump_clock: MockClock) -> None:
    app, _ = make_shop()
    kept: dict[bytes, list[Any]] = {}
    below = app.asgi_app

    async def caching(scope: Any, receive: Any, send: Any) -> None:
        if (
            scope["type"] != "http"
            or not scope["query_string"]
            or b"text/event-stream" in dict(scope["headers"])[b"accept"]
        ):
            await below(scope, receive, send)
            return
        key, said = scope["query_string"], []

        async def keep(message: Any) -> None:
            said.append(message)

        if key not in kept:
            await below(scope, receive, keep)
            kept[key] = said
        for message in kept[key]:
            await send(message)

    app.asgi_app = caching  # type: ignore[method-assign]  # as Quart's own documentation does
    async with serve(app) as server:
        report = await probed(server, page=None)
    assert report.faults == ["cache"]


async def test_silence_is_told_in_seconds(autojump_clock: MockClock) -> None:
    app, _ = make_shop()
    async with serve(app) as server, proxy(server, idle_timeout=10) as front:
        report = await probed(front)
    told = {finding.check: finding.says for finding in report.findings}
    assert told["long poll"] == "was cut after 10.0 s: HTTP 504"
    assert "long poll after 10.0 s, 10.0 of them silent" in told["silence"]
    assert not report.transports["long-poll"]


async def test_a_busy_channel_is_probed_too(autojump_clock: MockClock) -> None:
    app, live = make_shop(origins=[PAGE])

    async def publish() -> None:
        for number in range(1_000):
            await live.publish(ORDER, number)
            await trio.sleep(0.7)

    async with serve(app) as server, trio.open_nursery() as nursery:
        nursery.start_soon(publish)
        report = await probed(server)
        nursery.cancel_scope.cancel()
    assert report.ok, report
    (held,) = [finding for finding in report.findings if finding.check == "long poll"]
    assert "an event ended it" in held.says


async def test_an_origin_that_the_app_does_not_list_is_its_own_matter(autojump_clock: MockClock) -> None:
    app, _ = make_shop(origins=["https://other.example"])
    async with serve(app) as server:
        report = await probed(server)
        assert report.faults == ["unlisted origin"]
        assert "Triolet(origins=['https://page.example'])" in report.findings[-1].says
        report = await probed(server, page=None)
        assert report.ok
        assert report.findings[-1].state == "unknown"


async def test_who_asks_is_said_with_everything(autojump_clock: MockClock) -> None:
    app = QuartTrio("closed")
    live = Triolet(app, origins=[PAGE])

    @live.channel("/mine")
    async def mine() -> str | tuple[str, int]:
        known = request.headers.get("Authorization") == "Bearer t" or request.headers.get("X-Key") == "k"
        return "mine" if known else ("who?", 401)

    async with serve(app) as server:
        for options in ({"token": "t"}, {"headers": {"X-Key": "k"}}):
            assert (await probed(server, f"{BASE}/mine", **options)).ok


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("/orders/secret/events", "HTTP 403: this client may not follow it; another may, with --token or --header"),
        ("/orders/absent/events", "HTTP 404: no channel has this URL"),
        ("/orders/broken/events", "HTTP 500"),
        ("/warehouse", "HTTP 426: this is a socket's URL: name one of a channel"),
        ("/page", "a page in HTML in place of the channel: log in?"),
        ("/json", "is this a channel of a server of Triolet's?"),
        ("/who", "HTTP 401: say who asks, with --token or --header"),
        ("/slow", "no answer in 30 s"),
    ],
)
async def test_what_is_no_channel_for_us_is_said_in_a_sentence(url: str, says: str, autojump_clock: MockClock) -> None:
    app, _ = make_shop()

    @app.get("/json")
    async def json() -> dict[str, int]:
        return {"events": 3}

    @app.get("/who")
    async def who() -> tuple[str, int]:
        return "who?", 401

    @app.get("/slow")
    async def slow() -> str:
        await trio.sleep(3_600)
        return "late"

    async with serve(app) as server:
        with pytest.raises(ClientError) as raised:
            await probed(server, BASE + url)
    assert says in str(raised.value)
    assert "\n" not in str(raised.value)


async def test_nobody_is_asked_where_the_url_or_the_credential_can_be_none(autojump_clock: MockClock) -> None:
    async def dial(host: str, port: int) -> trio.abc.Stream:
        raise AssertionError("nobody is to be asked")

    asked: dict[str, Any] = {"token": None, "headers": {}, "seconds": 3, "page": None, "dial": dial}
    for wrong in ({"base": "http://a b"}, {"token": "a b"}, {"headers": {"a b": "c"}}, {"base": "http://other.test"}):
        with pytest.raises(ConfigError):
            await probe_url(f"{BASE}/x", **{"base": BASE, **asked, **wrong})


async def test_who_is_not_there_is_said(autojump_clock: MockClock) -> None:
    async def dial(host: str, port: int) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        raise ConnectionRefusedError("refused")

    with pytest.raises(ClientError, match="nobody answers there: ConnectionRefusedError: refused"):
        await probe_url(f"{BASE}/x", base=BASE, token=None, headers={}, seconds=3, page=None, dial=dial)


def certified(folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's TLS with a certificate that it has signed itself, and the TLS of a client that trusts it."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    begins = datetime(2020, 1, 1, tzinfo=UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, begins, begins + timedelta(days=36_500))
    made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName("shop.test")]), critical=True)
    pem = made.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "both.pem").write_bytes(private + pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "both.pem")
    return context, ssl.create_default_context(cadata=pem.decode())


async def test_over_tls_all_is_looked_at_and_what_is_wrong_with_it_is_said(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    app, _ = make_shop(origins=[PAGE])
    context, trusting = certified(tmp_path)
    secure = "https://shop.test"
    async with serve(app, tls=context) as server:
        assert (await probed(server, secure + ORDERS, base=secure, tls=trusting)).ok
        with pytest.raises(ClientError, match="TLS: the certificate does not hold: self-signed certificate"):
            await probed(server, secure + ORDERS, base=secure)
    async with serve(app) as server:
        with pytest.raises(ClientError, match=r"TLS: .*: does the server speak TLS on this port"):
            await probed(server, secure + ORDERS, base=secure)


@pytest.mark.parametrize(
    ("headers", "proxy"),
    [
        ({}, None),
        ({"server": "Werkzeug"}, None),
        ({"server": "nginx/1.22.1"}, "nginx"),
        ({"server": "openresty"}, "nginx"),
        ({"server": "Apache/2.4.57 (Debian)"}, "apache"),
        ({"via": "1.1 Caddy"}, "caddy"),
        ({"server": "nginx", "via": "1.1 google"}, "google"),
        ({"server": "cloudflare", "cf-ray": "8"}, "cloudflare"),
        ({"server": "awselb/2.0"}, "aws"),
    ],
)
def test_a_proxy_is_known_by_what_it_writes(headers: dict[str, str], proxy: str | None) -> None:
    assert proxy_of(headers) == proxy


def test_every_cure_says_something_and_is_of_a_proxy_that_is_known() -> None:
    assert {proxy for cures in CURES.values() for proxy in cures} <= {*PROXIES}
    assert all(cure.write or cure.remove or cure.note for cures in CURES.values() for cure in cures.values())
    assert all({"nginx", "haproxy", "caddy"} & cures.keys() for cures in CURES.values())
