"""The adapter of Triolet's Python client: the real one, on a network in memory and a clock that the runner moves."""

from __future__ import annotations

import json
import sys
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Any
from urllib.parse import parse_qs, urlsplit

import h11
import trio
from trio.testing import MockClock, memory_stream_pair, wait_all_tasks_blocked
from wsproto import ConnectionType, WSConnection
from wsproto import events as ws
from wsproto.connection import ConnectionState

from triolet.client import (
    Client,
    ClientError,
    End,
    Event,
    Events,
    Fault,
    Gap,
    Item,
    Message,
    Messages,
    Said,
    Snapshot,
    Tell,
    Unanswered,
    open_client,
)

Step = dict[str, Any]

A_LITTLE = 1e-5
"""Seconds by which what is due may be late: sums of fractions are a little off."""
REASONS = {"bad answer": "closed", "network": "closed"}
PLACES = {"open": "cursor", "event": "id", "snapshot": "cursor", "end": "cursor"}
FOLDS = ("key", "fold", "folded")


class Peer:
    """The server's end of one connection."""

    def __init__(self, stream: trio.abc.Stream, note: Callable[..., None], number: Callable[[Peer], int]) -> None:
        self._stream = stream
        self._note = note
        self._number = number
        self._http = h11.Connection(h11.SERVER)
        self._ws: WSConnection | None = None
        self._follows: list[str] | None = None
        self.conn = -1
        self.is_post = False
        self.waits = False

    async def run(self) -> None:
        """Read what the client says."""
        try:
            while (data := await self._stream.receive_some(1 << 16)) != b"":
                if self._ws is not None:
                    answer = self._frames(bytes(data))
                    if answer:
                        await self._stream.send_all(answer)
                        await self._stream.aclose()
                else:
                    self._http.receive_data(bytes(data))
                    self._requests()
        except (trio.BrokenResourceError, trio.ClosedResourceError, h11.RemoteProtocolError):
            pass
        if self.conn >= 0 and not self.is_post:
            self._note("left", conn=self.conn)

    def _requests(self) -> None:
        body = b""
        while True:
            event = self._http.next_event()
            match event:
                case h11.Request():
                    self._request = event
                case h11.Data():
                    body += bytes(event.data)
                case h11.EndOfMessage():
                    self._asked(body)
                case _:
                    break

    def _asked(self, body: bytes) -> None:
        request = self._request
        headers = {name.decode(): text.decode() for name, text in request.headers}
        parts = urlsplit(request.target.decode())
        said = parse_qs(parts.query)
        query = {name: values[0] for name, values in said.items()}
        self._follows = sorted(said["follow"]) if "follow" in said else None
        token = headers.get("authorization", "").removeprefix("Bearer ") or None
        self.waits = True
        self.is_post = request.method == b"POST"
        self.conn = self._number(self)
        if self.is_post:
            key = headers.get("idempotency-key", "").strip('"') or None
            self._note("post", path=parts.path, key=key, token=token, data=json.loads(body or b"null"))
            return
        if "upgrade" in headers:
            transport = "websocket"
            self._ws = WSConnection(ConnectionType.SERVER)
            head = b"GET %s HTTP/1.1\r\n" % request.target
            head += b"".join(b"%s: %s\r\n" % pair for pair in request.headers)
            self._ws.receive_data(head + b"\r\n")
            list(self._ws.events())
        elif headers.get("accept") == "text/event-stream":
            transport = "sse"
        else:
            transport = "long-poll" if "wait" in query else "poll"
        asked = {name: query.get(name) for name in ("after", "snapshot", "fold")}
        asked["etag"] = headers.get("if-none-match")
        self._note(
            "connect",
            transport=transport,
            path=parts.path,
            follows=self._follows,
            token=token,
            conn=self.conn,
            wait=query.get("wait"),
            **asked,
        )

    def _frames(self, data: bytes) -> bytes:
        """Read frames; return what they are answered with."""
        assert self._ws is not None
        self._ws.receive_data(data)
        for event in self._ws.events():
            if isinstance(event, ws.TextMessage):
                self._note("say", **json.loads(event.data))
            elif isinstance(event, ws.CloseConnection) and self._ws.state is ConnectionState.REMOTE_CLOSING:
                return self._ws.send(event.response())
        return b""

    # --- what the runner does to it

    async def accept(self) -> None:
        """It is open."""
        self.waits = False
        if self._ws is not None:
            await self._stream.send_all(self._ws.send(ws.AcceptConnection(subprotocol="triolet.1")))
        else:
            await self._send(h11.Response(status_code=200, headers=[("content-type", "text/event-stream")]))

    async def message(self, message: Step) -> None:
        """Say something."""
        if self._ws is not None:
            await self._stream.send_all(self._ws.send(ws.TextMessage(json.dumps(message))))
            return
        lines = []
        if self._follows is not None:
            lines += [] if message["type"] == "event" else [f"event: triolet.{message['type']}"]
            lines += [f"data: {json.dumps(message)}"]
        elif message["type"] == "event":
            lines += [f"id: {message['id']}", f"event: {message['event']}", f"data: {json.dumps(message['data'])}"]
            lines += [f"time: {message.get('time', 0)}"]
            lines += [f"{name}: {message[name]}" for name in FOLDS if name in message] if "fold" in message else []
        else:
            place = message.get(PLACES.get(message["type"], ""))
            lines += [] if place is None else [f"id: {place}"]
            lines += [f"event: triolet.{message['type']}", f"data: {json.dumps(message)}"]
        await self._send(h11.Data(data=("\n".join(lines) + "\n\n").encode()))

    async def answer(self, status: int, headers: Step, body: Any) -> None:
        """Answer in full."""
        self.waits = False
        data = b"" if body is None else body.encode() if isinstance(body, str) else json.dumps(body).encode()
        if self._ws is not None:
            given = [(name.encode(), str(text).encode()) for name, text in headers.items()]
            given.append((b"content-length", b"%d" % len(data)))
            head = ws.RejectConnection(status_code=status, headers=given, has_body=bool(data))
            rest = self._ws.send(ws.RejectData(data=data)) if data else None
            await self._stream.send_all(self._ws.send(head) if rest is None else self._ws.send(head) + rest)
            await self._stream.aclose()
            return
        fields = {"content-length": str(len(data)), **{name.lower(): str(text) for name, text in headers.items()}}
        if status == 304:
            del fields["content-length"]
        await self._send(h11.Response(status_code=status, headers=list(fields.items())))
        if data:
            await self._send(h11.Data(data=data))
        await self._send(h11.EndOfMessage())
        self._http.start_next_cycle()

    async def end(self, step: Step) -> None:
        """End it in order."""
        if "retry" in step:
            await self.message({"type": "bye", "reason": "", **step})
        if self._ws is None:
            await self._send(h11.EndOfMessage())
            self._http.start_next_cycle()
        elif "code" in step:
            reason = step.get("reason", "")
            await self._stream.send_all(self._ws.send(ws.CloseConnection(code=step["code"], reason=reason)))
        else:
            await self._stream.aclose()

    async def fail(self) -> None:
        """Break it."""
        self.waits = False
        await trio.aclose_forcefully(self._stream)

    async def _send(self, event: Any) -> None:
        await self._stream.send_all(self._http.send(event) or b"")


