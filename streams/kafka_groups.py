"""Consumer groups: how many are in one, and being in one for a moment."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from confluent_kafka import Consumer, ConsumerGroupState, KafkaException, TopicPartition

from streams.errors import Unreachable
from streams.kafka import admin, reader
from streams.settings import Settings


def group_members(settings: Settings, *groups: str) -> dict[str, int]:
    """How many members each consumer group has; one that was killed is counted until its session is over.

    The embedded broker tells that a group has members, not which: they count as one.

    Raises:
        Unreachable: the broker does not answer.
    """
    client = admin(settings)  # must live until its futures are done
    try:
        found = {
            name: future.result()
            for name, future in client.describe_consumer_groups(list(groups), request_timeout=10).items()
        }
    except KafkaException as exc:
        raise Unreachable(f"Kafka at {settings.kafka_bootstrap_servers}: {exc.args[0].str()}") from exc
    gone = (ConsumerGroupState.EMPTY, ConsumerGroupState.DEAD)
    return {name: 0 if group.state in gone else max(1, len(group.members)) for name, group in found.items()}


@contextmanager
def member_of(
    settings: Settings, group: str, topics: Sequence[str], **config: Any
) -> Iterator[tuple[Consumer, list[TopicPartition]]]:
    """A member of a group that reads nothing, and the partitions that came to it; none, if it was not let in.

    A process that was killed is a member for a while, with the embedded broker until somebody else joins: so the
    broker's list of members is not to be relied on. Whoever lives gets his share as the group is formed anew.
    """
    session = {"session.timeout.ms": int(settings.session_timeout_seconds * 1000)}
    consumer = reader(settings, group, **session, **{"partition.assignment.strategy": "range"}, **config)
    got: list[TopicPartition] = []

    def assigned(consumer: Consumer, partitions: list[TopicPartition]) -> None:
        got.extend(partitions)
        consumer.assign([])

    try:
        consumer.subscribe(list(topics), on_assign=assigned)
        give_up = time.monotonic() + 3 * settings.session_timeout_seconds
        while not got and time.monotonic() < give_up:
            consumer.poll(0.1)
        yield consumer, got
    finally:
        consumer.close()
