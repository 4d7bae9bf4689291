"""Hypercorn's HTTP/2, guarded (TLS only, when it is switched on): a bad stream ends alone, a flood with GOAWAY.

Flow control carries the backpressure: what the app has not taken is not acknowledged, so a client cannot send
more than a window beyond it. The connection's window is wide enough that one such stream stops no other.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final

import h2.connection
import h2.events
import h2.exceptions
import trio
from h2.errors import ErrorCodes
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.events import (
    Body,
    Data,
    EndBody,
    EndData,
    InformationalResponse,
    Request,
    Response,
    StreamClosed,
    Trailers,
)
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.protocol.h2 import H2Protocol, StreamBuffer
from hypercorn.typing import ConnectionState
from hypercorn.utils import filter_pseudo_headers

from ..bounds import CRUMB_BYTES, WRITE_BYTES
from ..closing import SILENT
from ..limits import Limits
from ..sockets.server_state import note_refusal, with_client
from ..sockets.stream import ClientStream
from ..wire.http_head import is_host
from .bounds import BODY_PIECE_BYTES, HTTP2_FRAMES_A_TURN, HTTP2_TABLE_BYTES, HTTP2_UNSENT_BYTES, HTTP2_WINDOW_BYTES
from .busy import busy
from .http1 import GuardedHTTP, pieces, stream_surroundings
from .http2_frames import PING, Frames, Spending, TooMuchError, goaway, is_plain
from .http2_outlet import Http2Stream, StreamOutlet, see_answered, send_in_time
from .keepalive import Keepalive
from .pause import Crumbs
from .reading import Reading
from .websocket import GuardedWebSocket, Owed

__all__ = ["GuardedH2"]


_CONTENT: Final = (Body, Data, EndBody, EndData, Trailers)
"""Events that wait for the client."""


class GuardedH2(H2Protocol):
    """HTTP/2 on one connection.

    Each ASGI scope's ``state`` has an :class:`Http2Stream`. All content of a stream goes through its outlet.

    Args:
        below: the client's stream.
        lock: held by who writes to it, from the first byte of a frame to its last.
        write: writes what it is given a function for, called when it is its turn. By default as Hypercorn does.
        write_now: writes without waiting where nothing waits; by default straight into the outlet of ``below``.

    Bounds: ``limits.header_bytes`` of a request's headers; ``limits.body_bytes`` of all bodies at once; of each stream
    what its inbox holds and one window; what :class:`~.http2_frames.Frames` keeps of frames that are not whole; 33
    frames a second that are neither requests nor content. After every few frames others have their turn. While a stream
    is open a client that is silent for ``limits.silence_seconds``, and answers no ping, is reset. After Hypercorn's
    ``keep_alive_max_requests`` it is to connect anew: once nothing is being answered, or at twice as many.
    """

    streams: dict[int, Any]
    task_group: Any
    """An AppGroup."""
    in_head = False
    survives_cancelled_writes = False

    def __init__(
        self,
        *args: Any,
        limits: Limits,
        below: ClientStream,
        lock: trio.Lock,
        write: Callable[[Callable[[], bytes]], Awaitable[None]] | None = None,
        write_now: Callable[[bytes], bool] | None = None,
    ) -> None:
        super().__init__(*args)
        self._write = self._write_as_hypercorn if write is None else write
        self._write_now = below.outlet.write if write_now is None else write_now
        self._below = below
        self._lock = lock
        self._outlets: dict[int, StreamOutlet] = {}
        self._limits = limits
        self._max_bodies = limits.body_bytes
        self._own_task: trio.lowlevel.Task | None = None
        self._bodies: dict[int, int] = {}
        self._unacknowledged: dict[int, int] = {}
        self._frames = Frames(limits.header_bytes, self.connection.DEFAULT_MAX_INBOUND_FRAME_SIZE)
        self._frames_held = 0
        self._reading = Reading(limits.goodbye_seconds)
        self._spending = Spending()
        self._flushing = False
        self._unsent = bytearray()
        self._last_stream = 0  # of those that are answered
        self._leaving = False  # whether the client knows that no later one is
        self._keepalive = Keepalive(limits, self._ping, lambda: not self.streams, self.client, self._reading.caught_up)
        self._crumbs = Crumbs(limits, self._keepalive.heard)
        self.connection.decoder.max_header_list_size = limits.header_bytes
        self.connection.local_settings.max_header_list_size = limits.header_bytes

    async def initiate(self, headers: Any = None, settings: Any = None) -> None:
        """Say our settings, and start the task that sends. Called in the connection's own task, like handle."""
        self._own_task = trio.lowlevel.current_task()
        await super().initiate()
        self.connection.increment_flow_control_window(HTTP2_WINDOW_BYTES)
        await self._flush()
        self.task_group.spawn(self._keep)

    async def handle(self, event: Event) -> None:
        """Take in what came from the socket. It waits for the socket alone, never for the app."""
        self._keepalive.heard()
        if isinstance(event, RawData):
            try:
                with self._reading.of(event.data):
                    await self._take_in(event.data)
            except h2.exceptions.ProtocolError:
                await self._end()
            except TooMuchError as error:
                self.connection.close_connection(error.code)
                await self._end()
            return
        await super().handle(event)
        if isinstance(event, Closed):
            self._keepalive.stop()
            for buffer in self.stream_buffers.values():
                await buffer.close()  # whoever waits for a window is let go

    def let_go(self) -> None:
        """Forget all streams, once no task of the connection runs: what a circle holds, and h2 is one, only the garbage
        collector frees, late, and nobody counts it until then."""
        for outlet in self._outlets.values():
            outlet.fail()
        for kept in (self._outlets, self.streams, self.stream_buffers, self.connection.streams):
            kept.clear()

    async def _take_in(self, data: bytes) -> None:
        """Handle one frame after the other: only what came of it tells what a frame was worth."""
        for number, frame in enumerate(self._frames.split(data), 1):
            events = self.connection.receive_data(frame)
            self._spending.pay(trio.current_time(), events, self._waiting)
            await self._handle_events(events)
            if any(isinstance(event, h2.events.ConnectionTerminated) for event in events):
                return
            if not number % HTTP2_FRAMES_A_TURN:
                await trio.lowlevel.checkpoint()
        self.task_group.hold(self._frames.held - self._frames_held)
        self._frames_held = self._frames.held

    def _waiting(self, stream_id: int | None) -> int:
        return sum(outlet.waits for outlet in self._outlets_of(stream_id))

    async def room(self) -> None:
        """Flow control has seen to it."""

    def wake(self) -> None:
        """An inbox has room again."""
        if self._unacknowledged and not self.closed:
            self.task_group.spawn(self._make_room)

    async def stream_send(self, event: StreamEvent) -> None:
        """Send what a stream sends; one whose client takes nothing for too long is reset."""
        if isinstance(event, Body) and len(event.data) > WRITE_BYTES:
            for piece in pieces(event):
                await self.stream_send(piece)
            return
        if isinstance(event, StreamClosed) and any(not outlet.empty for outlet in self._outlets_of(event.stream_id)):
            self.task_group.spawn(self._close_later, event)
            return
        waits = isinstance(event, _CONTENT)
        if not await self._send(event):
            self._give_up(event.stream_id, self._limits.write_seconds)
        if waits and event.stream_id not in self.stream_buffers:
            # It is gone, and Hypercorn sends to nobody without a pause: an app that only sends would starve the others.
            await trio.lowlevel.checkpoint()
        if isinstance(event, StreamClosed):
            self._bodies.pop(event.stream_id, None)

    async def _close_later(self, event: StreamClosed) -> None:
        """Close a stream whose client does not take its last words now: a close frame says why it ends. The task that
        reads does not wait for that."""
        outlet = self._outlets.get(event.stream_id)
        if outlet is not None:
            try:
                with trio.move_on_after(self._limits.goodbye_seconds):
                    await outlet.drained()
            finally:
                outlet.fail()  # what it holds is given back, however this ends
        await self.stream_send(event)

    async def _send(self, event: StreamEvent) -> bool:
        """Send content through the stream's outlet, and all else as Hypercorn does, whose own buffer holds nobody back:
        while a window is closed it takes whatever an app sends. Returns False where the client does not take it."""
        seconds = self._limits.write_seconds
        if isinstance(event, Response | InformationalResponse):
            self._send_head(event)
        elif isinstance(event, StreamClosed):
            await self._end_stream(event.stream_id)
        elif not isinstance(event, Body | Data):
            outlet = self._outlets.get(event.stream_id)
            if isinstance(event, _CONTENT) and outlet is not None and not await send_in_time(outlet, None, seconds):
                return False
            with trio.move_on_after(seconds) as patience:
                await super().stream_send(event)
            return not patience.cancelled_caught
        elif isinstance(event, Owed):
            outlet = self._outlet_of(event.stream_id)
            if outlet.answer(event.data):
                self.task_group.spawn(see_answered, outlet, seconds)
        else:
            return await send_in_time(self._outlet_of(event.stream_id), event.data, seconds)
        return True

    def _send_head(self, event: Response | InformationalResponse) -> None:
        """Send the head of an answer. It does not wait for the client: while it did, the app's content would wait
        behind it, and nobody would count that."""
        headers = [(b":status", b"%d" % event.status_code), *event.headers, *self.config.response_headers("h2")]
        with suppress(h2.exceptions.ProtocolError, KeyError):  # the stream has ended
            self.connection.send_headers(event.stream_id, headers)
        self._flush_soon()

    def _flush_soon(self) -> None:
        if self._below.outlet.empty and not self._lock.locked():
            self._write_now(self._take())
        elif not self._flushing:
            self._flushing = True
            self.task_group.spawn(self._flush_whole)

    async def _handle_events(self, events: list[h2.events.Event]) -> None:
        others = []
        for event in events:
            if isinstance(event, h2.events.RequestReceived):
                await self._ask(event)
            elif isinstance(event, h2.events.DataReceived):
                messages = await self._receive(event)
                if event.stream_ended is None:
                    await self._crumbs.pay(1 - messages - len(event.data) / CRUMB_BYTES)
            elif not isinstance(event, h2.events.PriorityUpdated):  # RFC 9113 section 5.3: priorities are gone
                others.append(event)
        if self.connection.encoder.header_table_size > HTTP2_TABLE_BYTES:
            self.connection.encoder.header_table_size = HTTP2_TABLE_BYTES
        await super()._handle_events(others)
        for event in others:
            if isinstance(event, h2.events.StreamReset):
                await self._drop(event.stream_id)

    async def _ask(self, event: h2.events.RequestReceived) -> None:
        """Take in a request, unless the connection takes none any more. Who comes to a server that drains, from its
        queue, has one: it is told when to come back."""
        if self._leaving or (self._last_stream and self.context.terminated.is_set()):
            self._go_away()
            self._spending.spend(trio.current_time())
            await self._reset(event.stream_id, ErrorCodes.REFUSED_STREAM)  # it may be asked again: nothing was done
            return
        self._last_stream = event.stream_id
        await self._create_stream(event)
        if self.keep_alive_requests >= 2 * self.config.keep_alive_max_requests:
            self._go_away()
        await self._settle()

    def _go_away(self) -> None:
        """Have the client ask elsewhere from now on, and answer what it has asked: h2's own GOAWAY would end all."""
        if not self._leaving:
            self._leaving = True
            self._unsent += self.connection.data_to_send() + goaway(self._last_stream)

    async def _settle(self) -> None:
        """Say whether the connection waits for a request, however the last one has ended: answered, refused, or reset
        by its client. It ends there if it takes no more."""
        if self.closed:
            return
        # The end of an answer is sent when its buffer goes.
        idle = not self.streams and not any(buffer.complete for buffer in self.stream_buffers.values())
        enough = self._leaving or self.keep_alive_requests >= self.config.keep_alive_max_requests
        if idle and (enough or (self._last_stream and self.context.terminated.is_set())):
            self._go_away()
            await self._end()
        else:
            await self.send(Updated(idle=idle))

    async def _send_data(self, stream_id: int) -> None:
        await super()._send_data(stream_id)
        if stream_id not in self.stream_buffers:
            await self._settle()

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

    async def _create_stream(self, request: h2.events.RequestReceived) -> None:
        pseudo = {name: value for name, value in request.headers if name.startswith(b":")}
        hosts = [value for name, value in request.headers if name in (b":authority", b"host")]
        stream_id, method = request.stream_id, pseudo.get(b":method", b"")
        if not is_plain(pseudo) or not all(map(is_host, hosts)):
            await self._refuse(stream_id, 400)
            return
        if not self._below.outlet.budget.admits():
            error = busy()
            await self._refuse(stream_id, error.status, error.headers)
            return
        surroundings = stream_surroundings(self, stream_id)
        stream: GuardedHTTP | GuardedWebSocket
        if method == b"CONNECT":
            caught_up = self._reading.caught_up
            stream = GuardedWebSocket(*surroundings, limits=self._limits, on_ready=self.wake, caught_up=caught_up)
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

    async def _receive(self, event: h2.events.DataReceived) -> int:
        """Take in a part of a body. Returns how many messages are complete with it: they are counted by themselves."""
        stream_id = event.stream_id
        stream = self.streams.get(stream_id)
        if stream is None:  # answered before it ended: nobody wants the rest
            self._acknowledge(stream_id, event.flow_controlled_length)
            if stream_id not in self.stream_buffers:
                await self._reset(stream_id, ErrorCodes.NO_ERROR)
            return 0
        if isinstance(stream, GuardedHTTP):
            self._bodies[stream_id] = self._bodies.get(stream_id, 0) + max(len(event.data), BODY_PIECE_BYTES)
            if sum(self._bodies.values()) > self._max_bodies:
                await self._refuse(stream_id, 413)
                return 0
        before = stream.messages
        await stream.handle(Body(stream_id, event.data))
        waiting = self._unacknowledged.pop(stream_id, 0) + event.flow_controlled_length
        if stream.full:
            self._unacknowledged[stream_id] = waiting
        else:
            self._acknowledge(stream_id, waiting)
        return int(stream.messages - before)

    async def _make_room(self) -> None:
        for stream_id in list(self._unacknowledged):
            stream = self.streams.get(stream_id)
            if stream is not None:
                await stream.read_on()
            if stream is None or not stream.full:
                self._acknowledge(stream_id, self._unacknowledged.pop(stream_id, 0))
        await self._flush()

    def _acknowledge(self, stream_id: int, size: int) -> None:
        with suppress(h2.exceptions.ProtocolError):  # the connection is ending
            self.connection.acknowledge_received_data(size, stream_id)

    async def _refuse(self, stream_id: int, status: int, more: Sequence[tuple[bytes, bytes]] = ()) -> None:
        """Answer a request without the app, or end the one that it is answering."""
        if stream_id not in self.streams:
            self._spending.spend(trio.current_time())  # no app was asked, so it is no request that counts as content
            note_refusal(self.connection_state, self.client, status)
        headers = [(b":status", b"%d" % status), *self.config.response_headers("h2"), *more]
        with suppress(h2.exceptions.ProtocolError):
            self.connection.send_headers(stream_id, headers, end_stream=True)
        await self._reset(stream_id, ErrorCodes.NO_ERROR)

    async def _reset(self, stream_id: int, code: ErrorCodes) -> None:
        with suppress(h2.exceptions.ProtocolError):
            self.connection.reset_stream(stream_id, code)
        await self._flush()
        await self._close_stream(stream_id)
        await self._window_updated(stream_id)  # whoever waits for one finds that the stream is closed
        await self._drop(stream_id)

    def _stream_of(self, stream_id: int) -> Http2Stream:
        abort = partial(self._give_up, stream_id, self._limits.stall_seconds)
        return Http2Stream(partial(self._outlet_of, stream_id), abort, partial(self._give_up, stream_id, 0))

    def _outlet_of(self, stream_id: int) -> StreamOutlet:
        outlet = self._outlets.get(stream_id)
        if outlet is None:
            below = self._below.outlet
            give_up = partial(self._give_up, stream_id, self._limits.stall_seconds)
            sending = (self._lock, give_up, self._spending.earn, self._take, self._reading.caught_up)
            outlet = StreamOutlet(below.budget, self.connection, stream_id, below, *sending)
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

    def _outlets_of(self, stream_id: int | None) -> list[StreamOutlet]:
        """The outlet of a stream, if it has one; those of all streams, where it is none's or that of the connection."""
        if not stream_id:
            return list(self._outlets.values())
        outlet = self._outlets.get(stream_id)
        return [] if outlet is None else [outlet]

    async def _window_updated(self, stream_id: int | None) -> None:
        for outlet in self._outlets_of(stream_id):
            outlet.window_opened()
        await super()._window_updated(stream_id)

    async def _close_stream(self, stream_id: int) -> None:
        self._bodies.pop(stream_id, None)
        outlet = self._outlets.pop(stream_id, None)
        if outlet is not None:
            outlet.fail()
        await super()._close_stream(stream_id)
        await self._settle()

    async def _drop(self, stream_id: int) -> None:
        """Forget a stream that was reset: no end of an answer will be sent."""
        buffer = self.stream_buffers.pop(stream_id, None)
        if buffer is not None:
            await buffer.close()
            self.priority.remove_stream(stream_id)
            await self._settle()

    async def _end_stream(self, stream_id: int) -> None:
        """Forget a stream that its app is done with, and reset it if its answer has no end, as the app has failed."""
        buffer, stream = self.stream_buffers.get(stream_id), self.streams.get(stream_id)
        if buffer is None or buffer.complete or isinstance(stream, GuardedWebSocket):  # that has said why it ends
            await self._close_stream(stream_id)
        else:
            await self._reset(stream_id, ErrorCodes.INTERNAL_ERROR)

    async def _flush(self) -> None:
        """Send what h2 has made. The task that reads waits for that only where too much does: what the client sends may
        be what it does before it reads."""
        self._unsent += self.connection.data_to_send()
        if trio.lowlevel.current_task() is not self._own_task or len(self._unsent) >= HTTP2_UNSENT_BYTES:
            await self._flush_whole()
        elif self._unsent:
            self._flush_soon()

    async def _end(self) -> None:
        """Say our last words, and end the connection."""
        await self._flush_whole()
        await self.send(Closed())

    async def _flush_whole(self) -> None:
        """Send what h2 has made, whole: it may be of several streams, so no one of them may cut it short.

        The shield cannot hang: a write that makes no progress is given up after ``limits.write_seconds``, who writes
        before it after ``limits.stall_seconds``, and the connection's own task, unshielded, aborts it when cancelled.
        """
        self._flushing = False
        self._unsent += self.connection.data_to_send()
        if not self._unsent:
            return
        with trio.CancelScope(shield=trio.lowlevel.current_task() is not self._own_task):
            await self._write(self._take)

    def _take(self) -> bytes:
        """What h2 has made, in its order. Nobody takes it before it is his turn to write: a stream's content is written
        by others, and must not get ahead of its head."""
        data = bytes(self._unsent) + self.connection.data_to_send()
        self._unsent.clear()
        return data

    async def _write_as_hypercorn(self, make: Callable[[], bytes]) -> None:
        await self.send(RawData(make()))
