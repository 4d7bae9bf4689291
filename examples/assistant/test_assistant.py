"""The assistant's own tests. Run them in this folder with ``pytest``: the parrot talks for minutes in a moment."""

from typing import Any

import pytest
import trio
from app import app
from trio.testing import MockClock

from triolet.testing import TRANSPORTS, serve

CHAT = "/chats/1f0c7d1e-6b7a-4d53-9d0e-4a7c51d0a001"
TALK = {"turn": "1", "question": "Sing!"}  # it names no word of Python's


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_an_answer_goes_on_without_its_page_and_comes_back_as_one_event(
    transport: str, autojump_clock: MockClock
) -> None:
    async with serve(app, log="memory:") as server:
        async with server.client(transport, f"{CHAT}/events", after=0) as page:
            answer = (await page.command(f"{CHAT}/ask", TALK))["data"]["answer"]
            assert (await page.expect(event="turn"))["data"]["answer"] == answer
        async with server.client(transport, f"{CHAT}/{answer}/events", after=0) as page:
            first = await page.expect(event="words")
        await trio.sleep(600)  # nobody is there
        async with server.client(transport, f"{CHAT}/{answer}/events?fold=1", after=0) as page:
            whole = await page.expect(event="words")
            assert whole["data"].startswith(first["data"])
            assert whole["folded"] == len(whole["data"].split()) > 10
            await page.expect("end", data={"outcome": "done"})


async def test_two_devices_hear_the_same_words_until_one_of_them_stops_the_answer(autojump_clock: MockClock) -> None:
    async with serve(app, log="memory:") as server, server.websocket("/live") as telephone:
        answer = (await telephone.command(f"{CHAT}/ask", TALK))["data"]["answer"]
        url = f"{CHAT}/{answer}"
        async with server.follow(f"{url}/events", through="/live", after=0) as desk:
            await telephone.follow(f"{url}/events", after=0)
            for _ in range(5):
                word = await desk.expect(event="words")
                same = await telephone.pick(lambda said: said.get("event") == "words", "a word")
                assert same["data"] == word["data"]
            await telephone.command(f"{url}/stop")
            await desk.expect("end", data={"outcome": "stopped", "reason": "by a reader"})


async def test_what_a_question_names_is_looked_up_before_the_answer_goes_on(autojump_clock: MockClock) -> None:
    async with serve(app, log="memory:") as server, server.websocket("/live") as page:
        asked = {"turn": "1", "question": "What does WITH do?"}
        answer = (await page.command(f"{CHAT}/ask", asked))["data"]["answer"]
        async with server.sse(f"{CHAT}/{answer}/events?fold=1", after=0) as reader:
            tool = await reader.expect(event="tool")
            assert tool["data"]["topic"] == "with"
            assert "context manager" in tool["data"]["found"]
            words = await reader.expect(event="words")
            assert words["key"] != tool["key"]


async def test_a_question_that_is_sent_twice_is_answered_once_and_a_turn_can_be_answered_again(
    autojump_clock: MockClock,
) -> None:
    async with serve(app, log="memory:") as server, server.sse(f"{CHAT}/events", after=0) as page:
        first, second = [(await page.command(f"{CHAT}/ask", TALK, id="8e03978e"))["data"] for _ in range(2)]
        again = (await page.command(f"{CHAT}/ask", TALK))["data"]
        assert first == second
        assert (again["turn"], again["answer"] == first["answer"]) == (first["turn"], False)
        await page.expect(event="turn", data=first)
        await page.expect(event="turn", data=again)
        await page.nothing_for(600)


@pytest.mark.parametrize(
    "data",
    [None, [], {}, {"turn": "1", "question": " \n"}, {"turn": 1, "question": "x"}, {**TALK, "question": "x" * 2_000}],
)
async def test_what_is_no_question_is_refused(data: Any, autojump_clock: MockClock) -> None:
    async with serve(app, log="memory:") as server, server.sse(f"{CHAT}/events", after=0) as page:
        assert (await page.command(f"{CHAT}/ask", data))["status"] == 400
        await page.nothing_for(60)
