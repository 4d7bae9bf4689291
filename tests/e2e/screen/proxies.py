"""What may stand between a page and its server, each on a port of its own: one nginx and one haproxy are all of it."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from tests.e2e.needs import program
from tests.e2e.ports import free_port
from tests.e2e.server import wait_for
from tests.e2e.test_documented_nginx import AROUND

__all__ = ["PATHS", "Kind", "Proxies", "proxies"]


class Kind(NamedTuple):
    """One kind of path: the transport that is left to a page, what nginx does in its location, and how many events are
    there before the page is."""

    transport: str | None
    nginx: str = ""
    before: int = 3


PLAIN = 'proxy_http_version 1.1; proxy_set_header Connection "";'
OLD = "proxy_http_version 1.0; proxy_set_header Connection close;"
UPGRADE = "proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $asked;"
BUFFER = "proxy_buffering on; proxy_ignore_headers X-Accel-Buffering;"
COMPRESS = "gzip on; gzip_types *; gzip_min_length 1; gzip_proxied any;"
HOLD = BUFFER + COMPRESS  # what it buffers nginx passes on when nothing more is there, but not if it has to compress it
SWALLOW = "if ($http_upgrade) {{ proxy_pass http://127.0.0.1:{hole}; }}"
REFUSE = "if ($http_upgrade) {{ return %d; }}"
LOGIN = 'if ($http_cookie !~ "in=yes") {{ return 302 %s; }}'

PATHS: Mapping[str, Kind] = {
    "passes all": Kind("websocket", UPGRADE),
    "passes no upgrade": Kind("sse", PLAIN),
    "answers an upgrade 403": Kind("sse", PLAIN + REFUSE % 403),
    "answers an upgrade 426": Kind("sse", PLAIN + REFUSE % 426),
    "answers an upgrade 502": Kind("sse", PLAIN + REFUSE % 502),
    "swallows an upgrade": Kind("sse", PLAIN + SWALLOW),
    "buffers": Kind("sse", PLAIN + BUFFER),
    "compresses": Kind("sse", PLAIN + COMPRESS),
    "holds streams up": Kind("long-poll", PLAIN + HOLD),
    "holds up the end of much": Kind("long-poll", PLAIN + HOLD, 4_000),
    "swallows an upgrade and holds streams up": Kind("long-poll", PLAIN + SWALLOW + HOLD),
    "speaks HTTP/1.0": Kind("sse", OLD),
    "takes Last-Event-ID off": Kind("sse", PLAIN + 'proxy_set_header Last-Event-ID "";'),
    "cuts after 10 s": Kind("websocket"),
    "cuts after 10 s and refuses upgrades": Kind("sse"),
    "asks for a login": Kind(None, UPGRADE + LOGIN % "/login"),
    "asks for a login elsewhere": Kind(None, UPGRADE + LOGIN % "http://localhost:{own}/login"),
}
"""A transport of None: the session ends, and with it all of them."""

CUTTING = [name for name in PATHS if name.startswith("cuts")]

SERVER = """
server {{
    listen 127.0.0.1:{own};
    location = /login {{ default_type text/html; return 200 "<form>"; }}
    location / {{
        proxy_pass http://triolet;
        proxy_set_header Host $http_host;
        {nginx}
    }}
}}
"""

HAPROXY = """
defaults
    mode http
    timeout connect 2s
    timeout client 10s
    timeout server 10s
    timeout tunnel 10s
    default_backend triolet

frontend open
    bind 127.0.0.1:{ports[0]}

frontend closed
    bind 127.0.0.1:{ports[1]}
    http-request deny if {{ hdr(upgrade) -i websocket }}

backend triolet
    server one 127.0.0.1:{server}
"""


class Proxies:
    """All of them, before one server. nginx can be cut off, and come back."""

    def __init__(self, folder: Path, server_port: int, hole_port: int) -> None:
        self._folder = folder
        self._ports = {name: free_port() for name in PATHS}
        self._nginx: subprocess.Popen[bytes] | None = None
        config = self._nginx_config(server_port, hole_port)
        (folder / "nginx.conf").write_text(AROUND.format(folder=folder, documented=config))
        cutting = [self._ports[name] for name in CUTTING]
        (folder / "haproxy.cfg").write_text(HAPROXY.format(ports=cutting, server=server_port))

    def _nginx_config(self, server_port: int, hole_port: int) -> str:
        map_ = "map $http_upgrade $asked { default upgrade; '' ''; }\n"
        upstream = f"upstream triolet {{ server 127.0.0.1:{server_port}; keepalive 8; }}\n"
        servers = ""
        for name, kind in PATHS.items():
            if name not in CUTTING:
                own = self._ports[name]
                servers += SERVER.format(own=own, nginx=kind.nginx.format(hole=hole_port, own=own))
        return map_ + upstream + servers

    def url(self, name: str) -> str:
        """Where a page comes to by a path."""
        return f"http://127.0.0.1:{self._ports[name]}"

    def start(self) -> None:
        """Start nginx, or start it again."""
        folder = self._folder
        command = [
            program("nginx"),
            "-p",
            str(folder),
            "-e",
            str(folder / "start.log"),
            "-c",
            str(folder / "nginx.conf"),
        ]
        self._nginx = _started(command, folder / "nginx.out")
        wait_for(lambda: self._listens("passes all"), f"nginx to listen: {(folder / 'nginx.out').read_text()}")

    def cut(self) -> None:
        """End nginx, and with it every connection through it."""
        assert self._nginx is not None
        self._nginx.terminate()
        self._nginx.wait(10)

    def _listens(self, name: str) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self._ports[name]), 1):
            return True
        return False

    @contextmanager
    def haproxy(self) -> Iterator[None]:
        """haproxy for the time of a block."""
        process = _started(
            [program("haproxy"), "-db", "-f", str(self._folder / "haproxy.cfg")], self._folder / "haproxy.out"
        )
        try:
            wait_for(lambda: self._listens(CUTTING[0]), "haproxy to listen")
            yield
        finally:
            process.terminate()
            process.wait(10)


def _started(command: list[str], output: Path) -> subprocess.Popen[bytes]:
    with output.open("ab") as to:
        return subprocess.Popen(command, stdout=to, stderr=to)


@contextmanager
def proxies(folder: Path, server_port: int) -> Iterator[Proxies]:
    """All paths to a server, for the time of a block."""
    with ExitStack() as stack:
        hole = stack.enter_context(socket.create_server(("127.0.0.1", free_port()), backlog=64))  # it accepts nobody
        made = Proxies(folder, server_port, hole.getsockname()[1])
        stack.enter_context(made.haproxy())
        made.start()
        stack.callback(made.cut)
        yield made
