"""Where a partition begins and ends, on every broker.

The embedded broker (Tansu 0.6) answers ListOffsets "latest" with the FIRST offset of the last record batch plus one,
which is the end only when that batch has one record. Its fetch responses bear the right high watermark. So the end is
taken from a fetch of the last record that ListOffsets knows; on Apache Kafka both say the same.
"""

import time

from confluent_kafka import Consumer, KafkaException, TopicPartition

from streams.errors import Unreachable


def watermarks(consumer: Consumer, topic: str, partition: int, seconds: float = 10.0) -> tuple[int, int]:
    """The first offset of a partition and the one after its last record.

    Args:
        consumer: one that is not reading: its assignment is taken away.
        topic, partition: of which.
        seconds: how long the broker may take for each of the two answers.

    Raises:
        Unreachable: the broker does not answer.
    """
    where = f"{topic} partition {partition}"
    try:
        start, end = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=seconds)
    except KafkaException as exc:
        raise Unreachable(f"{where}: {exc.args[0].str()}") from exc
    if end <= start:
        return start, end
    consumer.assign([TopicPartition(topic, partition, end - 1)])
    deadline = time.monotonic() + seconds
    try:
        while time.monotonic() < deadline:
            for message in consumer.consume(1, 0.1):
                if message.error() is not None:
                    raise Unreachable(f"{where}: {message.error().str()}")
            _, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), cached=True)
            if high >= end:
                return start, high
    finally:
        consumer.unassign()
    raise Unreachable(f"{where}: its end was not told within {seconds:g} s")
