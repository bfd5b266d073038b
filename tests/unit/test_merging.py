"""A partition of spend.totals comes to the same however its log is cut: windows, watermark, findings, each once."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.spend import anomaly
from streams.spend.anomaly import DETECTORS
from streams.spend.closing import LATENESS, MOST_PICOS, SPENT, Closing, spent
from streams.spend.merging import CLOSING, Merged, Merging, Message, Source
from streams.spend.totals import SCHEMA
from streams.spend.watch import WATCHED_FROM, Watch
from streams.spend.windows import KEY, LEVELS, MINUTE, WINDOW, Retention, Windows
from tests.unit.priced_rows_by_hand import deltas_of, summed

NOON = 1_795_780_800  # 2026-11-27 12:00 UTC
HOUR, DOLLAR = 3_600, 10**12
EMPTY = SCHEMA.to_frame()


def merging(partitions: int = 1, per_hour: int = 100, most: int = 100, cap: int = 1_000) -> Merging:
    return Merging(
        Windows(0, ZoneInfo("Europe/Zurich"), Retention(3 * HOUR, 40 * 86_400), cap),
        tuple(Closing(detector.window_seconds) for detector in DETECTORS),
        tuple(Watch(detector, most, per_hour) for detector in DETECTORS),
        partitions,
        ("workload",),
    )


def message(offset: int, block: int, at: int, *, partition: int = 0, idle: bool = False, **more: Any) -> Message:
    """Spend of the workload `more["w"]` (picodollars by name) in the minute of `at`, which is the latest event time."""
    rows = [("workload", name, at, {"cost_total": picos}) for name, picos in more.get("w", {}).items()]
    rows += [("global", "", at, {"cost_total": sum(more.get("w", {}).values())})] if rows else []
    source = Source(block, block + 1, 0, 0, at * 1_000_000, idle)
    return Message(offset, partition, source, EMPTY if idle else deltas_of(rows))


def windows_of(state: Merging, level: str) -> dict[tuple[Any, ...], Any]:
    chunks = [chunk.frame for chunk in state.windows.chunks[level].values()]
    return summed(pl.concat([WINDOW.to_frame(), *chunks]), *KEY)


def same(one: Merging, other: Merging) -> None:
    """Two states do not differ in anything that decides what comes next."""
    for level in LEVELS:
        assert windows_of(one, level) == windows_of(other, level)
    assert one.windows.members == other.windows.members
    assert (one.sources, one.watermark, one.position) == (other.sources, other.watermark, other.position)
    for mine, theirs in zip(one.closings, other.closings, strict=True):
        key = ["dimension", "member", "window"]
        assert (mine.through, mine.open.sort(key).rows()) == (theirs.through, theirs.open.sort(key).rows())
    for mine, theirs in zip(one.watches, other.watches, strict=True):
        assert (mine.members, mine.hour, mine.told) == (theirs.members, theirs.hour, theirs.told)
        assert anomaly.dump(mine.states) == anomaly.dump(theirs.states)


# Repeats, idle partitions, the watermark.


def test_a_block_that_was_applied_changes_nothing() -> None:
    state = merging()
    state.apply([message(0, 4, NOON, w={"a": 5})])
    before = windows_of(state, MINUTE)
    again = state.apply([message(1, 4, NOON, w={"a": 5}), message(2, 3, NOON, w={"a": 5})])
    assert windows_of(state, MINUTE) == before
    assert all(frame.is_empty() for frame in again.touched.values())
    assert (state.position, state.sources[0].block) == (3, 4)


def test_a_block_is_a_repeat_of_its_own_partition_only() -> None:
    state = merging(partitions=2)
    state.apply([message(0, 4, NOON, w={"a": 5}), message(1, 4, NOON, partition=1, w={"a": 7})])
    assert windows_of(state, MINUTE)["workload", "a", NOON]["cost_total"] == 12


def test_there_is_no_watermark_before_every_partition_was_heard_of() -> None:
    state = merging(partitions=2)
    assert state.apply([message(0, 0, NOON, w={"a": 5})]).watermark == 0
    assert state.apply([message(1, 0, NOON - HOUR, partition=1, w={"a": 5})]).watermark == NOON - HOUR


def test_the_slowest_partition_that_is_not_at_its_end_holds_the_watermark() -> None:
    state = merging(partitions=2)
    state.apply([message(0, 0, NOON, w={"a": 5}), message(1, 0, NOON - HOUR, partition=1, w={"a": 5})])
    assert state.apply([message(2, 0, NOON - HOUR, partition=1, idle=True)]).watermark == NOON
    woken = state.apply([message(3, 1, NOON - 1_800, partition=1, w={"a": 5})])
    assert woken.watermark == NOON  # it never goes back
    assert state.apply([message(4, 1, NOON + HOUR, w={"a": 5})]).watermark == NOON
    assert state.apply([message(5, 2, NOON + 7, partition=1, w={"a": 5})]).watermark == NOON + 7


def test_messages_behind_the_one_that_takes_the_watermark_far_enough_are_left_for_the_next_call() -> None:
    state = merging()
    waiting = iter([message(n, n, NOON + n * HOUR, w={"a": 5}) for n in range(4)])
    assert state.apply(waiting, until=NOON + 2 * HOUR).watermark == NOON + 2 * HOUR
    assert state.position == 3
    assert len(windows_of(state, MINUTE)) == 6
    assert state.apply(waiting, until=NOON + 9 * HOUR).watermark == NOON + 3 * HOUR


def test_where_all_are_at_their_end_the_latest_event_is_the_watermark() -> None:
    state = merging(partitions=2)
    state.apply([message(0, 0, NOON, w={"a": 5}), message(1, -1, 0, partition=1, idle=True)])
    assert state.watermark == NOON
    assert state.apply([message(2, 0, NOON, idle=True)]).watermark == NOON


def test_word_of_long_ago_that_a_partition_was_at_its_end_says_nothing() -> None:
    state = merging(partitions=2)
    state.apply([message(0, 5, NOON, w={"a": 5}), message(1, 9, NOON - HOUR, partition=1, w={"a": 5})])
    state.apply([message(2, 8, NOON - HOUR, partition=1, idle=True)])  # by an agent that was paused since
    assert state.watermark == NOON - HOUR
    state.apply([message(3, 9, NOON - HOUR, partition=1, idle=True)])
    assert state.watermark == NOON
    state.apply([message(4, 8, NOON - HOUR, partition=1, idle=True)])
    assert state.sources[1].idle  # nor that it is not any more, which nobody would say again
    assert state.apply([message(5, 6, NOON + HOUR, w={"a": 5})]).watermark == NOON + HOUR


def test_word_that_a_partition_is_at_its_end_takes_no_block_as_applied() -> None:
    state = merging()
    state.apply([message(0, 2, NOON, w={"a": 5}), message(1, 3, NOON, idle=True)])
    state.apply([message(2, 3, NOON, w={"a": 7})])
    assert windows_of(state, MINUTE)["workload", "a", NOON]["cost_total"] == 12


def test_a_message_without_deltas_moves_the_watermark() -> None:
    state = merging()
    found = state.apply([Message(0, 0, Source(0, event_time_max=NOON * 10**6), EMPTY)])
    assert (found.watermark, state.sources[0].block) == (NOON, 0)
    assert all(frame.is_empty() and frame.schema == WINDOW for frame in found.touched.values())


# Closing windows.


def test_a_window_closes_when_the_watermark_is_thirty_seconds_beyond_it() -> None:
    closing = Closing(300)
    assert not closing.is_due(LATENESS + 299)  # window 0 ends at 300
    assert closing.is_due(LATENESS + 300)
    closing.close(LATENESS + 300)
    assert (closing.through, closing.is_due(LATENESS + 599), closing.is_due(LATENESS + 600)) == (0, False, True)


def test_closed_windows_come_in_the_order_of_time_and_late_spend_is_not_judged() -> None:
    closing = Closing(300)
    rows = deltas_of([("workload", name, at, {"cost_total": 5}) for at in (900, 0, 300) for name in "ba"])
    closing.add(spent(rows, 300, ("workload",)), 300)
    closed = closing.close(900 + LATENESS)
    assert closed.select("window", "member").rows() == [(0, "a"), (0, "b"), (1, "a"), (1, "b")]
    closing.add(spent(rows, 300, ("workload",)), 300)
    assert closing.open.select("member", "window", "calls").sort("member").rows() == [("a", 3, 2), ("b", 3, 2)]


def test_spend_that_statistics_cannot_hold_is_clipped_and_corrections_are_none() -> None:
    closing = Closing(300)
    rows = [("workload", "dear", 0, {"cost_total": 9 * 10**18, "input_tokens": 3, "output_tokens": 4})] * 3
    closing.add(spent(deltas_of([*rows, ("workload", "less", 0, {"cost_total": -5})]), 300, ("workload",)), 300)
    found = {row["member"]: (row["picos"], row["units"]) for row in closing.close(10**6).iter_rows(named=True)}
    assert found == {"dear": (MOST_PICOS, 21), "less": (0, 1)}


def test_hours_are_the_sums_of_five_minutes() -> None:
    closing = Closing(3_600)
    rows = deltas_of([("workload", "a", NOON + n * 60, {"cost_total": n}) for n in range(120)])
    closing.add(spent(rows, 300, ("workload",)), 300)
    assert closing.open.schema == SPENT
    assert closing.close(NOON + 2 * HOUR + LATENESS)["picos"].to_list() == [sum(range(60)), sum(range(60, 120))]


# Any batches: the same findings and the same windows.


def traffic(seed: int, minutes: int = 600) -> list[Message]:
    """Workloads of even spend; one runs away, and so do several at once, two partitions, repeats, idle words."""
    rng = np.random.default_rng(seed)
    log: list[Message] = []
    blocks = [0, 0]
    for minute in range(0, minutes, 5):
        at = NOON + minute * 60
        for partition in rng.permutation(2).tolist():
            spend = {
                name: int(rng.integers(4, 6) * DOLLAR // 10) * (60 if minute >= 500 and name in "bcde" else 1)
                for name in "abcdef"
                if rng.random() < 0.9
            }
            late = int(rng.choice([0, 0, 0, 400, 4 * HOUR]))
            log.append(message(len(log), blocks[partition], at - late, partition=partition, w=spend))
            blocks[partition] += 1
            if rng.random() < 0.2:
                again = log[int(rng.integers(max(0, len(log) - 9), len(log)))]
                log.append(replace(again, offset=len(log)))
            if rng.random() < 0.05:
                log.append(message(len(log), blocks[partition] - 1, at, partition=partition, idle=True))
    return log


def batches(log: Sequence[Message], cuts: Sequence[int]) -> Iterator[Sequence[Message]]:
    position = 0
    for count in [*cuts, *[40] * len(log)]:
        if position < len(log):
            yield log[position : position + count]
            position += count


def run(log: Sequence[Message], cuts: Sequence[int], state: Merging) -> tuple[list[Any], list[Merged]]:
    merged = [state.apply(batch) for batch in batches(log, cuts)]
    return [found for each in merged for found in each.found], merged


@pytest.fixture(scope="module")
def one_by_one() -> tuple[list[Message], list[Any], Merging]:
    log, state = traffic(1), merging(2, per_hour=2)
    found, _ = run(log, [1] * len(log), state)
    return log, found, state


def test_the_traffic_has_something_to_find(one_by_one: tuple[list[Message], list[Any], Merging]) -> None:
    _, found, state = one_by_one
    opened = [member for _, member, finding in found if finding.change == "opened"]
    assert len(opened) >= 2 and set(opened) <= set("bcde")
    assert sum(watch.held_back for watch in state.watches) > 0
    assert state.windows.frozen[MINUTE] > 0


@given(cuts=st.lists(st.integers(1, 120), max_size=12))
@settings(max_examples=10, deadline=None)
def test_the_same_log_gives_the_same_findings_and_windows_in_any_batches(
    one_by_one: tuple[list[Message], list[Any], Merging], cuts: list[int]
) -> None:
    log, findings, one = one_by_one
    state = merging(2, per_hour=2)
    found, merged = run(log, cuts, state)
    assert found == findings
    same(state, one)
    assert state.windows.frozen == one.windows.frozen
    newest: dict[str, dict[tuple[Any, ...], Any]] = {level: {} for level in LEVELS}
    for each in merged:
        for level, frame in each.touched.items():
            newest[level] |= summed(frame, *KEY)
    for level in LEVELS:
        held = windows_of(state, level)
        assert {key: newest[level][key] for key in held} == held  # what was published last is what there is


@given(start=st.integers(0, 200), cuts=st.lists(st.integers(1, 120), max_size=6))
@settings(max_examples=5, deadline=None)
def test_a_log_that_is_read_again_from_any_earlier_place_changes_nothing(
    one_by_one: tuple[list[Message], list[Any], Merging], start: int, cuts: list[int]
) -> None:
    log, findings, one = one_by_one
    state = merging(2, per_hour=2)
    found, _ = run(log, [len(log)], state)
    again, _ = run(log[start:], cuts, state)
    assert (found, again) == (findings, [])
    same(state, one)


def test_without_the_check_for_repeats_sums_are_too_high(
    one_by_one: tuple[list[Message], list[Any], Merging], monkeypatch: pytest.MonkeyPatch
) -> None:
    log, _, one = one_by_one

    def take(self: Merging, message: Message) -> bool:
        self.sources[message.partition] = message.source
        return True

    monkeypatch.setattr(Merging, "_take", take)
    state = merging(2)
    run(log, [], state)
    assert windows_of(state, "day") != windows_of(one, "day")


def test_a_closing_that_is_ahead_is_left_alone_and_one_that_is_not_is_not() -> None:
    state = merging()
    state.ahead = {(CLOSING, 300): {0: 4}}
    state.apply([message(0, 4, NOON, w={"a": 5}), message(1, 5, NOON, w={"a": 7})])
    five, hour = state.closings
    assert (five.open["cost_total"].to_physical().to_list(), hour.open["cost_total"].to_physical().to_list()) == (
        [7],
        [12],
    )
    assert state.blocks_of((CLOSING, 300)) == {0: 5}


# Watches.


def closed(*rows: tuple[str, int, int]) -> pl.DataFrame:
    """Closed windows of workloads: (member, window, picodollars)."""
    return pl.DataFrame(
        [("workload", *row, 1) for row in sorted(rows, key=lambda row: row[1])],
        schema={"dimension": str, "member": str, "window": pl.Int64, "picos": pl.Int64, "units": pl.Int64},
        orient="row",
    )


def test_who_never_spends_ten_cents_in_a_window_is_not_watched_and_only_so_many_are() -> None:
    watch = Watch(DETECTORS[0], most=2, per_hour=9)
    watch.judge(closed(("poor", 1, WATCHED_FROM - 1), ("a", 1, WATCHED_FROM)))
    assert watch.members == [("workload", "a")]
    watch.judge(closed(("poor", 2, WATCHED_FROM - 1), ("b", 2, WATCHED_FROM), ("c", 2, WATCHED_FROM)))
    assert watch.members == [("workload", "a"), ("workload", "b")]


def test_windows_that_were_judged_before_a_takeover_are_not_judged_again() -> None:
    watch = Watch(DETECTORS[0], most=9, per_hour=9)
    windows = closed(*(("a", window, WATCHED_FROM * 5) for window in range(100)), ("a", 100, WATCHED_FROM * 900))
    assert [finding.change for _, _, finding in watch.judge(windows)] == ["opened"]
    before = anomaly.dump(watch.states)
    assert watch.judge(windows) == []
    assert anomaly.dump(watch.states) == before


def test_an_hour_tells_so_many_openings_and_the_next_one_has_room_again() -> None:
    watch = Watch(DETECTORS[0], most=9, per_hour=1)
    quiet = [(name, window, WATCHED_FROM * 5) for window in range(0, 120) for name in "abc"]
    watch.judge(closed(*quiet))
    loud = [watch.judge(closed(*((name, window, WATCHED_FROM * 900) for name in "abc"))) for window in range(120, 133)]
    opened = [[member for _, member, finding in found if finding.change == "opened"] for found in loud]
    assert [len(names) for names in opened] == [1, *[0] * 11, 1]  # 120 and 132 begin an hour
    assert watch.held_back == 2 * 12 + 1
    assert watch.hour == 11 and watch.told == 1


def test_the_incident_of_a_member_that_is_silent_ends_after_the_calm() -> None:
    watch = Watch(DETECTORS[0], most=9, per_hour=9)
    watch.judge(closed(*(("a", window, WATCHED_FROM * 5) for window in range(100)), ("a", 100, WATCHED_FROM * 900)))
    calm = DETECTORS[0].policy.calm_windows
    assert watch.calm((101 + calm) * 300) == []
    ((dimension, member, finding),) = watch.calm((102 + calm) * 300)
    assert (dimension, member, finding.change) == ("workload", "a", "closed")
    assert watch.calm((103 + calm) * 300) == []
