"""How far a consumer group is behind, by the offsets it has committed, as `kafka-consumer-groups.sh` tells it.

For looking many times a second at Apache Kafka: nothing is fetched.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from confluent_kafka import Consumer, TopicPartition

from benchmarks.over_kafka import until
from streams import topics
from streams.kafka import reader
from streams.kafka_rights import COPY_GROUP, PRICE_GROUP, WINDOWS_GROUP
from streams.settings import Settings
from streams.supervisor import Stack

PRICE = (PRICE_GROUP, topics.USAGE)
WINDOWS = (WINDOWS_GROUP, topics.PRICED, topics.TOTALS)  # in the order of its work
COPIES = (COPY_GROUP, topics.WINDOWS)


@contextmanager
def lag(conf: Settings, group: str, *names: str) -> Iterator[Callable[[], int]]:
    """A function that counts the records which the group has not committed, a topic after the other."""
    looker = reader(conf, group)
    try:
        yield lambda: sum(_behind(looker, name, conf.partitions) for name in names)
    finally:
        looker.close()


def until_level(stack: Stack, *group: str) -> None:
    """Wait until a group (one of the above) has committed everything.

    Raises:
        SpendError: a process ended.
        Halt: the group stands still.
    """
    with lag(stack.settings, *group) as behind:
        until(stack, lambda: -behind(), 0, every=0.1)


def ends(looker: Consumer, topic: str, partitions: int) -> int:
    """The records that were ever published on a topic."""
    return sum(looker.get_watermark_offsets(tp, timeout=10)[1] for tp in _all(topic, partitions))


def _behind(looker: Consumer, topic: str, partitions: int) -> int:
    behind = 0
    for tp in looker.committed(_all(topic, partitions), timeout=10):
        start, end = looker.get_watermark_offsets(TopicPartition(topic, tp.partition), timeout=10)
        behind += end - max(tp.offset, start)
    return behind


def _all(topic: str, partitions: int) -> list[TopicPartition]:
    return [TopicPartition(topic, number) for number in range(partitions)]
