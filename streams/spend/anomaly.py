"""Anomaly incidents: when a member's spend is worth a person's attention, since when, and how much it cost. Pure.

`baseline` says how improbable a closed window is; here a policy makes incidents of it. An incident opens when the
window is improbable, AND well above what was expected, AND the excess is worth money. It is updated each time its
excess has doubled, and closes after some calm. Only spend above the expected opens an incident: a weekend, a holiday
or a member that left is not an anomaly of spend. Amounts are integers of picodollars; scores are money-free.

One record of dtype `State` a member and detector (one detector for five-minute windows, one for hours), so that many
members are judged in one call and each one's record can live in a table.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from streams.spend import baseline

PICOS = 10**12  # picodollars a dollar

Change = Literal["opened", "updated", "closed"]
Severity = Literal["minor", "major", "critical"]

State = np.dtype(
    [
        ("baseline", baseline.State),
        ("open", "?"),
        ("published", "?"),  # the opening was not held back by the storm limit
        ("since", "i8"),  # number of the first window of the incident
        ("latest", "i8"),  # number of the latest window in which spend was high
        ("expected", "i8", 2),  # dollars and picodollars, of the windows from `since` that were above what was expected
        ("actual", "i8", 2),
        ("reported", "i8"),  # whole dollars of excess at the latest publication
        ("score", "f4"),  # money-free: the greatest score so far
    ]
)


@dataclass(frozen=True)
class Policy:
    """When improbable becomes an incident; one policy for all members of a detector.

    `sudden` and `dearer` are surprises (natural logarithms, see `baseline.Evidence`), `drifted` a cumulative sum, that
    make a score of 1, the threshold; a `drifted` beyond the sum's bound (60) is a test that is switched off.
    """

    sudden: float = 7.75  # money-free
    dearer: float = 10.0  # money-free
    drifted: float = 1_000.0  # money-free
    least_change: float = 0.5  # money-free: at least this share above what was expected
    floor_picos: int = PICOS  # excess of one window that is worth an alert
    calm_windows: int = 48  # so many windows without high spend close the incident
    major_picos: int = 10 * PICOS  # excess an hour
    critical_picos: int = 100 * PICOS


@dataclass(frozen=True)
class Detector:
    """A window width with how it learns and when it speaks."""

    learning: baseline.Setting = field(default_factory=baseline.Setting)
    policy: Policy = field(default_factory=Policy)

    @property
    def window_seconds(self) -> int:
        return self.learning.window_seconds


FIVE_MINUTES = Detector()
HOUR = Detector(
    baseline.Setting(
        window_seconds=3_600, unit_picos=12 * 10**10, level_memory=336, offset_memory=48, tail_memory=336, warm=24
    ),
    Policy(sudden=8.0, drifted=24.0, floor_picos=5 * PICOS),  # money-free
)
DETECTORS = (FIVE_MINUTES, HOUR)


@dataclass(frozen=True)
class Finding:
    """A change of one member's incident.

    `position` is the member's row in the call. Times are seconds since the epoch, UTC: `window` is the start of the
    window that caused the change, `since` the start of the incident's first window, `until` the end of the latest
    high one. Amounts are picodollars over the incident so far: excess = actual - expected, exactly.
    """

    position: int
    change: Change
    severity: Severity
    window_seconds: int
    window: int
    since: int
    until: int
    expected: int
    actual: int
    score: float  # money-free: 1 is the threshold

    @property
    def excess(self) -> int:
        return self.actual - self.expected


def incident_id(dimension: str, member: str, finding: Finding) -> str:
    """An id that is a function of what the incident is about, the same whoever finds it and however often."""
    return f"anomaly/{dimension}/{member}/{finding.window_seconds}/{finding.since}"


def new_members(count: int) -> np.ndarray:
    """States of members that have never been seen: dtype `State`, shape (count,)."""
    states = np.zeros(count, dtype=State)
    states["baseline"] = baseline.new_members(count)
    return states


def dump(states: np.ndarray) -> list[bytes]:
    """Each member's state as bytes, for a table."""
    return baseline.split(states)


def load(values: Sequence[bytes]) -> np.ndarray:
    """States from `dump`'s bytes, writable.

    Raises:
        ValueError: bytes of another format or length.
    """
    states = baseline.join(values, State)
    baseline.refuse_other_format(states["baseline"])
    return states


