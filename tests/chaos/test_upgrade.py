"""A newer release, whose events have one more field, rolls in over a live stream and out again: not a digit is lost.

Sink and windows worker stay the old ones throughout, so they meet blocks of both releases. The order is that of
docs/operations.md, but for two slips: a producer and a worker that are newer than what they meet.
"""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import newer_release
import pytest
from traffic import (
    Traffic,
    assert_windows_exact,
    audit,
    await_end,
    begin,
    database,
    headers,
    messages,
    spawn,
    until,
)

from clickhouse.arrow_streams import columns_of
from streams import topics
from streams.settings import Settings
from streams.supervisor import SERVERS, STEPS, Stack, on_free_ports

pytestmark = pytest.mark.stack

EARLY, LATE = 20, 400


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, broker: str) -> Iterator[Stack]:
    wanted = {"partitions": 2, "session_timeout_seconds": 2, "block_events": 500, "block_seconds": 0.2}
    conf = on_free_ports(Settings(state_dir=tmp_path_factory.mktemp("upgrade"), broker=broker, **wanted))
    with Stack(conf, parts=(*SERVERS, *STEPS)) as running:
        yield running


@contextmanager
def flowing(traffic: Traffic) -> Iterator[None]:
    """Events come, some of them again, until the block ends."""
    over = threading.Event()

    def publish() -> None:
        while not over.is_set():
            traffic.publish(events=150, again=10)
            over.wait(0.3)

    thread = threading.Thread(target=publish, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def calls(folder: Path, name: str, count: int) -> Path:
    """A file of events of the newer release's."""
    call = {"source": name, "provider": "openai", "request_model": "gpt-4o", "operation": "chat", "input_tokens": 1000}
    call |= {"time": datetime.now(UTC).isoformat(), "output_tokens": 100, "cost_center": "4711"}
    file = folder / f"{name}.jsonl"
    file.write_text("".join(f"{json.dumps(call | {'id': f'{name}-{number}'})}\n" for number in range(count)))
    return file


def ran(stack: Stack, script: str, *arguments: object) -> str:
    """Run a command of the newer release to its end; what it said."""
    name = f"newer-{time.monotonic_ns()}"
    spawn(stack, name, script, *map(str, arguments))
    return await_end(stack, name)


def releases(settings: Settings) -> list[list[str]]:
    """Which release wrote each block, by partition."""
    return [
        [
            "newer" if "cost_center" in columns_of(message.value() or b"") else "older"
            for message in messages(settings, topics.PRICED, partition)
        ]
        for partition in range(settings.partitions)
    ]


def unknown(settings: Settings) -> int:
    """Dead letters whose schema no worker knew."""
    found = [header for partition in range(settings.partitions) for header in headers(settings, partition)]
    return sum(len(header.dead_letters.get("unknown_schema", ())) for header in found)


def test_a_newer_worker_rolls_in_and_out_over_a_live_stream(stack: Stack, tmp_path: Path) -> None:
    script = newer_release.make(tmp_path / "newer")
    traffic = Traffic(stack.settings, records=30_000, spoilt=False)
    for name in ("worker", "worker-2", "windows", "sink"):
        begin(stack, name, name.partition("-")[0])
    with flowing(traffic):
        # A producer that is newer than all workers: its events are put aside, not lost.
        assert f"{EARLY} events sent" in ran(stack, script, "produce", calls(tmp_path, "early", EARLY))
        until(lambda: unknown(stack.settings) == EARLY, "the early events to be put aside")
        # A worker that is newer than the database: the sink says what is to be done first.
        begin(stack, "newer", "worker", release=[script])
        stack.stop("worker")
        ended = await_end(stack, "sink")
        assert "table usage has no column cost_center" in ended and "`spendstream migrate up` of that release" in ended
        assert "cost_center: applied" in ran(stack, script, "migrate", "up")
        begin(stack, "sink", "sink")
        stack.stop("worker-2")
        assert f"{EARLY:,} put back" in ran(stack, script, "dead-letters", "replay", "--reason", "unknown_schema")
        late = calls(tmp_path, "late", LATE)
        for _ in range(2):  # the second time they are repeats
            assert f"{LATE} events sent" in ran(stack, script, "produce", late)
        with database(stack.settings) as query:
            wanted = [("4711", EARLY + LATE)]
            sql = "SELECT cost_center, count() FROM usage WHERE cost_center IS NOT NULL GROUP BY ALL"
            until(lambda: query(sql) == wanted, "the newer events with their field")
        begin(stack, "worker", "worker")
        stack.stop("newer")
        until(lambda: {blocks[-1] for blocks in releases(stack.settings)} == {"older"}, "the older worker to go on")
    report = audit(stack, script)
    assert_windows_exact(report)
    assert report["accepted"] == traffic.sent + EARLY + LATE
    assert report["dropped_duplicates"] == traffic.again + LATE
    assert report["dead_letters"] == traffic.poison + EARLY
    for blocks in releases(stack.settings):
        assert (blocks[0], blocks[-1], set(blocks)) == ("older", "older", {"older", "newer"})
    stack.check()
