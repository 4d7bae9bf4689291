"""Raw connections, and bytes made by hand: what no honest client library would send."""

from __future__ import annotations

import re
import socket
import ssl
import struct
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Final

import hpack

KEY: Final = "dGhlIHNhbXBsZSBub25jZQ=="
MASK: Final = b"\x37\xfa\x21\x3d"
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE = 0, 1, 2, 3, 4, 5
H2_PING, GOAWAY, WINDOW_UPDATE, H2_CONTINUATION = 6, 7, 8, 9
END_STREAM, ACK, END_HEADERS = 1, 1, 4


def http(target: str, *headers: str, method: str = "GET", body: bytes = b"", host: str = "localhost") -> bytes:
    """Write a request of HTTP/1.1; headers are whole lines."""
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", *headers, "", ""]
    return "\r\n".join(lines).encode("utf-8", "surrogateescape") + body


def upgrade(target: str, *headers: str, key: str = KEY, version: str = "13", host: str = "localhost") -> bytes:
    """Write the request that opens a WebSocket."""
    return http(
        target,
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {key}",
        f"Sec-WebSocket-Version: {version}",
        *headers,
        host=host,
    )


def frame(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    reserved: int = 0,
    masked: bool = True,
    length: int | None = None,
    width: int | None = None,
) -> bytes:
    """Write a WebSocket frame: with a wrong ``length``, or a length written wider than it must be, if asked."""
    size = len(payload) if length is None else length
    width = width or (7 if size < 126 else 16 if size < 1 << 16 else 64)
    bit = 0x80 if masked else 0
    head = bytes([(0x80 if fin else 0) | reserved << 4 | opcode])
    if width == 7:
        head += bytes([bit | size])
    else:
        head += bytes([bit | (126 if width == 16 else 127)]) + size.to_bytes(width // 8, "big")
    if not masked:
        return head + payload
    return head + MASK + mask_bytes(payload, MASK)


def mask_bytes(payload: bytes, mask: bytes) -> bytes:
    """Apply a mask of four bytes."""
    repeated = (mask * (len(payload) // 4 + 1))[: len(payload)]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(repeated, "big")).to_bytes(len(payload), "big")


def close_frame(code: int, reason: bytes = b"") -> bytes:
    """Write a client's close frame."""
    return frame(CLOSE, struct.pack(">H", code) + reason)


def h2(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"", length: int | None = None) -> bytes:
    """Write a frame of HTTP/2."""
    size = len(payload) if length is None else length
    return size.to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def h2_headers(stream: int, *headers: tuple[str | bytes, str | bytes], flags: int = END_HEADERS) -> bytes:
    """Write a HEADERS frame with exactly these headers, coded without a table: order and number are free."""
    encoder = hpack.Encoder()
    encoder.header_table_size = 0
    return h2(HEADERS, flags, stream, encoder.encode(list(headers), huffman=False))


def h2_get(stream: int, path: str = "/", *more: tuple[str | bytes, str | bytes], end: bool = True) -> bytes:
    """Write a GET as one HEADERS frame."""
    plain = ((":method", "GET"), (":scheme", "https"), (":path", path), (":authority", "localhost"))
    return h2_headers(stream, *plain, *more, flags=END_HEADERS | (END_STREAM if end else 0))


def read_frames(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield opcode and payload of the complete frames of a server."""
    while len(data) >= 2:
        size, start = data[1] & 0x7F, 2
        if size == 126:
            size, start = int.from_bytes(data[2:4], "big"), 4
        elif size == 127:
            size, start = int.from_bytes(data[2:10], "big"), 10
        if len(data) < start + size:
            return
        yield data[0] & 0x0F, data[start : start + size]
        data = data[start + size :]


def read_h2(data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """Yield kind, flags, stream and payload of the complete frames of HTTP/2."""
    while len(data) >= 9:
        size = int.from_bytes(data[:3], "big")
        if len(data) < 9 + size:
            return
        yield data[3], data[4], int.from_bytes(data[5:9], "big"), data[9 : 9 + size]
        data = data[9 + size :]


def statuses(data: bytes) -> list[int]:
    """Return the status of every answer of HTTP/1.1, interim ones aside."""
    found = (int(match[1]) for match in re.finditer(rb"HTTP/1\.[01] (\d{3})", data))
    return [status for status in found if status not in (100, 102, 103)]


def trusting() -> ssl.SSLContext:
    """Return a client's TLS context that believes any certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class Wire:
    """A connection that sends what it is told to, and keeps what it gets."""

    def __init__(
        self,
        address: tuple[str, int],
        *,
        secure: bool = False,
        protocols: Sequence[str] = (),
        receive_buffer: int | None = None,
    ) -> None:
        plain = socket.socket()
        if receive_buffer is not None:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        plain.settimeout(10)
        self.socket = plain
        self.received = b""
        self.ended = False
        try:
            plain.connect(address)
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if secure:
                context = trusting()
                context.set_alpn_protocols(list(protocols))
                self.socket = context.wrap_socket(plain)
        except BaseException:
            plain.close()
            raise

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *error: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> bool:
        """Send, and say whether the peer was there to take it; give up when it takes nothing for a while."""
        self.socket.settimeout(3)
        try:
            self.socket.sendall(data)
        except (OSError, ssl.SSLError):
            return False
        return True

    def receive(self, seconds: float) -> bool:
        """Take what comes within that time; say whether anything did, be it the end."""
        self.socket.settimeout(max(seconds, 0.001))
        try:
            data = self.socket.recv(1 << 16)
        except TimeoutError:
            return False
        except (OSError, ssl.SSLError):
            data = b""
        self.received += data
        self.ended = not data
        return True

    def receive_until(self, mark: bytes, seconds: float = 10) -> bytes:
        """Take all up to and with the mark, and return it; the rest stays in ``received``."""
        deadline = time.monotonic() + seconds
        while mark not in self.received:
            assert time.monotonic() < deadline, f"waited for {mark!r}, got {self.received[-300:]!r}"
            assert not self.ended, f"ended before {mark!r}: {self.received[-300:]!r}"
            self.receive(deadline - time.monotonic())
        end = self.received.index(mark) + len(mark)
        taken, self.received = self.received[:end], self.received[end:]
        return taken

    def receive_all(self, seconds: float = 10) -> bytes:
        """Take all until the peer ends, and return it."""
        deadline = time.monotonic() + seconds
        while not self.ended:
            assert time.monotonic() < deadline, f"not ended: {self.received[-300:]!r}"
            self.receive(deadline - time.monotonic())
        return self.received

    def open_websocket(self, target: str, *headers: str) -> None:
        """Shake hands as a WebSocket client, and leave what follows in ``received``."""
        self.send(upgrade(target, *headers))
        head = self.receive_until(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101"), head

    def end_sending(self) -> None:
        """Close our half."""
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Drop the connection the hard way: the peer gets a RST."""
        with suppress(OSError):
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()
