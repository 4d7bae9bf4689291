"""HTTP/2 and TLS under attack; and no HTTP/2 where nobody asked for it."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from functools import partial

import pytest

from ..certificate import make_certificate
from ..needs import needs
from ..raw import DATA, Wire, h2_get, h2_headers, http, read_h2, statuses
from ..server import Server, wait_for
from .house import LIMITS, House
from .http2 import CLEARTEXT, PROBES, SSE, START, VERSION, WEBSOCKET
from .probe import Probe, end_sending, reset, unharmed
from .proxies import proxy

TLS_PROBES = [
    Probe("cleartext to TLS", [http("/")], unharmed),
    Probe("noise to TLS", [b"\xff" * 5_000], unharmed),
    Probe("half a hello", [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"], unharmed),
    Probe("half a hello, then FIN", [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", end_sending], unharmed),
    Probe("half a hello, then RST", [b"\x16\x03\x01\x02\x00\x01", reset], unharmed),
    Probe("hello of 16 KiB of noise", [b"\x16\x03\x01\x40\x00" + b"\x01" * 16_384], unharmed),
    Probe("alert first", [b"\x15\x03\x01\x00\x02\x02\x28"], unharmed),
    Probe("application data first", [b"\x17\x03\x03\x00\x05hello"], unharmed),
]
"""What comes before the handshake is done."""


@pytest.fixture(scope="module", params=[True, False], ids=["http2", "no-http2"])
def secure(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("tls")
    arguments = make_certificate(folder)
    house = House(Server(folder, limits=LIMITS, arguments=[*arguments, *(["--http2"] if request.param else [])]))
    yield house
    house.close()


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    house = House(Server(tmp_path_factory.mktemp("plain"), limits=LIMITS))
    yield house
    house.close()


@needs("openssl")
@pytest.mark.parametrize("probe", PROBES, ids=str)
@pytest.mark.parametrize("secure", [True], indirect=True, ids=["http2"])
def test_hostile_http2_harms_nobody(secure: House, probe: Probe) -> None:
    def connect() -> Wire:
        wire = Wire(secure.server.address, secure=True, protocols=["h2"])
        assert isinstance(wire.socket, ssl.SSLSocket)
        assert wire.socket.selected_alpn_protocol() == "h2"
        return wire

    secure.attack(probe, connect)


@needs("openssl")
@pytest.mark.parametrize("secure", [True], indirect=True, ids=["http2"])
def test_one_connection_of_http2_carries_a_stream_a_poll_and_a_websocket(secure: House) -> None:
    with Wire(secure.server.address, secure=True, protocols=["h2"]) as wire:
        wire.send(START + h2_get(1, "/c/h2/events?after=0", SSE) + h2_get(3, "/c/h2/events?after=0"))
        wire.send(h2_headers(5, *WEBSOCKET, (":path", "/c/h2/events?after=0"), VERSION))
        for stream in (1, 3, 5):
            wait_for(lambda: b"cursor" in heard(wire, stream), f"stream {stream} to open")  # noqa: B023 - called before the next turn
        cursor = secure.server.publish("h2", "over one connection").encode()
        for stream in (1, 5):
            wait_for(lambda: cursor in heard(wire, stream), f"stream {stream} to hear the event")  # noqa: B023 - the same
        assert b'"type":"open"' in heard(wire, 5)
        assert b"event: triolet.open" in heard(wire, 1)


def heard(wire: Wire, stream: int) -> bytes:
    """All data that came on a stream so far."""
    wire.receive(0.1)
    return b"".join(data for kind, _, on, data in read_h2(wire.received) if kind == DATA and on == stream)


@needs("openssl")
@pytest.mark.parametrize("probe", TLS_PROBES, ids=str)
def test_a_hostile_handshake_harms_nobody(secure: House, probe: Probe) -> None:
    secure.attack(probe, partial(Wire, secure.server.address))


@needs("openssl")
@pytest.mark.parametrize("secure", [False], indirect=True, ids=["no-http2"])
def test_http2_is_not_offered_unless_asked_for(secure: House) -> None:
    with Wire(secure.server.address, secure=True, protocols=["h2", "http/1.1"]) as wire:
        assert isinstance(wire.socket, ssl.SSLSocket)
        assert wire.socket.selected_alpn_protocol() in ("http/1.1", None)
        wire.send(http("/", "Connection: close"))
        assert statuses(wire.receive_all()) == [200]


@needs("openssl")
@pytest.mark.parametrize("probe", CLEARTEXT, ids=str)
@pytest.mark.parametrize("secure", [False], indirect=True, ids=["no-http2"])
def test_http2_unasked_for_over_tls_is_not_spoken(secure: House, probe: Probe) -> None:
    secure.attack(probe, partial(Wire, secure.server.address, secure=True, protocols=["http/1.1"]))


@pytest.mark.parametrize("probe", CLEARTEXT, ids=str)
def test_http2_on_cleartext_is_not_spoken(plain: House, probe: Probe) -> None:
    plain.attack(probe, partial(Wire, plain.server.address))


@needs("nginx", "haproxy")
@pytest.mark.parametrize("kind", ["nginx", "haproxy"])
def test_h2c_smuggled_through_a_proxy_is_not_spoken(
    plain: House, kind: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with proxy(kind, plain.server.port, tmp_path_factory.mktemp(kind)) as address:
        for probe in CLEARTEXT:
            plain.attack(probe, partial(Wire, address), proxied=True)
