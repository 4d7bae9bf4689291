"""TLS records of a byte each: what reads them does so once for all that have come."""

from __future__ import annotations

import ssl

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.e2e.needs import needs

from .test_tls import certified, paired, trusting

__all__ = ["certified"]

pytestmark = needs("openssl")


@pytest.mark.parametrize("end", ["none", "said", "unsaid", "noise"])
async def test_records_of_a_byte_are_read_together_and_the_end_behind_them_is_found(
    end: str, certified: ssl.SSLContext, autojump_clock: MockClock
) -> None:
    # A client that has read all goes without a reset: there are no tickets in 1.2.
    async with paired(certified, trusting(ssl.TLSVersion.TLSv1_2)) as pair:
        for _ in range(600):
            await pair.client.send_all(b"x")
        if end == "said":
            await pair.client.aclose()
        elif end == "unsaid":
            await pair.below.aclose()
        elif end == "noise":
            await pair.below.send_all(b"\x17\x03\x03\x00\x20" + bytes(32))
        await wait_all_tasks_blocked()
        reads: list[bytes] = []
        while sum(map(len, reads)) < 600:
            reads.append(await pair.server.receive_some())
        assert len(reads) <= 2  # as many as are fetched at once
        for _ in range(2):
            if end == "noise":
                with pytest.raises(trio.BrokenResourceError):
                    await pair.server.receive_some()
            elif end != "none":
                assert await pair.server.receive_some() == b""
