"""The whole pipeline on a backlog: price agent, windows worker and sink together, until all of it can be queried."""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.machine import cpu_seconds
from benchmarks.over_kafka import until
from clickhouse.client import connect
from streams.settings import Settings
from streams.supervisor import Stack

PROCESSES = ("sink", "windows", "worker")  # as they are started: nothing is to do before the last one runs
POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Pace:
    """How fast something went, from the first rows that it had stored to the last, without the first."""

    per_second: float
    micros: float  # processor time an event, all threads of all its processes


def run(stack: Stack, events: int) -> Pace:
    """Start the processes and wait until rows AND minutes of all events are in ClickHouse; stops them again.

    Raises:
        SpendError: a process ended, or nothing moves.
    """
    for name in PROCESSES:
        stack.start(name)
    found = pace(stack, PROCESSES, *stored(stack.settings), events)
    for name in reversed(PROCESSES):
        stack.stop(name)
    return found


def stored(conf: Settings) -> tuple[str, str]:
    """SQL that counts rows, and SQL that counts the events which minutes hold."""
    rows = f"SELECT count() FROM {conf.clickhouse_database}.usage"
    windows = f"{conf.clickhouse_database}.windows FINAL WHERE level = 'minute' AND dimension = 'global'"
    return rows, f"SELECT sum(calls) FROM {windows}"


def pace(stack: Stack, processes: Sequence[str], rows: str, windows: str, events: int) -> Pace:
    """Watch running processes until `events` are stored.

    Args:
        stack: has the processes.
        processes: whose processor time counts.
        rows: SQL that counts rows.
        windows: SQL that counts the events which windows hold.

    Raises:
        SpendError: a process ended, or nothing moves.
    """
    client = connect(stack.settings)

    def count(sql: str) -> int:
        return int(client.query(sql).result_rows[0][0])

    def cpu() -> float:
        return sum(cpu_seconds(stack.pid(name)) for name in processes)

    first = until(stack, lambda: count(rows), 1, POLL_SECONDS)[-1]
    used = cpu()
    until(stack, lambda: count(rows), events, POLL_SECONDS)
    last = until(stack, lambda: count(windows), events, POLL_SECONDS)[-1]  # adds up what is stored: not while rows come
    done = events - first.count
    return Pace(done / (last.at - first.at), (cpu() - used) / done * 1e6)
