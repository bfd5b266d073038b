"""ClickHouse's disk is full while events come in: docs/operations.md, "A disk is full". Then the audit.

The second test goes on where the first one ends.
"""

import json
import os
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.request import urlopen

import pipeline
import pytest
from pipeline import disk, mounted
from traffic import Traffic, assert_windows_exact, audit, database, said, state, until

from streams.doctor.database import parts
from streams.embedded import answers
from streams.settings import Settings
from streams.supervisor import SERVERS, STEPS, Stack, on_free_ports

LACKING = [*([] if os.geteuid() == 0 else ["root"]), *([] if shutil.which("mount") else ["mount"])]

pytestmark = [
    pytest.mark.stack,
    pytest.mark.skipif(bool(LACKING), reason=f"a small disk needs {', '.join(LACKING)}"),
]

BROKERS = ("embedded",)
DISK_BYTES = 128 << 20
OLD_PARTS = "SELECT count() FROM system.parts WHERE database = 'spend' AND table = 'usage' AND NOT active"
MERGES = "SELECT count() FROM system.merges"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, broker: str) -> Iterator[Stack]:
    wanted = {"partitions": 2, "session_timeout_seconds": 2, "block_events": 200, "block_seconds": 0.2}
    settings = on_free_ports(Settings(state_dir=tmp_path_factory.mktemp("full-disk"), broker=broker, **wanted))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "DISK_BYTES", DISK_BYTES)
        with mounted(disk(settings, "clickhouse")):
            parts = (*SERVERS, *STEPS, "worker", "windows", "sink")
            with Stack(settings, parts=parts) as running:
                yield running


@pytest.fixture(scope="module")
def traffic(stack: Stack) -> Traffic:
    return Traffic(stack.settings)


def test_while_the_disk_is_full_inserts_are_refused_and_the_sink_waits_until_there_is_room(
    stack: Stack, traffic: Traffic
) -> None:
    traffic.publish(events=2000, again=50, poison=3)
    until(lambda: rows(stack) == traffic.sent, "the first events")
    until(lambda: asked(stack, MERGES) == 0, "merges to end")
    sink, before = stack.pid("sink"), traffic.sent
    with full(disk(stack.settings, "clickhouse")):
        traffic.publish(events=1500, again=50, poison=3)
        until(lambda: len(refused(stack)) >= 4 and retries(stack) >= 4, "inserts to be refused, again and again")
        assert rows(stack) == before < traffic.sent
        assert answers(f"http://127.0.0.1:{stack.settings.sink_web_port}/health")
        stack.check()
    until(lambda: rows(stack) == traffic.sent, "the sink to go on")
    assert stack.pid("sink") == sink and state(stack, "sink") != "Z"
    restart_clickhouse(stack)
    if parts_named(stack):
        repair(stack)
    assert_windows_exact(audit(stack), traffic)


def test_rows_of_a_part_that_a_merge_on_the_full_disk_left_empty_come_back(stack: Stack, traffic: Traffic) -> None:
    """26.9 leaves one within a few tries, as a rule; where none does, all must be exact without a repair."""
    folder = disk(stack.settings, "clickhouse")
    with database(stack.settings) as query:
        query("ALTER TABLE usage MODIFY SETTING old_parts_lifetime = 1")  # as if the disk were full for eight minutes
        [[table]] = query("SELECT data_paths[1] FROM system.tables WHERE database = 'spend' AND name = 'usage'")
    was_empty = False
    for _ in range(20):
        traffic.publish(events=200, again=5, poison=1)
        until(lambda: rows(stack) == traffic.sent, "the sink to be behind nothing")
        with full_while_it_merges(stack, folder, Path(table)):
            was_empty = bool(empty(Path(table)))
            if not was_empty:
                continue
            known = len(refused(stack))
            traffic.publish(events=400, again=20, poison=3)
            until(lambda known=known: len(refused(stack)) > known, "inserts to be refused")
            until(lambda: asked(stack, OLD_PARTS) == 0, "what the part was made of to go")
            stack.check()
        break
    restart_clickhouse(stack)
    named = parts_named(stack)
    missing = repair(stack) if named else 0
    if was_empty:
        assert "of usage" in named and missing > 0
    assert_windows_exact(audit(stack), traffic)


@contextmanager
def full(folder: Path) -> Iterator[None]:
    """The disk of a folder is full, and what others give back is taken at once; at the end there is room again."""
    ballast, there_is_room, is_full = folder / "ballast", threading.Event(), threading.Event()

    def fill() -> None:
        with ballast.open("ab", buffering=0) as file:
            while not there_is_room.is_set():
                with suppress(OSError):  # others take the last pages
                    while room := shutil.disk_usage(folder).free:
                        file.write(bytes(min(room, 1 << 20)))
                is_full.set()
                there_is_room.wait(0.02)

    with ThreadPoolExecutor(1, "ballast") as pool:
        filled = pool.submit(fill)
        try:
            is_full.wait(20)
            yield
        finally:
            there_is_room.set()
            filled.result()
            ballast.unlink()


@contextmanager
def full_while_it_merges(stack: Stack, folder: Path, table: Path) -> Iterator[None]:
    """The disk becomes full while the parts of table usage are merged; it is full when the merge is over."""

    def merge() -> None:
        with database(stack.settings) as query:
            query("OPTIMIZE TABLE usage FINAL")

    with ThreadPoolExecutor(1, "merge") as pool:
        merged = pool.submit(merge)
        while not merged.done() and not any(name.startswith("tmp_merge_") for name in os.listdir(table)):  # noqa: PTH208
            pass
        with full(folder):
            merged.exception()  # the merge may say that there is no room
            yield


def empty(table: Path) -> list[str]:
    """Parts of a table with files that are empty."""
    numbered = [part for part in table.iterdir() if part.is_dir() and part.name[0].isdigit()]
    return [part.name for part in numbered if any(file.stat().st_size == 0 for file in part.iterdir())]


def asked(stack: Stack, sql: str) -> int:
    with database(stack.settings) as query:
        [[found]] = query(sql)
    return int(found)


def rows(stack: Stack) -> int:
    return asked(stack, "SELECT count() FROM usage")


def refused(stack: Stack) -> list[str]:
    """What the sink said of blocks that did not fit on the disk."""
    lines = [line for line in said(stack, "sink").splitlines() if "ClickHouse did not take it" in line]
    return [line for line in lines if "NOT_ENOUGH_SPACE" in line or "No space left on device" in line]


def retries(stack: Stack) -> float:
    with urlopen(f"http://127.0.0.1:{stack.settings.sink_web_port}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    [value] = [line.split()[1] for line in lines if line.startswith("spend_insert_retries_total ")]
    return float(value)


def restart_clickhouse(stack: Stack) -> None:
    stack.kill("clickhouse")
    stack.start("clickhouse")


def parts_named(stack: Stack) -> str:
    """What `spendstream doctor` says of broken parts, if it finds some."""
    [finding] = parts(stack.settings)
    assert not finding.mend or "stop the sinks, `spendstream repair`, start them" in finding.mend
    return finding.found if finding.mend else ""


def repair(stack: Stack) -> int:
    """As the doctor says; the rows that were missing."""
    stack.stop("sink")  # or it has ended by itself: it looks after rows that it inserts again
    done = json.loads(stack.run("repair", "--json"))
    assert done["left"] == []
    stack.start("sink")
    return int(done["missing"])
