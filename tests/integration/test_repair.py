"""`spendstream repair` on the real engine and broker: whatever ClickHouse holds, it comes to what the blocks say."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from priced_log import NOON, PICO, PricedLog, coordinates, database, equal_sums, held, kill, renew, sums
from priced_rows import insert

from clickhouse.progress import Progress, read_progress, write_progress
from clickhouse.repair import repair
from streams.doctor.database import parts
from streams.errors import Halt, SpendError
from streams.settings import Settings
from streams.supervisor import Stack, on_free_ports

pytestmark = pytest.mark.stack

# Two partitions, 60 calls each, half of them in the month after: offsets 0 to 59 cost 1 to 60 picodollars.
CALLS = 120
COST = 2 * sum(range(1, 61)) * PICO  # 2 x 1830 = 3660 picodollars
NEXT_MONTH = NOON + timedelta(days=31)
MEND = ("missing", "doubled", "unexpected", "expired")


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    settings = Settings(state_dir=tmp_path_factory.mktemp("repair"), partitions=2, session_timeout_seconds=2)
    with Stack(on_free_ports(settings), parts=("broker", "clickhouse")) as stack:
        yield stack
        kill(stack, "worker", "sink", "sink-2", "sink-3", "broker", "clickhouse")


@pytest.fixture
def log(stack: Stack, request: pytest.FixtureRequest) -> PricedLog:
    """A log of 12 blocks that no sink has seen, and an empty database of the test's own."""
    return filled(PricedLog(renew(stack, request.node.name[:60])))


def filled(log: PricedLog) -> PricedLog:
    for partition in range(2):
        for block in range(6):
            log.publish(partition, 10, at=NOON if block < 3 else NEXT_MONTH)
    return log


def sunk(log: PricedLog) -> None:
    """Everything in ClickHouse, as a sink leaves it."""
    client = database(log.settings)
    for partition in range(2):
        progress = Progress(log.block_log_id, log.log_id, partition)
        rows = [each for each in log.rows if each["source_partition"] == partition]
        for block in range(6):
            insert(client, log.settings, rows[10 * block : 10 * block + 10], f"{log.block_log_id}:{partition}:{block}")
        done = replace(progress, block_offset=5, mark=59, blocks=6, rows=60)
        write_progress(client, done, datetime.now(UTC))
    assert sums(log.settings) == equal_sums(CALLS, COST)


def mended(settings: Settings, **options: bool) -> dict[str, Any]:
    found = repair(settings, datetime.now(UTC), lambda *_: None, **options)
    return {name: count for name in MEND if (count := getattr(found, name))} | {
        name: value for name in ("rebuilt", "left") if (value := getattr(found, name))
    }


def right(log: PricedLog) -> None:
    assert held(log.settings) == coordinates(log.rows)
    assert sums(log.settings) == equal_sums(CALLS, COST)
    assert leftovers(log.settings) == []


def leftovers(settings: Settings) -> list[tuple[str, ...]]:
    return list(database(settings).query("SHOW TABLES LIKE 'repair%'").result_rows)


def months(table: str) -> list[tuple[str, int]]:
    return [(table, int(f"{at:%Y%m}")) for at in (NOON, NEXT_MONTH)]


def test_nothing_is_mended_where_nothing_is_wrong(log: PricedLog) -> None:
    sunk(log)
    assert mended(log.settings) == {}
    right(log)


def test_a_database_that_no_sink_has_reached_gets_everything(log: PricedLog) -> None:
    assert mended(log.settings) == {
        "missing": CALLS,
        "rebuilt": [*months("members_15m"), *months("usage_15m")],
    }
    right(log)


def test_rows_lost_from_the_raw_table_and_the_rollups_come_back(log: PricedLog) -> None:
    sunk(log)
    client = database(log.settings)
    for table, lost in (("usage", "source_offset BETWEEN 5 AND 14"), ("usage_15m", "workload = 'w1'")):
        client.command(f"ALTER TABLE {table} DELETE WHERE {lost}", settings={"mutations_sync": 2})
    assert sums(log.settings)["usage"] == (100, COST - 2 * sum(range(6, 16)) * PICO)
    assert mended(log.settings)["missing"] == 20
    right(log)


def test_parts_that_a_full_disk_left_empty_are_named_and_their_rows_come_back(stack: Stack, log: PricedLog) -> None:
    client = database(log.settings)
    for table in ("usage", "usage_15m"):
        client.command(f"SYSTEM STOP MERGES {table}")  # a part whose sources are still there would be put together anew
    sunk(log)
    found = client.query(
        "SELECT table, any(path) FROM system.parts WHERE active AND database = {database:String} "
        "AND table IN ('usage', 'usage_15m') GROUP BY table",
        parameters={"database": log.settings.clickhouse_database},
    )
    stack.kill("clickhouse")
    for _, path in found.result_rows:
        for file in Path(path).iterdir():
            file.write_bytes(b"")  # as a merge on a full disk leaves it
    stack.start("clickhouse")
    [broken] = parts(log.settings)
    assert "1 of usage, 1 of usage_15m" in broken.found and "spendstream repair" in broken.mend
    lost = CALLS - len(held(log.settings))
    assert mended(log.settings)["missing"] == lost > 0
    right(log)


