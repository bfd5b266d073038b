"""SIGKILL at random moments while events come in, and a second run over the same state with an empty broker."""

import random
import threading
import time
from pathlib import Path

import pytest
from traffic import Traffic, assert_exact, audit, begin, database

from streams.settings import Settings
from streams.supervisor import SERVERS, STEPS, Stack, on_free_ports

pytestmark = pytest.mark.stack

SEED = 20261121
EVENTS = 21_000
STRETCH = 1000
PER_LOG = "SELECT log_id, count(), sum(cost_total), max(inserted_at) FROM usage GROUP BY log_id"
PER_QUARTER = "SELECT time, model, sum(calls), sum(cost_total) FROM usage_15m GROUP BY ALL ORDER BY ALL"


def kill_at_random(stack: Stack, rng: random.Random, publishing: threading.Thread) -> dict[str, int]:
    """Kill parts while events are published, and start each again; how often each was killed."""
    killed = {"worker": 0, "sink": 0, "clickhouse": 0}
    while publishing.is_alive() or min(killed.values()) == 0:
        name = min(killed, key=lambda part: (killed[part], rng.random()))
        time.sleep(rng.uniform(0.0, 1.5))
        stack.kill(name)
        killed[name] += 1
        time.sleep(rng.uniform(0.0, 0.5))
        if name == "clickhouse":
            stack.start(name)
        else:
            begin(stack, name, name)
    return killed


def test_random_kills_change_no_digit_nor_does_a_second_run_over_the_same_state(tmp_path: Path) -> None:
    rng = random.Random(SEED)
    wanted = {"partitions": 2, "session_timeout_seconds": 2, "block_events": 2000, "block_seconds": 0.2}
    settings = on_free_ports(Settings(state_dir=tmp_path, **wanted))
    with Stack(settings, parts=(*SERVERS, *STEPS)) as stack:
        traffic = Traffic(settings, seed=SEED, records=EVENTS)

        def publish() -> None:
            for _ in range(EVENTS // STRETCH):
                traffic.publish(events=STRETCH, again=30, poison=2)
                time.sleep(0.2)

        for name in ("worker", "sink"):
            begin(stack, name, name)
        publishing = threading.Thread(target=publish, daemon=True)
        publishing.start()
        killed = kill_at_random(stack, rng, publishing)
        publishing.join()
        assert min(killed.values()) >= 1
        assert_exact(audit(stack), traffic)
        with database(settings) as query:
            first_log, first_quarters = query(PER_LOG), query(PER_QUARTER)

    with Stack(settings) as stack:
        again = Traffic(settings, seed=SEED + 1, records=4000)
        again.publish(events=3000, again=100, poison=5)
        report = audit(stack)
        assert_exact(report, again)
        [(log, rows, cost, inserted)] = first_log
        assert report["logs_gone"] == {log: {"rows": rows, "duplicated": 0, "cost": str(cost)}}
        with database(settings) as query:
            assert (log, rows, cost, inserted) in query(PER_LOG)
            old = {(at, model): (calls, spent) for at, model, calls, spent in first_quarters}
            new = {(at, model): (calls, spent) for at, model, calls, spent in query(PER_QUARTER)}
        assert all(new[key][0] >= calls for key, (calls, _) in old.items())
        assert sum(calls for calls, _ in new.values()) == sum(calls for calls, _ in old.values()) + again.sent
        stack.check()
