"""Who publishes, over HTTP, and keeps at it until it is known what became of each event."""

from __future__ import annotations

import http.client
import itertools
import json
import threading
import time
from collections import Counter
from typing import Any

from tests.e2e.server import PATIENCE

__all__ = ["Publisher", "ask"]


def ask(address: tuple[str, int], method: str, target: str, data: Any = None) -> tuple[int, Any]:
    """Ask on a connection of its own: status and JSON.

    Raises:
        OSError, http.client.HTTPException: there was no answer.
    """
    connection = http.client.HTTPConnection(*address, timeout=PATIENCE)
    try:
        body = None if data is None else json.dumps(data)
        connection.request(method, target, body, {"Content-Type": "application/json", "Connection": "close"})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read() or b"null")
    finally:
        connection.close()


class Publisher:
    """Publishes one event after the other to a channel: ``name.1``, ``name.2`` and on, on a thread of its own.

    What may be stored or not is repeated with the same ``dedupe``; what is surely not stored is given up.

    Attributes:
        returned: the cursor that each event was acknowledged with.
        refused: what was surely not stored.
        outcomes: how many attempts ended how.
        pids: which processes acknowledged.
    """

    def __init__(self, address: tuple[str, int], channel: str, name: str, pause: float) -> None:
        self.channel = channel
        self.name = name
        self.returned: dict[str, str] = {}
        self.refused: set[str] = set()
        self.outcomes: Counter[str] = Counter()
        self.pids: set[int] = set()
        self.failure: BaseException | None = None
        self._address = address
        self._pause = pause
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Publisher:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join(3 * PATIENCE)

    def finish(self) -> None:
        """Publish no more, and wait until it is known what became of the last."""
        self.__exit__()
        assert not self._thread.is_alive(), f"{self.name} has heard nothing of its last event: {self.outcomes}"
        assert self.failure is None, self.failure

    def _run(self) -> None:
        try:
            for number in itertools.count(1):
                self._publish(f"{self.name}.{number}")
                if self._over.wait(self._pause):
                    return
        except BaseException as error:
            self.failure = error

    def _publish(self, data: str) -> None:
        """Publish one, as often as it takes."""
        may_be_stored = False
        give_up_at = time.monotonic() + 2 * PATIENCE
        while time.monotonic() < give_up_at:
            error, answer = self._attempt(data)
            self.outcomes[error or "returned"] += 1
            if error is None:
                self.returned[data] = answer["id"]
                self.pids.add(answer["pid"])
                return
            if error == "LogAway" and not may_be_stored:
                self.refused.add(data)
                return
            may_be_stored = True
            time.sleep(0.05)
        raise AssertionError(f"{data} could not be published: {self.outcomes}")

    def _attempt(self, data: str) -> tuple[str | None, Any]:
        """One attempt: what went wrong, if anything did, and the answer."""
        try:
            status, answer = ask(self._address, "POST", f"/c/{self.channel}", {"data": data, "dedupe": data})
        except (OSError, http.client.HTTPException, ValueError) as error:
            return type(error).__name__, None
        return (None, answer) if status == 200 else (answer.get("error", str(status)), answer)