def test_blocks_inserted_twice_under_another_token_count_once_again(log: PricedLog) -> None:
    sunk(log)
    client = database(log.settings)
    insert(client, log.settings, log.rows[0:10], "forgotten-1")
    insert(client, log.settings, log.rows[0:10], "forgotten-2")
    assert sums(log.settings)["usage_15m"] == (140, COST + 2 * sum(range(1, 11)) * PICO)
    arrived = "SELECT max(inserted_at) FROM usage"
    before = client.query(arrived).result_rows
    assert mended(log.settings)["doubled"] == 20
    right(log)
    assert client.query(arrived).result_rows <= before


def test_a_rollup_that_lost_a_block_is_made_anew_though_no_raw_row_is_missing(log: PricedLog) -> None:
    sunk(log)
    client = database(log.settings)
    client.command("ALTER TABLE members_15m DELETE WHERE member = 'u1'", settings={"mutations_sync": 2})
    assert mended(log.settings) == {"rebuilt": months("members_15m")}
    right(log)


def test_rows_that_no_block_has_are_taken_out(log: PricedLog) -> None:
    sunk(log)
    log.publish(0, 1, at=NEXT_MONTH, dropped=4)  # source offset 60 is a row, 61 to 64 are repeats
    stray = log.rows[-1] | {"source_offset": 63}
    insert(database(log.settings), log.settings, [stray], "stray")
    found = mended(log.settings)
    assert (found["missing"], found["unexpected"]) == (1, 1)
    assert held(log.settings) == coordinates(log.rows)
    assert sums(log.settings) == equal_sums(CALLS + 1, COST + 61 * PICO)


def test_copies_of_a_log_that_is_gone_are_taken_out_and_its_rows_stay(log: PricedLog) -> None:
    sunk(log)
    client = database(log.settings)
    of_old = [row | {"log_id": "an-older-log"} for row in log.rows[:10]]
    insert(client, log.settings, of_old, "older")
    insert(client, log.settings, of_old, "older-again")
    assert mended(log.settings)["doubled"] == 10
    assert held(log.settings) == coordinates([*log.rows, *of_old])
    assert sums(log.settings) == equal_sums(CALLS + 10, COST + sum(range(1, 11)) * PICO)


def test_a_dry_run_says_what_is_wrong_and_changes_nothing(stack: Stack, log: PricedLog) -> None:
    sunk(log)
    database(log.settings).command("ALTER TABLE usage DELETE WHERE source_offset = 7", settings={"mutations_sync": 2})
    before = (held(log.settings), sums(log.settings))
    done = cli(stack, "--dry-run")
    assert done.returncode == 1
    assert "2 rows were missing" in done.stdout
    assert "nothing was changed" in done.stdout
    assert (held(log.settings), sums(log.settings)) == before
    assert leftovers(log.settings) == []


def test_the_command_says_what_it_did_and_writes_progress(stack: Stack, log: PricedLog) -> None:
    done = cli(stack, "--json")
    assert (done.returncode, done.stderr.strip()) == (0, "")
    said = json.loads(done.stdout)
    assert (said["blocks"], said["rows"], said["missing"], said["left"]) == (12, CALLS, CALLS, [])
    assert [progress(log, partition) for partition in range(2)] == [(5, 59, 6, 60), (5, 59, 6, 60)]


def test_it_refuses_while_a_sink_runs_and_waits_for_one_that_was_killed(stack: Stack, log: PricedLog) -> None:
    stack.start("sink")
    done = cli(stack)
    assert done.returncode == 3
    assert "stop every `spendstream sink`" in done.stderr
    stack.kill("sink")
    assert cli(stack).returncode == 0
    right(log)


def test_it_refuses_beside_a_lone_sink_of_a_lone_partition(stack: Stack) -> None:
    log = PricedLog(renew(stack, "lone", partitions=1))
    try:
        log.publish(0, 10)
        stack.start("sink")
        wait_for(lambda: len(held(log.settings)) == 10)
        assert [cli(stack).returncode for _ in range(2)] == [3, 3]
    finally:
        stack.settings = stack.settings.model_copy(update={"partitions": 2})


def test_rows_whose_blocks_are_still_to_come_are_not_passed_over(log: PricedLog) -> None:
    sunk(log)
    database(log.settings).command(
        "INSERT INTO usage SELECT * REPLACE(source_offset + 60 AS source_offset) FROM usage WHERE source_partition = 1"
    )
    with pytest.raises(Halt, match="partition 1: ClickHouse holds 60 rows beyond the last block"):
        mended(log.settings)


