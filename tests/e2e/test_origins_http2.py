"""Over HTTP/2 as over HTTP/1.1: what a page of a listed origin may read, and subprotocols of the app's own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hpack import Decoder

from .certificate import make_certificate
from .hostile.http2 import START, VERSION, WEBSOCKET
from .needs import needs
from .raw import HEADERS, Wire, h2_headers, read_h2
from .server import Server, serving, wait_for

pytestmark = needs("openssl")

LISTED = "https://shop.example"


@pytest.fixture(scope="module", params=["straight", "middleware"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("origins")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("E2E_ORIGINS", '["https://*.example"]')
        if request.param == "middleware":
            patch.setenv("E2E_MIDDLEWARE", "1")
        with serving(folder, "origins_app:app", arguments=[*make_certificate(folder), "--http2"]) as server:
            yield server


def answer(server: Server, *fields: tuple[str, str], method: str = "GET", path: str = "/news") -> dict[str, str]:
    """Ask, and return the head of the answer."""
    pseudo = ((":method", method), (":scheme", "https"), (":authority", "localhost"), (":path", path))
    return head(server, *pseudo, *fields)


def head(server: Server, *fields: tuple[str, str]) -> dict[str, str]:
    with Wire(server.address, secure=True, protocols=["h2"]) as wire:
        wire.send(START + h2_headers(1, *fields))

        def found() -> bytes:
            wire.receive(0.1)
            return b"".join(data for kind, _, on, data in read_h2(wire.received) if kind == HEADERS and on == 1)

        block = wait_for(found, "the head of an answer")
        return {str(name): str(value) for name, value in Decoder().decode(block)}


@pytest.mark.parametrize("fields", [(), (("accept", "text/event-stream"),)])
def test_a_listed_page_may_read_an_answer_and_another_may_not(
    server: Server, fields: tuple[tuple[str, str], ...]
) -> None:
    listed = answer(server, ("origin", LISTED), ("cookie", "a=b"), *fields)
    assert listed[":status"] == "200"
    assert listed["access-control-allow-origin"] == LISTED
    assert listed["access-control-allow-credentials"] == "true"
    other = answer(server, ("origin", "https://example"), ("cookie", "a=b"), *fields)
    assert other[":status"] == "403"
    assert not [name for name in other if name.startswith("access-control-")]
    assert "origin" in listed["vary"]
    assert "origin" in other["vary"]


def test_a_listed_pages_browser_may_ask_first(server: Server) -> None:
    asked = ("access-control-request-method", "GET")
    assert answer(server, ("origin", LISTED), asked, method="OPTIONS")[":status"] == "204"


@pytest.mark.parametrize(("offered", "agreed"), [("soap, ocpp1.6", "ocpp1.6"), ("soap", None)])
def test_a_subprotocol_of_the_apps_own_is_agreed_on(server: Server, offered: str, agreed: str | None) -> None:
    said = head(server, *WEBSOCKET, (":path", "/charger"), VERSION, ("sec-websocket-protocol", offered))
    assert (said[":status"], said.get("sec-websocket-protocol")) == ("200", agreed)
