"""The program of the page on Kafka publishes each record once. The broker is the one that librdkafka has for tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.test_docs import load
from triolet import SyncPublisher

kafka_client = pytest.importorskip("confluent_kafka", reason="pip install confluent-kafka")


@pytest.fixture
def brokers() -> Iterator[str]:
    """A topic with two records about one order, and one about another."""
    producer = kafka_client.Producer({"test.mock.num.brokers": 1})
    for key, state in (("A1", "paid"), ("A1", "packed"), ("A2", "paid")):
        producer.produce("orders", key=key, value=f'{{"state": "{state}"}}', partition=0)
    producer.flush(30)
    (broker,) = producer.list_topics(timeout=30).brokers.values()
    yield f"{broker.host}:{broker.port}"
    producer.flush(1)


def reader(brokers: str) -> Any:
    settings = {"bootstrap.servers": brokers, "group.id": "orders-to-live", "auto.offset.reset": "earliest"}
    consumer = kafka_client.Consumer({**settings, "enable.auto.commit": False, "session.timeout.ms": 6_000})
    consumer.subscribe(["orders"])
    return consumer


class DiesBeforeTheCommit:
    """A consumer whose process ends when the records are published, and Kafka has not been told."""

    def __init__(self, consumer: Any) -> None:
        self.consume = consumer.consume

    def commit(self, **options: Any) -> None:
        raise KeyboardInterrupt


def publish_all(program: Any, consumer: Any, publisher: SyncPublisher) -> None:
    count = 0
    while count < 3:
        count += program.publish_next(consumer, publisher)


def test_each_record_is_published_once_though_the_program_dies_in_between(brokers: str, tmp_path: Path) -> None:
    program = load("kafka", "sources")
    with SyncPublisher(f"sqlite:///{tmp_path}/orders.db") as publisher:
        first = reader(brokers)
        try:
            with pytest.raises(KeyboardInterrupt):
                publish_all(program, DiesBeforeTheCommit(first), publisher)
        finally:
            first.close()
        second = reader(brokers)
        try:
            publish_all(program, second, publisher)
        finally:
            second.close()
        third = reader(brokers)
        try:
            assert program.publish_next(third, publisher) == 0, "Kafka knows that all is done with"
        finally:
            third.close()
        assert publisher.publish("orders/A1", "next").cursor.offset == 3
        assert publisher.publish("orders/A2", "next").cursor.offset == 2
