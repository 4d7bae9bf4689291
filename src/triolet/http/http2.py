"""Hypercorn's HTTP/2, guarded (TLS only, when it is switched on): a bad stream ends alone, a flood with GOAWAY.

Flow control carries the backpressure: what the app has not taken is not acknowledged, so a client cannot send
more than a window beyond it. The connection's window is wide enough that one such stream stops no other.
"""

from __future__ import annotations

import re
from contextlib import suppress
from functools import partial
from typing import Any, Final

import h2.connection
import h2.events
import h2.exceptions
import h2.settings
import trio
from h2.errors import ErrorCodes
from hypercorn.events import Closed, Event
from hypercorn.protocol.events import Body, Data, EndBody, EndData, Request, StreamClosed, Trailers
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.protocol.h2 import H2Protocol, StreamBuffer
from hypercorn.typing import ConnectionState
from hypercorn.utils import filter_pseudo_headers

from ..closing import SILENT
from ..limits import Limits
from ..sockets.server_state import with_client
from ..sockets.stream import ClientStream
from ..wire.http_head import is_host
from ..wire.rate_limit import Rate
from .http1 import PIECE_BYTES, GuardedHTTP, stream_surroundings
from .http2_outlet import Http2Stream, StreamOutlet
from .keepalive import Keepalive
from .websocket import GuardedWebSocket

__all__ = ["GuardedH2"]

CONNECTION_WINDOW: Final = 8 << 20
"""More than the 100 streams at once of 64 KiB each."""

WRITE_BYTES: Final = 64 << 10
"""How much of a response a client must take within ``limits.write_seconds``."""

FRAMES_PER_SECOND: Final = 33
FRAMES_AT_ONCE: Final = 1_000
RESETS_AT_ONCE: Final = 200
"""Frames that cost us more than the client, on average and at once (nghttp2: 33 and 1,000)."""

PING: Final = b"triolet?"
"""What a ping of ours says, in the eight bytes that it has."""

_COSTLY: Final = (
    h2.events.PingReceived,
    h2.events.PingAckReceived,
    h2.events.RemoteSettingsChanged,
    h2.events.SettingsAcknowledged,
    h2.events.PriorityUpdated,
    h2.events.UnknownFrameReceived,
)
_CONTENT: Final = (Body, Data, EndBody, EndData, Trailers)
"""Events that wait for the client."""

_METHOD: Final = re.compile(rb"[A-Za-z][-A-Za-z]{0,31}")
_PATH: Final = re.compile(rb"/[!\"$-~]*|\*")


