"""A Celery task that publishes how far it is, and is safe to repeat."""

import os

from celery import Celery, Task

from triolet import SyncPublisher

app = Celery("tasks", broker=os.environ.get("BROKER", "redis://localhost/1"))
live = SyncPublisher(os.environ.get("LIVE_LOG", "redis://localhost/0"))


@app.task(bind=True, acks_late=True)
def pack(self: Task, order_id: str) -> None:
    channel = f"orders/{order_id}"
    for done in (50, 100):
        live.publish(channel, done, name="packed", key="packed", dedupe=f"{self.request.id}:{done}")
