"""Brings viewers: ``python crowd.py [VIEWERS [SECONDS [URL]]]``, 10,000 of them for a minute if nothing is said.

Each is an event stream on a connection of its own; one loop reads them all, and says what they got, and how late.
"""

import resource
import selectors
import socket
import sys
import time
from urllib.parse import urlsplit

AT_ONCE, PORTS = 200, 25_000  # viewers that come together; ports of one address
EVERY, LATEST = 10, 120  # seconds: between reports; until all must have come


class Viewer:
    def __init__(self, host: str, port: int, path: str) -> None:
        self.rest, self.events, self.bytes, self.gaps, self.is_open = b"", 0, 0, 0, True
        self.socket = socket.create_connection((host, port), 30)
        self.socket.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept: text/event-stream\r\n\r\n".encode())

    def read(self, late: list[float]) -> None:
        """Take what has come. Heads and chunks end with a CR, and in an event there is none."""
        data = self.socket.recv(65_536)
        *lines, self.rest = (self.rest + data).split(b"\r\n")
        self.is_open = bool(data)
        for line in lines:
            self.gaps += b"event: triolet.gap\n" in line
            if b"event: figures\n" in line:
                self.events, self.bytes = self.events + 1, self.bytes + len(line)
                late.append(time.time() * 1_000 - int(line.rpartition(b"\ntime: ")[2].split()[0]))


def main(viewers: int = 10_000, seconds: float = 60, url: str = "http://127.0.0.1:8000/machine/events") -> None:
    files, where = resource.getrlimit(resource.RLIMIT_NOFILE)[1], urlsplit(url)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    if viewers > (most := min(files - 50, PORTS)):
        viewers = most
        print(f"{viewers:,} viewers: so many allow the limit of open files ({files:,}) and the ports of one address")
    crowd: list[Viewer] = []
    late: list[float] = []
    loop, began = selectors.DefaultSelector(), time.monotonic()

    def read(until: float) -> None:
        while (left := until - time.monotonic()) > 0:
            for key, _ in loop.select(left):
                key.data.read(late)
                if not key.data.is_open:
                    loop.unregister(key.data.socket)

    while len(crowd) < viewers:
        for _ in range(min(AT_ONCE, viewers - len(crowd))):
            crowd.append(Viewer(where.hostname or "", where.port or 80, where.path))
            loop.register(crowd[-1].socket, selectors.EVENT_READ, crowd[-1])
        read(time.monotonic() + AT_ONCE / 1_000)
    while not all(one.events or not one.is_open for one in crowd) and time.monotonic() < began + LATEST:
        read(time.monotonic() + 0.5)
    print(f"{viewers:,} viewers have come, in {time.monotonic() - began:.0f} s", flush=True)
    start, before = time.monotonic(), [one.events for one in crowd]
    while (at := time.monotonic() - start) < seconds:
        late.clear()
        read(start + min(at + EVERY, seconds))
        late.sort()
        half, nearly = (late[len(late) // 2], late[len(late) * 99 // 100]) if late else (0, 0)
        print(
            f"{len(late):,} events; half within {half:.0f} ms of being published, 99 % within {nearly:.0f}", flush=True
        )
    got = [now.events - then for now, then in zip(crowd, before, strict=True)]
    size = sum(one.bytes for one in crowd) / max(1, sum(one.events for one in crowd))
    gaps, lost = sum(one.gaps for one in crowd), sum(not one.is_open for one in crowd)
    print(f"each got {min(got)} to {max(got)} events of {size:.0f} bytes; {gaps} gaps were told")
    print(f"{lost} connections were lost")


if __name__ == "__main__":
    try:
        main(*[kind(text) for kind, text in zip((int, float, str), sys.argv[1:], strict=False)])
    except OSError as error:
        sys.exit(f"the server is not there, or has gone: {error} (make dashboard starts it)")
    except KeyboardInterrupt:
        sys.exit(1)
