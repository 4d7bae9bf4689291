"""``triolet probe`` before real proxies that are configured badly: each is named, and its cure makes it well.

One server, one nginx and one haproxy, each with a listener for each way of being bad and one for each cure, and all are
probed at once.
"""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest
import trio

from triolet.probe import CURES, Report, probe_url

from .needs import missing, needs, program
from .server import Server, command, free_port, serving, wait_for
from .test_documented_nginx import AROUND

DOCS = Path(__file__).parents[2] / "docs"
LISTENED = 8.0
"""Seconds: some of the server's beats, and a poll that it holds; and for what comes at once, as long as it can take."""
PAGE = "https://shop.example"


class Bad(NamedTuple):
    """A way to spoil a documented configuration, and what the probe is to name."""

    faults: Sequence[str]
    without: Sequence[str] = ()
    with_: Sequence[str] = ()


NO_ACCEL = "proxy_ignore_headers X-Accel-Buffering;"
NGINX = {
    "well": Bad([]),
    "buffering": Bad(
        ["http/1.0", "upgrade", "buffering"],
        ["proxy_buffering", "proxy_http_version"],
        ["proxy_http_version 1.0;", NO_ACCEL],
    ),
    "gzip": Bad(["compression"], ["proxy_buffering"], [NO_ACCEL, "gzip on;", "gzip_types text/event-stream;"]),
    "gzip that is flushed": Bad(["compression"], [], ["gzip on;", "gzip_types application/json text/event-stream;"]),
    "idle": Bad(["idle"], ["proxy_read_timeout"], ["proxy_read_timeout 500ms;"]),
    "upgrade": Bad(["upgrade"], ["proxy_set_header Upgrade", "proxy_set_header Connection"]),
    "http/1.0": Bad(["http/1.0", "upgrade"], ["proxy_http_version"], ["proxy_http_version 1.0;"]),
    "last-event-id": Bad(["last-event-id"], [], ['proxy_set_header Last-Event-ID "";']),
    "cors": Bad(["cors"], [], ["proxy_hide_header Access-Control-Allow-Origin;"]),
    "cors at the preflight": Bad(["cors"], [], ["proxy_hide_header Access-Control-Allow-Headers;"]),
    "cache": Bad(
        ["cache"],
        ["proxy_buffering"],
        ["proxy_cache kept;", "proxy_cache_valid 200 1m;", "proxy_ignore_headers Cache-Control Vary;"],
    ),
    "origin": Bad(["origin"], ["proxy_set_header Host"]),
}
HAPROXY = {
    "well": Bad([]),
    "idle": Bad(["idle"], ["timeout tunnel", "timeout server"], ["timeout tunnel 500ms", "timeout server 500ms"]),
    "upgrade": Bad(["upgrade"], [], ["http-request del-header Upgrade"]),
    "last-event-id": Bad(["last-event-id"], [], ["http-request del-header Last-Event-ID"]),
    "cors": Bad(["cors"], [], ["http-response del-header Access-Control-Allow-Origin"]),
    "origin": Bad(["origin"], [], ["http-request set-header Host inner"]),
}
KINDS = {"nginx": NGINX, "haproxy": HAPROXY}
CASES = [
    pytest.param(kind, name, id=f"{kind}: {name}", marks=needs(kind)) for kind, ways in KINDS.items() for name in ways
]


def cured(proxy: str, lines: Sequence[str], faults: Sequence[str]) -> list[str]:
    """The lines of a configuration, changed as the cures say."""
    for fault in faults:
        cure = CURES[fault][proxy]  # type: ignore[index]  # a fault's name, in a table of ours
        for wrong in cure.remove:
            setting, _, words = wrong.partition(" ")
            lines = [line for line in lines if not line.startswith(wrong)]
            lines = [line.replace(f" {words}", "") if line.startswith(f"{setting} ") else line for line in lines]
        for right in cure.write:
            setting = " ".join(right.split()[: 2 if "header" in right or right.startswith("timeout") else 1])
            lines = [line for line in lines if not line.startswith(setting)]
            lines.append(right)
    return list(lines)


def stripped(text: str) -> list[str]:
    return [line.partition("#")[0].strip() for line in text.splitlines() if line.partition("#")[0].strip()]


NGINX_CONF = stripped((DOCS / "nginx.conf").read_text(encoding="utf-8"))
LOCATION = NGINX_CONF[NGINX_CONF.index("location / {") + 1 : -2]
HAPROXY_CFG = stripped((DOCS / "haproxy.cfg").read_text(encoding="utf-8"))
DEFAULTS = HAPROXY_CFG[HAPROXY_CFG.index("defaults") + 1 : HAPROXY_CFG.index("frontend shop")]
FRONTEND = [line for line in HAPROXY_CFG if line.startswith(("option forwardfor", "http-request"))]


def spoilt(documented: Sequence[str], bad: Bad) -> list[str]:
    kept = [line for line in documented if not line.startswith(tuple(bad.without))] if bad.without else documented
    assert bool(bad.without) == (len(kept) < len(documented)), "what is left out is there"
    return [*kept, *bad.with_]


