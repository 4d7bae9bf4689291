"""Has each order picked that is paid: once, whatever happens to this program or the network."""

from __future__ import annotations

from typing import Any

import trio

from triolet.client import Client, Event, FileStore, Gap, Live, open_client


async def work(live: Client) -> None:
    async with live.follow("/orders/A1/events", after=0) as events:
        async for item in events:
            match item:
                case Event(name="order-status", data={"state": "paid"}):
                    reply = await live.send("/orders/A1/pick", {"table": 4}, id=f"pick-{item.cursor}")
                    print(item.channel, "picked:", reply.status)
                case Event():
                    print(item.channel, item.data)
                case Gap():
                    print(f"{item.missed} events are gone: {item.reason}")
                case Live():
                    print("up to date")


async def main(base: str = "http://127.0.0.1:8000", **options: Any) -> None:
    async with open_client(base, store=FileStore("picker.json"), **options) as live:
        await work(live)


if __name__ == "__main__":
    trio.run(main)
