"""What a type checker says of programs that use the client: mypy reads these functions, and an ``ignore`` that is not
needed is an error of its own."""

from __future__ import annotations

from typing import Any, assert_type

from triolet import Cursor
from triolet.client import (
    ChannelEnd,
    ChannelGap,
    Client,
    End,
    Event,
    Events,
    FileStore,
    Gap,
    Live,
    Message,
    Messages,
    Reply,
    Snapshot,
    Store,
    SyncClient,
    open_client,
    sync_client,
)


async def what_an_iterator_gives(live: Client) -> None:
    async with live.follow("/a", after=0) as events:
        assert_type(events, Events)
        assert_type(events.cursor, Cursor | None)
        async for item in events:
            assert_type(item, Event | Gap | Live | Snapshot | End)
            item.data  # type: ignore[union-attr]  # noqa: B018  # a gap has none
            match item:
                case Event(data=data):
                    assert_type(data, Any)
                case Gap():
                    assert_type(item.missed, int | None)
                case Live():
                    assert_type(item.cursor, Cursor)
                case Snapshot():
                    assert_type((item.cursor, item.missed), tuple[Cursor, int | None])
                case End(data=data):
                    assert_type(data, Any)


async def what_the_app_says(live: Client) -> None:
    async with live.messages(on_state=lambda messages: messages.state) as messages:
        assert_type(messages, Messages)
        async for said in messages:
            assert_type(said, Message | Event | ChannelGap | ChannelEnd)
            match said:
                case Message(data=data):
                    assert_type(data, Any)
                case ChannelGap() | ChannelEnd():
                    assert_type(said.channel, str)
    await live.tell({"a": 1})


async def what_is_sent(live: Client) -> None:
    assert_type(await live.send("/a", {"b": 1}), Reply)
    await live.send(7)  # type: ignore[arg-type]  # the mistake is meant
    live.follow("/a", after=1.5)  # type: ignore[arg-type]  # the mistake is meant
    live.follow("/a", "e.1")  # type: ignore[call-arg]  # by name only


async def what_is_opened() -> None:
    async def token() -> str | None:
        return None

    async with open_client("http://a", token=token, headers=lambda: {"a": "b"}, store=FileStore("x")) as live:
        assert_type(live, Client)
    open_client("http://a", token=lambda: 7)  # type: ignore[arg-type, return-value]  # the mistake is meant
    open_client("http://a", store="cursors.json")  # type: ignore[arg-type]  # the mistake is meant
    with sync_client("http://a") as scripted:
        assert_type(scripted, SyncClient)
        for item in scripted.follow("/a"):
            assert_type(item, Event | Gap | Live | Snapshot | End)


def what_is_a_store(store: FileStore) -> Store:
    return store


def test_these_functions_are_for_mypy() -> None:
    assert callable(what_is_opened)
