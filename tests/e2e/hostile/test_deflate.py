"""permessage-deflate: not spoken unless asked for; and where it was asked for, no message inflates past the limit."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from functools import partial

import pytest

from ..raw import CONTINUATION, PING, TEXT, Wire, frame, read_frames, upgrade
from ..server import Server
from .house import LIMITS, House
from .probe import Probe, Step, again, closed, ends, says, unharmed, upgraded

OFFER = "Sec-WebSocket-Extensions: permessage-deflate"
COMPRESSED = 4
"""The first reserved bit."""


def deflated(data: bytes) -> bytes:
    """Deflate a message as RFC 7692 wants it, section 7.2.1."""
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -15)
    return (squeeze.compress(data) + squeeze.flush(zlib.Z_SYNC_FLUSH))[:-4]


def message(data: bytes, **how: bool) -> bytes:
    return frame(TEXT, deflated(data), reserved=COMPRESSED, **how)


BOMB = deflated(b"x" * (64 << 20))
HALF = len(BOMB) // 2
OPEN: Step = upgraded("/echo", OFFER)
PROBES = [
    Probe("an honest message", [OPEN, message(b"hello " * 50)], says(b"\xc1"), tunnelled=True),
    Probe("64 MiB in 64 KiB", [OPEN, frame(TEXT, BOMB, reserved=COMPRESSED)], closed(1009)),
    Probe(
        "64 MiB in two fragments",
        [
            OPEN,
            frame(TEXT, BOMB[:HALF], reserved=COMPRESSED, fin=False),
            frame(CONTINUATION, BOMB[HALF:]),
        ],
        closed(1009),
    ),
    Probe("one byte over the limit", [OPEN, message(b"x" * ((1 << 20) + 1))], closed(1009)),
    Probe("a bomb of bombs", [OPEN, frame(TEXT, deflated(BOMB), reserved=COMPRESSED)], closed(1007)),
    Probe("no deflate at all", [OPEN, frame(TEXT, b"\xff" * 100, reserved=COMPRESSED)], closed(1002, 1007)),
    Probe("deflate cut off", [OPEN, frame(TEXT, deflated(b"hello" * 99)[:-3], reserved=COMPRESSED)], unharmed),
    Probe("deflate with an end", [OPEN, frame(TEXT, zlib.compress(b"x", wbits=-15), reserved=COMPRESSED)], unharmed),
    Probe("empty deflate", [OPEN, frame(TEXT, b"", reserved=COMPRESSED)], unharmed),
    Probe("not UTF-8 in deflate", [OPEN, message(b"\xff\xfe")], closed(1007)),
    Probe("compressed ping", [OPEN, frame(PING, deflated(b"x"), reserved=COMPRESSED)], closed(1002)),
    Probe(
        "compressed continuation",
        [OPEN, message(b"x" * 99, fin=False), frame(CONTINUATION, b"", reserved=COMPRESSED)],
        closed(1002),
    ),
    Probe("compressed, but not agreed on", [upgraded("/echo"), message(b"hello")], closed(1002)),
    Probe("40 bombs at once", [OPEN, again(frame(TEXT, BOMB, reserved=COMPRESSED), 40)], ends),
    *(
        Probe(f"offer of {offer}", [upgrade("/echo", f"Sec-WebSocket-Extensions: {offer}")], unharmed)
        for offer in (
            "permessage-deflate; client_max_window_bits=abc",
            "permessage-deflate; server_max_window_bits=7",
            "permessage-deflate; server_max_window_bits=8",
            "permessage-deflate; client_max_window_bits=99999999999999999999",
            "permessage-deflate; server_no_context_takeover=1",
            "permessage-deflate; server_max_window_bits; server_max_window_bits",
            "permessage-deflate; unknown=1, permessage-deflate",
            "permessage-deflate, " * 500 + "x",
            '; ; ="',
        )
    ),
]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    house = House(Server(tmp_path_factory.mktemp("deflate"), "apps:deflating", limits=LIMITS))
    yield house
    house.close()


@pytest.mark.parametrize("probe", PROBES, ids=str)
def test_a_hostile_deflated_message_harms_nobody(house: House, probe: Probe) -> None:
    house.attack(probe, partial(Wire, house.server.address))


def test_deflate_is_agreed_on_where_the_app_wants_it(house: House) -> None:
    with Wire(house.server.address) as wire:
        wire.send(upgrade("/echo", OFFER))
        assert b"permessage-deflate" in wire.receive_until(b"\r\n\r\n")
        wire.send(message(b"hello " * 50))
        while not (frames := list(read_frames(wire.received))):
            wire.receive(5)
        assert zlib.decompress(frames[0][1] + b"\x00\x00\xff\xff\x01\x00\x00\xff\xff", wbits=-15) == b"hello " * 50


def test_a_bomb_does_not_make_the_server_grow(house: House) -> None:
    before = house.server.memory()
    for _ in range(20):
        with Wire(house.server.address) as wire:
            wire.open_websocket("/echo", OFFER)
            wire.send(frame(TEXT, BOMB, reserved=COMPRESSED))
            wire.receive_all()
    assert house.server.memory() < before + (16 << 20)
