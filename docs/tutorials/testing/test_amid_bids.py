import pytest
import trio
from auction import make_app

from triolet.testing import serve


@pytest.mark.triolet_seeds(100)
async def test_a_page_loaded_amid_bids_comes_to_show_the_highest(autojump_clock: object) -> None:
    async with serve(make_app()) as server, trio.open_nursery() as nursery:
        nursery.start_soon(server.post, "/lots/7/bids/100")
        lot = (await server.get("/lots/7")).json
        shown = lot["highest"]
        async with server.client("sse", "/lots/7/bids", after=lot["cursor"]) as page:
            while shown < 100:
                shown = (await page.expect(event="bid", within=30))["data"]["amount"]
