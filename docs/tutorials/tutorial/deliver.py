import trio

from triolet import Triolet


async def main() -> None:
    async with Triolet(log="sqlite:///orders.db") as live:
        await live.publish("orders/A123", {"state": "delivered"}, name="order-status", dedupe="delivered")


trio.run(main)
