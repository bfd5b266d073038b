"""Usage events for the chaos tests, and how a test looks at what became of them."""

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from confluent_kafka import Message

from clickhouse.client import connect
from schemas.priced import usage_event_avsc
from schemas.registry import write_prefix
from schemas.usage_event import UsageEvent, to_avro
from schemas.wire import confluent_prefix, prefix_size
from streams import topics
from streams.blocks import Header
from streams.embedded import answers
from streams.kafka import read_range, reader, watermarks
from streams.partitioner import partitions_of
from streams.ports import free_port
from streams.producer import UsageProducer
from streams.sample.counts import NULL
from streams.sample.generator import generate
from streams.settings import Settings
from streams.supervisor import Stack

HERE = Path(__file__).parent
POISON = b"\x7fnot an event"
NEWER_ID = 2
_ADDED = b"\x02\x06abc"  # Avro: the second of the union, a string of three bytes


def newer_schema() -> str:
    """A producer's schema that has one nullable field more than the published one; this release reads past it."""
    schema = json.loads(usage_event_avsc())
    schema["fields"].append({"name": "of_a_later_release", "type": ["null", "string"], "default": None})
    return json.dumps(schema)


class Traffic:
    """Sample traffic, sent a stretch at a time, so that a test knows the truth.

    Attributes:
        sent: distinct events.
        again: their repeats.
        poison: records that must become dead letters.
    """

    def __init__(
        self,
        settings: Settings,
        seed: int = 1,
        records: int = 15_000,
        *,
        running_away: bool = False,
        days: int = 3,
        late: float = 0.0,
        spoilt: bool = True,
    ) -> None:
        """
        Args:
            records: events of the sample, which ends at present and is `days` long.
            running_away: among the traffic is a workload that costs 20 cents every five minutes, at times $10.
            late: the share of records that come later than their turn, by up to the whole of the sample.
            spoilt: whether the sample's own records that become dead letters are among them.
        """
        self.sent = self.again = self.poison = 0
        self._settings = settings
        self._rng = np.random.default_rng(seed)
        now, prefix = datetime.now(UTC), write_prefix(settings)
        sample = generate(seed=seed, end=now, events=records, days=days)
        self._order = sample.order
        self._spoilt = sample.spoilt != NULL
        pairs = sample.encoded(prefix=prefix)
        self._records = [pair for keys, values in pairs for pair in zip(keys, values, strict=True)]
        if running_away:
            calls = list(_run_away(now - timedelta(days=days), now))
            reached = np.maximum.accumulate(sample.events["time"].cast("int64").to_numpy()[sample.order])
            places = np.searchsorted(reached, [int(call.time.timestamp() * 1e6) for call in calls])
            self._order = np.insert(self._order, places, len(self._spoilt) + np.arange(len(calls)))
            self._spoilt = np.append(self._spoilt, np.zeros(len(calls), bool))
            for number, (place, call) in enumerate(zip(places, calls, strict=True)):
                self._records.insert(int(place) + number, (call.key, to_avro(call, prefix)))
        turns = np.arange(len(self._order)) + (self._rng.random(len(self._order)) < late) * self._rng.integers(
            0, len(self._order), len(self._order)
        )
        delayed = np.argsort(turns, kind="stable")
        if not spoilt:
            delayed = delayed[~self._spoilt[self._order[delayed]]]
        self._order = self._order[delayed]
        self._records = [self._records[i] for i in delayed]
        self._at = 0
        self._known: dict[int, tuple[bytes, bytes]] = {}
        self._is_newer = False
        self._held_back: int | None = None
        self._held: list[tuple[bytes, bytes]] = []

    @property
    def left(self) -> int:
        """Records that were not sent yet."""
        return len(self._records) - self._at

    def hold(self, partition: int | None) -> None:
        """From the next stretch on hold back what is meant for this partition; what was held back before is sent."""
        self._held_back = partition

    def change_schema(self) -> str:
        """From the next stretch on events are written with the other schema: the published one, or `newer_schema`."""
        self._is_newer = not self._is_newer
        return f"schema {NEWER_ID} of the registry, with one field more" if self._is_newer else "the published schema"

    def publish(self, events: int, again: int = 0, poison: int = 0) -> None:
        """Send the next records, with repeats of any before and, ahead of them all, dead letters; wait for Kafka."""
        stretch = range(self._at, self._at + events)
        self._at = stretch.stop
        batch = [self._records[i] if self._spoilt[self._order[i]] else self._written(self._records[i]) for i in stretch]
        for i in stretch:
            row = int(self._order[i])
            if self._spoilt[row]:
                self.poison += 1
            elif row in self._known:
                self.again += 1
            else:
                self.sent += 1
                self._known[row] = self._records[i]
        known = list(self._known.values())
        batch += [self._written(known[i]) for i in self._rng.integers(0, len(known), again)]
        batch = [batch[i] for i in self._rng.permutation(len(batch))]
        self.again += again
        self.poison += poison
        first = [(b"poison:%d:%d" % (self._at, i), POISON) for i in range(poison)]
        records = first + batch
        partitions = partitions_of([key for key, _ in records], self._settings.partitions)
        held = partitions == (-1 if self._held_back is None else self._held_back)
        ready = self._held + [pair for pair, later in zip(records, held, strict=True) if not later]
        self._held = [pair for pair, later in zip(records, held, strict=True) if later]
        with UsageProducer(self._settings) as producer:
            producer.send_many([key for key, _ in ready], [value for _, value in ready])

    def _written(self, record: tuple[bytes, bytes]) -> tuple[bytes, bytes]:
        """An event's record with the schema of the moment. A field that comes last follows the others' bytes."""
        key, value = record
        return (key, confluent_prefix(NEWER_ID) + value[prefix_size(value) :] + _ADDED) if self._is_newer else record

    def keys(self) -> list[bytes]:
        """The keys of all events that were sent."""
        return [key for key, _ in self._known.values()]


