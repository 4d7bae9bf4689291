import trio
from auction import make_app

from triolet.log import MemoryLog
from triolet.testing import ScriptedLog, full, serve, slow


async def test_a_bid_that_could_not_be_stored_does_not_count(autojump_clock: object) -> None:
    log = ScriptedLog(MemoryLog())
    async with serve(make_app(log)) as server, server.client("sse", "/lots/7/bids") as page:
        with log.having(full()):
            assert (await server.post("/lots/7/bids/100")).status == 503
        assert (await server.get("/lots/7")).json["highest"] == 0
        await page.nothing_for(60)
        assert (await server.post("/lots/7/bids/90")).status == 200
        await page.expect(data={"amount": 90})


async def test_a_slow_disk_delays_a_bid_and_no_beat(autojump_clock: object) -> None:
    log = ScriptedLog(MemoryLog(), [slow("append", before=40)])
    async with (
        serve(make_app(log)) as server,
        server.client("sse", "/lots/7/bids") as page,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(server.post, "/lots/7/bids/100")
        await page.expect("beat", within=30)
        await page.expect(data={"amount": 100}, within=40)
