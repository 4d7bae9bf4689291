"""Headless Firefox, driven from one thread through WebDriver BiDi, with the same face as Chromium in ``browser.py``."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from websockets.sync.client import ClientConnection, connect

from tests.e2e.browser import PageError, Tab
from tests.e2e.needs import program

__all__ = ["Firefox", "FirefoxTab", "open_firefox"]

PREFERENCES = {
    "app.normandy.enabled": False,
    "app.update.enabled": False,
    "browser.safebrowsing.malware.enabled": False,
    "browser.safebrowsing.phishing.enabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "browser.startup.homepage_override.mstone": "ignore",
    "browser.startup.page": 0,
    "datareporting.policy.dataSubmissionEnabled": False,
    "dom.ipc.processCount": 1,
    "dom.ipc.processPrelaunch.enabled": False,
    "extensions.systemAddon.update.enabled": False,
    "media.gmp-manager.updateEnabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "services.settings.server": "data:,",
    "toolkit.telemetry.enabled": False,
}
"""It asks nothing of the network, and has one process for all pages."""


@contextmanager
def open_firefox() -> Iterator[Firefox]:
    """Run a browser with a profile of its own, and end it with all of its processes."""
    with TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        said = [f"user_pref({json.dumps(name)}, {json.dumps(value)});" for name, value in PREFERENCES.items()]
        (Path(profile) / "user.js").write_text("\n".join(said))
        options = ["--headless", "--no-remote", "--profile", profile, "--remote-debugging-port", "0"]
        command = [program("firefox-esr"), *options, "about:blank"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            address = _address_of(process, Path(profile) / "WebDriverBiDiServer.json")
            with connect(f"ws://{address}/session", max_size=None, ping_interval=None) as connection:
                yield Firefox(connection)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _address_of(process: subprocess.Popen[bytes], file: Path, seconds: float = 60) -> str:
    """Firefox writes where it listens into its profile, when it is ready."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise PageError(f"the browser ended with {process.returncode}")
        if file.exists() and (text := file.read_text()).endswith("}"):
            found = json.loads(text)
            return f"{found['ws_host']}:{found['ws_port']}"
        time.sleep(0.05)
    raise PageError("the browser did not start in time")


class Firefox:
    """A running browser."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._number = 0
        self._tabs: dict[str, FirefoxTab] = {}
        self.call("session.new", capabilities={})
        self.call("session.subscribe", events=["log.entryAdded"])

    def call(self, method: str, **params: Any) -> Any:
        """Call a method of WebDriver BiDi, and return its result."""
        self._number += 1
        self._connection.send(json.dumps({"id": self._number, "method": method, "params": params}))
        while True:
            message = json.loads(self._connection.recv(timeout=60))
            if message.get("id") == self._number:
                if message["type"] == "error":
                    raise PageError(f"{method}: {message['message']}")
                return message["result"]
            if message.get("method") == "log.entryAdded" and message["params"]["level"] == "error":
                tab = self._tabs.get(message["params"]["source"].get("context", ""))
                if tab is not None:
                    tab.complaints.append(str(message["params"]["text"]))

    @contextmanager
    def page(self, url: str) -> Iterator[FirefoxTab]:
        """Open a page in a tab of its own, and close the tab in the end."""
        context = self.call("browsingContext.create", type="tab")["context"]
        tab = self._tabs[context] = FirefoxTab(self, context)
        try:
            tab.visit(url)
            yield tab
        finally:
            del self._tabs[context]
            self.call("browsingContext.close", context=context)


class FirefoxTab(Tab):
    """One tab."""

    def __init__(self, browser: Firefox, context: str) -> None:
        super().__init__()
        self._browser = browser
        self._context = context

    def visit(self, url: str) -> None:
        """Load a page, and wait until its document has been read."""
        self._browser.call("browsingContext.navigate", context=self._context, url=url, wait="complete")

    def reload(self) -> None:
        """Load the page again."""
        self._browser.call("browsingContext.reload", context=self._context, wait="complete")

    def evaluate(self, expression: str) -> Any:
        """Evaluate JavaScript in the page; a promise is waited for. Returns its value, as JSON carries it."""
        asked = f"(async () => JSON.stringify((await ({expression})) ?? null))()"
        target = {"context": self._context}
        answer = self._browser.call("script.evaluate", expression=asked, target=target, awaitPromise=True)
        if answer["type"] == "exception":
            raise PageError(str(answer["exceptionDetails"]["text"]))
        return json.loads(answer["result"]["value"])
