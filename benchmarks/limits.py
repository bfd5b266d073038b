"""What each part could do at best, alone, and how much of the slowest of them the whole pipeline reaches."""

import statistics
import time
from collections.abc import Callable, Iterator
from itertools import cycle, islice

from confluent_kafka import TopicPartition
from confluent_kafka.admin import NewTopic

from benchmarks import whole_pipeline
from benchmarks.figures import Section
from benchmarks.fresh_stack import fresh_stack
from benchmarks.over_kafka import Block, Tell, bare_inserts, published_blocks
from benchmarks.peers import job
from benchmarks.traffic import Traffic, traffic
from schemas.codec import WriterSchemas, encode_batch
from schemas.registry import write_prefix
from streams import blocks
from streams.kafka import block_producer, reader
from streams.kafka_topics import create_topics
from streams.producer import UsageProducer
from streams.settings import Settings
from streams.spend.decode import decode
from streams.topics import PRICED, TOPICS, USAGE

BATCH = 50_000
REPEATS = 5
ONE_BY_ONE = 10_000
BLOCKS = "bench.blocks"


def measure(events: int, tell: Tell) -> Iterator[Section]:
    """Run the parts and the pipeline on one stack.

    Raises:
        SpendError: a process ended, or nothing moves.
    """
    with fresh_stack(tell) as stack:
        conf = stack.settings
        tell(f"sending {events:,} events")
        made = traffic(events, 41, write_prefix(conf))
        sending = _publish_events(conf, made)
        tell("reading them")
        consuming = _consume(conf, len(made.keys))
        tell("starting the pipeline")
        pipeline = whole_pipeline.run(stack, made.events).per_second
        found = published_blocks(conf)
        rows = sum(block.rows for block in found)
        block = blocks.read(max(found, key=lambda one: one.rows).value)
        some, writers = made.values[:BATCH], WriterSchemas()
        batch = decode(some, writers).batch
        limits = {
            "consume: librdkafka's records, as Python has them": consuming,
            "decode: Avro to Arrow with pyruhvro, checked": len(some) / _seconds(lambda: decode(some, writers)),
            "encode: a block, Arrow IPC with lz4": block.num_rows / _seconds(lambda: blocks.write(block)),
            "produce: ready blocks, acknowledged": rows / _publish_blocks(conf, found),
            "insert: ready blocks into a table without views": bare_inserts(conf, found, tell),
        }
        beside = {
            "decode: one by one with fastavro": ONE_BY_ONE / _seconds(lambda: _decode_one_by_one(some)),
            "encode: Avro records with pyruhvro": batch.num_rows / _seconds(lambda: encode_batch(batch)),
            "produce: Avro records, acknowledged": sending,
        }
        yield _section(made, found, pipeline, limits, beside)


def _section(
    made: Traffic, found: list[Block], pipeline: float, limits: dict[str, float], beside: dict[str, float]
) -> Section:
    slowest = min(limits, key=limits.__getitem__)
    one_core = 1 / sum(1 / rate for rate in limits.values())
    section = Section(
        "The limits: each part alone",
        f"The same {len(made.keys):,} records of {made.bytes_each:.0f} bytes on average, {len(found)} blocks; one part "
        f"at a time, in one thread of Python; frames and blocks of up to {BATCH:,}, median of {REPEATS}. The pipeline: "
        "price agent, windows and sink on both cores, until rows and minutes are stored; beside these parts it prices, "
        "deduplicates, and keeps windows and views.",
    )
    section.most(f"pipeline, of the slowest part ({slowest.partition(':')[0]})", pipeline / limits[slowest] * 100, "%")
    section.most("pipeline, of these parts one after the other", pipeline / one_core * 100, "%")
    section.bar("spendstream, the whole pipeline", pipeline)
    for name, rate in limits.items():
        section.bar(name, rate)
    for name, rate in beside.items():
        section.rate(f"not in the pipeline: {name}", rate)
    return section


def _seconds(step: Callable[[], object]) -> float:
    """Median of some runs, after one that warms up."""
    step()
    seconds = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def _publish_events(conf: Settings, made: Traffic) -> float:
    """Records a second, until the broker has acknowledged the last one."""
    started = time.perf_counter()
    with UsageProducer(conf) as producer:
        producer.send_many(made.keys, made.values)
    return len(made.keys) / (time.perf_counter() - started)


def _consume(conf: Settings, records: int) -> float:
    """Records a second from all partitions of spend.usage."""
    consumer = reader(conf)
    consumer.assign([TopicPartition(USAGE, partition, 0) for partition in range(conf.partitions)])
    left, started = records, time.perf_counter()
    while left > 0:
        left -= sum(message.error() is None for message in consumer.consume(10_000, 0.1))
    seconds = time.perf_counter() - started
    consumer.close()
    return records / seconds


def _publish_blocks(conf: Settings, found: list[Block]) -> float:
    """Seconds for all blocks into a topic like spend.priced, all acknowledged."""
    priced = next(topic for topic in TOPICS if topic.name == PRICED)
    create_topics(conf, [NewTopic(BLOCKS, conf.partitions, 1, config=priced.config)])
    producer = block_producer(conf)
    started = time.perf_counter()
    for number, block in enumerate(found):
        producer.produce(BLOCKS, block.value, partition=number % conf.partitions)
    producer.flush()
    return time.perf_counter() - started


def _decode_one_by_one(values: list[bytes]) -> None:
    for value in islice(cycle(values), ONE_BY_ONE):
        job.decode(value)