class Player:
    """A client, and the server that it meets.

    Args:
        nursery: in which all of it runs.
        clock: which stands still.
    """

    def __init__(self, nursery: trio.Nursery, clock: MockClock) -> None:
        self._nursery = nursery
        self._clock = clock
        self._done: list[Step] = []
        self._peers: list[Peer] = []
        self._posts: list[Peer] = []
        self._follows: dict[str, tuple[Events, trio.CancelScope]] = {}
        self._scope = trio.CancelScope()
        self._client: Client | None = None
        self._now = 1000 * trio.current_time()

    async def do(self, step: Step) -> list[Step]:
        """Let something happen, and return what the client did."""
        if "begin" in step:
            self._nursery.start_soon(self._run, step["begin"])
        elif "do" not in step:
            await self._close({})
        else:
            does: Callable[[Step], Awaitable[None]] = getattr(self, f"_{step['do']}")
            await does({name: value for name, value in step.items() if name != "do"})
        await self._advance({"ms": 0})
        done, self._done = self._done, []
        return done

    def _note(self, did: str, **fields: Any) -> None:
        self._done.append({"did": did, **fields})

    # --- the client

    async def _run(self, begin: Step) -> None:
        options = begin["options"]
        tokens = list(options.get("tokens", ()))
        given = partial(_next_of, tokens) if tokens else options.get("token")
        chosen = {name: options[name] for name in ("socket", "wait") if name in options}
        transports = options.get("transports", [begin["transport"]])
        random = options["random"]
        with self._scope:
            opened = open_client(
                "http://shop.example",
                dial=self._dial,
                transports=transports,
                token=given,
                random=lambda: float(random),
                **chosen,
            )
            async with opened as self._client:
                await trio.sleep_forever()

    async def _dial(self, host: str, port: int) -> trio.abc.Stream:
        ours, theirs = memory_stream_pair()
        self._nursery.start_soon(Peer(theirs, self._note, self._number).run)
        await trio.lowlevel.checkpoint()
        return ours

    def _number(self, peer: Peer) -> int:
        listed = self._posts if peer.is_post else self._peers
        listed.append(peer)
        return len(listed) - 1

    async def _follow(self, step: Step) -> None:
        assert self._client is not None
        name = step.get("as", "f")
        events = self._client.follow(
            step["url"],
            after=step.get("after"),
            snapshot=bool(step.get("snapshot")),
            fold=bool(step.get("fold")),
            on_state=partial(self._state, name),
            on_fault=partial(self._fault, name),
            on_tell=partial(self._told, name),
        )
        scope = trio.CancelScope()
        self._follows[name] = events, scope
        self._nursery.start_soon(self._hear, name, events, scope)

    async def _hear(self, name: str, events: Events, scope: trio.CancelScope) -> None:
        try:
            with scope:
                async with events:
                    async for item in events:
                        self._item(item, **{"as": name})
            if not scope.cancelled_caught:
                self._note("gone", **{"as": name}, reason="closed")
        except ClientError as error:
            self._note("gone", **{"as": name}, reason=REASONS.get(error.kind, error.kind))

    async def _listen(self, step: Step) -> None:
        self._nursery.start_soon(self._hear_app)

    async def _hear_app(self) -> None:
        assert self._client is not None

        def fault(messages: Messages, fault: Fault) -> None:
            self._note("fault", **{"as": "app"}, kind=fault.kind)

        async with self._client.messages(on_fault=fault, on_tell=partial(self._told, "app")) as messages:
            async for said in messages:
                if isinstance(said, Message):
                    self._note("message", data=said.data)
                else:
                    self._item(said, **{"as": "app", "channel": said.channel})

    def _item(self, item: Item | Said, **whose: str) -> None:
        """Note what the program is given of a channel."""
        match item:
            case Event():
                folds = {name: getattr(item, name) for name in FOLDS}
                self._note("event", **whose, id=str(item.cursor), event=item.name, data=item.data, **folds)
            case Gap():
                gap = {"from": str(item.after), "to": str(item.to), "missed": item.missed}
                self._note("gap", **whose, **gap, reason=item.reason)
            case Snapshot():
                self._note("snapshot", **whose, cursor=str(item.cursor), data=item.data, missed=item.missed)
            case End():
                self._note("end", **whose, cursor=str(item.cursor), data=item.data)

    async def _tell(self, step: Step) -> None:
        assert self._client is not None
        try:
            await self._client.tell(step["data"])
        except ClientError:
            self._note("untold")

    def _state(self, name: str, events: Events) -> None:
        if events.state != "gone":
            self._note("state", **{"as": name}, state=events.state)

    def _fault(self, name: str, events: Events, fault: Fault) -> None:
        self._note("fault", **{"as": name}, kind=fault.kind)

    def _told(self, name: str, whose: Events | Messages, tell: Tell) -> None:
        said = {"channel": tell.channel, "event": tell.name, "data": tell.data, "key": tell.key}
        self._note("tell", **{"as": name}, **said)

    async def _command(self, step: Step) -> None:
        self._nursery.start_soon(self._send, step)

    async def _send(self, step: Step) -> None:
        assert self._client is not None
        timeout = step.get("timeout", 60_000) / 1000
        try:
            reply = await self._client.send(step["url"], step.get("data"), id=step.get("id"), timeout=timeout)
        except Unanswered as error:
            self._note("reply", id=error.id, unanswered=True, sent=error.sent)
        else:
            self._note("reply", id=step.get("id"), status=reply.status, data=reply.data, repeated=reply.repeated)

    async def _unfollow(self, step: Step) -> None:
        self._follows.pop(step.get("as", "f"))[1].cancel()

    async def _online(self, step: Step) -> None:
        for events, _ in self._follows.values():
            events.retry()

    async def _close(self, step: Step) -> None:
        for _, scope in self._follows.values():
            scope.cancel()
        await self._advance({"ms": 3_000})  # goodbyes
        self._scope.cancel()
        for peer in self._peers + self._posts:
            await peer.fail()

    # --- time, and the server

    async def _advance(self, step: Step) -> None:
        self._now += step["ms"]
        while True:
            await wait_all_tasks_blocked()
            left = self._now / 1000 - trio.current_time()
            due = trio.lowlevel.current_statistics().seconds_to_next_deadline
            if due > left + A_LITTLE:
                self._clock.jump(max(0, left))
                break
            self._clock.jump(due)

    def _peer(self, step: Step) -> Peer:
        return self._peers[step.pop("conn", -1)]

    async def _accept(self, step: Step) -> None:
        await self._peer(step).accept()

    async def _message(self, step: Step) -> None:
        await self._peer(step).message(step)

    async def _page(self, step: Step) -> None:
        peer, etag = self._peer(step), step.pop("etag", None)
        tag = {} if etag is None else {"etag": etag}
        await peer.answer(200, {"content-type": "application/json", **tag}, step)

    async def _refuse(self, step: Step) -> None:
        await self._peer(step).answer(step["status"], step.get("headers", {}), step.get("body"))

    async def _answer(self, step: Step) -> None:
        peer = next(post for post in self._posts if post.waits)
        headers = {"content-type": "application/json", **step.get("headers", {})}
        await peer.answer(step["status"], headers, step.get("body"))

    async def _end(self, step: Step) -> None:
        await self._peer(step).end(step)

    async def _fail(self, step: Step) -> None:
        await self._peer(step).fail()


def _next_of(tokens: list[str]) -> str:
    return tokens.pop(0) if len(tokens) > 1 else tokens[0]


async def play(steps: Iterable[str], write: Callable[[str], object], clock: MockClock) -> None:
    """Play the client for a runner."""
    async with trio.open_nursery() as nursery:
        player = Player(nursery, clock)
        for line in steps:
            step = json.loads(line)
            if "begin" in step:
                player = Player(nursery, clock)
            for did in await player.do(step):
                write(json.dumps(did) + "\n")
            write('{"idle": true}\n')


def main() -> None:
    """Read from the terminal, and write to it."""

    def write(line: str) -> None:
        sys.stdout.write(line)
        sys.stdout.flush()

    clock = MockClock()
    trio.run(play, sys.stdin, write, clock, clock=clock)


if __name__ == "__main__":
    main()