class GuardedH2(H2Protocol):
    """HTTP/2 on one connection.

    Each ASGI scope's ``state`` has an :class:`Http2Stream`. All content of a stream goes through its outlet.

    Args:
        below: the client's stream.
        lock: held by who writes to it, from the first byte of a frame to its last.

    Bounds: ``limits.header_bytes`` of a request's headers; ``limits.body_bytes`` of all bodies at once; of each stream
    what its inbox holds and one window; 33 frames a second that are neither requests nor content. While a stream is
    open a client that is silent for ``limits.silence_seconds``, and answers no ping, is reset.
    """

    streams: dict[int, Any]
    in_head = False
    survives_cancelled_writes = False

    def __init__(self, *args: Any, limits: Limits, below: ClientStream, lock: trio.Lock) -> None:
        super().__init__(*args)
        self._below = below
        self._lock = lock
        self._outlets: dict[int, StreamOutlet] = {}
        self._limits = limits
        self._max_bodies = limits.body_bytes
        self._own_task: trio.lowlevel.Task | None = None
        self._bodies: dict[int, int] = {}
        self._unacknowledged: dict[int, int] = {}
        self._frames = Rate(FRAMES_PER_SECOND, FRAMES_AT_ONCE)
        self._resets = Rate(FRAMES_PER_SECOND, RESETS_AT_ONCE)
        self._keepalive = Keepalive(limits, self._ping, lambda: not self.streams, self.client)
        self.connection.decoder.max_header_list_size = limits.header_bytes
        self.connection.local_settings.max_header_list_size = limits.header_bytes

    async def initiate(self, headers: Any = None, settings: Any = None) -> None:
        """Say our settings, and start the task that sends. Called in the connection's own task, like handle."""
        self._own_task = trio.lowlevel.current_task()
        await super().initiate()
        self.connection.increment_flow_control_window(CONNECTION_WINDOW)
        await self._flush()
        self.task_group.spawn(self._keep)

    async def handle(self, event: Event) -> None:
        """Take in what came from the socket. It waits for the socket alone, never for the app."""
        self._keepalive.heard()
        await super().handle(event)
        if isinstance(event, Closed):
            self._keepalive.stop()
            for buffer in self.stream_buffers.values():
                await buffer.close()  # whoever waits for a window is let go

    async def room(self) -> None:
        """Flow control has seen to it."""

    def wake(self) -> None:
        """An inbox has room again."""
        if self._unacknowledged and not self.closed:
            self.task_group.spawn(self._make_room)

    async def stream_send(self, event: StreamEvent) -> None:
        """Send what a stream sends; one whose client takes nothing for too long is reset."""
        if isinstance(event, Body) and len(event.data) > WRITE_BYTES:
            for start in range(0, len(event.data), WRITE_BYTES):
                await self.stream_send(Body(event.stream_id, event.data[start : start + WRITE_BYTES]))
            return
        if isinstance(event, StreamClosed) and self._has_last_words(event.stream_id):
            self.task_group.spawn(self._close_later, event)
            return
        waits = isinstance(event, _CONTENT)
        with trio.move_on_after(self._limits.write_seconds if waits else float("inf")) as patience:
            await self._send(event)
        if patience.cancelled_caught:
            self._give_up(event.stream_id, self._limits.write_seconds)
        if waits and event.stream_id not in self.stream_buffers:
            # It is gone, and Hypercorn sends to nobody without a pause: an app that only sends would starve the others.
            await trio.lowlevel.checkpoint()
        if isinstance(event, StreamClosed):
            self._bodies.pop(event.stream_id, None)

    def _has_last_words(self, stream_id: int) -> bool:
        outlet = self._outlets.get(stream_id)
        return outlet is not None and not outlet.empty

    async def _close_later(self, event: StreamClosed) -> None:
        """Close a stream whose client does not take its last words now: a close frame says why it ends. The task that
        reads does not wait for that."""
        outlet = self._outlets.get(event.stream_id)
        if outlet is not None:
            with trio.move_on_after(self._limits.goodbye_seconds):
                await outlet.drained()
            outlet.fail()
        await self.stream_send(event)

    async def _send(self, event: StreamEvent) -> None:
        """Send content through the stream's outlet, and all else as Hypercorn does, whose own buffer holds nobody back:
        while a window is closed it takes whatever an app sends."""
        if not isinstance(event, Body | Data):
            if isinstance(event, _CONTENT) and event.stream_id in self._outlets:
                await self._outlets[event.stream_id].drained()
            await super().stream_send(event)
        elif trio.lowlevel.current_task() is self._own_task:
            self._outlet_of(event.stream_id).answer(event.data)  # it must read on, or no window would ever open
        else:
            await self._outlet_of(event.stream_id).send_all(event.data)

    async def _handle_events(self, events: list[h2.events.Event]) -> None:
        others = []
        for event in events:
            if self._is_too_much(event):
                self.connection.close_connection(ErrorCodes.ENHANCE_YOUR_CALM)
                await self._flush()
                await self.send(Closed())
                return
            if isinstance(event, h2.events.RequestReceived):
                await super()._handle_events([event])
            elif isinstance(event, h2.events.DataReceived):
                await self._receive(event)
            elif not isinstance(event, h2.events.PriorityUpdated):  # RFC 9113 section 5.3: priorities are gone
                others.append(event)
        await super()._handle_events(others)

    async def _keep(self) -> None:
        """See to it that a client that has frozen goes, whatever its streams are: an event stream hears nothing, so it
        has no other way to be found gone."""
        if await self._keepalive.run():
            for outlet in list(self._outlets.values()):
                outlet.tell(SILENT)
            self._below.abort()

    async def _ping(self) -> None:
        with suppress(h2.exceptions.ProtocolError):  # the connection is ending
            self.connection.ping(PING)
        await self._flush()

    def _is_too_much(self, event: h2.events.Event) -> bool:
        if isinstance(event, h2.events.StreamReset):
            return self._resets.take(trio.current_time()) > 0
        empty = isinstance(event, h2.events.DataReceived) and not event.data and event.stream_ended is None
        return (empty or isinstance(event, _COSTLY)) and self._frames.take(trio.current_time()) > 0

    async def _create_stream(self, request: h2.events.RequestReceived) -> None:
        pseudo = {name: value for name, value in request.headers if name.startswith(b":")}
        hosts = [value for name, value in request.headers if name in (b":authority", b"host")]
        stream_id, method = request.stream_id, pseudo.get(b":method", b"")
        if not _is_plain(pseudo) or not all(map(is_host, hosts)):
            await self._refuse(stream_id, 400)
            return
        if self._below.outlet.budget.near:  # as at the door, where a connection is let in: this one has let in many
            await self._refuse(stream_id, 503)
            return
        surroundings = stream_surroundings(self, stream_id)
        stream: GuardedHTTP | GuardedWebSocket
        if method == b"CONNECT":
            stream = GuardedWebSocket(*surroundings, limits=self._limits, on_ready=self.wake)
        else:
            stream = GuardedHTTP(*surroundings)
        self.streams[stream_id] = stream
        self.stream_buffers[stream_id] = StreamBuffer(self.context.event_class)
        self.priority.insert_stream(stream_id)
        self.priority.block(stream_id)
        await stream.handle(
            Request(
                stream_id=stream_id,
                headers=filter_pseudo_headers(request.headers),
                http_version="2",
                method=method.decode("ascii").upper(),
                raw_path=pseudo[b":path"],
                state=ConnectionState(with_client(self.connection_state, self._stream_of(stream_id))),
            )
        )
        self.keep_alive_requests += 1
        await self.context.mark_request()

    async def _receive(self, event: h2.events.DataReceived) -> None:
        stream_id = event.stream_id
        stream = self.streams.get(stream_id)
        if stream is None:  # answered before it ended: nobody wants the rest
            self._acknowledge(stream_id, event.flow_controlled_length)
            if stream_id not in self.stream_buffers:
                await self._reset(stream_id, ErrorCodes.NO_ERROR)
            return
        if isinstance(stream, GuardedHTTP):
            self._bodies[stream_id] = self._bodies.get(stream_id, 0) + max(len(event.data), PIECE_BYTES)
            if sum(self._bodies.values()) > self._max_bodies:
                await self._refuse(stream_id, 413)
                return
        await stream.handle(Body(stream_id, event.data))
        waiting = self._unacknowledged.pop(stream_id, 0) + event.flow_controlled_length
        if stream.full:
            self._unacknowledged[stream_id] = waiting
        else:
            self._acknowledge(stream_id, waiting)

    async def _make_room(self) -> None:
        for stream_id in list(self._unacknowledged):
            stream = self.streams.get(stream_id)
            if isinstance(stream, GuardedWebSocket):
                await stream.read_on()
            if stream is None or not stream.full:
                self._acknowledge(stream_id, self._unacknowledged.pop(stream_id, 0))
        await self._flush()

    def _acknowledge(self, stream_id: int, size: int) -> None:
        with suppress(h2.exceptions.ProtocolError):  # the connection is ending
            self.connection.acknowledge_received_data(size, stream_id)

    async def _refuse(self, stream_id: int, status: int) -> None:
        """Answer a request without the app, or end the one that it is answering."""
        with suppress(h2.exceptions.ProtocolError):
            headers = [(b":status", b"%d" % status), *self.config.response_headers("h2")]
            self.connection.send_headers(stream_id, headers, end_stream=True)
        await self._reset(stream_id, ErrorCodes.NO_ERROR)

    async def _reset(self, stream_id: int, code: ErrorCodes) -> None:
        with suppress(h2.exceptions.ProtocolError):
            self.connection.reset_stream(stream_id, code)
        await self._flush()
        await self._close_stream(stream_id)
        await self._window_updated(stream_id)  # the sending task finds that it is closed, and forgets it

    def _stream_of(self, stream_id: int) -> Http2Stream:
        abort = partial(self._give_up, stream_id, self._limits.stall_seconds)
        return Http2Stream(partial(self._outlet_of, stream_id), abort)

    def _outlet_of(self, stream_id: int) -> StreamOutlet:
        outlet = self._outlets.get(stream_id)
        if outlet is None:
            below = self._below.outlet
            give_up = partial(self._give_up, stream_id, self._limits.stall_seconds)
            outlet = StreamOutlet(below.budget, self.connection, stream_id, below, self._lock, give_up)
            if stream_id in self.streams:
                self._outlets[stream_id] = outlet
            else:
                outlet.fail()
        return outlet

    def _give_up(self, stream_id: int, seconds: float) -> None:
        """End a stream at once; and where the client has taken nothing at all for so long, its connection."""
        below = self._below.outlet
        if not below.empty and trio.current_time() >= below.progress_at + seconds:
            self._below.abort()
        elif stream_id in self.streams:
            with suppress(h2.exceptions.ProtocolError):
                self.connection.reset_stream(stream_id, ErrorCodes.CANCEL)
            self.task_group.spawn(self._reset, stream_id, ErrorCodes.CANCEL)

    async def _window_updated(self, stream_id: int | None) -> None:
        for outlet in [self._outlets.get(stream_id)] if stream_id else list(self._outlets.values()):
            if outlet is not None:
                outlet.window_opened()
        await super()._window_updated(stream_id)

    async def _close_stream(self, stream_id: int) -> None:
        self._bodies.pop(stream_id, None)
        outlet = self._outlets.pop(stream_id, None)
        if outlet is not None:
            outlet.fail()
        await super()._close_stream(stream_id)

    async def _flush(self) -> None:
        """Send what h2 has made, whole: it may be of several streams, so no one of them may cut it short.

        The shield cannot hang: a write that makes no progress is given up after ``limits.write_seconds``, who writes
        before it after ``limits.stall_seconds``, and the connection's own task, which has no shield, aborts the socket
        when it is cancelled.
        """
        with trio.CancelScope(shield=trio.lowlevel.current_task() is not self._own_task):
            await super()._flush()


def _is_plain(pseudo: dict[bytes, bytes]) -> bool:
    """Whether a request's pseudo-headers are such as HTTP/1.1 could say, or open a WebSocket (RFC 8441)."""
    method, protocol = pseudo.get(b":method", b""), pseudo.get(b":protocol")
    if method == b"CONNECT" and protocol != b"websocket":
        return False
    return (
        (protocol is None or method == b"CONNECT")
        and _METHOD.fullmatch(method) is not None
        and _PATH.fullmatch(pseudo.get(b":path", b"")) is not None
    )
