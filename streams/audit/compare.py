"""One stretch of a partition: what the oracle expects against what ClickHouse holds, by coordinates. Pure."""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from schemas.priced import COSTS
from streams.oracle.judge import COLUMNS, NULL, Expected

EXAMPLES = 20  # differences that are told one by one
_FIRST_DECIDED = COLUMNS.index("status")  # from this column on it is the rates that decide
_FIRST_COST = COLUMNS.index(COSTS[0])


@dataclass(frozen=True)
class Actual:
    """Raw rows of a stretch.

    Attributes:
        offsets: int64 of shape (n,), ascending; repeated where a row is there twice.
        values: int64 of shape (n, len(COLUMNS)), as in `Expected`.
        current: bool of shape (n,): priced with the rates that the oracle has.
    """

    offsets: np.ndarray
    values: np.ndarray
    current: np.ndarray


@dataclass
class Tally:
    """What a comparison found; tallies of stretches add up.

    Attributes:
        accepted: events that the oracle accepts.
        lost: of these, absent from the raw rows.
        expired: of these, absent because their time is older than raw rows are kept.
        duplicated: raw rows beyond the first of their coordinates.
        unexpected: coordinates with a raw row that the oracle does not accept.
        differing: rows whose time, counts, names, status or costs are not the oracle's.
        repriced: rows that bear another version of the rates and another cost: their first decision stands.
        status: accepted events by `oracle.price.STATUS`.
        oracle, raw: sums of `COSTS`, picodollars.
        where: (day, provider, model, what) -> rows, of all differences.
        examples: the first differences in words.
    """

    accepted: int = 0
    lost: int = 0
    expired: int = 0
    duplicated: int = 0
    unexpected: int = 0
    differing: int = 0
    repriced: int = 0
    status: Counter[int] = field(default_factory=Counter)
    oracle: list[int] = field(default_factory=lambda: [0] * len(COSTS))
    raw: list[int] = field(default_factory=lambda: [0] * len(COSTS))
    where: Counter[tuple[str, str, str, str]] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)

    def add(self, other: "Tally") -> None:
        """Add another stretch's findings."""
        for name in ("accepted", "lost", "expired", "duplicated", "unexpected", "differing", "repriced"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.status += other.status
        self.oracle = [a + b for a, b in zip(self.oracle, other.oracle, strict=True)]
        self.raw = [a + b for a, b in zip(self.raw, other.raw, strict=True)]
        self.where += other.where
        self.examples = (self.examples + other.examples)[:EXAMPLES]


def compare(expected: Expected, actual: Actual, partition: int, kept_since_us: int) -> Tally:
    """Compare a stretch.

    Args:
        expected: the oracle's judgement of the stretch.
        actual: the raw rows of the same offsets.
        partition: for the words of the examples.
        kept_since_us: raw rows of earlier events may have been dropped for their age; microseconds since 1970.
    """
    found, first, copies = np.unique(actual.offsets, return_index=True, return_counts=True)
    place = np.searchsorted(expected.offsets, found)
    known = place < len(expected.offsets)
    known[known] = expected.offsets[place[known]] == found[known]
    place = place[known]
    ours, theirs = expected.values[place], actual.values[first[known]]

    absent = np.ones(len(expected.offsets), dtype=bool)
    absent[place] = False
    expired = absent & (expected.values[:, 0] < kept_since_us)
    lost = absent & ~expired
    wrong = ours != theirs
    content = wrong[:, :_FIRST_DECIDED].any(axis=1)
    decided = wrong[:, _FIRST_DECIDED:].any(axis=1)
    repriced = decided & ~content & ~actual.current[first[known]]
    differing = (content | decided) & ~repriced

    counted = expected.values.copy()
    counted[place[repriced]] = theirs[repriced]
    tally = Tally(
        accepted=len(expected.offsets),
        lost=int(lost.sum()),
        expired=int(expired.sum()),
        duplicated=int((copies - 1).sum()),
        unexpected=int((~known).sum()),
        differing=int(differing.sum()),
        repriced=int(repriced.sum()),
        status=Counter(expected.values[:, _FIRST_DECIDED].tolist()),
        oracle=_sums(counted[~expired, _FIRST_COST:]),
        raw=_sums(actual.values[:, _FIRST_COST:]),
    )
    for row in np.flatnonzero(lost).tolist():
        _note(tally, expected, (partition, row), "lost", "is not in ClickHouse")
    for row in place[copies[known] > 1].tolist():
        _note(tally, expected, (partition, row), "duplicated", "is in ClickHouse more than once")
    for row in np.flatnonzero(differing).tolist():
        columns = [
            "a name or count is another (customer, workload, model, cached tokens, ...)"
            if COLUMNS[c] == "fields"
            else f"{COLUMNS[c]} is {_told(theirs[row, c])}, not {_told(ours[row, c])}"
            for c in np.flatnonzero(wrong[row])
        ]
        _note(tally, expected, (partition, int(place[row])), "differing", "; ".join(columns))
    for offset in found[~known].tolist():
        tally.where["", "", "", "unexpected"] += 1
        if len(tally.examples) < EXAMPLES:
            tally.examples.append(f"partition {partition} offset {offset} is in ClickHouse, and should not be counted")
    return tally


def _note(tally: Tally, expected: Expected, at: tuple[int, int], what: str, words: str) -> None:
    partition, row = at
    provider, model = expected.kinds[row]
    day = str(np.datetime64(int(expected.values[row, 0]), "us").astype("datetime64[D]"))
    tally.where[day, provider, model, what] += 1
    if len(tally.examples) < EXAMPLES:
        tally.examples.append(
            f"partition {partition} offset {expected.offsets[row]} ({day}, {provider} {model}) {words}"
        )


def _told(value: int) -> str:
    return "null" if value == NULL else str(value)


def _sums(values: np.ndarray) -> list[int]:
    """Exact sums of columns of int64, nulls left out: the halves are summed apart, so that nothing wraps."""
    known = np.where(values == NULL, 0, values)
    high, low = (known >> 32).sum(axis=0), (known & 0xFFFFFFFF).sum(axis=0)
    return [(int(h) << 32) + int(lo) for h, lo in zip(high, low, strict=True)]
