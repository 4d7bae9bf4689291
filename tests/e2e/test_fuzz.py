"""100,000 inputs that are nearly right: the same process afterwards, nothing leaked, and bystanders miss nothing.

An input is a request or a frame. *Soft* ones are well-formed and odd inside, and are sent several on a connection; a
*hard* one is broken anywhere, and is the last of its connection, so the server has read each of them.
"""

from __future__ import annotations

import json
import random
import struct
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from .certificate import make_certificate
from .hostile.house import Watch
from .needs import needs
from .raw import (
    BINARY,
    CONTINUATION,
    PING,
    PONG,
    PREFACE,
    SETTINGS,
    TEXT,
    Wire,
    close_frame,
    frame,
    h2,
    h2_get,
    http,
    read_frames,
    statuses,
    upgrade,
)
from .server import Server, serving

LIMITS = {"wait_seconds": 1, "beat_seconds": 1}
"""Here it is what is sent that counts, and not when: all else has its time, also on a machine that is busy."""


class Batch(NamedTuple):
    """What one connection sends, behind a handshake if there is one: soft inputs, and when answered a hard one."""

    soft: list[bytes]
    hard: bytes
    answers: int = 0
    """How many of the soft ones are answered."""
    count: Callable[[bytes], int] = len
    """Counts the answers in what was received."""
    handshake: bytes = b""


FORM = "application/x-www-form-urlencoded"
WORDS = [
    *(b"\r\n", b"\n", b"\r", b"\0", b" ", b":", b",", b"%00", b"%0d%0a", b"..", b"\xff", b"\xc3\xa9", b"9" * 20),
    *(b"chunked", b"Transfer-Encoding: chunked\r\n", b"Content-Length: 5\r\n", b"Upgrade: websocket\r\n", b"HTTP/2.0"),
    *(b"Connection: Upgrade\r\n", b"Host: b\r\n", b"Sec-WebSocket-Key: x\r\n", b"Last-Event-ID: -1\r\n", b"\x81\x80"),
]
REQUESTS = [
    http("/"),
    http("/c/f/events?after=0"),
    http("/c/f/events?after=7&wait=0.01"),
    http("/c/f/events", 'If-None-Match: W/"x"', "Last-Event-ID: 3"),
    http(
        "/form", "Content-Type: application/x-www-form-urlencoded", "Content-Length: 7", method="POST", body=b"a=b&c=d"
    ),
    http("/body", "Transfer-Encoding: chunked", method="POST", body=b"5\r\nhello\r\n0\r\n\r\n"),
    upgrade("/talk", "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"),
    upgrade("/c/f/events?after=0", "Sec-WebSocket-Protocol: triolet.1"),
    upgrade("/quart/echo"),
]
FRAMES = [
    frame(TEXT, b'{"type":"follow","url":"/c/f/events","after":"0"}'),
    frame(TEXT, b'{"type":"unfollow","channel":"c/f"}'),
    frame(TEXT, b'{"type":"message","data":{"a":[1,2,{"b":null}]}}'),
    frame(BINARY, bytes(200)),
    frame(TEXT, b"part", fin=False) + frame(CONTINUATION, b"rest"),
    frame(PING, b"x" * 125),
    close_frame(1000, b"bye"),
]
SETTING = h2(SETTINGS, payload=struct.pack(">HI", 4, 70_000))
H2_FRAMES = [
    SETTING,
    h2_get(1, "/c/f/events?after=0"),
    h2_get(3, "/c/f/events", ("accept", "text/event-stream")),
    h2(8, 0, 0, struct.pack(">I", 1_000)),
    h2(6, 0, 0, b"12345678"),
    h2(3, 0, 1, struct.pack(">I", 8)),
]


