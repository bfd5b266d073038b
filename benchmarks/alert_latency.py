"""From a call to the alert that it causes, through worker and windows worker, under a live stream.

Each marked call crosses a budget of its own customer, who has no other call. Its alert's time is that at which the
broker took it (the Kafka timestamp of `spend.alerts`, in milliseconds), the call's its `emitted_at`; one clock.
"""

import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from benchmarks import marked_traffic
from benchmarks.figures import Figure, Section
from benchmarks.latency import add_waits
from benchmarks.machine import cpu_seconds, peak_memory
from streams import alerts, budgets, topics
from streams.errors import Halt
from streams.kafka import reader, watermarks
from streams.spend.budget import Budget, slug
from streams.supervisor import Stack

SECONDS = 46.0
MANY, RATE = 10_000, 5_000
LOW_RATE, FEW = 1_000, 20
EACH_OF = ("workload", "team", "project", "service", "model", "provider", "environment", "gateway", "server", "user")
PROCESSES = ("worker", "windows")
_PATIENCE_SECONDS = 60.0
_INTAKE_SECONDS = 180.0


@dataclass(frozen=True)
class Measured:
    """Seconds from call to alert, ascending; of each process the share of a core, and the most memory in MB."""

    waits: np.ndarray
    missing: int
    events: int
    cores: dict[str, float]
    memory: float
    taken_in: float  # seconds until the budgets, published at once, were taken in


def many_budgets(stack: Stack) -> Section:
    """10,000 budgets at 5,000 events a second."""
    marks = 100
    found = _measure(stack, _budgets(MANY, marks), RATE, marks)
    section = Section(
        "Budgets: 10,000 of them at 5,000 events a second",
        f"{MANY - len(EACH_OF) - marks:,} budgets of single customers and users, {len(EACH_OF)} that each member of a "
        f"dimension has, {marks} that a marked call crosses. {found.events:,} calls of "
        f"{marked_traffic.CUSTOMERS:,} customers and {marked_traffic.USERS:,} users in {SECONDS:.0f} s "
        f"({found.events / SECONDS:,.0f} a second), generated on the same cores; no sink runs. From a marked call's "
        "emission to the Kafka timestamp of its alert; blocks wait half a second for more.",
    )
    section.figures.append(Figure("taking in all budgets at once", f"{found.taken_in:.0f} s"))
    _add_alerts(section, found, 1.0)
    for name in PROCESSES:
        section.figures.append(Figure(f"processor of the {name}", f"{found.cores[name]:.2f} cores"))
    section.most("most memory of the windows worker", found.memory, "MB")
    return section


def few_budgets(stack: Stack) -> Section:
    """Budgets that marked calls cross, at 1,000 events a second."""
    found = _measure(stack, _budgets(FEW, FEW), LOW_RATE, FEW)
    section = Section(
        "Call to alert at 1,000 events a second",
        f"{FEW} marked calls in {found.events:,}, each crossing a budget of its own; otherwise as above.",
    )
    _add_alerts(section, found, 3.0)
    section.figures.append(Figure("processor of the windows", f"{found.cores['windows']:.2f} cores"))
    return section


def _add_alerts(section: Section, found: Measured, wanted: float) -> None:
    section.figures.append(Figure("alerts", f"{len(found.waits)}", met=not found.missing))
    if found.missing:
        section.figures.append(Figure("alerts that did not come", f"{found.missing}", met=False))
    if len(found.waits):
        add_waits(section, found.waits, wanted)


