"""A server that is made of a file, for real: the example with its two apps, and the two how-tos, as they stand."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import copytree, ignore_patterns

import pytest

from tests.pages import kept
from tests.test_docs import blocks

from .browser import Browser, Page, open_browser
from .needs import needs
from .ports import free_port
from .server import START_SECONDS, Server, serving, wait_for
from .test_tutorial import Process, running

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "standalone"
DOCS = kept("standalone")

KEYS = {
    "TOKEN_KEY": "bbe7d157-a253-4094-9759-06a8236543f9",
    "TRIOLET_ADMIN_KEY": "d7627bb6-2292-4911-82e1-615c0ed3eebb",
}

Ports = dict[str, int]
"""What a page writes for a port, and which one it is here."""


def moved(text: str, ports: Ports) -> str:
    """A text of a page's with other ports."""
    for written, port in ports.items():
        text = re.sub(rf"(?<=:|\s){written}\b", str(port), text)
    return text


def shell(line: str, folder: Path) -> str:
    """Run a line in a shell, and return what it says."""
    done = subprocess.run(["bash", "-c", line], cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
    return done.stdout


@contextmanager
def standing(folder: Path, file: str, ports: Ports, *arguments: str, port: str = "8000") -> Iterator[Server]:
    """Serve a file that stands in a folder."""
    admin = ["--admin", str(ports["9100"])] if "9100" in ports else []
    with serving(folder, file, arguments=[*admin, *arguments]) as server:
        ports[port] = server.port
        yield server


COMMANDS = {
    "django_app": [sys.executable, "django_app.py", "runserver", "9000", "--noreload"],
    "fastapi_app": [sys.executable, "-m", "hypercorn", "fastapi_app:app", "--workers", "0", "--bind", "127.0.0.1:9000"],
}


@contextmanager
def the_app(name: str, folder: Path, ports: Ports) -> Iterator[Process]:
    """Run the example's app, as its README says, but in one process: Hypercorn's workers outlive a kill of it."""
    command = [moved(part, ports) if part != "9000" else str(ports["9000"]) for part in COMMANDS[name]]
    with running(command, folder) as process:
        asks = f"curl -s -o /dev/null http://127.0.0.1:{ports['9000']}/token"
        wait_for(lambda: subprocess.run(asks.split(), check=False).returncode == 0, f"the app: {process.text}", 60)
        yield process


@needs("curl")
@pytest.mark.parametrize("name", COMMANDS)
def test_the_readmes_commands_work_beside_each_app(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = name.removesuffix("_app")
    if importlib.util.find_spec(library) is None:
        told = f"needs {library}: pip install -e '.[dev]'"
        pytest.fail(told) if os.environ.get("CI") else pytest.skip(told)
    folder = tmp_path / "standalone"
    copytree(EXAMPLE, folder, ignore=ignore_patterns("__pycache__"))
    ports: Ports = {"9000": free_port(), "9100": free_port()}
    file = folder / "channels.toml"
    file.write_text(moved(file.read_text(encoding="utf-8"), ports), encoding="utf-8")
    for variable, value in {**KEYS, "PUBLISH_URL": f"http://127.0.0.1:{ports['9100']}/publish"}.items():
        monkeypatch.setenv(variable, value)
    workers = ["--workers", "2"] if name == "django_app" else []
    with standing(folder, "channels.toml", ports, *workers) as server, the_app(name, folder, ports) as app:
        readme = (EXAMPLE / "README.md").read_text(encoding="utf-8")
        written = re.findall(r"^\$ (curl .*|TOKEN=.*)$", readme, re.MULTILINE)
        log_in, sign, listen, pay, room, talk, present = [moved(line, ports) for line in written]
        assert "ann" in shell(log_in, folder)
        monkeypatch.setenv("TOKEN", shell(f"{sign}; echo $TOKEN", folder).strip())
        with running(["bash", "-c", f"exec {listen}"], tmp_path) as heard:
            heard.says("event: triolet.live")
            shell(pay, folder)
            heard.says('event: order-status\ndata: {"state"')
        assert '"published":"rooms/packing"' in shell(talk, folder)
        assert '"data":{"text":"hello"}' in shell(room, folder)
        assert '"snapshot"' in shell(present, folder)
        others = room.replace("-b jar", "-b 'user=bob' -o /dev/null -w '%{http_code}'")
        assert shell(others, folder) == "403", app.text
        order = f"curl -s -o /dev/null -w '%{{http_code}}' {server.url}/orders/A2/events"
        assert shell(f'{order} -H "Authorization: Bearer $TOKEN"', folder) == "403"
        assert not server.crashes()


@contextmanager
def pages(folder: Path) -> Iterator[int]:
    """Serve a folder's pages as the how-to does it."""
    port = free_port()
    with running([sys.executable, "-m", "http.server", str(port)], folder):
        asks = f"curl -s -o /dev/null http://localhost:{port}/"
        wait_for(lambda: subprocess.run(asks.split(), check=False).returncode == 0, "the pages", START_SECONDS)
        yield port


def set_up(folder: Path, ports: Ports) -> None:
    """The how-tos' files, with other ports."""
    for path in DOCS.iterdir():
        if path.suffix in (".toml", ".html", ".py"):
            (folder / path.name).write_text(moved(path.read_text(encoding="utf-8"), ports), encoding="utf-8")


def console(word: str) -> list[str]:
    """The commands of the page's block that has a word in it."""
    (block,) = [block for block in blocks("standalone.rst", "console") if word in block]
    return [line[2:] for line in block.replace("\\\n", "").splitlines() if line.startswith("$ ")]


SEEN = """
globalThis.streams = []; globalThis.messages = [];
const { EventSource: Stream, WebSocket: Socket } = globalThis;
globalThis.EventSource = class extends Stream { constructor(...given) { super(...given); streams.push(this); } };
globalThis.WebSocket = class extends Socket {
  constructor(...given) { super(...given); this.addEventListener("message", ({ data }) => messages.push(data)); }
};
"""
"""What a page has opened, and heard on WebSockets: a page of the how-tos says nothing of it."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as browser:
        yield browser


@contextmanager
def opened(browser: Browser, url: str) -> Iterator[Page]:
    """Open a page, with an eye on its streams."""
    with browser.page("about:blank") as page:
        page.call("Page.addScriptToEvaluateOnNewDocument", source=SEEN)
        page.visit(url)
        yield page


@needs("curl", "chromium")
def test_mercures_page_hears_of_updates_also_after_a_crash_of_the_server(
    browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export, _ = console("MERCURE_JWT_KEY='")
    monkeypatch.setenv("MERCURE_JWT_KEY", shell(f"{export}; echo $MERCURE_JWT_KEY", tmp_path).strip())
    sign, publish = console('sign.py "$MERCURE_JWT_KEY')
    sign = sign.replace("python", sys.executable, 1)
    with pages(tmp_path) as port:
        ports: Ports = {"8080": port}
        set_up(tmp_path, ports)
        with standing(tmp_path, "mercure.toml", ports, port="3000") as server:
            set_up(tmp_path, ports)
            with opened(browser, f"http://localhost:{port}/mercure.html") as page:
                page.wait("streams[0].readyState === EventSource.OPEN")
                said = shell(f"{sign}; {moved(publish, ports)}", tmp_path)
                assert said.strip() == '{"published":"books/1"}'
                page.wait("document.querySelector('#heard').innerText === 'books/1: updated value'")
                server.kill()
                server.start()
                again = publish.replace('"1"', '"2"').replace("updated value", "once more")
                shell(f"{sign}; {moved(again, ports)}", tmp_path)
                both = "books/1: updated value\\nbooks/1: once more"
                page.wait(f"document.querySelector('#heard').innerText === '{both}'")
        assert not server.crashes()


@needs("curl", "chromium")
def test_centrifugos_counter_shows_what_is_published(
    browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    *exports, _ = console("export TRIOLET_ADMIN_KEY=")
    for variable in ("TOKEN_KEY", "TRIOLET_ADMIN_KEY"):
        monkeypatch.setenv(variable, shell(f"{'; '.join(exports)}; echo ${variable}", tmp_path).strip())
    (sign,) = console('sign.py "$TOKEN_KEY')
    (publish,) = console("""--data '{"channel""")
    with pages(tmp_path) as port:
        ports: Ports = {"3000": port, "9100": free_port()}
        set_up(tmp_path, ports)
        with standing(tmp_path, "centrifugo.toml", ports) as server:
            set_up(tmp_path, ports)
            token = shell(sign.replace("python", sys.executable, 1), tmp_path).strip()
            index = tmp_path / "index.html"
            index.write_text((tmp_path / "centrifugo.html").read_text().replace("<TOKEN>", token))
            with opened(browser, f"http://localhost:{port}/index.html") as page:
                page.wait("""messages.some((text) => text.includes('"type":"live"'))""")
                shell(moved(publish, ports), tmp_path)
                page.wait("document.querySelector('#counter').innerText === '2' && document.title === '2'")
        assert not server.crashes()
