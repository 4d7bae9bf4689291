"""A program beside the server that publishes what is in a topic of Kafka's, each message once."""

import json
import os

from confluent_kafka import Consumer, KafkaException

from triolet import SyncPublisher


def forward(message, live):
    place = f"{message.topic()}/{message.partition()}/{message.offset()}"
    live.publish(f"orders/{message.key().decode()}", json.loads(message.value()), dedupe=place)


def main():
    consumer = Consumer(
        {
            "bootstrap.servers": os.environ["KAFKA"],
            "group.id": "live-updates",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
        }
    )
    consumer.subscribe(["orders"])
    with SyncPublisher(os.environ["LIVE_LOG"]) as live:
        while True:
            message = consumer.poll(1.0)
            if message is None:
                continue
            if message.error():
                raise KafkaException(message.error())
            forward(message, live)
            consumer.commit(message, asynchronous=False)


if __name__ == "__main__":
    main()
