"""``triolet probe`` before real proxies that are configured badly: each is named, and its cure makes it well.

One server, one nginx and one haproxy, each with a listener for each way of being bad and for each cure that does not
lead back to what is documented, and all are probed at once.
"""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest
import trio

from tests.pages import kept
from triolet.probe import CURES, Report, probe_url

from .needs import missing, needs, program
from .ports import free_port
from .server import Server, command, serving, wait_for
from .test_documented_nginx import AROUND

DOCS = kept("serving")
LISTENED = 7.0
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
    "idle": Bad(["idle"], ["proxy_read_timeout"], ["proxy_read_timeout 2s;"]),
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
    "idle": Bad(["idle"], ["timeout tunnel", "timeout server"], ["timeout tunnel 2s", "timeout server 2s"]),
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


def lines_of(kind: str, name: str, *, is_cured: bool) -> tuple[str, ...]:
    """A proxy's configuration, as a tuple that is the same where the lines are."""
    documented = {"nginx": LOCATION, "haproxy": [*DEFAULTS, *FRONTEND]}[kind]
    lines = spoilt(documented, KINDS[kind][name])
    return tuple(sorted(cured(kind, lines, KINDS[kind][name].faults) if is_cured else lines))


def nginx(server: Server, folder: Path, ports: Mapping[tuple[str, ...], int]) -> list[str]:
    """The command of an nginx that listens once for each configuration of its location."""
    blocks = NGINX_CONF[: NGINX_CONF.index("server {")]
    for lines, port in ports.items():
        blocks += ["server {", f"listen 127.0.0.1:{port};", "location / {", *lines, "}", "}"]
    text = "\n".join(blocks).replace("127.0.0.1:8000;", f"127.0.0.1:{server.port};")
    text = f"proxy_cache_path {folder}/kept keys_zone=kept:1m;\n{text}"
    (folder / "nginx.conf").write_text(AROUND.format(folder=folder, documented=text))
    return [program("nginx"), "-p", str(folder), "-e", str(folder / "start.log"), "-c", str(folder / "nginx.conf")]


def haproxy(server: Server, folder: Path, ports: Mapping[tuple[str, ...], int]) -> list[str]:
    """The same of haproxy: the defaults of the documented file stand in each proxy, where they can be spoilt."""
    text: list[str] = []
    for lines, port in ports.items():
        rest = [line for line in lines if line != "mode http"]
        text += [f"listen l{port}", "mode http", f"bind 127.0.0.1:{port}", *rest]
        text += [f"server one 127.0.0.1:{server.port}"]
    (folder / "haproxy.cfg").write_text("\n".join([*text, ""]))
    return [program("haproxy"), "-db", "-f", str(folder / "haproxy.cfg")]


@contextmanager
def standing(kind: str, server: Server, folder: Path, ports: Mapping[tuple[str, ...], int]) -> Iterator[None]:
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
    """The reports, by proxy and configuration; and what the command itself says where nginx is idle."""

    reports: dict[tuple[str, tuple[str, ...]], Report]
    code: int
    said: str


@pytest.fixture(scope="module")
def probed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Probed]:
    folder = tmp_path_factory.mktemp("probe")
    ports: dict[tuple[str, tuple[str, ...]], int] = {}
    for kind in [kind for kind in KINDS if not missing((kind,))]:
        for name in KINDS[kind]:
            for is_cured in (False, True):  # which is mostly what all is well with
                ports.setdefault((kind, lines_of(kind, name, is_cured=is_cured)), free_port())
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        patch.setenv("E2E_ORIGINS", json.dumps([PAGE]))
        limits = {"beat_seconds": 3.5, "wait_seconds": 5}
        server = stack.enter_context(serving(folder, "origins_app:app", limits=limits))
        for kind in {kind for kind, _ in ports}:
            own = {lines: port for (of, lines), port in ports.items() if of == kind}
            stack.enter_context(standing(kind, server, folder, own))
        yield trio.run(probe_all, ports)


async def probe_all(ports: Mapping[tuple[str, tuple[str, ...]], int]) -> Probed:
    reports: dict[tuple[str, tuple[str, ...]], Report] = {}
    code, said = 0, ""

    async def one(place: tuple[str, tuple[str, ...]], port: int) -> None:
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
        idle = ports.get(("nginx", lines_of("nginx", "idle", is_cured=False)))
        if idle is not None:
            nursery.start_soon(by_command, idle)
        for place, port in ports.items():
            nursery.start_soon(one, place, port)
            await trio.sleep(0.1)  # or each would wait for all others to begin, and that is no silence of a proxy's
    return Probed(reports, code, said)


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_what_a_proxy_does_badly_is_named_and_its_cure_makes_it_well(kind: str, name: str, probed: Probed) -> None:
    bad, good = (probed.reports[kind, lines_of(kind, name, is_cured=is_cured)] for is_cured in (False, True))
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
