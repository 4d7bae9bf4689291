"""Tells what happens to order A123; started again, it goes on where it was."""

import sys

import httpx
import trio

from triolet.client import Event, FileStore, Gap, open_client


async def main(base: str) -> None:
    async with httpx.AsyncClient(base_url=base) as http:
        await http.get("/login/ada")
        cookie = f"session={http.cookies['session']}"
    async with (
        open_client(base, headers={"Cookie": cookie}, store=FileStore("order.json")) as live,
        live.follow("/orders/A123/events", after=0) as order,
    ):
        async for item in order:
            match item:
                case Event(name="order-status", data={"state": state}):
                    print(f"A123 is {state}", flush=True)
                case Gap(missed=missed):
                    print(f"{missed} events are no longer kept", flush=True)


if __name__ == "__main__":
    trio.run(main, sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8000")