def nginx(server: Server, folder: Path, ports: dict[tuple[str, bool], int]) -> list[str]:
    """The command of an nginx that listens once for each way, spoilt and cured."""
    blocks = NGINX_CONF[: NGINX_CONF.index("server {")]
    for (name, is_cured), port in ports.items():
        lines = spoilt(LOCATION, NGINX[name])
        lines = cured("nginx", lines, NGINX[name].faults) if is_cured else lines
        blocks += ["server {", f"listen 127.0.0.1:{port};", "location / {", *lines, "}", "}"]
    text = "\n".join(blocks).replace("127.0.0.1:8000;", f"127.0.0.1:{server.port};")
    text = f"proxy_cache_path {folder}/kept keys_zone=kept:1m;\n{text}"
    (folder / "nginx.conf").write_text(AROUND.format(folder=folder, documented=text))
    return [program("nginx"), "-p", str(folder), "-e", str(folder / "start.log"), "-c", str(folder / "nginx.conf")]


def haproxy(server: Server, folder: Path, ports: dict[tuple[str, bool], int]) -> list[str]:
    """The same of haproxy: the defaults of the documented file stand in each proxy, where they can be spoilt."""
    text: list[str] = []
    for (name, is_cured), port in ports.items():
        lines = spoilt([*DEFAULTS, *FRONTEND], HAPROXY[name])
        lines = cured("haproxy", lines, HAPROXY[name].faults) if is_cured else lines
        text += [f"listen l{port}", f"bind 127.0.0.1:{port}", *lines, f"server one 127.0.0.1:{server.port}"]
    (folder / "haproxy.cfg").write_text("\n".join([*text, ""]))
    return [program("haproxy"), "-db", "-f", str(folder / "haproxy.cfg")]


@contextmanager
def standing(kind: str, server: Server, folder: Path, ports: dict[tuple[str, bool], int]) -> Iterator[None]:
    with (folder / f"{kind}.log").open("wb") as log:
        made = {"nginx": nginx, "haproxy": haproxy}[kind](server, folder, ports)
        process = subprocess.Popen(made, stdout=log, stderr=log)
    try:
        for port in ports.values():
            wait_for(partial(listens, port, process), f"{kind}: {(folder / f'{kind}.log').read_text()}")
        yield
    finally:
        process.terminate()
        process.wait(10)


def listens(port: int, process: subprocess.Popen[bytes]) -> bool:
    assert process.poll() is None, "it has ended by itself"
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


class Probed(NamedTuple):
    """All reports, of each proxy and way, spoilt and cured; and what the command itself says where nginx is idle."""

    reports: dict[tuple[str, str, bool], Report]
    code: int
    said: str


@pytest.fixture(scope="module")
def probed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Probed]:
    folder = tmp_path_factory.mktemp("probe")
    kinds = [kind for kind in KINDS if not missing((kind,))]
    limits = {"beat_seconds": 1, "wait_seconds": 1.5}
    ports = {
        (kind, name, is_cured): free_port() for kind in kinds for name in KINDS[kind] for is_cured in (False, True)
    }
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        patch.setenv("E2E_ORIGINS", json.dumps([PAGE]))
        server = stack.enter_context(serving(folder, "origins_app:app", limits=limits))
        for kind in kinds:
            own = {(name, is_cured): port for (of, name, is_cured), port in ports.items() if of == kind}
            stack.enter_context(standing(kind, server, folder, own))
        yield trio.run(probe_all, ports)


async def probe_all(ports: dict[tuple[str, str, bool], int]) -> Probed:
    reports: dict[tuple[str, str, bool], Report] = {}
    code, said = 0, ""

    async def one(place: tuple[str, str, bool], port: int) -> None:
        base = f"http://127.0.0.1:{port}"
        reports[place] = await probe_url(
            f"{base}/news", base=base, token=None, headers={}, seconds=LISTENED, page=PAGE, patience=LISTENED
        )

    async def by_command(port: int) -> None:
        nonlocal code, said
        written = [*command(), "probe", f"http://127.0.0.1:{port}/news", "--silence", f"{LISTENED:g}"]
        done = await trio.run_process(written, capture_stdout=True, check=False)
        code, said = done.returncode, done.stdout.decode()

    async with trio.open_nursery() as nursery:
        for place, port in ports.items():
            nursery.start_soon(one, place, port)
        if ("nginx", "idle", False) in ports:
            nursery.start_soon(by_command, ports["nginx", "idle", False])
    return Probed(reports, code, said)


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_what_a_proxy_does_badly_is_named_and_its_cure_makes_it_well(kind: str, name: str, probed: Probed) -> None:
    bad, good = probed.reports[kind, name, False], probed.reports[kind, name, True]
    assert sorted(bad.faults) == sorted(KINDS[kind][name].faults), bad
    assert good.faults == [], good
    assert [finding for finding in good.findings if finding.state != "ok"] == []
    assert good.chosen == "websocket"
    assert bad.chosen == {"buffering": "long-poll", "upgrade": "sse", "http/1.0": "sse"}.get(name, "websocket")


@needs("nginx")
def test_the_command_says_what_to_write_and_exits_with_1(probed: Probed) -> None:
    assert probed.code == 1
    assert "nginx: write   proxy_read_timeout 60s;" in probed.said
    assert "haproxy" not in probed.said, "whose lines nobody needs: answers name nginx"


@pytest.mark.parametrize(
    ("proxy", "file"), [("nginx", "nginx.conf"), ("haproxy", "haproxy.cfg"), ("caddy", "Caddyfile")]
)
def test_the_lines_to_write_are_those_of_the_documentation(proxy: str, file: str) -> None:
    documented = [" ".join(line.split()) for line in stripped((DOCS / file).read_text(encoding="utf-8"))]
    lines = {line for cures in CURES.values() if proxy in cures for line in cures[proxy].write}
    assert lines - {*documented} == set()
