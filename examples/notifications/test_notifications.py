"""The notifications' own tests. Run them in this folder with ``pytest``: no server, no sleep."""

from __future__ import annotations

import re
from typing import Any

import pytest
import trio
from app import PEOPLE, app, inboxes, live
from trio.testing import MockClock

from triolet.testing import EventStream, MemoryServer, User, serve


async def post(who: User, path: str, **fields: str) -> Any:
    return await who.post(path, form=fields, hx_request="true")


async def log_in(server: MemoryServer, name: str) -> User:
    user = server.user()
    await post(user, "/login", user=name)
    return user


async def send(who: User, to: str, text: str, once: str = "") -> Any:
    once = once or re.findall('name="once" value="([^"]+)"', (await who.get("/")).text)[0]
    return await post(who, "/notes", to=to, once=once, text=text)


async def heard(stream: EventStream) -> str:
    """The next fragment of HTML."""
    with trio.fail_after(60):
        block = await stream.block()
    assert block is not None
    assert "event" not in block, "htmx swaps in what has no name"
    return block["data"]


def cursor_of(page: str) -> str:
    found = re.search(r'hx-sse:connect="([^"]+)"', page)
    assert found is not None
    return found[1]


async def test_a_note_comes_as_html_and_again_to_nobody(autojump_clock: MockClock) -> None:
    async with serve(app, log="memory:") as server:
        ada, ben = await log_in(server, "Ada"), await log_in(server, "Ben")
        url = cursor_of((await ada.get("/")).text)
        async with ada.events(url) as page:
            assert page.headers["content-type"].startswith("text/event-stream")
            for _ in range(2):  # the button was pressed twice
                answer = await send(ben, "Ada", "tea?", once="8e03978e")
                assert "Sent to Ada." in answer.text
            await send(ben, "Ada", "now")
            first = await heard(page)
            assert "tea?" in first
            assert "now" in await heard(page)
        (id,) = re.findall('name="id" value="([0-9a-f]+)"', first)
        head = await live.log.head("inboxes/Ada")
        async with ada.events(url, headers={"last-event-id": str(head)}) as page:
            await post(ada, "/read", id=id)
            assert re.fullmatch(rf'\s*<small id="mark-{id}" .*hx-swap-oob="true">read</small>\s*', await heard(page))


async def test_the_page_and_the_stream_have_no_seam(autojump_clock: MockClock) -> None:
    async with serve(app, log="memory:") as server:
        ada = await log_in(server, "Ada")
        await send(ada, "Ada", "before")
        page = (await ada.get("/")).text
        await send(ada, "Ada", "between")
        assert ("before" in page, "between" in page) == (True, False)
        async with ada.events(cursor_of(page)) as stream:
            first = await heard(stream)
            assert ("before" in first, "between" in first) == (False, True)


async def test_the_count_is_the_state_of_the_inbox_also_after_a_restart(
    tmp_path: Any, autojump_clock: MockClock
) -> None:
    log = f"sqlite:///{tmp_path / 'notifications.db'}"
    async with serve(app, log=log) as server:
        ada = await log_in(server, "Ada")
        for text in ("one", "two", "three"):
            await send(ada, "Ada", text)
        assert (await ada.get("/unread")).text == "3"
        inbox, _ = await live.state("inboxes/Ada", inboxes)
        for _ in range(2):
            await post(ada, "/read", id=inbox[0]["id"])
    async with serve(app, log=log) as server:
        ada = server.user(ada.cookies)
        assert (await ada.get("/unread")).text == "2"
        page = (await ada.get("/")).text
        assert re.findall('<p class="text" dir="auto">(.*?)</p>', page) == ["three", "two", "one"]
        assert page.count('action="/read"') == 2


async def test_the_inbox_of_another_is_as_one_that_is_not_there(autojump_clock: MockClock) -> None:
    async with serve(app, log="memory:") as server:
        ben = await log_in(server, "Ben")
        for accept in ("text/event-stream", "application/json"):
            told = []
            for user in ("Ada", "Zoe", "Ben%00", "a" * 300):
                answer = await ben.get(f"/inboxes/{user}/events", accept=accept)
                told.append((answer.status, answer.body, answer.headers.keys()))
            assert told == [told[0]] * 4
            assert told[0][0] == 404
        assert (await ben.upgrade("/inboxes/Ada/events")).status == 404
        assert (await ben.get("/inboxes/Ben/events")).status == 200
        assert (await server.get("/inboxes/Ben/events")).status == 404
        assert (await server.get("/unread")).status == 401


async def test_who_logs_out_hears_nothing_more(autojump_clock: MockClock) -> None:
    async with serve(app, log="memory:") as server:
        ada, ben = await log_in(server, "Ada"), await log_in(server, "Ben")
        async with ada.client("plain sse", "/inboxes/Ada/events") as page:
            await page.until("live")
            await post(ada, "/logout")
            await send(ben, "Ada", "too late")
            await page.expect("bye", reason="revoked")
            assert "too late" not in page.dialogue()


TEXTS = {
    "<script>harm()</script>": "&lt;script&gt;harm()&lt;/script&gt;",
    "{{ 7 * 7 }}": "{{ 7 * 7 }}",
    'a" onclick="harm()': "a&#34; onclick=&#34;harm()",
    "<hx-partial hx-target=body>": "&lt;hx-partial hx-target=body&gt;",
    "a\n\nevent: triolet.bye\ndata: x": "a\n\nevent: triolet.bye\ndata: x",
    "a\x00\x1b[31mb\u0085": "a[31mb",
    "x" * 500: "x" * 500,
}


@pytest.mark.parametrize("text", TEXTS)
async def test_a_text_stays_text_in_the_stream_and_in_the_page(text: str, autojump_clock: MockClock) -> None:
    async with serve(app, log="memory:") as server:
        ada = await log_in(server, "Ada")
        async with ada.events("/inboxes/Ada/events?after=0") as page:
            assert (await send(ada, "Ada", text)).status == 200
            assert f'<p class="text" dir="auto">{TEXTS[text]}</p>' in await heard(page)
        assert TEXTS[text] in (await ada.get("/")).text


@pytest.mark.parametrize(
    ("path", "fields", "status"),
    [
        ("/notes", {"to": "Ada", "once": "1", "text": "x" * 501}, 400),
        ("/notes", {"to": "Ada", "once": "1", "text": " \x07 "}, 400),
        ("/notes", {"to": "Zoe", "once": "1", "text": "x"}, 400),
        ("/notes", {"to": "Ada", "once": "a\nb", "text": "x"}, 400),
        ("/notes", {"to": "Ada", "text": "x"}, 400),
        ("/notes", {"to": "Ada", "once": "1", "text": "x" * 100_000}, 413),
        ("/read", {"id": "x" * 65}, 400),
        ("/read", {"id": "../1"}, 400),
    ],
)
async def test_what_no_form_sends_is_refused(
    path: str, fields: dict[str, str], status: int, autojump_clock: MockClock
) -> None:
    async with serve(app, log="memory:") as server:
        ada = await log_in(server, "Ada")
        assert (await post(ada, path, **fields)).status == status
        assert {(await live.log.head(f"inboxes/{user}")).offset for user in PEOPLE} == {0}


async def test_without_htmx_the_forms_lead_back_to_the_page(autojump_clock: MockClock) -> None:
    async with serve(app, log="memory:") as server:
        ada = await log_in(server, "Ada")
        answer = await ada.post("/notes", form={"to": "Ada", "once": "1", "text": "tea?"})
        assert (answer.status, answer.headers["location"]) == (303, "/")
        assert "tea?" in (await ada.get("/")).text
