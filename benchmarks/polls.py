"""Measure polls: short ones with keep-alive, whose view reads the session, and 20,000 long ones that wait.

    python -m benchmarks.polls

Short polls beside a plain Quart-Trio view on Hypercorn that gives the same answer, a plain answer of Starlette's on
uvicorn, and nchan. Needs the extra `bench` and a C compiler; who is missing is left out, and said. Takes some three
minutes, with --quick one and a quarter (and 4,000 long polls).
"""

from __future__ import annotations

import http.client
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import NamedTuple

import msgspec

from benchmarks.deadline import deadline
from benchmarks.fanout.contestants import Contestant
from benchmarks.fanout.machine import busy_seconds, cpu_seconds, memory, raise_files
from benchmarks.fanout.programs import compiled
from benchmarks.results import Part, Table, options, publish, say, spread
from benchmarks.targets import judge
from benchmarks.upward.asking import Asking
from benchmarks.upward.contest import Contest
from benchmarks.upward.measure import COLUMNS, QUICK, Asked, Plan, Window, middle, ratios, row
from benchmarks.upward.servers import NchanAsked, QuartAsked, StarletteAsked, TrioletAsked

__all__ = ["main"]

CLIENTS = 100
PATH = "/orders/A123/events"
NOTHING_NEW = "Triolet, 304"
"""Triolet, asked with the ``ETag`` of its last answer."""

WAITING = 20_000
CYCLE = 25
"""Seconds that a long poll waits. All come within one or several times as much, so that they ask evenly."""

SPARE = 500
"""Descriptors that a process needs besides its connections."""

SOURCES = 4
PARTS = ("short", "waiting")


class Login(NamedTuple):
    """The cookie of a client that has logged in, the cursor it has, and what it is answered."""

    cookie: str
    cursor: str
    tag: str
    answer: bytes


