import pytest
import trio
from app import app

from triolet.log import MemoryLog
from triolet.testing import (
    TRANSPORTS,
    MemoryServer,
    RefusedError,
    ScriptedLog,
    User,
    cut,
    failing,
    half_open,
    serve,
    slow_reader,
)

LOBBY = "/rooms/lobby/events"
SAY = "/rooms/lobby/say"


async def come_in(server: MemoryServer, name: str) -> User:
    """Somebody with a browser, who has logged in."""
    user = server.user()
    await user.post("/login", form={"name": name})
    return user


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_what_bob_says_ann_hears(transport: str, autojump_clock: object) -> None:
    async with serve(app, log="memory:") as server:
        ann, bob = await come_in(server, "ann"), await come_in(server, "bob")
        async with ann.client(transport, LOBBY) as page:
            async with bob.client("sse", LOBBY) as other:
                reply = await other.command(SAY, {"text": "Is there tea?"})
                assert (reply["status"], reply["data"]) == (200, {"said": "Is there tea?"})
            await page.expect(event="said", data={"by": "bob", "text": "Is there tea?"})
            await page.nothing_for(60)


# --- who may


async def test_nobody_without_a_name_comes_in(autojump_clock: object) -> None:
    async with serve(app, log="memory:") as server:
        with pytest.raises(RefusedError, match="401"):
            async with server.client("sse", LOBBY):
                pass
        assert (await server.post(SAY, b'{"text": "hello"}', idempotency_key='"1"')).status == 401


@pytest.mark.parametrize("data", ["hello", {"text": 7}, {"text": ""}, {"text": "x" * 501}, {}])
async def test_what_is_no_text_is_not_said(data: object, autojump_clock: object) -> None:
    async with serve(app, log="memory:") as server:
        ann = await come_in(server, "ann")
        async with ann.client("websocket", LOBBY) as page:
            assert (await page.command(SAY, data))["status"] == 400
            await page.nothing_for(60)


@pytest.mark.parametrize("transport", ["websocket", "sse"])
async def test_a_logout_ends_what_is_open(transport: str, autojump_clock: object) -> None:
    async with serve(app, log="memory:") as server:
        ann, bob = await come_in(server, "ann"), await come_in(server, "bob")
        anns = ann.client(transport, LOBBY)
        async with anns, bob.client(transport, LOBBY) as bobs:
            await ann.post("/logout")
            await anns.expect("bye", code=4403, reason="revoked")
            await bobs.nothing_for(60)
        with pytest.raises(RefusedError, match="401"):
            async with ann.client(transport, LOBBY):
                pass


# --- over bad networks


async def test_what_is_said_while_ann_is_away_she_hears_when_she_is_back(autojump_clock: object) -> None:
    async with serve(app, log="memory:") as server:
        ann, bob = await come_in(server, "ann"), await come_in(server, "bob")
        async with ann.client("sse", LOBBY) as page, bob.client("sse", LOBBY) as other:
            await page.expect("live")
            with cut(page):
                await other.command(SAY, {"text": "Ann?"})
                await trio.sleep(600)
            await page.reconnect()
            await page.expect(data={"by": "bob", "text": "Ann?"})


async def test_who_vanishes_is_not_there_for_long(autojump_clock: object) -> None:
    async with serve(app, log="memory:") as server:
        ann, bob = await come_in(server, "ann"), await come_in(server, "bob")
        telephone, seen = ann.websocket(LOBBY), bob.sse("/rooms/lobby/presence")
        async with seen, telephone:
            await seen.expect(event="join")
            with half_open(telephone):
                leave = await seen.expect(event="leave", within=60)
                assert leave["data"]["member"] == "ann"


@pytest.mark.parametrize("stored", [False, True])
async def test_what_is_said_is_said_once_though_the_answer_is_lost(stored: bool, autojump_clock: object) -> None:
    log = ScriptedLog(MemoryLog(), [failing("commit", 1, stored=stored)])
    async with serve(app, log=log) as server:
        ann = await come_in(server, "ann")
        async with ann.client("sse", LOBBY) as page:
            assert (await page.command(SAY, {"text": "once"}))["status"] == 200
            await page.expect(data={"by": "ann", "text": "once"})
            await page.nothing_for(60)


# --- a slow client


async def test_who_reads_slowly_hears_it_all_and_holds_up_nobody(autojump_clock: object) -> None:
    texts = [f"{number} {'x' * 300}" for number in range(60)]
    async with serve(app, log="memory:") as server:
        ann, bob = await come_in(server, "ann"), await come_in(server, "bob")
        slow = ann.client("sse", LOBBY, kernel_bytes=4_000)
        async with slow, bob.client("sse", LOBBY) as quick:
            with slow_reader(slow, bytes_per_second=2_000):
                for text in texts:
                    await quick.command(SAY, {"text": text})
                    await quick.expect(data={"by": "bob", "text": text}, within=1)
                for text in texts:
                    await slow.expect(data={"by": "bob", "text": text}, within=60)
