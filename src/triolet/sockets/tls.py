"""TLS (RFC 8446): an ``SSLObject`` between a client's stream and its socket, under the same contracts as without it.

Nothing here waits but for the socket: what is written is encrypted and handed to the kernel at once, one record after
the other, so a client that takes nothing costs one record and the rest of one batch.
"""

from __future__ import annotations

import math
import ssl
from contextlib import suppress
from typing import Any, Final

import trio

from ..bounds import TLS_CONTROL_BYTES, TLS_RECORD_BYTES
from ..budget import Budget
from .direct_outlet import DirectOutlet
from .link import Link
from .patience import Patience
from .stages import Stage
from .stream import ClientStream

__all__ = ["TlsOutlet", "TlsStream"]


_NOTHING: Final = memoryview(b"")


class TlsOutlet(DirectOutlet):
    """Encrypts a batch record by record, while the kernel takes them.

    What the kernel left of a record waits here, encrypted, and before the rest of its batch, which waits as it is:
    live clients of one channel share those bytes. Nothing is encrypted while something waits.

    Args:
        link: the client's socket.
        budget: where the bytes that wait are counted.
        tls: the connection's object, whose handshake may still have to be done.
        sealed: the buffer that it writes records to.

    Bounds: the rest of one batch, one record, and ``TLS_CONTROL_BYTES`` and a little more of TLS's own.
    """

    __slots__ = ("_counted", "_record", "_sealed", "_tls")

    def __init__(self, link: Link, budget: Budget, tls: ssl.SSLObject, sealed: ssl.MemoryBIO) -> None:
        super().__init__(link, budget)
        self._tls = tls
        self._sealed = sealed
        self._record = _NOTHING  # what the kernel left of what was sealed
        self._counted = 0
        self.send = self._send

    @property
    def pending(self) -> int:
        return self._counted

    @property
    def stuck(self) -> bool:
        """Whether the client makes TLS answer, and does not take the answers."""
        # An attack: a key update costs the client a few bytes, and may demand an answer (RFC 8446 section 4.6.3).
        return self._sealed.pending > TLS_CONTROL_BYTES

    def push(self) -> bool:
        """Write TLS's own records: handshake, alerts, answers to key updates. Never waits. Returns whether there are
        any."""
        some = self._sealed.pending > 0
        # What waits goes first, and these go with it: a record must not come into the middle of another.
        if self._rest is None:
            try:
                if not self._passed():
                    self._wait_for_kernel()
            except OSError:
                self.fail()
        return some

    def fail(self) -> None:
        self.send = _refuse
        super().fail()

    def abort(self) -> None:
        self.send = _refuse
        super().abort()

    def _send(self, batch: Any) -> int:
        # As `socket.send` does: it may take a part. What was encrypted counts as taken, for it cannot be taken back:
        # the client's side expects each record in its order.
        taken, size = 0, len(batch)
        while taken < size:
            record = batch if size <= TLS_RECORD_BYTES else memoryview(batch)[taken : taken + TLS_RECORD_BYTES]
            taken += self._tls.write(record)
            if not self._passed():
                if taken == size:
                    self._wait_for_kernel()  # the caller sees a whole batch taken, and would not call `keep`
                break
        return taken

    def _passed(self) -> bool:
        """Give the kernel the records that are ready, and return whether it took all.

        Raises:
            OSError: the peer is gone.
        """
        while self._record or self._sealed.pending:
            record = self._record or self._sealed.read()
            try:
                taken = self._link.send(record)
            except BlockingIOError:
                taken = 0
            if taken < len(record):
                self._record = memoryview(record)[taken:]
                return False
            self._record = _NOTHING
        return True

    def _wait_for_kernel(self) -> None:
        """Make the outlet full: all was encrypted, and the kernel did not take all of it."""
        self._hold(_NOTHING)
        self.progress_at = trio.current_time()
        self.on_full()

    def _hold(self, rest: memoryview | None) -> None:
        self._rest = rest
        if rest is None:
            self._record = _NOTHING
        held = 0 if rest is None else len(rest) + len(self._record) + self._sealed.pending
        self.budget.hold(held - self._counted)
        self._counted = held

    def _flushed(self, rest: memoryview) -> memoryview | None:
        before = len(self._record)
        passed = self._passed()
        if passed or len(self._record) != before:
            self.progress_at = trio.current_time()
        while passed and rest:
            rest = rest[self._tls.write(rest[:TLS_RECORD_BYTES]) :]
            passed = self._passed()
        return None if passed else rest


