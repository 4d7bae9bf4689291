"""Canaries: tokens, tickets and renewal keys go in by every way, and come out nowhere.

The server writes its access log, at the level of debugging; nginx stands before it as the documentation sets it up, and
writes its logs as it does by itself. There a ticket may stand, as it is in a URL: it was used by then, and is worth
nothing.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tests.e2e.decoding import EventStreamDecoder, WebSocketDecoder
from tests.e2e.needs import needs, program
from tests.e2e.ports import free_port
from tests.e2e.raw import TEXT, Wire, frame, http
from tests.e2e.server import wait_for
from tests.e2e.test_documented_nginx import AROUND, DOCUMENTED
from tests.e2e.workers import Workers, workers
from tests.identity.issuer import token

Address = tuple[str, int]

HERE = Path(__file__).parent
LIMITS = {"expiry_warning_seconds": 7_200}
"""All are warned at once: so a stream is told its key."""
FORGED = "CANARY0123456789abcdef"
"""What no issuer has signed."""


class Canaries:
    """The secrets of a round, and what was answered."""

    def __init__(self) -> None:
        self.tokens: list[str] = [FORGED]
        self.tickets: list[str] = []
        self.keys: list[str] = []
        self.answers: list[bytes] = []

    def token(self, **changes: Any) -> str:
        made = token("HS256", sub="ann", jti=f"canary {len(self.tokens)}", **changes)
        self.tokens.append(made)
        return made

    def parts(self) -> set[bytes]:
        """What of the tokens must be nowhere: what they say, and their signatures. (Heads say nothing.)"""
        return {part.encode() for made in self.tokens for part in made.split(".")[-2:]}

    def tell(self, address: Address, request: bytes) -> tuple[int, bytes]:
        """Ask on a connection of its own; status and body."""
        with Wire(address) as wire:
            wire.send(request)
            answer = wire.receive_all()
        self.answers.append(answer)
        return int(answer[9:12]), answer.partition(b"\r\n\r\n")[2]


def post(target: str, *headers: str, data: Any = None) -> bytes:
    body = json.dumps(data).encode()
    more = ("Connection: close", "Content-Type: application/json", f"Content-Length: {len(body)}", *headers)
    return http(target, *more, method="POST", body=body)


def get(target: str, *headers: str) -> bytes:
    return http(target, "Connection: close", *headers)


def bearer(made: str) -> str:
    return f"Authorization: Bearer {made}"


def refused(canaries: Canaries, address: Address) -> None:
    """Bad credentials by each way, and good ones with what is wrong otherwise."""
    for bad in (FORGED, canaries.token(exp=1), canaries.token(aud="bakery"), canaries.token() + "A"):
        asked = (
            get("/c/a/events", bearer(bad)),
            get("/c/a/events", bearer(bad), "Accept: text/event-stream"),
            post("/orders/1/pick", bearer(bad), 'Idempotency-Key: "1"'),
            post("/triolet/ticket", bearer(bad)),
            post("/triolet/renew", bearer(bad), data={"key": FORGED}),
        )
        assert [canaries.tell(address, request)[0] for request in asked] == [401] * len(asked)
        with Wire(address) as wire:
            head = "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
            protocols = f"Sec-WebSocket-Protocol: triolet.1, triolet.token.{bad}"
            wire.send(http("/c/a/events", *head, "Sec-WebSocket-Version: 13", protocols))
            answer = wire.receive_until(b"}")
            assert answer.startswith(b"HTTP/1.1 401"), answer
            canaries.answers.append(answer)
    good = bearer(canaries.token())
    assert canaries.tell(address, get("/nowhere", good))[0] == 404
    assert canaries.tell(address, get("/c/a/events?after=x", good))[0] == 400
    assert canaries.tell(address, get(f"/c/a/events?after={'0' * 99}", good, f"Cookie: session={FORGED}"))[0] == 400
    assert canaries.tell(address, post("/triolet/renew", good, data=[FORGED]))[0] == 400
    assert canaries.tell(address, get("/c/a/events", f"{good}\x01"))[0] == 400
    assert canaries.tell(address, get("/c/a/events", f"X: {FORGED * 5_000}", good))[0] in (400, 431)


def commands(canaries: Canaries, address: Address, id: str) -> None:
    """Commands that are done, repeated, refused, and that crash."""
    for number, status in ((1, 200), (1, 200), (404, 404), (500, 500)):
        asked = post(f"/orders/{number}/pick", bearer(canaries.token()), f'Idempotency-Key: "{id}"', data=number)
        assert canaries.tell(address, asked)[0] == status


def tickets(canaries: Canaries, address: Address) -> None:
    """A ticket is used, and used again."""
    status, body = canaries.tell(address, post("/triolet/ticket", bearer(canaries.token())))
    assert status == 200, body
    canaries.answers.pop()  # it is the answer that the ticket is in
    ticket = json.loads(body)["ticket"]
    canaries.tickets.append(ticket)
    again = [canaries.tell(address, get(f"/c/a/events?ticket={ticket}"))[0] for _ in range(3)]
    assert again == [200, 401, 401]


def stream(canaries: Canaries, address: Address, wire: Wire) -> None:
    """An event stream that is warned, and renewed by its key; refused, and renewed again."""
    wire.send(http("/c/a/events", bearer(canaries.token()), "Accept: text/event-stream"))
    canaries.answers.append(wire.receive_until(b"\r\n\r\n"))
    decoder = EventStreamDecoder()
    key = hears(wire, decoder, "expiring")["key"]
    canaries.keys.append(key)
    assert canaries.tell(address, post("/triolet/renew", bearer(FORGED), data={"key": key}))[0] == 401
    renewed = canaries.tell(address, post("/triolet/renew", bearer(canaries.token()), data={"key": key}))
    assert renewed[0] in (202, 204)  # by the stream's own worker, or through the log
    hears(wire, decoder, "renewed")


def socket(canaries: Canaries, wire: Wire) -> None:
    """A WebSocket with a subprotocol that renews, has a command done, and whose handler crashes."""
    wire.open_websocket("/desk", f"Sec-WebSocket-Protocol: triolet.1, triolet.token.{canaries.token()}")
    decoder = WebSocketDecoder()
    hears(wire, decoder, "expiring")
    for said, told in (
        ({"type": "auth", "token": FORGED}, "refused"),
        ({"type": "auth", "token": canaries.token(aud="bakery")}, "refused"),
        ({"type": "auth", "token": canaries.token()}, "renewed"),
        ({"type": "command", "id": "on a socket", "url": "/orders/500/pick", "data": None}, "reply"),
        ({"type": "follow", "url": "/c/a/events"}, "open"),
    ):
        wire.send(frame(TEXT, json.dumps(said).encode()))
        hears(wire, decoder, told)


def hears(wire: Wire, decoder: EventStreamDecoder | WebSocketDecoder, kind: str) -> Any:
    """The next message of a kind; of a renewal that was refused that is ``refused``."""
    found: list[Any] = []
    while not found:
        received, wire.received = wire.received, b""
        found = [
            message
            for message in decoder.feed(received)
            if kind == ("refused" if message.get("refused") else message["type"])
        ]
        assert found or (wire.receive(10) and not wire.ended), f"no {kind}"
    return found[0]


@contextmanager
def nginx(server: Workers, folder: Path) -> Iterator[Address]:
    """As documented, with an access log in nginx's own format, and the errors of its own level."""
    port = free_port()
    text = DOCUMENTED.read_text(encoding="utf-8")
    text = text.replace("listen 80;", f"listen 127.0.0.1:{port};").replace(
        "127.0.0.1:8000;", f"127.0.0.1:{server.port};"
    )
    around = AROUND.replace("access_log off;", f"access_log {folder}/access.log combined;")
    (folder / "nginx.conf").write_text(around.format(folder=folder, documented=text))
    command = [program("nginx"), "-p", str(folder), "-e", str(folder / "start.log"), "-c", str(folder / "nginx.conf")]
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        wait_for(lambda: _is_open(port), "nginx to listen")
        yield ("127.0.0.1", port)
    finally:
        process.terminate()
        process.wait(10)


