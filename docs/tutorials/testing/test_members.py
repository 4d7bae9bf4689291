import pytest
from members import make_app

from triolet.log import MemoryLog
from triolet.testing import TRANSPORTS, RefusedError, ScriptedLog, failing, serve

ANN = {"authorization": "Bearer token-of-ann"}
BEN = {"authorization": "Bearer token-of-ben"}


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_members_alone_may_watch(transport: str, autojump_clock: object) -> None:
    async with serve(make_app()) as server:
        with pytest.raises(RefusedError):
            async with server.client(transport, "/lots/7/bids"):
                pass
        async with server.client(transport, "/lots/7/bids", headers=BEN) as page:
            await page.until("open")
            async with server.client(transport, "/lots/7/bids", headers=ANN) as bidder:
                await bidder.command("/lots/7/bid", {"amount": 100})
            await page.expect(event="bid", data={"amount": 100, "by": "ann"})


async def test_a_member_is_asked_again_after_an_hour(autojump_clock: object) -> None:
    async with serve(make_app()) as server, server.websocket("/lots/7/bids", headers=ANN) as page:
        await page.expect("expiring", within=3600)
        await page.say(type="auth", token="token-of-ben")
        await page.expect("expiring", refused=True)
        await page.say(type="auth", token="token-of-ann")
        await page.expect("renewed")
        await page.expect("expiring", within=3600)
        await page.expect("bye", code=4401, within=60)


@pytest.mark.parametrize("stored", [False, True])
async def test_a_bid_counts_once_though_its_answer_is_lost(stored: bool, autojump_clock: object) -> None:
    log = ScriptedLog(MemoryLog(), [failing("commit", 1, stored=stored)])
    async with serve(make_app(log)) as server, server.client("sse", "/lots/7/bids", headers=ANN) as page:
        reply = await page.command("/lots/7/bid", {"amount": 100})
        assert (reply["status"], reply["data"]) == (200, {"highest": 100})
        await page.expect(data={"amount": 100, "by": "ann"})
        await page.nothing_for(60)