class TlsStream(ClientStream):
    """A client's stream through TLS, the server's side.

    It may end without ``close_notify`` (as is usual with HTTPS), and that is an end like any other: HTTP and WebSocket
    say by themselves where a message ends. A write may be cancelled without harm, as on any :class:`ClientStream`.

    Args:
        link: the client's socket.
        budget: where the bytes that wait are counted.
        context: certificate, versions, ALPN. Renegotiation should be off in it.

    Bounds: one record that is not whole yet, and what OpenSSL itself holds.
    """

    __slots__ = ("_arrived", "_broken", "_tls")

    secure = True
    outlet: TlsOutlet

    def __init__(self, link: Link, budget: Budget, context: ssl.SSLContext) -> None:
        super().__init__(link, budget)
        self.stage = Stage.HANDSHAKE
        self._arrived = ssl.MemoryBIO()
        self._broken: str | None = None  # what is wrong with what has come; OpenSSL says it once
        sealed = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._arrived, sealed, server_side=True)
        self.outlet = TlsOutlet(link, budget, self._tls, sealed)

    @property
    def protocol(self) -> str | None:
        return self._tls.selected_alpn_protocol()

    async def handshake(self, seconds: float = math.inf) -> bool:
        """Do the handshake (RFC 8446 section 4). Returns False where the client took longer than so many seconds: then
        the stream is of no more use.

        Raises:
            BrokenResourceError: the client went; or there is no agreement, and the client was told why.

        Cancellation: the stream is of no more use.
        """
        patience = Patience(trio.current_time() + seconds)
        while not await self._shake_hands():
            answered = self.outlet.push()
            if not await self.taken(seconds):
                return False
            if answered and (now := trio.current_time()) >= patience.until:
                # This process is late, and the client has had no time for its part. Only behind an answer, of which
                # there are two at most: a client that sends one byte at a time would gain time with each.
                patience.until = now + seconds
            if not await patience.wait(self._fetch):
                return False
        return True

    def receive_now(self, max_bytes: int) -> bytes:
        return b""  # what has come has to be decrypted first

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await trio.lowlevel.checkpoint_if_cancelled()
        data = self._decrypted(max_bytes or TLS_RECORD_BYTES)
        if data is not None:
            await trio.lowlevel.cancel_shielded_checkpoint()  # cancelled here it would lose what was read
            return data
        while data is None:
            await self._fetch()
            data = self._decrypted(max_bytes or TLS_RECORD_BYTES)
        return data

    async def send_eof(self) -> None:
        await self.outlet.drained()
        self._say_close()
        await super().send_eof()

    async def aclose(self) -> None:
        self._say_close()
        await super().aclose()

    async def _shake_hands(self) -> bool:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLError as error:
            self.outlet.push()
            await super().aclose()
            raise trio.BrokenResourceError(f"no TLS handshake: {error.reason}") from None
        self.outlet.push()
        return True

    async def _fetch(self) -> bool:
        """Fetch what comes next, be it the end. Returns True."""
        if self.outlet.stuck:
            raise trio.BrokenResourceError("the client does not take what it makes TLS say")
        data = await self.socket.receive_some(TLS_RECORD_BYTES)
        if data:
            self._arrived.write(data)
        else:
            self._arrived.write_eof()
        return True

    def _decrypted(self, max_bytes: int) -> bytes | None:
        """Return what has arrived, of all records that are whole; ``b""`` at the end; None if more is to be fetched."""
        if self._broken is not None:
            raise trio.BrokenResourceError(self._broken)
        data = self._next_record(max_bytes)
        # Records may be of a byte each: what makes something of them does so once for all that have come.
        if data and self._arrived.pending:
            whole = bytearray(data)
            with suppress(trio.BrokenResourceError):  # what is wrong behind it is for the next read
                while len(whole) < max_bytes and (more := self._next_record(max_bytes - len(whole))):
                    whole += more
            data = bytes(whole)
        return data

    def _next_record(self, max_bytes: int) -> bytes | None:
        try:
            return self._tls.read(max_bytes)
        except ssl.SSLWantReadError:
            return None
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return b""
        except ssl.SSLError as error:
            self._broken = f"TLS: {error.reason}"
            raise trio.BrokenResourceError(self._broken) from None
        finally:
            self.outlet.push()  # reading may make TLS answer: a key update, or an alert

    def _say_close(self) -> None:
        """Send ``close_notify`` (RFC 8446 section 6.1), unless something is on its way that cannot be finished now."""
        if self.outlet.empty:
            with suppress(ssl.SSLError):  # the client's word is not waited for; or there is no agreement yet
                self._tls.unwrap()
            self.outlet.push()


def _refuse(_: Any) -> int:
    """Refuse a batch: the peer is gone. It takes the place of ``send``, which referred back to the outlet: so that is
    freed at once, without the garbage collector."""
    raise BrokenPipeError("the peer is gone")
