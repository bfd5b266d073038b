"""Whatever dies, half saves its state, or wakes up and repeats old things: windows and crossings are the truth.

What runs is the real code: `Merging`, `Windows`, `Closing`, `Watch`, `BudgetBook`, `Alarms`, `WindowsLog`.
"""

from typing import Any

import pytest

from streams.spend.merging import CLOSING, Merging, Message
from streams.spend.windows import DAY, LEVELS, QUARTER_HOUR
from streams.windows_log import WindowsLog
from tests.unit import windows_world as model
from tests.unit.test_merging import same
from tests.unit.windows_world import Owner, World

RUNS = 20


def wrongs(world: World, end: Owner) -> list[str]:
    """What differs from the truth."""
    found = []
    truth = model.windows_by_hand(world)
    published: dict[str, dict[Any, Any]] = {level: {} for level in LEVELS}
    for (level, *key), (_, sums) in world.published.items():
        published[level][tuple(key)] = sums
    for name, windows in (("kept", model.levels_of(end)), ("published", published)):
        seen = model.windows_in({QUARTER_HOUR: {}, DAY: {}} | windows)
        found += [f"{name} {level}" for level in (QUARTER_HOUR, DAY) if seen[level] != truth[level]]
    opened = {alert for alert in world.alerts if alert.endswith(("/opened", "/escalated"))}
    if opened != model.crossings_by_hand(world):
        found.append(f"crossings {opened ^ model.crossings_by_hand(world)}")
    return found


@pytest.mark.parametrize("start", range(0, RUNS, 10))
def test_windows_and_crossings_are_the_truth_whatever_dies(start: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in range(start, start + 10):
        world, end = model.run(seed, monkeypatch)
        assert wrongs(world, end) == [], seed
        same(end.merging, model.without_a_crash(world).merging)


def is_noticed(monkeypatch: pytest.MonkeyPatch, runs: int = 60) -> bool:
    for seed in range(runs):
        try:
            world, end = model.run(seed, monkeypatch)
        except AssertionError:
            return True
        if wrongs(world, end):
            return True
    return False


def test_without_the_check_for_repeats_it_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    def take(self: Merging, message: Message) -> bool:
        self.sources[message.partition] = message.source
        return True

    monkeypatch.setattr(Merging, "_take", take)
    assert is_noticed(monkeypatch)


def test_without_a_word_of_the_blocks_in_a_chunk_it_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Merging, "_held", lambda self, message: frozenset())
    assert is_noticed(monkeypatch)


def test_where_all_owners_share_an_epoch_it_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(WindowsLog, "claim", lambda self, producer: None)
    assert is_noticed(monkeypatch)


def test_where_a_closing_is_never_ahead_findings_would_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    held = Merging._held

    def without_closings(self: Merging, message: Message) -> frozenset[Any]:
        return frozenset(place for place in held(self, message) if place[0] != CLOSING)

    monkeypatch.setattr(Merging, "_held", without_closings)
    for seed in range(40):
        world, end = model.run(seed, monkeypatch)
        try:
            same(end.merging, model.without_a_crash(world).merging)
        except AssertionError:
            return
    raise AssertionError("nobody noticed")
