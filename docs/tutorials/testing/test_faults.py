import pytest
import trio
from auction import make_app

from triolet.testing import RefusedError, cut, half_open, proxy, serve, slow_reader


async def test_who_is_not_heard_of_for_60_s_is_given_up(autojump_clock: object) -> None:
    async with serve(make_app()) as server, server.client("websocket", "/lots/7/bids") as page:
        await trio.sleep(3600)
        assert server.connections == 1
        with half_open(page):
            await trio.sleep(60)
            assert server.connections == 0


async def test_a_network_that_drops_costs_no_bid(autojump_clock: object) -> None:
    async with serve(make_app()) as server, server.client("sse", "/lots/7/bids") as page:
        await server.post("/lots/7/bids/100")
        await page.expect(data={"amount": 100})
        with cut(page):
            await server.post("/lots/7/bids/110")
        await page.reconnect()
        await page.expect(data={"amount": 110})


async def test_who_reads_too_slowly_is_told_what_he_missed(autojump_clock: object) -> None:
    async with serve(make_app()) as server:
        slow = server.client("sse", "/lots/7/bids", kernel_bytes=2_000)
        async with slow, server.client("sse", "/lots/7/bids") as other:
            with slow_reader(slow, bytes_per_second=500):
                for amount in range(1, 301):
                    await server.post(f"/lots/7/bids/{amount}")
                await other.expect(data={"amount": 1})
                gap = await slow.until("gap", within=300)
            assert gap["reason"] == "skipped"
            assert gap["missed"] > 100


# --- a proxy


async def test_behind_a_proxy_that_knows_no_websocket_an_event_stream_lives(autojump_clock: object) -> None:
    async with serve(make_app()) as server, proxy(server, blocks_upgrade=True, idle_timeout=60) as reached:
        with pytest.raises(RefusedError, match="400"):
            await reached.websocket("/lots/7/bids").__aenter__()
        async with reached.sse("/lots/7/bids") as page:
            await page.nothing_for(3600)
            await reached.post("/lots/7/bids/100")
            await page.expect(data={"amount": 100})