class Fuzzer:
    """Makes inputs, the same ones on every run."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def broken(self, seeds: list[bytes]) -> bytes:
        """One of the seeds, with one to four things wrong."""
        data = bytearray(self.random.choice(seeds))
        for _ in range(self.random.randint(1, 4)):
            at = self.random.randrange(len(data) + 1)
            match self.random.randrange(6):
                case 0 if at < len(data):
                    data[at] ^= 1 << self.random.randrange(8)
                case 1:
                    data[at:at] = self.random.choice(WORDS)
                case 2:
                    del data[at : at + self.random.randint(1, 8)]
                case 3:
                    data[at:at] = self.random.randbytes(self.random.randint(1, 12))
                case 4:
                    data[at:at] = data[at : at + self.random.randint(1, 40)] * self.random.randint(1, 3)
                case _:
                    other = self.random.choice(seeds)
                    data[at:] = other[self.random.randrange(len(other)) :]
        return bytes(data)

    def text(self, most: int = 12) -> str:
        letters = "".join(chr(self.random.choice([34, 92, 0x1F, 0xE9, 0x2028, 0x1F9A6, 97])) for _ in range(3))
        return (letters * most)[: self.random.randint(0, most)]

    def odd_request(self) -> bytes:
        """A well-formed request with odd values."""
        value = "".join(self.random.choice("abc%+&=?;:/.-_~0123456789é€") for _ in range(self.random.randint(0, 20)))
        quoted = "".join(f"%{byte:02x}" for byte in self.random.randbytes(self.random.randint(0, 6)))
        target = value.encode("ascii", "ignore").decode().replace("%", quoted)
        header = self.random.choice(["Last-Event-ID", "Cookie", "Accept", "If-None-Match", "Origin", "Range", "X-A"])
        body = self.random.randbytes(self.random.randint(0, 30))
        match self.random.randrange(5):
            case 0:
                return http(f"/c/f/events?after={target}")
            case 1:
                return http(f"/c/f/events?{target}", f"{header}: {value}")
            case 2:
                return http(f"/nothing/{target}", f"{header}: {value}")
            case 3:
                return http("/body", f"Content-Length: {len(body)}", f"{header}: x", method="POST", body=body)
            case _:
                return http(f"/triolet/{target}")

    def odd_frame(self, payload: bytes, code: int) -> bytes:
        """A well-formed message; every tenth is in fragments with a pong between."""
        if self.random.randrange(10) or len(payload) < 2:
            return frame(code, payload)
        middle = self.random.randrange(1, len(payload))
        pong = frame(PONG, self.random.randbytes(self.random.choice([0, 1, 125])))
        return frame(code, payload[:middle], fin=False) + pong + frame(CONTINUATION, payload[middle:])

    def odd_bytes(self) -> bytes:
        return self.random.randbytes(
            self.random.choice([0, 1, 2, 124, 125, 126, 127, 128, 1_000, self.random.randrange(4_000)])
        )

    def odd_message(self) -> dict[str, object]:
        kind = self.random.randrange(6)
        if kind == 0:
            return {"type": "follow", "url": f"/c/{self.text(3)}/events", "after": str(self.random.randrange(9))}
        if kind == 1:
            return {"type": "unfollow", "channel": self.text() or "x"}
        value: object = self.text(60)
        for _ in range(self.random.randrange(5)):
            value = [value] if self.random.random() < 0.5 else {self.text(): value, "n": self.random.random()}
        return {"type": "message", "data": value}


def request_batches(fuzzer: Fuzzer) -> Iterator[Batch]:
    """Nine odd requests and a broken one."""
    while True:
        soft = [fuzzer.odd_request() for _ in range(9)]
        yield Batch(soft, fuzzer.broken(REQUESTS), len(soft), lambda received: len(statuses(received)))


def broken_requests(fuzzer: Fuzzer) -> Iterator[Batch]:
    """One broken request each."""
    while True:
        yield Batch([], fuzzer.broken(REQUESTS))


def frame_batches(target: str) -> Callable[[Fuzzer], Iterator[Batch]]:
    """59 odd frames, all echoed, and a broken one."""

    def echoes(received: bytes) -> int:
        return sum(opcode == BINARY for opcode, _ in read_frames(received))

    def batches(fuzzer: Fuzzer) -> Iterator[Batch]:
        while True:
            soft = [fuzzer.odd_frame(fuzzer.odd_bytes(), BINARY) for _ in range(59)]
            yield Batch(soft, fuzzer.broken(FRAMES), len(soft), echoes, upgrade(target))

    return batches


def message_batches(fuzzer: Fuzzer) -> Iterator[Batch]:
    """59 odd messages, all of the app's echoed, and a broken frame."""
    while True:
        said = [fuzzer.odd_message() for _ in range(59)]
        plain = [json.dumps(message, ensure_ascii=fuzzer.random.random() < 0.5).encode() for message in said]
        soft = [fuzzer.odd_frame(payload, TEXT) for payload in plain]
        answers = sum(message["type"] == "message" for message in said)
        yield Batch(
            soft, fuzzer.broken(FRAMES), answers, lambda received: received.count(b'{"echo":'), upgrade("/talk")
        )


