"""SIGKILL at random moments while events come in, and a second run over the same state with an empty broker.

A broker that keeps its log is killed too.
"""

import random
import shutil
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from alerts_without_a_crash import TOLD_AGAIN, decisions, long_standing, replay, told
from traffic import Traffic, assert_windows_exact, audit, begin, database

from streams import apache_kafka, budgets
from streams.settings import Settings
from streams.supervisor import SERVERS, STEPS, Stack, on_free_ports

pytestmark = pytest.mark.stack

BROKERS = ("kafka", "embedded")
SEED = 20261121
EVENTS = 15_000
STRETCH = 1000
BUDGETS = long_standing(
    {"name": "Each customer", "scope": "customer", "member": "*", "period": "day", "limit_usd": "0.50"},
    {"name": "Everything", "scope": "global", "period": "week", "limit_usd": "500.00", "thresholds": [10, 20, 40]},
)
PER_LOG = "SELECT log_id, count(), sum(cost_total), max(inserted_at) FROM usage GROUP BY log_id"
PER_QUARTER = "SELECT time, model, sum(calls), sum(cost_total) FROM usage_15m GROUP BY ALL ORDER BY ALL"


def kill_at_random(
    stack: Stack, parts: Sequence[str], rng: random.Random, publishing: threading.Thread
) -> dict[str, int]:
    """Kill parts while events are published, and start each again; how often each was killed."""
    killed = dict.fromkeys(parts, 0)
    while publishing.is_alive() or min(killed.values()) == 0:
        name = min(killed, key=lambda part: (killed[part], rng.random()))
        time.sleep(rng.uniform(0.0, 1.5))
        stack.kill(name)
        killed[name] += 1
        time.sleep(rng.uniform(0.0, 0.5))
        if name in SERVERS:
            stack.start(name)
        else:
            begin(stack, name, name, step="checkpoints-often")
    return killed


def test_random_kills_change_no_digit_nor_does_a_second_run_over_the_same_state(tmp_path: Path, broker: str) -> None:
    rng = random.Random(SEED)
    wanted = {"partitions": 2, "session_timeout_seconds": 2, "block_events": 2000, "block_seconds": 0.2}
    wanted |= {"alerts_per_hour": 1000}
    settings = on_free_ports(Settings(state_dir=tmp_path, broker=broker, **wanted))
    with Stack(settings, parts=(*SERVERS, *STEPS)) as stack:
        budgets.publish(settings, BUDGETS)
        traffic = Traffic(settings, seed=SEED, records=EVENTS, running_away=True)

        def publish() -> None:
            for _ in range(EVENTS // STRETCH):
                traffic.publish(events=STRETCH, again=30, poison=2)
                time.sleep(0.2)

        for name in ("worker", "windows", "sink"):
            begin(stack, name, name)
        publishing = threading.Thread(target=publish, daemon=True)
        publishing.start()
        keeps_its_log = ("broker",) if broker == "kafka" else ()
        killed = kill_at_random(stack, ("worker", "windows", "sink", "clickhouse", *keeps_its_log), rng, publishing)
        publishing.join()
        assert min(killed.values()) >= 1
        assert_windows_exact(audit(stack), traffic)
        alerts, wanted_alerts = told(settings), {alert.id for alert in replay(settings, BUDGETS)}
        assert decisions(alerts) == decisions(wanted_alerts)
        assert set(alerts.values()) == {1}
        assert {alert.partition("/")[0] for alert in alerts} >= {"budget", "anomaly", "unpriced"}
        with database(settings) as query:
            first_log, first_quarters = query(PER_LOG), query(PER_QUARTER)

    shutil.rmtree(apache_kafka.folder(settings, "broker"), ignore_errors=True)  # the embedded one has none
    with Stack(settings) as stack:
        again = Traffic(settings, seed=SEED + 1, records=4000)
        again.publish(events=3000, again=100, poison=5)
        report = audit(stack)
        assert_windows_exact(report, again)
        [(log, rows, cost, inserted)] = first_log
        assert report["logs_gone"] == {log: {"rows": rows, "duplicated": 0, "cost": str(cost)}}
        with database(settings) as query:
            assert (log, rows, cost, inserted) in query(PER_LOG)
            assert query(TOLD_AGAIN) == []
            old = {(at, model): (calls, spent) for at, model, calls, spent in first_quarters}
            new = {(at, model): (calls, spent) for at, model, calls, spent in query(PER_QUARTER)}
        assert all(new[key][0] >= calls for key, (calls, _) in old.items())
        assert sum(calls for calls, _ in new.values()) == sum(calls for calls, _ in old.values()) + again.sent
        stack.check()
