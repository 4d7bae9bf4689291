"""A dashboard: what this machine does, measured once a second and published once, however many look."""

import os
from pathlib import Path
from typing import Any

import psutil
import trio
from quart import Response
from quart_trio import QuartTrio

from triolet import Keep, Limits, LogError, Triolet, policies

POLICY = "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
SECONDS = 1.0

app = QuartTrio(__name__)
app.config["SEND_FILE_MAX_AGE_DEFAULT"] = 0  # or browsers keep pages and scripts for twelve hours
database = Path(os.environ.get("DASHBOARD_DB") or Path(__file__).with_name("dashboard.db")).resolve()
live = Triolet(app, log=f"sqlite:///{database}", limits=Limits(keep={"*": Keep(seconds=3_600)}))
latest = policies.latest(events=3)


def newest(lag: policies.Lag) -> policies.Step:
    """``latest``, for what a viewer did not read in time. What was there before it came is no lag but the beginning of
    its chart: it asks for the last 600 events, and gets them."""
    return latest(lag._replace(events=lag.events - lag.missed))


@live.channel("/machine/events", policy=newest)
async def machine_events() -> str:
    return "machine"


@live.channel("/processes/events")
async def process_events() -> str:
    return "processes"


live.socket("/live")


class Machine:
    """What counts up for ever is made into a rate: two looks, and what happened between."""

    def __init__(self) -> None:
        self.server = psutil.Process()
        self.totals: dict[str, list[float]] = {}

    def look(self) -> dict[str, Any]:
        """Some 110 bytes of JSON. Each viewer is sent them, so the names are short."""
        net, disk, seen = psutil.net_io_counters(), psutil.disk_io_counters(), live.statistics()
        delivered, lateness = self.since("written", [seen.counts.written.count, seen.counts.written.sum])
        return {
            "cpu": [round(core) for core in psutil.cpu_percent(percpu=True)],
            "mem": psutil.virtual_memory().percent,
            "net": [round(n / SECONDS) for n in self.since("net", [net.bytes_recv, net.bytes_sent] if net else [0, 0])],
            "disk": [
                round(n / SECONDS) for n in self.since("disk", [disk.read_bytes, disk.write_bytes] if disk else [0, 0])
            ],
            "procs": len(psutil.pids()),
            "viewers": live.watchers("machine"),
            "behind": seen.behind,
            "late": round(1_000 * lateness / max(1, delivered), 1),  # ms from publishing to a viewer's kernel
            "own": self.server.cpu_percent(),  # of one core, for all that this server does
        }

    def since(self, what: str, totals: list[float]) -> list[float]:
        before, self.totals[what] = self.totals.get(what, totals), totals
        return [now - then for now, then in zip(totals, before, strict=True)]


def busiest() -> list[tuple[str, float]]:
    """The names of eight processes, and percent of a core. It reads files of each process that there is."""
    found = [(one.info["name"], one.info["cpu_percent"] or 0) for one in psutil.process_iter(["name", "cpu_percent"])]
    return sorted(found, key=lambda one: -one[1])[:8]


@app.before_serving
async def start() -> None:
    app.nursery.start_soon(publish_figures)
    app.nursery.start_soon(tell_processes)


async def publish_figures() -> None:
    machine, due = Machine(), trio.current_time()
    while True:
        figures = machine.look()
        try:
            await live.publish("machine", figures, name="figures", key="now")
        except LogError as error:  # a log that is away costs the chart some seconds, and ends nothing
            app.logger.error("these figures were not published: %s", error)
        due = max(due + SECONDS, trio.current_time())
        await trio.sleep_until(due)


async def tell_processes() -> None:
    """Only for now, so told and not stored. Asked in a thread, for it takes a while; and only while somebody looks."""
    await trio.to_thread.run_sync(busiest)  # at its first look psutil knows of nothing that it was busy
    while True:
        await trio.sleep(SECONDS)
        if live.watchers("processes"):
            live.tell("processes", await trio.to_thread.run_sync(busiest), name="busiest")


@app.get("/")
async def index() -> Response:
    return await app.send_static_file("index.html")


@app.after_request
async def harden(response: Response) -> Response:
    response.headers.update({"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff"})
    return response