def _is_open(port: int) -> bool:
    try:
        with Wire(("127.0.0.1", port)):
            return True
    except OSError:
        return False


def command_lines() -> bytes:
    """What ``ps`` shows to everybody."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(file.read_bytes())
        except OSError:
            continue
    return b"\n".join(found)


@needs("nginx")
def test_no_secret_comes_out_anywhere(tmp_path: Path) -> None:
    canaries = Canaries()
    arguments = ["--app-dir", str(HERE), "--access-log", "--log-level", "debug"]
    folder = tmp_path / "nginx"
    folder.mkdir()
    with ExitStack() as open_ones:
        server = open_ones.enter_context(workers(tmp_path, app="shop_app:app", limits=LIMITS, arguments=arguments))
        front = open_ones.enter_context(nginx(server, folder))
        wires = []
        for number, address in enumerate((server.address, front)):
            refused(canaries, address)
            commands(canaries, address, f"id {number}")
            tickets(canaries, address)
            wires += [open_ones.enter_context(Wire(address)) for _ in range(2)]
            stream(canaries, address, wires[-2])
            socket(canaries, wires[-1])
        canaries.tell(server.address, get(f"/c/a/events?access_token={FORGED}"))  # not read there, and not logged
        shown = [body for _, body in (canaries.tell(server.address, get("/explain")) for _ in range(20))]
        assert any(b"ann" in body for body in shown)
        wires[-1].send(frame(TEXT, b'{"type": "message", "data": "crash"}'))
        wait_for(lambda: "a handler that crashes" in server.log, "the crash of a handler")
        metrics = server.operator("/metrics")[1].encode()
        seen = command_lines()
    said = server.log.encode()
    for part in (b"a command that crashes", b"triolet.access", b"/orders/1/pick", b"DEBUG"):
        assert part in said, part
    access, errors = (folder / "access.log").read_bytes(), (folder / "error.log").read_bytes()
    assert b"/orders/1/pick" in access
    places = {
        "the server's log": said,
        "nginx's access log": access,
        "nginx's error log": errors + (folder / "output").read_bytes() + (folder / "start.log").read_bytes(),
        "the metrics": metrics,
        "live.explain": b"\n".join(shown),
        "the answers": b"\n".join(canaries.answers),
        "ps": seen,
        "the store": b"".join(file.read_bytes() for file in tmp_path.glob("events.db*")),
    }
    others = {secret.encode() for secret in [*canaries.tickets, *canaries.keys]}
    for place, text in places.items():
        secrets = canaries.parts() | (set() if place.startswith("nginx's") else others)
        assert not [secret for secret in secrets if secret in text], place
    assert b"triolet_authentications" in metrics, metrics
