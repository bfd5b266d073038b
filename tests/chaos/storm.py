"""A storm: known events come in while everything that can happen happens; then the audit.

    python tests/chaos/storm.py --kills 200 --seed 7        # make chaos

The same seed deals the same faults in the same order; when each strikes hangs on the machine. A storm is a number of
legs. Each begins with an empty broker, a new log, over the ClickHouse of those before; at its end everything is woken
and started, and then nothing may be lost, doubled or different in its last digit: rows, rollups, windows, alerts.
"""

import argparse
import json
import logging
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from alerts_without_a_crash import TOLD_AGAIN, decisions, long_standing, replay, told
from faults import FAULTS, kill
from pipeline import Pipeline, disk, mounted
from served_registry import serving_registry
from traffic import NEWER_ID, Traffic, assert_windows_exact, audit, database, newer_schema

from streams import budgets
from streams.ports import free_port
from streams.settings import Settings
from streams.supervisor import on_free_ports

BUDGETS = long_standing(
    {"name": "Each customer", "scope": "customer", "member": "*", "period": "day", "limit_usd": "0.50"},
    {"name": "Everything", "scope": "global", "period": "week", "limit_usd": "500.00", "thresholds": [10, 20, 40]},
)
PER_LOG = "SELECT log_id, count(), sum(cost_total), max(inserted_at) FROM usage GROUP BY log_id ORDER BY log_id"
AGAIN, POISON, LATE = 0.2, 0.05, 0.05


class Storm:
    """Legs of a storm over one ClickHouse. `tell` is given a line about each thing that happens."""

    def __init__(
        self,
        settings: Settings,
        seed: int,
        *,
        pause_seconds: float,
        stretch: int,
        days: int,
        tell: Callable[[str], None],
    ) -> None:
        """`stretch`: events sent every half second. `days`: how far back they reach, and how late they may come."""
        self.settings, self.rng = settings, random.Random(seed)
        self.killed: Counter[str] = Counter()
        self.struck: Counter[str] = Counter()
        self.stood_still: Counter[str] = Counter()
        self.events = self.again = self.poison = self.alerts = self.told_again = 0
        self.notes: list[str] = []
        self._kinds: set[str] = set()
        self._pause_seconds, self._stretch, self._days, self._tell = pause_seconds, stretch, days, tell
        self._seed, self._logs, self._deck = seed, list[tuple[Any, ...]](), list[Any]()
        self._registry_url = ""
        self._kept = 0  # events that are for the strikes to come

    def rage(self, legs: int, kills: int, faults: int, records: int) -> None:
        """At least so many kills in all; in each leg so many other faults and events to send.

        Raises:
            AssertionError: something is lost, doubled or different, or a process ended by itself.
        """
        with mounted(disk(self.settings, "clickhouse")), serving_registry({NEWER_ID: newer_schema()}) as registry:
            self._registry_url = registry.url
            for number in range(legs):
                share = kills * (number + 1) // legs - kills * number // legs
                self._tell(f"leg {number + 1} of {legs}: {share} kills and {faults} faults of other kinds")
                self._leg(share, faults, records)
                self._tell(json.dumps(self.as_json()))

    def _leg(self, kills: int, faults: int, records: int) -> None:
        """So many kills and other faults while events come in, then the proof."""
        self._seed += 1
        traffic = Traffic(self.settings, self._seed, records, running_away=True, days=self._days, late=LATE)
        reading = self.settings.model_copy(update={"schema_registry_url": self._registry_url})
        pipeline = Pipeline(reading, self.rng, traffic, self._pause_seconds)
        with pipeline:
            budgets.publish(self.settings, BUDGETS)
            with self._publishing(traffic):
                others = self._deal(faults)
                while others or sum(pipeline.killed.values()) < kills:
                    left = max(0, kills - sum(pipeline.killed.values()))
                    self._kept = records * (left + len(others) - 1) // (kills + faults)
                    is_kill = self.rng.random() * (left + len(others)) < left
                    self._strike(pipeline, kill if is_kill else others.pop())
            assert traffic.left < records // 2, "most of the events would come after the storm"
            pipeline.sleep_out()
            traffic.hold(None)
            traffic.publish(traffic.left)  # the latest calls too: minutes are kept of them alone
            self._count(pipeline, traffic)
            self._prove(pipeline, traffic)

    def _deal(self, faults: int) -> list[Any]:
        """From a deck that holds each kind of fault once, and is shuffled anew when it is used up."""
        dealt = []
        for _ in range(faults):
            if not self._deck:
                self._deck = self.rng.sample(FAULTS, len(FAULTS))
            dealt.append(self._deck.pop())
        return dealt

    def _strike(self, pipeline: Pipeline, strike: Callable[[Pipeline], str]) -> None:
        time.sleep(self.rng.uniform(0.0, 1.5))
        pipeline.tend()
        done = strike(pipeline)
        self.struck[strike.__name__] += 1
        self._tell(done)

    @contextmanager
    def _publishing(self, traffic: Traffic) -> Iterator[None]:
        stop = threading.Event()
        with ThreadPoolExecutor(1, "publish") as pool:
            published = pool.submit(self._publish, traffic, stop)
            try:
                yield
            finally:
                stop.set()
            published.result()

    def _publish(self, traffic: Traffic, stop: threading.Event) -> None:
        """Some events at each strike, until its share is sent."""
        while not stop.wait(0.5):
            if traffic.left >= self._stretch + self._kept:
                traffic.publish(self._stretch, again=int(AGAIN * self._stretch), poison=int(POISON * self._stretch))

    def _count(self, pipeline: Pipeline, traffic: Traffic) -> None:
        self.killed.update(pipeline.killed)
        self.stood_still.update(pipeline.stood_still)
        self.notes += pipeline.notes
        self.events += traffic.sent
        self.again += traffic.again
        self.poison += traffic.poison

    def _prove(self, pipeline: Pipeline, traffic: Traffic) -> None:
        stack = pipeline.stack
        self._tell(f"audit of {traffic.sent:,} events, {traffic.again:,} repeats, {traffic.poison:,} dead letters")
        report = audit(stack, wait=120)
        assert_windows_exact(report, traffic)
        pipeline.tend()
        alerts, wanted = told(self.settings), {alert.id for alert in replay(self.settings, BUDGETS)}
        missing, more = decisions(wanted) - decisions(alerts), decisions(alerts) - decisions(wanted)
        assert not missing | more, (
            f"alerts that are missing: {sorted(missing)}; that follow from nothing: {sorted(more)}"
        )
        repeated = {alert: times for alert, times in alerts.items() if times > 1}
        may_repeat = pipeline.stood_still["windows"] > 0
        assert max(alerts.values(), default=0) <= (2 if may_repeat else 1), f"told again: {repeated}"
        with database(self.settings) as query:
            assert (again := query(TOLD_AGAIN)) == [], f"told again in another log: {again}"
            logs = query(PER_LOG)
        assert set(self._logs) <= set(logs), "rows of an earlier log have changed"
        self._logs = logs
        self.alerts += len(alerts)
        self._kinds |= {alert.partition("/")[0] for alert in alerts}
        self.told_again += len(repeated)
        self._tell(f"exact: {report['cost']['raw']} USD; {len(alerts):,} alerts, {len(repeated)} of them told again")

    def as_json(self) -> dict[str, Any]:
        """What happened, for the record."""
        return {
            "kills": sum(self.killed.values()),
            "killed": dict(self.killed),
            "faults": dict(self.struck),
            "stood_still": dict(self.stood_still),
            "events": self.events,
            "repeats": self.again,
            "dead_letters": self.poison,
            "logs": len(self._logs),
            "alerts": self.alerts,
            "alert_kinds": sorted(self._kinds),
            "alerts_told_again": self.told_again,
            "ended_when_they_woke_up": self.notes,
        }


