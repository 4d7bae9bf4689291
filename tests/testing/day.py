"""A day in the life of a served app, to be played by a seed: all four transports, faults, a publisher, a restart.

``python -m tests.testing.day SEED [LOG]`` prints the hash of all its steps, and that of what its clients heard.
"""

from __future__ import annotations

import hashlib
import json
import sys

import trio
from quart_trio import QuartTrio

from triolet import Triolet
from triolet.limits import Limits
from triolet.testing.clients import TRANSPORTS, Client
from triolet.testing.faults import cut, half_open, reordered_accepts, slow_reader, stalled
from triolet.testing.line import Line
from triolet.testing.network import Network
from triolet.testing.seed import Played, current, play
from triolet.testing.server import MemoryServer, serve

EVENTS = 60
SILENCE_SECONDS = 12
"""After which a client comes back: two beats and something."""


def _app(log: str) -> tuple[QuartTrio, Triolet]:
    app = QuartTrio("day")
    live = Triolet(app, log=log, deflate=True, limits=Limits(beat_seconds=5, keep_events=50))

    @live.channel("/live")
    async def follow() -> str:
        return "a"

    @app.get("/hour")
    def hour() -> str:  # not async: Quart runs it in a thread
        return "eight"

    return app, live


async def day(log: str = "memory:") -> dict[str, list[object]]:
    """What each client heard. Twelve clients of four transports, some of which meet with a fault each."""
    heard: dict[str, list[object]] = {}
    network = Network(Line(latency=0.02, bandwidth=100_000), current().random("network"))
    app, live = _app(log)
    async with serve(app, network=network) as server, trio.open_nursery() as nursery:
        with reordered_accepts(network, hold=6):
            for number in range(12):
                nursery.start_soon(_stay, server, number, heard)
            await trio.sleep(0.1)
        nursery.start_soon(_publish, live)
        answer = await server.get("/hour")
        heard["hour"] = [answer.body.decode(), answer.headers]
    async with serve(app) as again, again.client("sse", "/live", after=0) as late:
        heard["late"] = [await late.until("live")]
    return heard


async def _publish(live: Triolet) -> None:
    chance = current().random("publisher")
    for number in range(EVENTS):
        await live.publish("a", {"number": number, "text": "x" * chance.randrange(400)})
        await trio.sleep(chance.choice((0, 0.01, 0.3, 2)))


async def _stay(server: MemoryServer, number: int, heard: dict[str, list[object]]) -> None:
    transport = TRANSPORTS[number % 4]
    name = f"{number} {transport}"
    async with server.client(transport, "/live", after=0) as client, trio.open_nursery() as nursery:
        nursery.start_soon(_meet, client, number)
        while _last(client) < EVENTS - 1:
            message = None
            with trio.move_on_after(SILENCE_SECONDS):
                message = await client.next()
            if message is None:
                await trio.sleep(1 + number / 10)
                try:
                    await client.reconnect()
                except (trio.BrokenResourceError, trio.TooSlowError):
                    continue
        nursery.cancel_scope.cancel()
    heard[name] = list(client.heard)


def _last(client: Client) -> int:
    numbers = [message["data"]["number"] for message in client.heard if message["type"] == "event"]
    return numbers[-1] if numbers else -1


async def _meet(client: Client, number: int) -> None:
    """Every other client meets with a fault, and with it again."""
    faults = [stalled, cut, half_open, lambda who: slow_reader(who, bytes_per_second=500)]
    for _ in range(3 * (number % 2)):
        await trio.sleep(2 + number)
        with faults[number // 2 % 4](client):
            await trio.sleep(3)


def views(played: Played[dict[str, list[object]]]) -> str:
    """The hash of what the clients heard."""
    return hashlib.sha256(json.dumps(played.result, sort_keys=True).encode()).hexdigest()


def main() -> None:
    """Play, and tell."""
    log = sys.argv[2] if len(sys.argv) > 2 else "memory:"
    played = play(int(sys.argv[1]), day, log)
    print(json.dumps({"steps": played.steps, "trace": played.digest, "views": views(played)}))  # noqa: T201


if __name__ == "__main__":
    main()
