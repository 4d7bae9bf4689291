"""nginx and haproxy in front of a server, as subprocesses with the smallest configuration that passes all on."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..needs import program
from ..ports import free_port
from ..server import wait_for

NGINX = """
daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/nginx-error.log;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  client_body_temp_path {folder}/nginx-body; proxy_temp_path {folder}/nginx-proxy;
  fastcgi_temp_path {folder}/nginx-fastcgi; uwsgi_temp_path {folder}/nginx-uwsgi; scgi_temp_path {folder}/nginx-scgi;
  map $http_upgrade $upgrade_or_close {{ default upgrade; '' close; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://127.0.0.1:{upstream};
      proxy_http_version 1.1; proxy_buffering off; proxy_request_buffering off;
      proxy_set_header Host $http_host;
      proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $upgrade_or_close;
    }}
  }}
}}
"""

HAPROXY = """
global
  maxconn 4096
defaults
  mode http
  timeout connect 5s
  timeout client 4s
  timeout server 4s
  timeout tunnel 4s
  option http-server-close
frontend door
  bind 127.0.0.1:{port}
  default_backend app
backend app
  server one 127.0.0.1:{upstream}
"""


@contextmanager
def proxy(kind: str, upstream: int, folder: Path) -> Iterator[tuple[str, int]]:
    """Run a proxy in front of a port for the time of a block, and give its address."""
    port = free_port()
    template, arguments = {
        "nginx": (NGINX, ["-p", str(folder), "-e", f"{folder}/nginx-start.log", "-c"]),
        "haproxy": (HAPROXY, ["-db", "-f"]),
    }[kind]
    file = folder / f"{kind}.conf"
    file.write_text(template.format(folder=folder, port=port, upstream=upstream))
    with (folder / f"{kind}.log").open("wb") as log:
        process = subprocess.Popen([program(kind), *arguments, str(file)], stdout=log, stderr=log)
    try:
        wait_for(lambda: _is_open(port, process), f"{kind} to listen")
        yield ("127.0.0.1", port)
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _is_open(port: int, process: subprocess.Popen[bytes]) -> bool:
    assert process.poll() is None, "the proxy ended by itself"
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False