def main() -> None:
    """Parse the command line, measure, and print the tables."""
    parser = options("polls", __doc__)
    parser.add_argument("--rounds", type=int, help="measure so many rounds")
    parser.add_argument("--without", action="append", default=[], help="leave a contestant out, by its name")
    parser.add_argument("--only", action="append", choices=PARTS, help="measure only this; may be repeated")
    parser.add_argument("--clients", type=int, help="let so many long polls wait")
    arguments = parser.parse_args()
    plan = QUICK if arguments.quick else Plan()
    if arguments.rounds:
        plan = msgspec.structs.replace(plan, rounds=arguments.rounds)
    wanted = arguments.clients or (WAITING // 5 if arguments.quick else WAITING)
    files = raise_files(wanted + SPARE)
    part = Part("polls", "Polls", _about(plan), quick=arguments.quick)
    contest = Contest(part, arguments.without)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        program = compiled(Path(__file__).parent / "upward" / "ask.c", folder)
        if "short" in (arguments.only or PARTS):
            part.tables.append(short_table(short(contest, program, folder, plan)))
        if "waiting" in (arguments.only or PARTS):
            if files < wanted + SPARE:
                say(f"a process may have {files:,} descriptors here (ulimit -Hn): {files - SPARE:,} long polls")
            try:
                part.tables.append(waiting(program, min(wanted, files - SPARE), 1 if arguments.quick else 2))
            except RuntimeError as error:  # so many may be more than a busy machine can do
                contest.tell(f"Long polls could not be measured: {error}.")
    publish(part, keep=arguments.save or not (arguments.quick or arguments.only or arguments.without))


def short(contest: Contest, program: Path, folder: Path, plan: Plan) -> list[Window]:
    """Measure short polls of everybody in turn."""
    with ExitStack() as stack:
        triolet = stack.enter_context(TrioletAsked())
        login = log_in(triolet)
        answer = folder / "answer"
        answer.write_bytes(login.answer)
        poll = request(f"{PATH}?after={login.cursor}", f"cookie: {login.cookie}")
        nothing_new = request(f"{PATH}?after={login.cursor}", f"cookie: {login.cookie}", f"if-none-match: {login.tag}")
        asked: list[tuple[str, Contestant, bytes]] = [
            (triolet.name, triolet, poll),
            (NOTHING_NEW, triolet, nothing_new),
        ]
        for server in contest.start(stack, (QuartAsked, StarletteAsked, NchanAsked), answer):
            asked.append((server.name, server, nchan_poll(server) if isinstance(server, NchanAsked) else poll))
        entries = []
        for name, server, message in asked:
            asking = Asking(program, server, message, "", CLIENTS, http=True)
            if contest.connect(stack, name, asking):
                entries.append(Asked("short poll", name, server, asking, 1))
        return contest.rounds(entries, plan)


def log_in(server: Contestant) -> Login:
    """Log in, and poll once."""
    status, headers, _ = get(server.port, "/login")
    cookie = headers["set-cookie"].partition(";")[0]
    _, _, answer = get(server.port, PATH, {"Cookie": cookie})
    cursor = msgspec.json.decode(answer)["cursor"]
    status, headers, answer = get(server.port, f"{PATH}?after={cursor}", {"Cookie": cookie})
    if status != 200:
        raise RuntimeError(f"{server.name} answers {status}: {answer!r}")
    return Login(cookie, cursor, headers["etag"], answer)


def nchan_poll(server: Contestant) -> bytes:
    """The poll of a client of nchan's that has the last message."""
    get(server.port, "/publish", body=b"x")
    _, headers, _ = get(server.port, "/poll/bench")
    tags = (f"if-modified-since: {headers['last-modified']}", f"if-none-match: {headers['etag']}")
    return request("/poll/bench", *tags)


def get(
    port: int, path: str, headers: dict[str, str] | None = None, body: bytes | None = None
) -> tuple[int, http.client.HTTPMessage, bytes]:
    """Ask once, with a body by POST."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET" if body is None else "POST", path, body, headers or {})
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, answer.headers, content


def request(path: str, *headers: str) -> bytes:
    """A GET request, as it goes out."""
    return "\r\n".join([f"GET {path} HTTP/1.1", "host: 127.0.0.1", *headers, "\r\n"]).encode()


def short_table(windows: Sequence[Window]) -> Table:
    """Write what a short poll cost."""
    of = {name: [w for w in windows if w.name == name] for name in dict.fromkeys(w.name for w in windows)}
    own, plain = of.get(TrioletAsked.name, []), of.get(QuartAsked.name, [])
    rows = [
        [name, spread([w.micros for w in found], 1), spread(ratios(found, plain)), *row(found)]
        for name, found in of.items()
    ]
    verdicts = [judge("poll", middle(own))] if own else []
    verdicts += [judge("poll-hypercorn", median(ratios(own, plain)))] if own and plain else []
    return Table(
        "polls-short",
        f"Short polls, {CLIENTS} connections that are kept, one request in flight on each",
        ["", "µs of CPU a poll", f"× {QuartAsked.name}", *COLUMNS],
        rows,
        "The view reads the session, from a signed cookie; there is nothing new, so the answer is the cursor. With "
        "its `ETag` that is a 304, as nchan's is, which asks no app.",
        verdicts,
    )


def waiting(program: Path, clients: int, cycles: int) -> Table:
    """Let long polls come in so many cycles, which are answered after one and ask again, and measure them in as many.

    Raises:
        RuntimeError: they could not connect, or not in time.
    """
    with ExitStack() as stack, deadline("Triolet, long polls", CYCLE * (2 * cycles + 3) + 90):
        server = stack.enter_context(TrioletAsked())
        login = log_in(server)
        poll = request(f"{PATH}?after={login.cursor}&wait={CYCLE}", f"cookie: {login.cookie}")
        soon = request(f"{PATH}?after={login.cursor}&wait=0.1", f"cookie: {login.cookie}")
        with Asking(program, server, soon, "", 200, http=True, flight=1):  # what is loaded and allocated once
            time.sleep(1)
        time.sleep(1)
        rate = clients / CYCLE / cycles
        resident, start, cpu = memory(server.pid), time.monotonic(), cpu_seconds(server.pid)
        asking = Asking(program, server, poll, "", clients, http=True, rate=rate, sources=SOURCES, flight=1)
        stack.enter_context(asking)
        come, come_cpu = time.monotonic() - start, cpu_seconds(server.pid) - cpu
        time.sleep(2)
        before, cpu, busy = asking.counts(), cpu_seconds(server.pid), busy_seconds()
        time.sleep(CYCLE * cycles)
        after, used, others = asking.counts(), cpu_seconds(server.pid) - cpu, busy_seconds() - busy
        held = memory(server.pid) - resident
    seconds, load = (after.now_ns - before.now_ns) / 1e9, (after.cpu_ns - before.cpu_ns) / 1e9
    polls, share = after.replies - before.replies, used / seconds
    rows = [
        [
            f"{after.clients:,}",
            f"{held / clients / 1e3:.1f}",
            f"{share:.1%}",
            f"{used / max(1, polls) * 1e6:.0f}",
            f"{polls / seconds:,.0f}",
            f"{come_cpu / clients * 1e6:.0f}",
            f"{load / seconds:.0%}",
            f"{max(0.0, others - used - load) / seconds:.0%}",
            str(after.closed),
        ]
    ]
    verdicts = [judge("waiting-cpu", share * WAITING / clients * 100), judge("waiting-memory", held / clients / 1e3)]
    scaled = "" if clients == WAITING else f" The verdict is of {WAITING:,}, which would take as much each."
    return Table(
        "polls-waiting",
        f"{clients:,} long polls that wait {CYCLE} s",
        [
            "waiting",
            "kB each",
            "server's core",
            "µs of CPU a poll",
            "a second",
            "µs of CPU to come",
            "clients' core",
            "others' share",
            "closed",
        ],
        rows,
        f"Nothing is published, so each is answered after {CYCLE} s, and asks again on the same connection; they came "
        f"within {come:.0f} s, evenly, from {SOURCES} loopback addresses. Measured over {seconds:.0f} s. To come is to "
        f"connect and to ask for the first time.{scaled}",
        verdicts,
    )


def _about(plan: Plan) -> str:
    return f"""What a poll costs the server that answers it, on one core; its clients (one thread of C, `ask.c`) have
another. All take turns; rounds: {plan.rounds}, of {plan.seconds:g} s each. Numbers are medians, with the range in
brackets, and a ratio compares windows of one round. "Clients' core" is what the load generator took of its own
core: where that is near all of it, it may be what is measured, and the row says so. Quart-Trio on Hypercorn has a
plain view that reads the session and gives the same bytes, ready-made; Starlette, on uvicorn[standard], gives them
and reads no session; nchan, in one worker of nginx, says that nothing is new."""


if __name__ == "__main__":
    main()
