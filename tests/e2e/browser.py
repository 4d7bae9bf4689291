"""Headless Chromium, driven from one thread through the DevTools protocol: open a page, ask it, press, look.

A process that runs tests has one Chromium, from the first of them that opens a browser on to its own end: to start one
and to make it warm costs more than most of what is looked at in it. What each test opens is a profile of its own, with
no cookie, cache, storage, worker or connection of another one.
"""

from __future__ import annotations

import atexit
import base64
import json
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.request import urlopen

from websockets.sync.client import ClientConnection, connect

from .needs import program

__all__ = ["Browser", "Page", "PageError", "Tab", "open_browser"]

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-background-timer-throttling",
    "--disable-component-update",
    "--disable-features=SpareRendererForSitePerProcess",  # a process for each profile's next page, which most have not
    "--disable-sync",
    "--hide-scrollbars",
    "--no-default-browser-check",
    "--no-first-run",
    "--remote-debugging-port=0",
)


class PageError(Exception):
    """What was evaluated in the page threw, or a condition did not come true in time."""


@contextmanager
def open_browser() -> Iterator[Browser]:
    """Open a browser with a profile of its own, and close it with all of its pages."""
    url = _chromium()
    with connect(url, max_size=None, ping_interval=None) as control:
        profile = _call(control, 1, "Target.createBrowserContext", {})["browserContextId"]
    try:
        yield Browser(url, profile)
    finally:
        with connect(url, max_size=None, ping_interval=None) as control:
            _call(control, 1, "Target.disposeBrowserContext", {"browserContextId": profile})


