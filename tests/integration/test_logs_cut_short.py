"""A log that lost its end, or its beginning before it was read: whoever goes on in it halts, and says what is missing.

Each test has a partition of its own, and what it says of that partition's past is the state that was left behind.
"""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from typing import NoReturn

import pyarrow as pa
import pytest
from confluent_kafka import TopicPartition
from faust.types import TP

from schemas.priced import priced_arrow
from streams import blocks, topics
from streams.blocks import Header
from streams.budgets_feed import BudgetsFeed
from streams.errors import Halt
from streams.kafka import admin, send_all, topic_ids
from streams.merge_totals import MergeStage
from streams.planned import PlannedFeed
from streams.publishing import OrderedProducer
from streams.settings import Settings
from streams.supervisor import SERVERS, STEPS, Stack, on_free_ports
from streams.total_blocks import Progress, TotalsStage
from streams.totals import Header as TotalsHeader
from streams.windows_log import WindowsLog
from streams.windows_start import new_book, new_merging

pytestmark = pytest.mark.stack

PARTITIONS = 5
USAGE, ENDING_BLOCKS, EXPIRED_BLOCKS, ENDING_TOTALS, EXPIRED_TOTALS = range(PARTITIONS)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, broker: str) -> Iterator[Stack]:
    conf = Settings(state_dir=tmp_path_factory.mktemp("cut-short"), broker=broker, partitions=PARTITIONS)
    with Stack(on_free_ports(conf), parts=(*SERVERS, *STEPS)) as running:
        yield running


@pytest.fixture(scope="module")
def conf(stack: Stack) -> Settings:
    return stack.settings


@pytest.fixture
def expires(broker: str) -> None:
    if broker != "kafka":
        pytest.skip("the embedded broker never expires a record")


@pytest.fixture(scope="module")
def cut_usage(conf: Settings) -> None:
    """Ten events were priced, and four are there."""
    priced(conf, through=9)
    fill(conf, topics.USAGE, USAGE, 4)