def _echoed(received: bytes) -> int:
    return received.count(b'{"echo":')


def h2_batches(fuzzer: Fuzzer) -> Iterator[Batch]:
    """The preface, and a few frames of which the last is broken."""
    while True:
        yield Batch([], PREFACE + SETTING + fuzzer.random.choice(H2_FRAMES) + fuzzer.broken(H2_FRAMES))


class Attack:
    """Sends batches, a few connections at a time, and sees each to its end."""

    def __init__(self, server: Server, protocols: tuple[str, ...] = ()) -> None:
        self.server = server
        self.protocols = protocols
        self._open: deque[tuple[Wire, Batch]] = deque()

    def send(self, batches: Iterator[Batch], inputs: int) -> None:
        sent = 0
        try:
            while sent < inputs:
                batch = next(batches)
                sent += len(batch.soft) + 1
                self._begin(batch)
                if len(self._open) >= 8:
                    self._finish(*self._open.popleft())
            while self._open:
                self._finish(*self._open.popleft())
        finally:
            for wire, _ in self._open:
                wire.socket.close()

    def _begin(self, batch: Batch) -> None:
        wire = Wire(self.server.address, secure=self.server.secure, protocols=self.protocols)
        self._open.append((wire, batch))
        if batch.handshake:
            wire.send(batch.handshake)
            assert b" 101 " in wire.receive_until(b"\r\n\r\n")
        wire.send(b"".join(batch.soft))

    def _finish(self, wire: Wire, batch: Batch) -> None:
        with wire:
            while (count := batch.count(wire.received)) < batch.answers:
                assert not wire.ended, f"{count} of {batch.answers} answers, then the end: {wire.received[-300:]!r}"
                assert wire.receive(10), f"{count} of {batch.answers} answers: {wire.received[-300:]!r}"
            wire.send(batch.hard)
            wire.end_sending()
            found = statuses(wire.receive_all())
            assert 500 not in found, wire.received


@pytest.mark.parametrize(
    ("seed", "inputs", "batches"),
    [
        pytest.param(1, 8_000, request_batches, id="requests"),
        pytest.param(2, 12_000, broken_requests, id="broken requests"),
        pytest.param(3, 30_000, frame_batches("/echo"), id="frames"),
        pytest.param(4, 30_000, message_batches, id="messages"),
        pytest.param(5, 20_000, frame_batches("/quart/echo"), id="frames to Quart"),
    ],
)
def test_100000_inputs_harm_nobody(
    tmp_path: Path, seed: int, inputs: int, batches: Callable[[Fuzzer], Iterator[Batch]]
) -> None:
    with serving(tmp_path, limits=LIMITS) as server:
        watch = Watch(server)
        Attack(server).send(batches(Fuzzer(seed)), inputs)
        watch.check()
        watch.bystander.leave()


@needs("openssl")
def test_inputs_of_http2_harm_nobody(tmp_path: Path) -> None:
    with serving(tmp_path, limits=LIMITS, arguments=[*make_certificate(tmp_path), "--http2"]) as server:
        watch = Watch(server)
        Attack(server, ("h2",)).send(h2_batches(Fuzzer(6)), 2_000)
        watch.check()
        watch.bystander.leave()