@cache
def _chromium() -> str:
    """Start this process's Chromium, and return where it is told what to do. It ends, with all of its own processes,
    when this process does."""
    folder = TemporaryDirectory(ignore_cleanup_errors=True)
    command = [program("chromium"), *FLAGS, f"--user-data-dir={folder.name}", "about:blank"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    atexit.register(_end, process, folder)
    port = _port_of(process, Path(folder.name) / "DevToolsActivePort")
    with urlopen(f"http://127.0.0.1:{port}/json/version", timeout=10) as answer:
        return str(json.load(answer)["webSocketDebuggerUrl"])


def _end(process: subprocess.Popen[bytes], folder: TemporaryDirectory[str]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    folder.cleanup()


def _port_of(process: subprocess.Popen[bytes], file: Path, seconds: float = 30) -> int:
    """Chromium writes the port that it listens on into its profile, when it is ready."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise PageError(f"the browser ended with {process.returncode}")
        if file.exists() and "\n" in (text := file.read_text()):
            return int(text.split("\n")[0])
        time.sleep(0.05)
    raise PageError("the browser did not start in time")


class Browser:
    """A running browser, as far as one profile goes."""

    def __init__(self, url: str, profile: str) -> None:
        self._url = url
        self._profile = profile

    @contextmanager
    def page(self, url: str, *, width: int = 1440, height: int = 1000, dark: bool = False) -> Iterator[Page]:
        """Open a page in a tab of its own, and close the tab in the end."""
        address = self._url.partition("/devtools/")[0] + "/devtools/page"
        with connect(self._url, max_size=None, ping_interval=None) as control:
            wanted = {"url": "about:blank", "browserContextId": self._profile}
            target = _call(control, 1, "Target.createTarget", wanted)["targetId"]
            try:
                # Without a bound: where nobody takes what a busy page tells, its goodbye would wait behind all of it.
                told = f"{address}/{target}"
                with connect(told, max_size=None, max_queue=None, ping_interval=None) as connection:
                    page = Page(connection)
                    page.resize(width, height, dark=dark)
                    page.visit(url)
                    yield page
            finally:
                _call(control, 2, "Target.closeTarget", {"targetId": target})


def _call(connection: ClientConnection, number: int, method: str, params: dict[str, Any]) -> Any:
    connection.send(json.dumps({"id": number, "method": method, "params": params}))
    while True:
        answer = json.loads(connection.recv(timeout=30))
        if answer.get("id") == number:
            if "error" in answer:
                raise PageError(f"{method}: {answer['error']['message']}")
            return answer["result"]


class Tab:
    """One tab of whichever browser. Errors and console errors of the page gather in ``complaints``."""

    def __init__(self) -> None:
        self.complaints: list[str] = []

    def visit(self, url: str) -> None:
        """Load a page, and wait until its document has been read."""
        raise NotImplementedError

    def evaluate(self, expression: str) -> Any:
        """Evaluate JavaScript in the page; a promise is waited for. Returns its value, as JSON carries it."""
        raise NotImplementedError

    def wait(self, condition: str, *, seconds: float = 30) -> None:
        """Wait until a condition holds in the page."""
        deadline = time.monotonic() + seconds
        while not self.evaluate(f"Boolean({condition})"):
            if time.monotonic() > deadline:
                raise PageError(f"never came true: {condition}")
            time.sleep(0.03)

    def click(self, selector: str) -> None:
        """Click an element, as soon as it is there and enabled."""
        found = f"document.querySelector({json.dumps(selector)})"
        self.wait(f"{found} && !{found}.disabled")
        self.evaluate(f"{found}.click()")

    def text(self, selector: str) -> str:
        """The text of an element."""
        return str(self.evaluate(f"document.querySelector({json.dumps(selector)}).textContent"))


class Page(Tab):
    """One tab of Chromium."""

    def __init__(self, connection: ClientConnection) -> None:
        super().__init__()
        self._connection = connection
        self._number = 0
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> Any:
        """Call a method of the DevTools protocol, and return its result."""
        self._number += 1
        self._connection.send(json.dumps({"id": self._number, "method": method, "params": params}))
        while True:
            message = json.loads(self._connection.recv(timeout=60))
            if message.get("id") == self._number:
                if "error" in message:
                    raise PageError(f"{method}: {message['error']['message']}")
                return message["result"]
            self._listen(message)

    def _listen(self, message: dict[str, Any]) -> None:
        method, params = message.get("method"), message.get("params", {})
        if method == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.complaints.append(details.get("exception", {}).get("description", details["text"]))
        elif method == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.complaints.append(f"{params['entry']['text']} {params['entry'].get('url', '')}".strip())
        elif method == "Runtime.consoleAPICalled" and params["type"] == "error":
            self.complaints.append(" ".join(str(arg.get("value", arg.get("description"))) for arg in params["args"]))

    def visit(self, url: str) -> None:
        """Load a page, and wait until its document has been read."""
        answer = self.call("Page.navigate", url=url)
        if "errorText" in answer:
            raise PageError(f"{url}: {answer['errorText']}")
        self.wait(f"location.href.startsWith({json.dumps(url)}) && document.readyState === 'complete'")

    def evaluate(self, expression: str) -> Any:
        """Evaluate JavaScript in the page; a promise is waited for. Returns its value, as JSON carries it."""
        result = self.call(
            "Runtime.evaluate", expression=f"await ({expression})", awaitPromise=True, returnByValue=True, replMode=True
        )
        if "exceptionDetails" in result:
            details = result["exceptionDetails"]
            raise PageError(details.get("exception", {}).get("description", details["text"]))
        return result["result"].get("value")

    def run(self, code: str) -> None:
        """Run a module as one that stands in the page. ``isDone`` is true in the page when it has come to its end."""
        self.evaluate(f"globalThis.code = {json.dumps(code)} + '\\n;globalThis.isDone = true', 0")
        self.evaluate(
            "globalThis.script = Object.assign(document.createElement('script'), {type: 'module', textContent: code}),"
            " document.body.append(script), 0"
        )

    def reload(self) -> None:
        """Load the page again."""
        self.evaluate("globalThis.isOld = true")
        self.call("Page.reload")
        self._arrive("!globalThis.isOld && document.readyState === 'complete'")

    def back(self) -> None:
        """Go back to the page before."""
        history = self.call("Page.getNavigationHistory")
        entry = history["entries"][history["currentIndex"] - 1]
        self.call("Page.navigateToHistoryEntry", entryId=entry["id"])
        self._arrive(f"location.href === {json.dumps(entry['url'])} && document.readyState === 'complete'")

    def _arrive(self, condition: str, seconds: float = 30) -> None:
        """Wait for it in another document: between the two nothing can be asked."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                return self.wait(condition, seconds=deadline - time.monotonic())
            except PageError:
                if time.monotonic() > deadline:
                    raise

    def freeze(self, frozen: bool) -> None:
        """Have the page frozen, as a browser does it with one in the background, or wake it."""
        self.call("Page.setWebLifecycleState", state="frozen" if frozen else "active")

    def crash(self) -> None:
        """Have the page's process crash."""
        self.call("Inspector.enable")
        self._connection.send(json.dumps({"id": 0, "method": "Page.crash"}))
        while json.loads(self._connection.recv(timeout=30)).get("method") != "Inspector.targetCrashed":
            pass

    def resize(self, width: int, height: int, *, dark: bool = False) -> None:
        """Set the size of the window, and the colour scheme that the user prefers."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def still(self, *, dark: bool = False) -> None:
        """Have the page move nothing: what is looked at is what there is in the end."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        still = {"name": "prefers-reduced-motion", "value": "reduce"}
        self.call("Emulation.setEmulatedMedia", features=[scheme, still])

    def offline(self, off: bool) -> None:
        """Take the whole tab off the network, or bring it back."""
        self.call(
            "Network.emulateNetworkConditions", offline=off, latency=0, downloadThroughput=-1, uploadThroughput=-1
        )

    def screenshot(self, path: Path, *, whole: bool = False) -> None:
        """Save what the window shows, or the whole page, as a PNG."""
        params: dict[str, Any] = {"format": "png", "captureBeyondViewport": whole}
        if whole:
            size = self.call("Page.getLayoutMetrics")["cssContentSize"]
            params["clip"] = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", **params)["data"]))