@pytest.mark.parametrize("options", [(), ("--accept-gap",)], ids=["as it is", "accept-gap"])
def test_a_worker_halts_where_events_that_were_priced_are_gone(
    stack: Stack, cut_usage: None, options: tuple[str, ...]
) -> None:
    """`--accept-gap` is for events that expired: it does not wave through a log that was cut off."""
    ended = subprocess.run(
        [sys.executable, "-m", "streams.cli", "worker", *options],
        env=stack.env | {"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 3
    assert "spend.usage partition 0 ends at 4, but offsets up to 9 were priced: the log lost its end" in ended.stderr


def test_the_totals_agent_halts_where_blocks_that_were_totalled_are_gone(conf: Settings) -> None:
    fill(conf, topics.PRICED, ENDING_BLOCKS, 5)
    totalled(conf, ENDING_BLOCKS, through=4)
    assert totals_go_on_at(conf, ENDING_BLOCKS) == 5
    totalled(conf, ENDING_BLOCKS, through=5)
    with pytest.raises(Halt, match=r"spend\.priced partition 1 lost its end: block 5 was totalled"):
        totals_go_on_at(conf, ENDING_BLOCKS)


def test_the_totals_agent_halts_where_blocks_expired_before_they_were_totalled(conf: Settings, expires: None) -> None:
    fill(conf, topics.PRICED, EXPIRED_BLOCKS, 5)
    expire(conf, topics.PRICED, EXPIRED_BLOCKS, before=3)
    totalled(conf, EXPIRED_BLOCKS, through=2)
    assert totals_go_on_at(conf, EXPIRED_BLOCKS) == 3
    totalled(conf, EXPIRED_BLOCKS, through=1)
    with pytest.raises(Halt, match=r"spend\.priced partition 2: blocks expired before they were totalled"):
        totals_go_on_at(conf, EXPIRED_BLOCKS)


def test_the_windows_agent_halts_where_totals_that_were_merged_are_gone(conf: Settings) -> None:
    fill(conf, topics.TOTALS, ENDING_TOTALS, 5)
    merged(conf, ENDING_TOTALS, through=4)
    assert windows_go_on_at(conf, ENDING_TOTALS) == 5
    merged(conf, ENDING_TOTALS, through=5)
    with pytest.raises(Halt, match=r"spend\.totals partition 3 ends at 5, but offset 5 was merged"):
        windows_go_on_at(conf, ENDING_TOTALS)


def test_the_windows_agent_halts_where_totals_expired_before_they_were_merged(conf: Settings, expires: None) -> None:
    fill(conf, topics.TOTALS, EXPIRED_TOTALS, 5)
    expire(conf, topics.TOTALS, EXPIRED_TOTALS, before=4)
    merged(conf, EXPIRED_TOTALS, through=3)
    assert windows_go_on_at(conf, EXPIRED_TOTALS) == 4
    merged(conf, EXPIRED_TOTALS, through=1)
    with pytest.raises(Halt, match=r"spend\.totals partition 4: messages 2 to 3 expired before they were merged"):
        windows_go_on_at(conf, EXPIRED_TOTALS)


def fill(conf: Settings, topic: str, partition: int, records: int) -> None:
    """So many records; whoever takes the partition over asks where it begins and ends, and looks into none."""
    send_all(conf, topic, ({"value": b"a record", "partition": partition} for _ in range(records)))


def expire(conf: Settings, topic: str, partition: int, before: int) -> None:
    client = admin(conf)  # must live until its futures are done
    [deleted] = client.delete_records([TopicPartition(topic, partition, before)]).values()
    assert deleted.result(10).low_watermark == before


def priced(conf: Settings, through: int) -> None:
    """A block says that these events were priced."""
    ids = topic_ids(conf, topics.USAGE, topics.PRICED)
    header = Header(ids[topics.USAGE], ids[topics.PRICED], USAGE, first=0, last=through, rows=0, price_version="test")
    value = blocks.write(pa.RecordBatch.from_pylist([], schema=priced_arrow()))
    send_all(conf, topics.PRICED, [{"value": value, "partition": USAGE, "headers": header.to_kafka()}])


def totalled(conf: Settings, partition: int, through: int) -> None:
    """spend.state says that blocks were totalled."""
    ids = topic_ids(conf, topics.USAGE, topics.PRICED)
    said = Progress(TotalsHeader(ids[topics.USAGE], ids[topics.PRICED], partition, PARTITIONS, block=through))
    record = {"key": f"totals/{partition}", "value": said.to_json(), "partition": partition}
    send_all(conf, topics.STATE, [record])


def totals_go_on_at(conf: Settings, partition: int) -> int:
    tp = TP(topics.PRICED, partition)
    return asyncio.run(TotalsStage(conf).positions({tp}, epoch=1))[tp]


def merged(conf: Settings, partition: int, through: int) -> None:
    """spend.state says that messages were merged."""
    state = new_merging(conf, partition, PARTITIONS, PARTITIONS)
    state.position = through + 1
    book = new_book(conf, partition, PARTITIONS).dump()
    found = topic_ids(conf, topics.USAGE, topics.PRICED, topics.TOTALS)
    ids = (found[topics.USAGE], found[topics.PRICED], found[topics.TOTALS])
    producer, saved = OrderedProducer(conf, fail), WindowsLog(partition)
    saved.claim(producer)
    saved.save_summary(producer, state, ids, {"book": book, "trends_told": 0, "zone": conf.timezone})


def windows_go_on_at(conf: Settings, partition: int) -> int:
    tp = TP(topics.TOTALS, partition)
    with closing(BudgetsFeed(conf)) as budgets, closing(PlannedFeed(conf)) as planned:
        return asyncio.run(MergeStage(conf, budgets, planned, TotalsStage(conf)).positions({tp}, epoch=1))[tp]


def fail(exc: BaseException) -> NoReturn:
    raise exc