def lacking() -> list[str]:
    """What a storm needs and this machine has not."""
    tools = {"mount": "mount", "ss": "ss (iproute2)", "cc": "a C compiler"}
    return [*([] if os.geteuid() == 0 else ["root"]), *(what for tool, what in tools.items() if not shutil.which(tool))]


def stormy_settings(folder: Path, broker: str, brokers: int, session_seconds: float = 2.0) -> Settings:
    """Small blocks, many of them; short patience; on free ports."""
    wanted = {"partitions": 4, "session_timeout_seconds": session_seconds, "block_events": 2000, "block_seconds": 0.2}
    wanted |= {"alerts_per_hour": 1000, "stall_seconds": 600, "broker": broker, "replication": min(3, brokers)}
    addresses = ",".join(f"127.0.0.1:{free_port()}" for _ in range(brokers))
    settings = on_free_ports(Settings(state_dir=folder, **wanted))  # type: ignore[arg-type]
    return settings.model_copy(update={"kafka_bootstrap_servers": addresses})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=200, help="SIGKILLs in all, at least")
    parser.add_argument("--legs", type=int, default=8, help="a new log, and a proof at the end, so many times")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--brokers", type=int, default=3, help="brokers of Apache Kafka")
    parser.add_argument("--pause", type=float, default=60.0, help="seconds that a process stands still")
    parser.add_argument("--records", type=int, default=60_000, help="events of a leg")
    parser.add_argument("--days", type=int, default=35, help="how far back the events reach, and how late they come")
    parser.add_argument("--folder", type=Path, help="where logs and files are kept; without it they go at the end")
    arguments = parser.parse_args()
    if lacking():
        parser.error(f"a storm needs {', '.join(lacking())}")
    folder = arguments.folder or Path(tempfile.mkdtemp(prefix="storm-"))
    began = time.monotonic()

    def tell(line: str) -> None:
        print(f"{datetime.now(UTC):%H:%M:%S}  {line}", flush=True)

    logging.getLogger("spendstream").addHandler(logging.NullHandler())  # producers that lose a broker say so
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what is mounted is taken away
    settings = stormy_settings(folder, "kafka", arguments.brokers)
    storm = Storm(settings, arguments.seed, pause_seconds=arguments.pause, stretch=100, days=arguments.days, tell=tell)
    try:
        storm.rage(arguments.legs, arguments.kills, len(FAULTS), arguments.records)
    except AssertionError as wrong:
        tell(f"NOT EXACT: {wrong}\n{traceback.format_exc()}\nlogs: {folder}")
        sys.exit(1)
    tell(f"{time.monotonic() - began:.0f} s, seed {arguments.seed}: nothing lost, nothing doubled")
    if arguments.folder is None:
        with suppress(OSError):
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
