"""Publishes what a topic of Kafka's says of orders: each record once, whatever crashes.

python kafka.py localhost:9092 sqlite:///orders.db
"""

import json
import sys
from itertools import groupby

from confluent_kafka import Consumer, KafkaException, Message

from triolet import Draft, SyncPublisher


def channel_of(record: Message) -> str:
    key = record.key()
    if key is None:
        raise ValueError(f"record {record.offset()} has no key: it must say which order it is about")
    return f"orders/{key.decode()}"


def draft_of(record: Message) -> Draft:
    place = f"{record.topic()}:{record.partition()}:{record.offset()}"  # names the record, for ever
    return Draft.of(json.loads(record.value() or "null"), name="order-status", dedupe=place)


def publish_next(consumer: Consumer, publisher: SyncPublisher) -> int:
    """Publish the next records, and only then say to Kafka that they are done with. Returns how many there were."""
    records = consumer.consume(500, timeout=1.0)
    for record in records:
        if record.error():
            raise KafkaException(record.error())
    for channel, together in groupby(records, channel_of):
        publisher.publish_many(channel, [draft_of(record) for record in together])
    if records:
        consumer.commit(asynchronous=False)
    return len(records)


def main(brokers: str, log: str) -> None:
    settings = {"bootstrap.servers": brokers, "group.id": "orders-to-live", "auto.offset.reset": "earliest"}
    consumer = Consumer({**settings, "enable.auto.commit": False})
    consumer.subscribe(["orders"])
    with SyncPublisher(log) as publisher:
        try:
            while True:
                publish_next(consumer, publisher)
        finally:
            consumer.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