def _run_away(start: datetime, end: datetime) -> Iterator[UsageEvent]:
    """A call in every five minutes; after a warm-up of ten hours, every five hours three of them are long."""
    for number in range((end - start) // timedelta(minutes=5)):
        is_long = number > 120 and number % 60 < 3
        yield UsageEvent(
            id=f"nightly-{number}",
            source="nightly",
            time=start + timedelta(minutes=5 * number + 1),
            provider="openai",
            request_model="gpt-4o",
            operation="chat",
            workload="nightly-report",
            input_tokens=1000,
            output_tokens=1_000_000 if is_long else 20_000,  # $10 a million
        )


def spawn(stack: Stack, name: str, *command: str, **environment: object) -> int:
    """Start a process of the test's own under the stack; returns the port of its web."""
    port = free_port()
    (stack.settings.state_dir / name).mkdir(exist_ok=True)
    own = {
        "SPEND_WORKER_WEB_PORT": port,
        "SPEND_SINK_WEB_PORT": port,
        "SPEND_WINDOWS_WEB_PORT": port,
        "SPEND_STATE_DIR": stack.settings.state_dir / name,
        **environment,
    }
    stack.spawn(name, "env", *(f"{key}={value}" for key, value in own.items()), sys.executable, *command)
    return port


def crash(stack: Stack, name: str, step: str, *command: str) -> int:
    """Start `spendstream COMMAND` so that it dies at a step (`crash_at.py`)."""
    return spawn(stack, name, str(HERE / "crash_at.py"), step, *command)


def begin(
    stack: Stack,
    name: str,
    *command: str,
    step: str = "",
    release: Sequence[str] = ("-m", "streams.cli"),
    **environment: object,
) -> int:
    """Start `spendstream COMMAND` of a release, with a step of `crash_at.py` if you like, and wait until it is ready,
    whatever has become of the others; returns the port of its web."""
    script = (str(HERE / "crash_at.py"), step) if step else release
    port = spawn(stack, name, *script, *command, **environment)
    until(
        lambda: answers(f"http://127.0.0.1:{port}/ready") or state(stack, name) == "Z", f"{name}: {said(stack, name)}"
    )
    assert state(stack, name) != "Z", said(stack, name)[-3000:]
    return port


def until(condition: Callable[[], Any], what: str, seconds: float = 40.0) -> Any:
    """Wait until a condition holds; its value."""
    give_up = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > give_up:
            raise AssertionError(f"waited {seconds:g} s for: {what}")
        time.sleep(0.05)
    return found


def said(stack: Stack, name: str) -> str:
    """What a part has written to its log."""
    return stack.log(name).read_text(errors="replace")


def state(stack: Stack, name: str) -> str:
    """A process's state as the kernel names it: R, S, T (stopped), Z (ended)."""
    return Path(f"/proc/{stack.pid(name)}/stat").read_text().rpartition(") ")[2][0]


def await_death(stack: Stack, name: str) -> None:
    """Wait until a process has killed itself at its step, and clear it away."""
    until(lambda: state(stack, name) == "Z", f"{name} to die; it said:\n{said(stack, name)[-2000:]}")
    assert "crash_at: SIGKILL" in said(stack, name), said(stack, name)[-3000:]
    stack.kill(name)


def await_stop(stack: Stack, name: str) -> None:
    """Wait until a process has stopped itself at its step."""
    until(lambda: state(stack, name) == "T", f"{name} to stop; it said:\n{said(stack, name)[-2000:]}")


def await_end(stack: Stack, name: str, seconds: float = 90.0) -> str:
    """Wait until a process has ended by itself, and clear it away; its log."""
    until(lambda: state(stack, name) == "Z", f"{name} to end; it said:\n{said(stack, name)[-2000:]}", seconds)
    stack.kill(name)
    return said(stack, name)


def audit(stack: Stack, *script: str, wait: float = 20.0) -> dict[str, Any]:
    """The report of `spendstream audit`, as the command itself or a `script` around it gives it."""
    name = f"audit-{time.monotonic_ns()}"
    spawn(stack, name, *(script or ("-m", "streams.cli")), "audit", "--json", "--wait", f"{wait:g}")
    said = await_end(stack, name, seconds=wait + 70)
    assert "{" in said, said
    report, _ = json.JSONDecoder().raw_decode(said[said.index("{") :])
    return dict(report)


def assert_exact(report: dict[str, Any], traffic: Traffic | None = None) -> None:
    """Nothing lost, nothing doubled, sums equal to the last digit; and the counts of the traffic, when it is given."""
    assert report["ok"], report
    assert (report["lost"], report["duplicated"], report["unexpected"], report["pending"]) == (0, 0, 0, 0)
    assert report["priced_under_another_version"] == 0  # every row's costs were recomputed
    assert report["cost"]["oracle"] == report["cost"]["raw"] != "0.000000000000"
    assert report["cost"]["rollup"] == report["cost"]["all_raw"]
    assert set(report["differences"].values()) <= {"0.000000000000", 0}
    if traffic is not None:
        assert report["accepted"] == traffic.sent
        assert report["dropped_duplicates"] == traffic.again
        assert report["dead_letters"] == traffic.poison


def assert_windows_exact(report: dict[str, Any], traffic: Traffic | None = None) -> None:
    """Every window equals its raw rows, and everything else is exact."""
    assert_exact(report, traffic)
    windows = report["windows"]
    assert (windows["ok"], windows["differing"], windows["changing"]) == (True, 0, 0), windows
    assert min(level["windows"] for level in windows["levels"].values()) > 0
    assert windows["levels"]["day"]["calls"] == report["accepted"]


def messages(settings: Settings, topic: str, partition: int) -> Iterator[Message]:
    """All messages of a partition."""
    consumer = reader(settings)
    try:
        start, end = watermarks(consumer, topic, partition)
        yield from read_range(consumer, topic, partition, start, end)
    finally:
        consumer.close()


def headers(settings: Settings, partition: int) -> list[Header]:
    """What the blocks of a partition of spend.priced say, in their order."""
    return [Header.from_kafka(m.headers()) for m in messages(settings, topics.PRICED, partition)]


@contextmanager
def database(settings: Settings) -> Iterator[Callable[..., list[tuple[Any, ...]]]]:
    """A function that runs a statement and gives its rows."""
    client = connect(settings)
    client.database = settings.clickhouse_database
    try:
        yield lambda sql, **parameters: list(client.query(sql, parameters=parameters).result_rows)
    finally:
        client.close()
