"""The anomaly detectors of many members: closed windows in, incidents out. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from streams.spend import anomaly
from streams.spend.anomaly import Detector, Finding

WATCHED_FROM = 10**11  # picodollars: who never spends ten cents in a window is not watched


@dataclass
class Watch:
    """One detector's states, a row a member, and how many openings may still be told in the current hour.

    `most` members are watched, those that came first among those that spend.
    """

    detector: Detector
    most: int
    per_hour: int
    members: list[tuple[str, str]] = field(default_factory=list)
    states: np.ndarray = field(default_factory=lambda: anomaly.new_members(0))
    hour: int = -1  # of event time, in which `told` openings were published
    told: int = 0
    held_back: int = 0
    _rows: dict[tuple[str, str], int] = field(default_factory=dict)

    def put_back(self, members: list[tuple[str, str]], states: np.ndarray) -> None:
        """Members and their states as they were saved."""
        self.members, self.states = members, states
        self._rows = {member: row for row, member in enumerate(members)}

    def judge(self, closed: pl.DataFrame) -> list[tuple[str, str, Finding]]:
        """Judge closed windows, as `Closing.close` gives them, in the order of time.

        Returns:
            (dimension, member, finding), in the order in which they came about.
        """
        if closed.is_empty():
            return []
        found: list[tuple[str, str, Finding]] = []
        windows = closed["window"].to_numpy()
        picos, units = closed["picos"].to_numpy(), closed["units"].to_numpy()
        keys = list(zip(closed["dimension"].to_list(), closed["member"].to_list(), strict=True))
        self._admit(keys[row] for row in np.flatnonzero(picos >= WATCHED_FROM).tolist())
        rows = np.array([self._rows.get(key, -1) for key in keys], np.int64)
        starts = np.flatnonzero(np.diff(windows, prepend=-1))
        for start, end in zip(starts, [*starts[1:], len(windows)], strict=True):
            here = np.flatnonzero(rows[start:end] >= 0) + start
            here = here[windows[here] > self.states["baseline"]["last"][rows[here]]]  # judged before a takeover
            if len(here):
                states = self.states[rows[here]]
                findings = anomaly.observe(states, windows[here], picos[here], units[here], self.detector)
                found += self._tell(states, findings, rows[here], int(windows[start]))
                self.states[rows[here]] = states
        return found

    def calm(self, watermark: int) -> list[tuple[str, str, Finding]]:
        """Close the incidents of members that send nothing any more; `watermark` is seconds since 1970."""
        still = np.flatnonzero(self.states["open"])
        if not len(still):
            return []
        states = self.states[still]
        window = watermark // self.detector.window_seconds - 1
        findings = anomaly.close_calm(states, np.full(len(still), window), self.detector)
        self.states[still] = states
        return [(*self.members[still[finding.position]], finding) for finding in findings]

    def _admit(self, spenders: Iterable[tuple[str, str]]) -> None:
        before = len(self.members)
        for key in spenders:
            if key not in self._rows and len(self.members) < self.most:
                self._rows[key] = len(self.members)
                self.members.append(key)
        if len(self.members) > before:
            self.states = np.concatenate([self.states, anomaly.new_members(len(self.members) - before)])

    def _tell(
        self, states: np.ndarray, findings: list[Finding], rows: np.ndarray, window: int
    ) -> list[tuple[str, str, Finding]]:
        if not findings:
            return []
        hour = window * self.detector.window_seconds // 3_600
        if hour != self.hour:
            self.hour, self.told = hour, 0
        sent, held_back = anomaly.publish(states, findings, self.per_hour - self.told)
        self.told += sum(finding.change == "opened" for finding in sent)
        self.held_back += held_back
        return [(*self.members[rows[finding.position]], finding) for finding in sent]