def _budgets(count: int, marks: int) -> dict[str, Budget]:
    """Budgets by id: of marked customers, of each member, and of single customers and users."""
    each = EACH_OF if count > 2 * marks else ()
    single = count - marks - len(each)
    customers = min(single // 2, marked_traffic.CUSTOMERS)
    made = [marked_budget(number) for number in range(marks)]
    made += [_budget(scope, "*", "1000000.00") for scope in each]
    made += [_budget("customer", marked_traffic.customer(number), "100000.00") for number in range(customers)]
    made += [_budget("user", marked_traffic.user(number), "100000.00") for number in range(single - customers)]
    return {budget.id: budget for budget in made}


def marked_budget(number: int) -> Budget:
    """The budget that a marked call crosses."""
    return _budget("customer", marked_traffic.marked(number), "0.05")


def _budget(scope: str, member: str, limit: str) -> Budget:
    name = f"bench {scope} {'each' if member == '*' else member}"
    said = {"name": name, "scope": scope, "member": member, "limit_usd": limit, "period": "month"}
    return Budget.model_validate({**said, "id": slug(name), "created_at": datetime.now(UTC).replace(microsecond=0)})


def _measure(stack: Stack, wanted: dict[str, Budget], rate: int, marks: int) -> Measured:
    conf = stack.settings
    known = budgets.topic_budgets(conf)
    budgets.publish(conf, {**dict.fromkeys(known), **wanted})
    taken_in = settle(stack)
    told_before = end_of_alerts(stack)
    log = stack.log("marked-traffic")
    skip = log.stat().st_size if log.exists() else 0
    arguments = ("--rate", str(rate), "--seconds", str(SECONDS), "--marks", str(marks))
    stack.spawn("marked-traffic", sys.executable, "-m", "benchmarks.marked_traffic", *arguments)
    time.sleep(marked_traffic.SETTLE_SECONDS)
    used, began = {name: -cpu_seconds(stack.pid(name)) for name in PROCESSES}, time.monotonic()
    time.sleep(SECONDS - marked_traffic.SETTLE_SECONDS)
    seconds = time.monotonic() - began
    cores = {name: (used[name] + cpu_seconds(stack.pid(name))) / seconds for name in PROCESSES}
    emitted = _emitted(stack, skip)
    events = emitted.pop("sent")
    waits = alert_waits(stack, told_before, emitted)
    stack.check()
    memory = peak_memory(stack.pid("windows"))
    return Measured(waits, len(emitted) - len(waits), events, cores, memory, taken_in)


def settle(stack: Stack) -> float:
    """Wait until the windows worker rests, the budgets taken in; returns how many seconds it was busy."""
    began = time.monotonic()
    while time.monotonic() - began < _INTAKE_SECONDS:
        stack.check()
        used = cpu_seconds(stack.pid("windows"))
        time.sleep(2.0)
        if cpu_seconds(stack.pid("windows")) - used < 0.4:
            return max(0.0, time.monotonic() - began - 2.0)
    raise Halt(f"the windows worker is still busy with the budgets after {_INTAKE_SECONDS:.0f} s")


def end_of_alerts(stack: Stack) -> int:
    """The offset that the next alert will have."""
    looker = reader(stack.settings)
    try:
        return watermarks(looker, topics.ALERTS, 0)[1]
    finally:
        looker.close()


def _emitted(stack: Stack, skip: int) -> dict[str, int]:
    """When each marked customer's call was emitted, microseconds since 1970, and how many calls there were: `sent`."""
    give_up = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < give_up:
        said = said_by(stack, "marked-traffic", skip)
        if "sent" in said:
            stack.kill("marked-traffic")
            return said
        time.sleep(0.2)
    raise Halt(f"the traffic did not end; see {stack.log('marked-traffic')}")


def said_by(stack: Stack, name: str, skip: int = 0) -> dict[str, int]:
    """What a process of the benchmark printed as lines of a name and a number, `skip` bytes left out."""
    lines = [line.split() for line in stack.log(name).read_bytes()[skip:].decode().splitlines()]
    return {line[0]: int(line[1]) for line in lines if len(line) == 2 and line[1].isdigit()}


def alert_waits(stack: Stack, told_before: int, emitted: dict[str, int]) -> np.ndarray:
    """Seconds from each marked call (customer: microseconds since 1970) to its alert, ascending; of those that came."""
    opened = _opened(stack, told_before, set(emitted))
    return np.sort(np.array([opened[name] / 1e3 - emitted[name] / 1e6 for name in opened]))


def _opened(stack: Stack, told_before: int, customers: set[str]) -> dict[str, int]:
    """When the broker took each marked customer's alert that the limit is spent, milliseconds since 1970."""
    give_up = time.monotonic() + _PATIENCE_SECONDS
    while True:
        found: dict[str, int] = {}
        for published in alerts.read(stack.settings, told_before):
            document = published.alert.document
            member = document["data"].get("member")
            if document["type"] == "spend.budget.exceeded" and member in customers:
                found.setdefault(member, published.at)
        if len(found) == len(customers) or time.monotonic() > give_up:
            return found
        time.sleep(0.5)
