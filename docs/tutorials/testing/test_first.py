import pytest
from auction import make_app

from triolet.testing import TRANSPORTS, serve


async def test_a_bid_reaches_who_watches(autojump_clock: object) -> None:
    async with serve(make_app()) as server, server.client("sse", "/lots/7/bids") as page:
        await server.post("/lots/7/bids/100")
        await page.expect(event="bid", data={"amount": 100})


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_who_comes_late_hears_all(transport: str, autojump_clock: object) -> None:
    async with serve(make_app()) as server:
        await server.post("/lots/7/bids/100")
        await server.post("/lots/7/bids/110")
        assert (await server.post("/lots/7/bids/105")).status == 409
        async with server.client(transport, "/lots/7/bids", after=0) as page:
            await page.expect(data={"amount": 100})
            await page.expect(data={"amount": 110})
            await page.nothing_for(60)
