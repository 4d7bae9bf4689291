"""TLS under the outlet's contract: what is written is encrypted at once or waits as it is, and every end is one."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.e2e.certificate import make_certificate
from tests.e2e.needs import needs
from tests.peer import UPGRADE
from tests.shop import make_shop
from triolet import Connection, Limits
from triolet.budget import Budget
from triolet.sockets.tls import TlsOutlet, TlsStream
from triolet.testing.network import KERNEL_BYTES, ClientEnd, MemoryLink, link_pair
from triolet.testing.server import serve

pytestmark = needs("openssl")

BATCH = bytes(range(256)) * 400
OVERHEAD = 1_000


@pytest.fixture(scope="module")
def certified(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    """The server's side, with a certificate."""
    _, certificate, _, key = make_certificate(tmp_path_factory.mktemp("tls"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context


def trusting(version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3, *protocols: str) -> ssl.SSLContext:
    """A client's side, which believes any certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.maximum_version = version
    context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF  # some releases of Python set it, and an end would be any other's
    context.set_alpn_protocols(list(protocols))
    return context


class Pair:
    """Both ends of a connection, and what is beneath them. ``client`` minds an end without a word."""

    def __init__(self, certified: ssl.SSLContext, client_side: ssl.SSLContext, kernel_bytes: int) -> None:
        self.budget = Budget(1 << 30)
        self.below: ClientEnd
        self.link: MemoryLink
        self.below, self.link = link_pair(kernel_bytes=kernel_bytes)
        self.server = TlsStream(self.link, self.budget, certified)
        self.client = trio.SSLStream(self.below, client_side)
        self.full = 0
        self.server.outlet.on_full = self._count

    def _count(self) -> None:
        self.full += 1

    async def read(self, size: int) -> bytes:
        """So many bytes, as the client gets them."""
        data = b""
        while len(data) < size:
            piece = await self.client.receive_some()
            assert piece, "the end came too early"
            data += piece
        return data


@asynccontextmanager
async def paired(
    certified: ssl.SSLContext, client_side: ssl.SSLContext | None = None, kernel_bytes: int = KERNEL_BYTES
) -> AsyncIterator[Pair]:
    """Two ends that have shaken hands."""
    pair = Pair(certified, client_side or trusting(), kernel_bytes)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pair.client.do_handshake)
        await pair.server.handshake()
    pair.full = 0
    yield pair
    pair.server.abort()
    assert pair.budget.held == 0


async def test_a_process_that_is_late_in_a_handshake_gives_its_client_time(
    certified: ssl.SSLContext, autojump_clock: MockClock
) -> None:
    pair = Pair(certified, trusting(), KERNEL_BYTES)
    agreed = []

    async def shake_hands() -> None:
        agreed.append(await pair.server.handshake(5))

    async def read_late(max_bytes: int) -> bytes:
        data = await receive_some(max_bytes)
        pair.link.receive_some = receive_some  # type: ignore[method-assign]  # it was late once
        autojump_clock.jump(6)
        return data

    receive_some = pair.link.receive_some
    pair.link.receive_some = read_late  # type: ignore[method-assign]  # as is the process that it is in
    async with trio.open_nursery() as nursery:
        nursery.start_soon(shake_hands)
        await trio.testing.wait_all_tasks_blocked()
        await pair.client.do_handshake()
    assert (agreed, trio.current_time()) == ([True], 6)
    pair.server.abort()


async def test_a_client_that_sends_little_whenever_its_time_is_over_gains_none(
    certified: ssl.SSLContext, autojump_clock: MockClock
) -> None:
    pair = Pair(certified, trusting(), KERNEL_BYTES)

    async def read_as_time_ends(max_bytes: int) -> bytes:
        data = await receive_some(max_bytes)
        autojump_clock.jump(0.002)  # it came right before, and is looked at right behind
        return data

    async def send() -> None:
        for byte in b"\x16\x03\x01\x01":
            await trio.sleep(4.999)
            await pair.below.send_all(bytes([byte]))

    receive_some = pair.link.receive_some
    pair.link.receive_some = read_as_time_ends  # type: ignore[method-assign]  # a moment of the process that it is in
    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        assert not await pair.server.handshake(5)
        assert trio.current_time() == pytest.approx(5.001)
        nursery.cancel_scope.cancel()
    pair.server.abort()


async def test_a_client_that_does_not_shake_hands_is_not_waited_for(
    certified: ssl.SSLContext, autojump_clock: MockClock
) -> None:
    pair = Pair(certified, trusting(), KERNEL_BYTES)
    await pair.below.send_all(b"\x16\x03\x01")
    assert not await pair.server.handshake(5)
    assert trio.current_time() == 5
    pair.server.abort()


class TestSpeaking:
    @pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
    async def test_both_sides_hear_each_other(
        self, certified: ssl.SSLContext, version: ssl.TLSVersion, autojump_clock: MockClock
    ) -> None:
        async with paired(certified, trusting(version)) as pair:
            await pair.client.send_all(b"question")
            assert await pair.server.receive_some() == b"question"
            await pair.server.send_all(b"answer")
            assert await pair.read(6) == b"answer"

    @pytest.mark.parametrize(
        ("offered", "agreed"), [(["http/1.1", "h2"], "h2"), (["http/1.1"], "http/1.1"), ([], None)]
    )
    async def test_it_says_what_was_agreed_on(
        self, certified: ssl.SSLContext, offered: list[str], agreed: str | None, autojump_clock: MockClock
    ) -> None:
        async with paired(certified, trusting(ssl.TLSVersion.TLSv1_3, *offered)) as pair:
            assert pair.server.protocol == agreed

    async def test_a_big_message_is_read_in_pieces(self, certified: ssl.SSLContext, autojump_clock: MockClock) -> None:
        async with paired(certified) as pair, trio.open_nursery() as nursery:
            nursery.start_soon(pair.client.send_all, BATCH)
            data = b""
            while len(data) < len(BATCH):
                piece = await pair.server.receive_some(1_000)
                assert 0 < len(piece) <= 1_000
                data += piece
            assert data == BATCH

    async def test_a_read_that_is_cancelled_loses_nothing(
        self, certified: ssl.SSLContext, autojump_clock: MockClock
    ) -> None:
        async with paired(certified) as pair:
            with trio.move_on_after(1) as waiting:
                await pair.server.receive_some()
            assert waiting.cancelled_caught
            await pair.client.send_all(b"late")
            assert await pair.server.receive_some(2) == b"la"
            with trio.CancelScope() as cancelled:
                cancelled.cancel()
                await pair.server.receive_some()
            assert await pair.server.receive_some() == b"te"


class TestSending:
    async def test_a_batch_that_the_kernel_takes_leaves_nothing(
        self, certified: ssl.SSLContext, autojump_clock: MockClock
    ) -> None:
        async with paired(certified) as pair:
            assert pair.server.outlet.send(b"event") == 5
            assert (pair.server.outlet.empty, pair.full, pair.budget.held) == (True, 0, 0)
            assert await pair.read(5) == b"event"

    async def test_a_small_batch_is_taken_whole_and_what_the_kernel_left_of_it_waits(
        self, certified: ssl.SSLContext, autojump_clock: MockClock
    ) -> None:
        async with paired(certified, kernel_bytes=4_000) as pair:
            outlet = pair.server.outlet
            assert outlet.send(BATCH[:10_000]) == 10_000
            assert (outlet.empty, pair.full) == (False, 1)
            assert 0 < outlet.pending <= 10_000 + OVERHEAD
            assert pair.budget.held == outlet.pending
            assert not outlet.write(b"too much")
            await self.read_while_drained(pair, 10_000)

    async def test_of_a_big_batch_one_record_is_encrypted_and_the_rest_waits_as_it_is(
        self, certified: ssl.SSLContext, autojump_clock: MockClock
    ) -> None:
        async with paired(certified, kernel_bytes=4_000) as pair:
            outlet = pair.server.outlet
            taken = outlet.send(BATCH)
            assert 0 < taken <= 16 << 10
            outlet.keep(BATCH, taken)
            assert pair.full == 1
            assert len(BATCH) - 4_000 <= outlet.pending <= len(BATCH) + OVERHEAD
            await self.read_while_drained(pair, len(BATCH))

    async def read_while_drained(self, pair: Pair, size: int) -> None:
        read: list[bytes] = []

        async def client() -> None:
            read.append(await pair.read(size + 4))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(client)
            await pair.server.outlet.drained()
            assert (pair.server.outlet.empty, pair.budget.held) == (True, 0)
            await pair.server.send_all(b"next")
        assert read == [BATCH[:size] + b"next"]

    async def test_a_write_that_is_cancelled_is_finished_before_any_later_byte(
        self, certified: ssl.SSLContext, autojump_clock: MockClock
    ) -> None:
        async with paired(certified, kernel_bytes=4_000) as pair:
            with trio.move_on_after(1):
                await pair.server.send_all(BATCH)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(pair.server.send_all, b"next")
                assert await pair.read(len(BATCH) + 4) == BATCH + b"next"

    async def test_progress_is_what_the_kernel_takes(
        self, certified: ssl.SSLContext, autojump_clock: MockClock
    ) -> None:
        async with paired(certified, kernel_bytes=4_000) as pair, trio.open_nursery() as nursery:
            await trio.sleep(5)
            start = trio.current_time()
            pair.server.outlet.write(BATCH)
            nursery.start_soon(pair.server.outlet.drained)
            await trio.sleep(3)
            assert pair.server.outlet.progress_at == start
            await pair.below.receive_some(100)
            await wait_all_tasks_blocked()
            assert pair.server.outlet.progress_at == start + 3
            nursery.cancel_scope.cancel()

    async def test_a_client_that_is_gone_is_found_by_writing(
        self, certified: ssl.SSLContext, autojump_clock: MockClock
    ) -> None:
        async with paired(certified) as pair:
            gone = trio.Event()
            pair.server.outlet.on_gone = lambda _: gone.set()
            pair.below.reset()
            assert pair.server.outlet.write(b"hello?")
            assert gone.is_set()
            with pytest.raises(OSError, match="gone"):
                pair.server.outlet.send(b"hello?")
            with pytest.raises(trio.BrokenResourceError):
                await pair.server.send_all(b"hello?")


class TestTlsItselfSpeaking:
    """Alerts and answers to key updates: the client makes them, and they go out in their turn."""

    def outlet(self, kernel_bytes: int) -> tuple[ClientEnd, TlsOutlet, ssl.MemoryBIO]:
        client, link = link_pair(kernel_bytes=kernel_bytes)
        sealed = ssl.MemoryBIO()
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).wrap_bio(ssl.MemoryBIO(), sealed, server_side=True)
        return client, TlsOutlet(link, Budget(1 << 30), tls, sealed), sealed

    async def test_it_goes_out_at_once(self, autojump_clock: MockClock) -> None:
        client, outlet, sealed = self.outlet(100)
        sealed.write(b"key update")
        outlet.push()
        assert (outlet.empty, await client.receive_some()) == (True, b"key update")

    async def test_it_waits_behind_what_waits(self, autojump_clock: MockClock) -> None:
        client, outlet, sealed = self.outlet(10)
        sealed.write(b"0123456789abc")
        outlet.push()
        sealed.write(b"def")
        outlet.push()
        assert outlet.pending == 3
        async with trio.open_nursery() as nursery:
            nursery.start_soon(outlet.drained)
            assert [await client.receive_some(), await client.receive_some()] == [b"0123456789", b"abcdef"]
        assert outlet.empty

    async def test_there_is_an_end_to_what_waits(self, autojump_clock: MockClock) -> None:
        _, outlet, sealed = self.outlet(10)
        for _ in range(2):
            sealed.write(bytes(16 << 10))
            outlet.push()
            assert not outlet.stuck
        sealed.write(b"once more")
        assert outlet.stuck


class TestEnding:
    async def test_our_end_is_said_and_the_client_may_still_speak(
        self, certified: ssl.SSLContext, autojump_clock: MockClock
    ) -> None:
        async with paired(certified) as pair:
            await pair.server.send_all(b"bye")
            await pair.server.send_eof()
            assert await pair.read(3) == b"bye"
            assert await pair.client.receive_some() == b""
            await pair.client.send_all(b"bye")
            assert await pair.server.receive_some() == b"bye"
            await pair.client.aclose()
            assert await pair.server.receive_some() == b""

    async def test_an_end_waits_for_what_was_begun(self, certified: ssl.SSLContext, autojump_clock: MockClock) -> None:
        async with paired(certified, kernel_bytes=4_000) as pair, trio.open_nursery() as nursery:
            pair.server.outlet.write(BATCH)
            nursery.start_soon(pair.server.send_eof)
            assert await pair.read(len(BATCH)) == BATCH
            assert await pair.client.receive_some() == b""

    async def test_closing_says_so_where_nothing_is_cut_short(
        self, certified: ssl.SSLContext, autojump_clock: MockClock
    ) -> None:
        async with paired(certified) as pair:
            await pair.server.aclose()
            assert await pair.client.receive_some() == b""

    async def test_closing_in_the_middle_of_a_record_is_no_end(
        self, certified: ssl.SSLContext, autojump_clock: MockClock
    ) -> None:
        async with paired(certified, kernel_bytes=4_000) as pair:
            pair.server.outlet.write(BATCH)
            await pair.server.aclose()
            with pytest.raises(trio.BrokenResourceError):
                await pair.read(len(BATCH))

    @pytest.mark.parametrize("says", [True, False])
    async def test_the_clients_end_is_one_whether_it_is_said_or_not(
        self, certified: ssl.SSLContext, says: bool, autojump_clock: MockClock
    ) -> None:
        async with paired(certified) as pair:
            await pair.client.send_all(b"last")
            if says:
                with trio.move_on_after(1):
                    await pair.client.unwrap()
            else:
                await pair.below.send_eof()
            assert await pair.server.receive_some() == b"last"
            assert [await pair.server.receive_some() for _ in range(2)] == [b"", b""]

    async def test_noise_breaks_the_connection(self, certified: ssl.SSLContext, autojump_clock: MockClock) -> None:
        async with paired(certified) as pair:
            await pair.below.send_all(b"\x17\x03\x03\x00\x20" + bytes(32))
            with pytest.raises(trio.BrokenResourceError):
                await pair.server.receive_some()
            with pytest.raises(trio.BrokenResourceError) as broken:
                await pair.client.receive_some()
            assert "alert" in str(broken.value.__cause__).lower()

    async def test_abort_ends_whoever_waits(self, certified: ssl.SSLContext, autojump_clock: MockClock) -> None:
        async with paired(certified, kernel_bytes=4_000) as pair, trio.open_nursery() as nursery:
            ended: list[str] = []

            async def write() -> None:
                with pytest.raises(trio.BrokenResourceError):
                    await pair.server.send_all(BATCH)
                ended.append("writer")

            async def read() -> None:
                with pytest.raises(trio.ClosedResourceError):
                    await pair.server.receive_some()
                ended.append("reader")

            nursery.start_soon(write)
            nursery.start_soon(read)
            await wait_all_tasks_blocked()
            pair.server.abort()
            await wait_all_tasks_blocked()
            assert sorted(ended) == ["reader", "writer"]
            with pytest.raises(trio.BrokenResourceError):
                await pair.below.receive_some()


async def test_a_handler_in_the_middle_of_a_send_is_cancelled_when_its_client_is_given_up(
    certified: ssl.SSLContext, autojump_clock: MockClock
) -> None:
    app, live = make_shop(Limits(stall_seconds=7))
    ended: list[float] = []

    @live.socket("/talkative")
    async def talkative(conn: Connection) -> None:
        try:
            while True:
                await conn.send({"fill": "x" * 3_000})
        finally:
            ended.append(trio.current_time())

    async with serve(app, tls=certified) as server:
        below = server.connect(kernel_bytes=4_000)
        client = trio.SSLStream(below, trusting(), https_compatible=True)
        await client.send_all(UPGRADE.format(path="/talkative").encode())
        await client.receive_some()
        await wait_all_tasks_blocked()
        start = trio.current_time()
        await trio.sleep(6.9)
        assert (ended, server.connections) == ([], 1)
        await trio.sleep(0.2)
        assert (ended, server.connections) == ([start + 7], 0)
        with pytest.raises(trio.BrokenResourceError):
            await below.receive_some()


class TestHandshake:
    async def test_cleartext_is_told_what_is_wrong(self, certified: ssl.SSLContext, autojump_clock: MockClock) -> None:
        pair = Pair(certified, trusting(), KERNEL_BYTES)
        await pair.below.send_all(b"GET / HTTP/1.1\r\n\r\n")
        with pytest.raises(trio.BrokenResourceError, match="HTTP_REQUEST"):
            await pair.server.handshake()
        assert pair.link.closed

    async def test_a_version_that_is_too_old_is_refused_with_an_alert(
        self, certified: ssl.SSLContext, autojump_clock: MockClock
    ) -> None:
        certified = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certified.minimum_version = ssl.TLSVersion.TLSv1_3
        pair = Pair(certified, trusting(ssl.TLSVersion.TLSv1_2), KERNEL_BYTES)

        async def client() -> None:
            with pytest.raises(trio.BrokenResourceError) as broken:
                await pair.client.do_handshake()
            assert "alert" in str(broken.value.__cause__).lower()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(client)
            with pytest.raises(trio.BrokenResourceError):
                await pair.server.handshake()

    async def test_it_waits_for_a_kernel_that_is_full(
        self, certified: ssl.SSLContext, autojump_clock: MockClock
    ) -> None:
        async with paired(certified, kernel_bytes=100) as pair, trio.open_nursery() as nursery:
            nursery.start_soon(pair.server.send_all, b"hello")
            assert await pair.read(5) == b"hello"

    async def test_a_client_that_goes_meanwhile_ends_it(
        self, certified: ssl.SSLContext, autojump_clock: MockClock
    ) -> None:
        pair = Pair(certified, trusting(), KERNEL_BYTES)
        await pair.below.send_all(b"\x16\x03\x01\x02\x00\x01")
        await pair.below.send_eof()
        with pytest.raises(trio.BrokenResourceError):
            await pair.server.handshake()

    @pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01\x02\x00\x01"])
    async def test_it_has_to_be_done_in_time(
        self, certified: ssl.SSLContext, sent: bytes, autojump_clock: MockClock
    ) -> None:
        app, _ = make_shop(Limits(header_seconds=3))
        async with serve(app, tls=certified) as server:
            client = server.connect()
            await client.send_all(sent)
            await trio.sleep(2.9)
            assert server.connections == 1
            await trio.sleep(0.2)
            assert server.connections == 0
            with pytest.raises(trio.BrokenResourceError):
                await client.receive_some()
