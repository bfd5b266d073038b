"""The sink's reports of its health, over a real broker and a real ClickHouse."""

import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from confluent_kafka.admin import NewTopic
from priced_rows import embedded_broker, embedded_clickhouse

from clickhouse.client import connect
from clickhouse.health import HealthReports
from clickhouse.migrate import up
from clickhouse.progress import Progress
from streams.kafka import admin, block_producer
from streams.ports import free_port
from streams.topics import USAGE

pytestmark = pytest.mark.stack


def test_reports_say_where_the_log_ends_though_nothing_is_counted(tmp_path: Path) -> None:
    with embedded_clickhouse(tmp_path) as server:
        conf = server.model_copy(update={"kafka_bootstrap_servers": f"127.0.0.1:{free_port()}"})
        client = connect(conf)
        up(client, conf, lambda: None)
        parts: list[Progress] = []
        with embedded_broker(conf):
            topics = admin(conf)  # must live until its futures are done
            topics.create_topics([NewTopic(USAGE, 2, 1)])[USAGE].result()
            reports = HealthReports(conf, lambda: parts)
            reports.start()
            producer = block_producer(conf)
            for partition in (0, 0, 0, 1):
                producer.produce(USAGE, b"an event", partition=partition)
            producer.flush()
            parts += [
                Progress(
                    "priced",
                    "usage",
                    0,
                    4,
                    mark=1,
                    blocks=5,
                    rows=1,
                    duplicates=1,
                    event_time_max=1_700_000_000_000_001,
                ),
                Progress("priced", "usage", 1),
            ]
            deadline = time.monotonic() + 30
            found: Sequence[Sequence[object]] = []
            while not found and time.monotonic() < deadline:
                found = client.query(
                    "SELECT source_partition, usage_end, mark, block_offset, blocks, rows, duplicates, "
                    "toUnixTimestamp64Micro(event_time_max) FROM spend.health ORDER BY source_partition LIMIT 2"
                ).result_rows
                time.sleep(0.1)
            assert found == [(0, 3, 1, 4, 5, 1, 1, 1_700_000_000_000_001), (1, 1, -1, -1, 0, 0, 0, 0)]
            reports.stop()
            reports.join()
            [[written]] = client.query("SELECT count() FROM spend.health").result_rows
        assert written % len(parts) == 0  # a report has all partitions, or there is none


def test_a_broker_that_is_away_costs_a_report_and_no_more(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with embedded_clickhouse(tmp_path) as server:
        conf = server.model_copy(update={"kafka_bootstrap_servers": f"127.0.0.1:{free_port()}"})
        up(connect(conf), conf, lambda: None)
        reports = HealthReports(conf, lambda: [Progress("priced", "usage", 0)])
        reports.start()
        deadline = time.monotonic() + 30
        while "no report of health is written" not in caplog.text and time.monotonic() < deadline:
            time.sleep(0.1)
        reports.stop()
        reports.join()
    assert "no report of health is written" in caplog.text