def observe(
    states: np.ndarray, windows: np.ndarray, picos: np.ndarray, units: np.ndarray, detector: Detector
) -> list[Finding]:
    """Judge and learn one closed window of each member.

    Args:
        states: dtype `State`, (n,); changed in place.
        windows: int64 (n,), number of the closed window, start // window_seconds.
        picos: int64 (n,), spend in it.
        units: int64 (n,), tokens it bought (else calls); 0: not known.

    Returns:
        What changed, in the order of the members. An opening comes with `close_calm`'s closing before it when the calm
        was long enough, so that a repeated incident is one of its own.

    Raises:
        ValueError: a window is not later than the member's latest.
    """
    closed = close_calm(states, windows, detector)
    policy, learning = detector.policy, detector.learning
    evidence = baseline.observe(states["baseline"], windows, picos, units, learning)
    expected = baseline.expected_picos(evidence.expected, learning.unit_picos)
    spent = np.maximum(picos, 0)
    excess = spent - expected
    high = excess >= policy.floor_picos
    if high.any():
        rise = baseline.log_spend(picos, learning.unit_picos) - evidence.expected  # money-free
        high &= rise >= np.log1p(policy.least_change)
    rows = np.flatnonzero(states["open"] | high)
    if not len(rows):
        return closed
    score = _score(evidence, policy)
    opening = rows[high[rows] & (score[rows] >= 1) & ~states["open"][rows]]
    if len(opening):
        _open(states, opening, windows)
    rows = rows[states["open"][rows]]
    counted = rows[excess[rows] > 0]
    _add(states["expected"], counted, expected)
    _add(states["actual"], counted, spent)
    # An incident lasts while spend is high, though a level that stays is no longer improbable.
    lasts = rows[high[rows]]
    states["latest"][lasts] = windows[lasts]
    states["score"][rows] = np.maximum(states["score"][rows], score[rows])
    dollars = states["actual"][lasts, 0] - states["expected"][lasts, 0]
    doubled = dollars >= 2 * np.maximum(states["reported"][lasts], 1)
    findings = [
        _finding(states, int(row), "updated" if states["published"][row] else "opened", int(windows[row]), detector)
        for row in lasts[np.isin(lasts, opening) | ~states["published"][lasts] | doubled]
    ]
    return sorted([*closed, *findings], key=lambda finding: finding.position)


def close_calm(states: np.ndarray, windows: np.ndarray, detector: Detector) -> list[Finding]:
    """Close the incidents that have been calm for long enough at `windows`, the number of the window that closes.

    `observe` does it for the members it is given; call it with the watermark's window for members that send nothing
    any more. An incident whose opening was held back closes without a word.
    """
    if not states["open"].any():
        return []
    over = states["open"] & (windows - states["latest"] > detector.policy.calm_windows)
    findings = [
        _finding(states, int(row), "closed", int(windows[row]), detector)
        for row in np.flatnonzero(over & states["published"])
    ]
    states["open"] &= ~over
    states["published"] &= ~over
    return findings


def publish(states: np.ndarray, findings: Sequence[Finding], room: int) -> tuple[list[Finding], int]:
    """The storm limit: let at most `room` openings through, those with the greatest excess, and everything else.

    An opening that is held back stays open unpublished, and is offered again with its member's next high window.

    Returns:
        the findings to send, in their order, and how many openings were held back (to be counted and told as one).
    """
    openings = sorted((f for f in findings if f.change == "opened"), key=lambda f: (-f.excess, f.position))
    held = {finding.position for finding in openings[max(room, 0) :]}
    sent = [finding for finding in findings if not (finding.change == "opened" and finding.position in held)]
    for finding in sent:
        if finding.change != "closed":
            states["published"][finding.position] = True
            states["reported"][finding.position] = finding.excess // PICOS
    return sent, len(held)


def _score(evidence: baseline.Evidence, policy: Policy) -> np.ndarray:
    """The strongest of what speaks for an incident (n,), money-free: 1 is the threshold."""
    sudden, dearer = evidence.sudden[:, 0] / policy.sudden, evidence.dearer[:, 0] / policy.dearer
    return np.maximum(np.maximum(sudden, dearer), evidence.drifted / policy.drifted)


def _open(states: np.ndarray, rows: np.ndarray, windows: np.ndarray) -> None:
    states["since"][rows] = windows[rows]
    for name in ("reported", "score", "expected", "actual", "published"):
        states[name][rows] = 0
    states["open"][rows] = True


def _add(sums: np.ndarray, rows: np.ndarray, picos: np.ndarray) -> None:
    """Add to sums (n, 2) of dollars and picodollars, in place: an int64 of picodollars ends at nine million dollars."""
    carried = sums[rows, 1] + picos[rows] % PICOS
    sums[rows, 0] += picos[rows] // PICOS + carried // PICOS
    sums[rows, 1] = carried % PICOS


def _finding(states: np.ndarray, row: int, change: Change, window: int, detector: Detector) -> Finding:
    state, width = states[row], detector.window_seconds
    expected, actual = (int(state[name][0]) * PICOS + int(state[name][1]) for name in ("expected", "actual"))
    since, latest = int(state["since"]), int(state["latest"])
    an_hour = (actual - expected) * 3_600 // ((latest + 1 - since) * width)
    return Finding(
        position=int(row),
        change=change,
        severity=_severity(an_hour, detector.policy),
        window_seconds=width,
        window=window * width,
        since=since * width,
        until=(latest + 1) * width,
        expected=expected,
        actual=actual,
        score=round(float(state["score"]), 3),  # money-free
    )


def _severity(excess_an_hour: int, policy: Policy) -> Severity:
    if excess_an_hour >= policy.critical_picos:
        return "critical"
    return "major" if excess_an_hour >= policy.major_picos else "minor"
