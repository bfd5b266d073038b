"""Labelled synthetic spend: how many incidents the anomaly detector finds, how soon, and how often it is wrong.

python -m benchmarks.incidents                 320 members, 35 days; about half a minute
python -m benchmarks.incidents --seed 7        another draw
python -m benchmarks.incidents --members 80    fewer members

Members spend about $2 to $200 in five minutes: what smaller ones do is below the floor of an alert. Calls follow the
hour and the week, are over-dispersed, drift and now and then burst for good reasons; spend is the sum of their uneven
costs. Into half of the members ONE labelled incident is put, early (days 3 to 6, before there is a season) or late. It
is found in time when an alert opens by the close of the first whole five-minute window in which it is DUE: its first
one, or, for a leak that grows over two days, the one in which it has cost as much extra as the member usually spends in
a day. The other members hold what must NOT alert: weekends, growth, a nightly job, cold starts, members that leave and
return. Every alert outside a member's incident (and an hour after it) is false. One setting for all members.
"""

import argparse
import sys
from dataclasses import dataclass

import numpy as np
from rich.console import Console
from rich.table import Table

from streams.spend import anomaly

DAYS = 35
PER_DAY = 288
START = 1_767_571_200  # Monday 5 January 2026, 00:00 UTC
PICOS = 10**12
INCIDENTS = ("runaway loop", "price change", "model switch", "slow leak", "duplicate burst", "cold start runaway")
TRAPS = ("weekend dip", "steady", "growth", "nightly job", "cold start", "vanished")
_GRACE = 12  # windows after an incident's end in which an alert still belongs to it


@dataclass(frozen=True)
class Member:
    """One member's five-minute windows.

    `kind` names its incident or its trap. `spend` is int64 picodollars (n,), -1 where the member was not there;
    `tokens` int64 (n,) what it bought. `start`, `due` and `end` are windows of the incident, None for a trap.
    """

    kind: str
    early: bool
    spend: np.ndarray
    tokens: np.ndarray
    start: int | None = None
    due: int | None = None
    end: int | None = None


def make_members(count: int, seed: int) -> list[Member]:
    """`count` members, kinds in turn, each a function of the seed and its number."""
    kinds = (*INCIDENTS, *TRAPS)
    return [_member(kinds[i % len(kinds)], np.random.default_rng([seed, i])) for i in range(count)]


def _member(kind: str, random: np.random.Generator) -> Member:
    n = DAYS * PER_DAY
    at = np.arange(n)
    calls, a_call = _usual(kind, at, random)
    early = bool(random.random() < 0.25)
    start = int((random.uniform(3, 6) if early else random.uniform(15, 33)) * PER_DAY)
    length, calls_by, cost_by = n, np.ones(n), np.ones(n)
    inside = lambda length: (at >= start) & (at < start + length)  # noqa: E731
    if kind == "runaway loop":
        length = int(random.uniform(6, 60))
        calls_by[inside(length)] = random.uniform(4, 30)
    elif kind == "duplicate burst":
        length = int(random.uniform(2, 12))
        calls_by[inside(length)] = random.integers(4, 10)
    elif kind == "price change":
        length = int(random.uniform(1, 3) * PER_DAY)
        cost_by[inside(length)] = random.uniform(2.5, 4)
    elif kind == "model switch":
        length = int(random.uniform(1, 3) * PER_DAY)
        cost_by[inside(length)] = random.uniform(3, 15)
    elif kind == "slow leak":
        length = 2 * PER_DAY
        calls_by[inside(length)] = 1.0 + random.uniform(1.5, 5) * np.linspace(0, 1, length)
    elif kind == "cold start runaway":
        born = int(random.uniform(1, 10) * PER_DAY)
        calls[:born] = 0
        start, length, early = born + int(random.uniform(0.6, 2.5) * PER_DAY), int(random.uniform(6, 60)), True
        calls_by[inside(length)] = random.uniform(8, 30)
    spend, tokens = _spend(calls * calls_by, a_call * cost_by, random)
    if kind in ("cold start runaway", "cold start", "vanished"):
        spend[calls == 0] = -1
    if kind in TRAPS:
        return Member(kind, early, spend, tokens)
    factor = calls_by * cost_by
    due = start
    if kind == "slow leak":
        due += int(np.argmax(np.cumsum(factor[start : start + length] - 1) >= PER_DAY))
    return Member(kind, early, spend, tokens, start, due, min(start + length, n) - 1)


