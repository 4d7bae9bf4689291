"""A server behind a balancer that cuts what is silent for ten seconds, and keeps idle connections for ten minutes."""

from quart_trio import QuartTrio

from triolet import Limits, Triolet

app = QuartTrio(__name__)
live = Triolet(app, limits=Limits(beat_seconds=7, wait_seconds=8, idle_seconds=620))


@live.channel("/orders/<order_id>/events")
async def order_events(order_id: str) -> str:
    return f"orders/{order_id}"
