"""The windows worker's rows of docs/reliability.md, brought about on real processes; then the audit, and the alerts.

One worker after the other dies at a step of its own, and the next goes on behind it; then three that share the
partitions are stopped, and wake up behind their successor. The audit compares every window with its raw rows, and the
alerts must be those of a run in which nothing dies.
"""

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from alerts_without_a_crash import decisions, long_standing, replay, told
from traffic import Traffic, assert_windows_exact, audit, begin, crash, said, state, until

from streams import budgets
from streams.embedded import answers
from streams.settings import Settings
from streams.supervisor import SERVERS, STEPS, Stack, on_free_ports

pytestmark = pytest.mark.stack

DYING = (
    *("totals-sent", "checkpoint-chunks", "windows-published", "alerts-on-the-way"),
    *("checkpoint-closings", "alerts-sent", "checkpoint-saved"),
)
STOPPING = ("totals-sent-stop", "checkpoint-stop", "merge-stop")
PARTITIONS = 3
BUDGETS = long_standing(
    {"name": "Everything", "scope": "global", "period": "month", "limit_usd": "400.00", "thresholds": [10, 30, 60]},
    {"name": "Each user", "scope": "user", "member": "*", "period": "day", "limit_usd": "0.05", "thresholds": [50]},
    {"name": "Each customer", "scope": "customer", "member": "*", "period": "week", "limit_usd": "0.25"},
)


@dataclass
class Scene:
    """What was left: logs by process, the audit, how often each alert was told, and those of a run without a crash."""

    logs: dict[str, str]
    report: dict[str, Any]
    told_by_the_dying: Counter[str]
    told: Counter[str]
    without_a_crash: set[str]
    traffic: Traffic


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory, broker: str) -> Iterator[Scene]:
    yield play(tmp_path_factory.mktemp("windows"), broker)


def play(folder: Path, broker: str) -> Scene:
    """Let workers die and stop, each at its step, and see what is left."""
    wanted = {"partitions": PARTITIONS, "session_timeout_seconds": 2, "block_seconds": 0.2, "alerts_per_hour": 1000}
    wanted |= {"stall_seconds": 600}  # who is paused for longer than this ends when he wakes up
    conf = on_free_ports(Settings(state_dir=folder, broker=broker, **wanted))
    with Stack(conf, parts=(*SERVERS, *STEPS, "worker", "sink")) as stack:
        budgets.publish(conf, BUDGETS)
        traffic = Traffic(conf, seed=3, records=6_000, running_away=True)
        for step in DYING:
            crash(stack, step, step, "windows")
            publish_until_it_stands(stack, traffic, step)
            stack.kill(step)
        told_by_the_dying = told(conf)
        ports = [crash(stack, step, step, "windows") for step in STOPPING]
        for step, port in zip(STOPPING, ports, strict=True):  # what those before left undone may stop one at once
            until(
                lambda step=step, port=port: state(stack, step) == "T" or answers(f"http://127.0.0.1:{port}/ready"),
                f"{step} to be ready",
                90,
            )
        for step in STOPPING:
            publish_until_it_stands(stack, traffic, step)
        ports.append(begin(stack, "windows", "windows"))
        until(lambda: lag(ports[-1]) == 0, "the successor to have worked on everything", 90)
        for step in STOPPING:
            stack.resume(step)
        for step in STOPPING:
            until(lambda step=step: woke_up(said(stack, step)), f"{step} to go on")
        traffic.publish(events=1000, again=20, poison=1)
        time.sleep(2.0)
        until(lambda: sum(lag(port) for port in ports) == 0, "them to have worked on everything together", 90)
        for step in ("windows", *STOPPING):
            stack.kill(step)
        begin(stack, "windows", "windows")
        traffic.publish(events=500, again=20, poison=1)
        report = audit(stack)
        stack.check()
        return Scene(
            logs={step: said(stack, step) for step in (*DYING, *STOPPING)},
            report=report,
            told_by_the_dying=told_by_the_dying,
            told=told(conf),
            without_a_crash={alert.id for alert in replay(conf, BUDGETS)},
            traffic=traffic,
        )


def publish_until_it_stands(stack: Stack, traffic: Traffic, name: str) -> None:
    """Send calls, a few at a time, until a process has killed or stopped itself."""
    traffic.publish(events=200, again=10, poison=1)
    for _ in range(200):
        if state(stack, name) in "ZT":
            return
        time.sleep(0.5)
        if traffic.sent < 4_500:
            traffic.publish(events=20, again=1)
    raise AssertionError(f"{name} never came to its step; it said:\n{said(stack, name)[-2000:]}")


def woke_up(log: str) -> bool:
    """Whether a stopped worker did something again: what it had in hand, or end because its request was too old."""
    return "crash_at: went on" in log or "CRITICAL" in log


def lag(port: int) -> float:
    """Blocks and totals that a windows worker has not worked on yet; none when it ended as it woke up."""
    try:
        with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
    except OSError:
        return 0.0
    return sum(float(line.split()[1]) for line in lines if line.startswith("spend_lag_records{"))


@pytest.mark.parametrize("step", DYING)
def test_the_windows_worker_dies(scene: Scene, step: str) -> None:
    assert "crash_at: SIGKILL" in scene.logs[step]
    assert_windows_exact(scene.report, scene.traffic)


@pytest.mark.parametrize("step", STOPPING)
def test_a_paused_windows_worker_wakes_up_behind_its_successor(scene: Scene, step: str) -> None:
    assert "crash_at: SIGSTOP" in scene.logs[step]
    assert woke_up(scene.logs[step])
    assert_windows_exact(scene.report, scene.traffic)


def test_everybody_is_told_what_they_would_have_been_told_without_a_crash(scene: Scene) -> None:
    kinds = Counter(alert.partition("/")[0] for alert in scene.without_a_crash)
    assert min(kinds["budget"], kinds["anomaly"], kinds["unpriced"]) > 0
    assert decisions(scene.told) == decisions(scene.without_a_crash)


def test_each_of_them_once(scene: Scene) -> None:
    assert set(scene.told_by_the_dying.values()) == {1}
    assert max(scene.told.values()) <= 2  # one who is stopped between his look at the topic and his sending