def _usual(kind: str, at: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Expected calls a window and dollars a call, both (n,), of a member without an incident."""
    hour, day = (at // 12) % 24, at // PER_DAY
    peak = random.uniform(9, 17)
    daily = 1 + random.uniform(0.1, 0.9) * np.cos(2 * np.pi * (hour - peak) / 24)
    weekend = np.where(
        day % 7 >= 5, random.uniform(0.03, 0.3) if kind == "weekend dip" else random.uniform(0.3, 1), 1.0
    )
    noise = random.normal(0, 0.02, len(at))
    drift = np.zeros(len(at))
    for i in range(1, len(at)):
        drift[i] = 0.99 * drift[i - 1] + noise[i]
    calls = np.exp(random.uniform(np.log(60), np.log(2_000))) * daily * weekend * np.exp(drift)
    for _ in range(random.poisson(6)):  # benign: a demonstration, a test run
        begin = int(random.integers(0, len(at)))
        calls[begin : begin + int(random.integers(1, 6))] *= random.uniform(1.1, 1.6)
    if kind == "growth":
        calls *= (1 + random.uniform(0.005, 0.04)) ** (at / PER_DAY)
    elif kind == "nightly job":
        calls[(hour == 2) & (at % 12 < 8)] += calls.mean() * random.uniform(2, 6)
    elif kind == "cold start":
        born = int(random.uniform(2, 25) * PER_DAY)
        calls *= np.where(at < born, 0, 1 - 0.8 * np.exp(-(at - born) / (4 * PER_DAY)))
    elif kind == "vanished":
        gone = int(random.uniform(8, 25) * PER_DAY)
        calls[gone : gone + int(random.uniform(0.3, 5) * PER_DAY)] = 0
    return calls, np.full(len(at), np.exp(random.uniform(np.log(0.03), np.log(0.1))))


def _spend(calls: np.ndarray, a_call: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Picodollars and tokens a window: calls over-dispersed beyond Poisson, tokens of a call uneven (coefficient of
    variation 1.2), and a price of a token that varies by 8 % with the mix of models and caches."""
    made = random.poisson(calls * random.gamma(60, 1 / 60, len(calls)))
    size = np.where(made > 0, random.gamma(np.maximum(made, 1) / 1.44, 1.44), 0.0)
    cost = size * a_call * np.exp(random.normal(0, 0.08, len(calls)))
    return np.rint(cost * PICOS).astype(np.int64), np.rint(size * 1_500).astype(np.int64)


def alerts(members: list[Member], detectors: tuple[anomaly.Detector, ...] = anomaly.DETECTORS) -> list[list[int]]:
    """The five-minute windows of each member at whose close an incident opened, by any of the detectors."""
    spend, tokens = np.stack([m.spend for m in members]), np.stack([m.tokens for m in members])
    opened: list[list[int]] = [[] for _ in members]
    for detector in detectors:
        step = detector.window_seconds // 300
        there = spend.reshape(len(members), -1, step)
        sums = np.where((there >= 0).any(axis=2), np.maximum(there, 0).sum(axis=2), -1)
        units = tokens.reshape(len(members), -1, step).sum(axis=2)
        states = anomaly.new_members(len(members))
        first = START // detector.window_seconds
        for window in range(sums.shape[1]):
            rows = np.flatnonzero(sums[:, window] >= 0)
            some = states[rows]
            numbers = np.full(len(rows), first + window)
            found = anomaly.observe(some, numbers, sums[rows, window], units[rows, window], detector)
            sent, _ = anomaly.publish(some, found, len(found))
            states[rows] = some
            for finding in sent:
                if finding.change == "opened":
                    opened[rows[finding.position]].append((window + 1) * step - 1)
    return [sorted(windows) for windows in opened]


def _own(member: Member, window: int) -> bool:
    """Whether an alert in a window belongs to the member's incident."""
    return member.start is not None and member.end is not None and member.start <= window <= member.end + _GRACE


def recall(members: list[Member], opened: list[list[int]]) -> list[tuple[str, int, int, int, int]]:
    """For each kind, each kind's early ones and all: incidents, and how many were found in time, in an hour, ever."""
    rows = []
    for kind in (*INCIDENTS, *(f"{kind}, early" for kind in INCIDENTS), "all"):
        late = []
        for member, windows in zip(members, opened, strict=True):
            if member.due is not None and kind in ("all", member.kind, f"{member.kind}, early" * member.early):
                own = [window for window in windows if _own(member, window)]
                late.append(own[0] - member.due if own else sys.maxsize)
        in_time, in_an_hour = sum(delay <= 0 for delay in late), sum(delay < 12 for delay in late)
        rows.append((kind, len(late), in_time, in_an_hour, sum(delay < sys.maxsize for delay in late)))
    return rows


def false_alerts(members: list[Member], opened: list[list[int]]) -> list[tuple[str, int, int, int]]:
    """For each kind and all: members, false alerts, and the most that one member had."""
    rows = []
    for kind in (*INCIDENTS, *TRAPS, "all"):
        counts = [
            sum(not _own(member, window) for window in windows)
            for member, windows in zip(members, opened, strict=True)
            if kind in ("all", member.kind)
        ]
        rows.append((kind, len(counts), sum(counts), max(counts, default=0)))
    return rows


def _tables(members: list[Member], opened: list[list[int]]) -> list[Table]:
    found = Table("incident", "count", "within 5 min", "within 1 h", "ever", title="Found")
    for kind, count, *hits in recall(members, opened):
        if count:
            found.add_row(kind, str(count), *(f"{hit} ({hit / count:.0%})" for hit in hits))
    wrong = Table("kind", "members", "false", "a member and 30 days", "most of one member", title="False alerts")
    for kind, count, total, most in false_alerts(members, opened):
        if count:
            wrong.add_row(kind, str(count), str(total), f"{total * 30 / DAYS / count:.2f}", str(most))
    return [found, wrong]


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.incidents",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--members", type=int, default=320)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    members = make_members(args.members, args.seed)
    console = Console()
    for table in _tables(members, alerts(members)):
        console.print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