def test_after_tokens_were_forgotten_the_sink_starts_again(stack: Stack, log: PricedLog) -> None:
    client = database(log.settings)
    insert(client, log.settings, log.rows[:10], f"{log.block_log_id}:0:0")
    covered = replace(Progress(log.block_log_id, log.log_id, 0), block_offset=0, mark=9, blocks=1, tokens=1, rows=10)
    write_progress(client, covered, datetime.now(UTC))
    # then another log's sinks inserted half of what a table remembers
    write_progress(client, Progress("other", "other", 0, 60_000, 60_000, tokens=60_000), datetime.now(UTC))
    with pytest.raises(SpendError, match=r"exit code 3[^$]*spendstream repair"):
        stack.start("sink")
    stack.kill("sink")
    assert cli(stack).returncode == 0
    right(log)
    log.publish(0, 10, at=NEXT_MONTH)
    stack.start("sink")
    wait_for(lambda: sums(log.settings) == equal_sums(CALLS + 10, COST + sum(range(61, 71)) * PICO))


def test_expired_raw_rows_stay_away_and_the_rollup_keeps_their_sums(log: PricedLog) -> None:
    sunk(log)
    client = database(log.settings)
    gone = f"time < '{NEXT_MONTH:%Y-%m-%d} 00:00:00'"
    client.command(f"ALTER TABLE usage DELETE WHERE {gone}", settings={"mutations_sync": 2})  # as the TTL drops them
    client.command("ALTER TABLE usage_15m DELETE WHERE workload = 'w2'", settings={"mutations_sync": 2})
    days = (datetime.now(UTC) - NEXT_MONTH).days + 2
    settings = log.settings.model_copy(update={"raw_retention_days": days})
    assert mended(settings) == {"expired": 60, "rebuilt": [("usage_15m", int(f"{NEXT_MONTH:%Y%m}"))]}
    assert len(held(settings)) == 60
    w2 = Decimal(sum(n + 1 for n in range(30) if n % 5 and n % 4 == 2)) * 2 * PICO  # of the month that expired
    assert sums(settings)["usage_15m"][1] == COST - w2
    assert sums(settings)["members_15m WHERE dimension = 'user'"] == (CALLS, COST)


def test_rows_that_expired_uninserted_are_not_passed_over_in_silence(stack: Stack, log: PricedLog) -> None:
    settings = log.settings.model_copy(update={"raw_retention_days": (datetime.now(UTC) - NEXT_MONTH).days + 2})
    with pytest.raises(Halt, match="--accept-gap"):
        mended(settings)
    assert held(settings) == []
    found = mended(settings, accept_gap=True)
    assert found["missing"] == 60
    assert len(found["left"]) == 6
    assert "10 rows are older than SPEND_RAW_RETENTION_DAYS" in found["left"][0]


def test_sums_that_no_raw_row_explains_are_kept_and_named(log: PricedLog) -> None:
    sunk(log)
    client = database(log.settings)
    insert(client, log.settings, [log.rows[0] | {"log_id": "gone", "time": NOON.replace(tzinfo=None, day=2)}], "gone")
    client.command("ALTER TABLE usage DELETE WHERE log_id = 'gone'", settings={"mutations_sync": 2})
    found = mended(log.settings)
    assert found["rebuilt"] == [("members_15m", int(f"{NOON:%Y%m}")), ("usage_15m", int(f"{NOON:%Y%m}"))]
    assert len(found["left"]) == 2
    assert sums(log.settings)["usage_15m"] == (CALLS + 1, COST + PICO)


COORDINATES = "uniqExact(log_id, source_partition, source_offset)"
MOMENTS = (
    "SELECT count() = 1 FROM system.tables WHERE database = currentDatabase() AND name = 'repair_rows'",
    f"SELECT count() = {COORDINATES} FROM usage",  # copies are out
    f"SELECT {COORDINATES} = 120 FROM usage",  # missing rows are in, the rollups are as they were
    "SELECT sum(calls) = 120 FROM members_15m WHERE dimension = 'user'",  # a rollup is right, the other is not
)


def test_killed_half_way_and_run_again_it_is_right(stack: Stack, log: PricedLog) -> None:
    sunk(log)
    client = database(log.settings)
    insert(client, log.settings, log.rows[20:40], "forgotten")
    client.command("ALTER TABLE usage DELETE WHERE source_offset < 20", settings={"mutations_sync": 2})
    client.command("ALTER TABLE usage_15m DELETE WHERE workload = 'w3'", settings={"mutations_sync": 2})
    for moment in MOMENTS:
        running = subprocess.Popen(command(), env=stack.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            while running.poll() is None and not client.query(moment).result_rows[0][0]:
                time.sleep(0.002)
        finally:
            running.send_signal(signal.SIGKILL)
            running.wait()
    assert cli(stack).returncode == 0
    right(log)
    assert mended(log.settings) == {}  # and again it finds nothing to do


def command(*options: str) -> list[str]:
    return [sys.executable, "-m", "streams.cli", "repair", *options]


def cli(stack: Stack, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*options),
        env=stack.env | {"COLUMNS": "200", "PATH": os.environ["PATH"]},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def progress(log: PricedLog, partition: int) -> tuple[int, int | None, int, int]:
    found, _ = read_progress(database(log.settings), log.block_log_id, log.log_id, partition)
    return found.block_offset, found.mark, found.blocks, found.rows


def wait_for(condition: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)
