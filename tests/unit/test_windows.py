"""Windows are the sums of their deltas, at every level, in any order and however the log is cut into batches."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams import blocks
from streams.spend.dimensions import is_other
from streams.spend.totals import MEASURES
from streams.spend.windows import DAY, KEY, LEVELS, MINUTE, QUARTER_HOUR, WINDOW, Retention, Windows
from streams.windows_block import windows_block
from tests.unit.priced_rows_by_hand import Sums, deltas_of, summed

NOON = 1_795_780_800  # 2026-11-27 12:00 UTC
HOUR, A_DAY = 3_600, 86_400
ALL = Retention(minute=40 * A_DAY, quarter_hour=80 * A_DAY)
ZONES = ["UTC", "Europe/Zurich", "Asia/Kathmandu", "America/St_Johns", "America/Havana", "Pacific/Apia"]
Row = tuple[str, str, int, Sums]


def windows_in(zone: str = "UTC", retention: Retention = ALL, cap: int = 1_000) -> Windows:
    return Windows(3, ZoneInfo(zone), retention, cap)


def add(windows: Windows, *rows: Row, at: int = 0, version: int = 1, watermark: int = 0) -> dict[str, pl.DataFrame]:
    touched = windows.merge([(deltas_of(rows), at)], version, watermark)
    windows.expire(watermark)
    return touched


def kept(windows: Windows, level: str) -> pl.DataFrame:
    return pl.concat([WINDOW.to_frame(), *(chunk.frame for chunk in windows.chunks[level].values())])


def calls(windows: Windows, level: str, dimension: str = "global") -> dict[int, int]:
    mine = kept(windows, level).filter(pl.col("dimension") == dimension)
    found: Counter[int] = Counter()
    for start, count in mine.select("start", "calls").iter_rows():
        found[start] += count
    return dict(found)


@lru_cache(None)
def midnight(at: int, zone: str) -> int:
    """The first quarter of an hour of the local day, found by walking back from one."""
    there = ZoneInfo(zone)
    day = datetime.fromtimestamp(at, UTC).astimezone(there).date()
    while datetime.fromtimestamp(at - 900, UTC).astimezone(there).date() == day:
        at -= 900
    return at


def test_minutes_are_given_by_the_hours_that_a_stretch_has_a_part_of() -> None:
    windows = windows_in()
    add(windows, *(("workload", "job", NOON + minute * 60, {"calls": 1}) for minute in (0, 59, 60, 119, 120)))

    def starts(since: int, until: int) -> list[list[int]]:
        return [((frame["start"] - NOON) // 60).sort().to_list() for frame in windows.minutes(since, until)]

    assert starts(NOON + 600, NOON + HOUR) == [[0, 59]]
    assert starts(NOON + HOUR - 60, NOON + HOUR + 60) == [[0, 59], [60, 119]]
    assert starts(NOON - HOUR, NOON) == [] and starts(NOON + 3 * HOUR, NOON + 4 * HOUR) == []


def test_a_delta_is_in_its_minute_its_quarter_and_its_day() -> None:
    windows = windows_in()
    touched = add(windows, ("global", "", NOON + 1_000, {"calls": 2, "cost_total": 5}), version=9)
    assert {level: frame.select("start", "calls", "version").row(0) for level, frame in touched.items()} == {
        MINUTE: (NOON + 960, 2, 9),
        QUARTER_HOUR: (NOON + 900, 2, 9),
        DAY: (NOON - 12 * HOUR, 2, 9),
    }


def test_what_is_returned_is_the_whole_window_and_only_those_that_changed() -> None:
    windows = windows_in()
    add(windows, ("global", "", NOON, {}), ("customer", "acme", NOON, {}), ("customer", "globex", NOON, {}))
    touched = add(windows, ("customer", "acme", NOON + 60, {"calls": 5}), version=2)
    assert touched[MINUTE].select("member", "start", "calls", "version").rows() == [("acme", NOON + 60, 5, 2)]
    assert touched[QUARTER_HOUR].select("member", "start", "calls", "version").rows() == [("acme", NOON, 6, 2)]
    assert touched[DAY].select("member", "calls", "version").rows() == [("acme", 6, 2)]
    assert kept(windows, DAY).filter(member="globex")["version"].to_list() == [1]


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("around", ["2026-03-29T01:00", "2026-10-25T01:00", "2026-03-08T05:30", "2026-11-01T04:30"])
def test_a_day_is_the_local_one_where_clocks_change_too(zone: str, around: str) -> None:
    change = int(datetime.fromisoformat(around).replace(tzinfo=UTC).timestamp())
    seconds = range(change - 30 * HOUR, change + 30 * HOUR, 900)
    windows = windows_in(zone)
    add(windows, *(("global", "", second, {}) for second in seconds))
    assert calls(windows, DAY) == Counter(midnight(second, zone) for second in seconds)


def test_the_day_on_which_clocks_go_back_has_a_hundred_quarters() -> None:
    zone = ZoneInfo("Europe/Zurich")
    start = int(datetime(2026, 10, 25, tzinfo=zone).timestamp())
    windows = windows_in("Europe/Zurich")
    add(windows, *(("global", "", start + n * 900, {}) for n in range(101)))
    assert calls(windows, DAY) == {start: 100, start + 25 * HOUR: 1}


def test_a_minute_that_is_too_old_counts_in_its_quarter_and_day_only() -> None:
    windows = windows_in(retention=Retention(3 * HOUR, 40 * A_DAY))
    add(windows, ("global", "", NOON - 4 * HOUR, {}), at=NOON - 4 * HOUR, watermark=NOON)
    late = add(windows, ("global", "", NOON - 4 * HOUR, {"calls": 10}), at=NOON, version=2, watermark=NOON)
    assert late[MINUTE].is_empty()
    assert calls(windows, QUARTER_HOUR) == {NOON - 4 * HOUR: 11}
    assert calls(windows, DAY) == {NOON - 12 * HOUR: 11}
    assert windows.frozen == {MINUTE: 10, QUARTER_HOUR: 0, DAY: 0}


def test_a_quarter_that_is_too_old_counts_in_its_day_only() -> None:
    windows = windows_in(retention=Retention(3 * HOUR, 40 * A_DAY))
    old = NOON - 41 * A_DAY
    add(windows, ("global", "", old, {}), ("customer", "acme", old, {}), at=NOON, watermark=NOON)
    assert (calls(windows, MINUTE), calls(windows, QUARTER_HOUR)) == ({}, {})
    assert calls(windows, DAY) == {old - 12 * HOUR: 1}
    assert windows.frozen == {MINUTE: 1, QUARTER_HOUR: 1, DAY: 0}


def test_a_day_that_is_too_old_counts_nowhere_and_that_is_counted() -> None:
    windows = windows_in()
    add(windows, ("global", "", NOON - 402 * A_DAY, {"calls": 7}), at=NOON, watermark=NOON)
    assert windows.frozen == dict.fromkeys(LEVELS, 7)
    assert all(kept(windows, level).is_empty() for level in LEVELS)


def test_a_delta_that_was_on_time_is_counted_though_its_batch_ends_much_later() -> None:
    windows = windows_in(retention=Retention(3 * HOUR, 40 * A_DAY))
    add(windows, ("global", "", NOON, {}), at=NOON, watermark=NOON)
    touched = windows.merge(
        [
            (deltas_of([("global", "", NOON, {"calls": 10})]), NOON),
            (deltas_of([("global", "", NOON, {"calls": 100})]), NOON + 3 * HOUR + 60),
        ],
        9,
        NOON + 3 * HOUR + 60,
    )
    assert touched[MINUTE].select("start", "calls").rows() == [(NOON, 11)]  # it was published, and must be right
    assert windows.frozen[MINUTE] == 100


def test_what_is_let_go_of_is_named_for_the_log() -> None:
    windows = windows_in(retention=Retention(3 * HOUR, 40 * A_DAY))
    add(windows, ("global", "", NOON, {}))
    windows.expire(NOON + 4 * HOUR - 1)
    assert windows.expired[MINUTE] == []
    windows.expire(NOON + 4 * HOUR)
    assert windows.expired == {MINUTE: [NOON // HOUR], QUARTER_HOUR: [], DAY: []}
    assert kept(windows, MINUTE).is_empty()


def test_members_beyond_the_cap_are_one_and_those_before_it_stay() -> None:
    windows = windows_in(cap=2)
    names = ["acme", "globex", "initech", "hooli", ""]
    for version, name in enumerate([*names, *names]):
        add(windows, ("customer", name, NOON, {}), ("global", "", NOON, {}), version=version)
    found = dict(kept(windows, DAY).filter(dimension="customer").select("member", "calls").iter_rows())
    assert found == {"acme": 2, "globex": 2, "(other) 3": 4, "": 2}  # who bears no name is not one of the others
    assert windows.beyond_cap == 4
    assert calls(windows, DAY) == {NOON - 12 * HOUR: 10}


def test_whoever_calls_himself_other_gets_no_windows_of_his_own() -> None:
    windows = windows_in(cap=2)
    add(windows, *(("customer", f"(other) {n}", NOON, {}) for n in range(50)))
    assert kept(windows, DAY).select("member", "calls").rows() == [("(other) 3", 50)]
    assert windows.members["customer"] == set()


def test_chunks_that_hold_deltas_already_are_left_alone_and_the_others_are_not() -> None:
    windows = windows_in()
    held = {(MINUTE, NOON // HOUR), (DAY, NOON - 12 * HOUR)}
    windows.merge([(deltas_of([("global", "", NOON, {}), ("global", "", NOON + HOUR, {})]), 0)], 1, 0, held)
    assert calls(windows, MINUTE) == {NOON + HOUR: 1}
    assert calls(windows, QUARTER_HOUR) == {NOON: 1, NOON + HOUR: 1}
    assert calls(windows, DAY) == {}


def test_a_chunk_that_is_put_back_brings_its_members_and_is_not_saved_again() -> None:
    before, after = windows_in(cap=2), windows_in(cap=2)
    add(before, *(("customer", name, NOON, {}) for name in ("acme", "", "globex", "initech")))
    for level in LEVELS:
        for at, chunk in before.chunks[level].items():
            after.put_back(level, at, chunk.frame)
    assert after.members == before.members
    assert not any(chunk.dirty for level in LEVELS for chunk in after.chunks[level].values())
    add(after, ("customer", "hooli", NOON + 60, {}))
    assert after.beyond_cap == 1
    assert [next(iter(after.chunks[level].values())).dirty for level in LEVELS] == [True, True, True]


# Any log, any batches.

row = st.tuples(
    st.just("customer"),
    st.sampled_from(["", "a", "b", "c", "(other) 3", "(other)"]),
    st.integers(NOON - 50 * HOUR, NOON + 50 * HOUR),
    st.fixed_dictionaries(
        {"calls": st.integers(1, 9), "cost_total": st.integers(-(10**19), 10**19), "input_tokens": st.integers(0, 9)}
    ),
)
message = st.tuples(st.lists(row, min_size=1, max_size=4), st.integers(0, 30 * HOUR))
SHORT = Retention(minute=2 * HOUR, quarter_hour=20 * HOUR, day=3 * A_DAY)


def by_hand(
    log: Sequence[tuple[list[Row], int]], zone: str, cap: int, partition: int = 3
) -> dict[str, dict[tuple[str, str, int], Sums]]:
    """The windows that are kept after a log of (deltas, what they advance the watermark by)."""
    found: dict[str, dict[tuple[str, str, int], Sums]] = {level: {} for level in LEVELS}
    watermark, known = NOON - 60 * HOUR, set()
    for rows, advance in log:
        for dimension, name, second, sums in rows:
            if name and not is_other(name) and name not in known and len(known) < cap:
                known.add(name)
            member = name if name in known or not name else f"(other) {partition}"
            quarter = second // 900 * 900
            for level, start in ((MINUTE, second // 60 * 60), (QUARTER_HOUR, quarter), (DAY, midnight(quarter, zone))):
                if start >= watermark - SHORT.of(level):
                    mine = found[level].setdefault((dimension, member, start), dict.fromkeys(MEASURES, 0))
                    for measure, value in sums.items():
                        mine[measure] += value
        watermark += advance
    stretch = {MINUTE: HOUR, QUARTER_HOUR: A_DAY, DAY: 1}
    return {
        level: {
            key: sums
            for key, sums in windows.items()
            if (key[2] // stretch[level] + 1) * stretch[level] > watermark - SHORT.of(level)
        }
        for level, windows in found.items()
    }


@given(
    log=st.lists(message, min_size=1, max_size=12),
    cuts=st.lists(st.integers(1, 12), max_size=6),
    zone=st.sampled_from(["UTC", "Asia/Kathmandu", "America/St_Johns"]),
    cap=st.integers(0, 3),
)
@settings(max_examples=80, deadline=None)
def test_any_batching_gives_the_sums_worked_out_by_hand(
    log: list[tuple[list[Row], int]], cuts: list[int], zone: str, cap: int
) -> None:
    windows, watermark = windows_in(zone, SHORT, cap), NOON - 60 * HOUR
    newest: dict[tuple[str, str, str, int], tuple[int, Sums]] = {}  # as ClickHouse keeps them
    position = 0
    while position < len(log):
        count = cuts.pop() if cuts else 1
        batch = []
        for rows, advance in log[position : position + count]:
            batch.append((deltas_of(rows), watermark))
            watermark += advance
        position += len(batch)
        touched = windows.merge(batch, position - 1, watermark)
        windows.expire(watermark)
        for level, frame in touched.items():
            for at, (key, sums) in zip(frame["version"], summed(frame, *KEY).items(), strict=True):
                newest[level, *key] = (at, sums)
                assert at == position - 1
    truth = by_hand(log, zone, cap)
    for level in LEVELS:
        assert summed(kept(windows, level), *KEY) == truth[level]
        published = {key[1:]: sums for key, (_, sums) in newest.items() if key[0] == level}
        assert {key: published[key] for key in truth[level]} == truth[level]
    assert {level: list(chunks) for level, chunks in windows.chunks.items()} == {
        level: [at for at, chunk in chunks.items() if not chunk.frame.is_empty()]
        for level, chunks in windows.chunks.items()
    }


@given(log=st.lists(message, min_size=2, max_size=8), data=st.data())
@settings(max_examples=20, deadline=None)
def test_any_order_of_the_same_messages_gives_the_same_windows(
    log: list[tuple[list[Row], int]], data: st.DataObject
) -> None:
    one, other = windows_in("Europe/Zurich"), windows_in("Europe/Zurich")
    for at, (rows, _) in enumerate(log):
        add(one, *rows, version=at)
    for at, (rows, _) in enumerate(data.draw(st.permutations(log))):
        add(other, *rows, version=at)
    for level in LEVELS:
        assert summed(kept(one, level), *KEY) == summed(kept(other, level), *KEY)


def test_a_published_block_holds_each_window_once_as_it_was_last() -> None:
    windows = windows_in()
    changed: dict[str, list[pl.DataFrame]] = {level: [] for level in LEVELS}
    for version in range(3):
        for level, frame in add(windows, ("customer", "acme", NOON + 60 * version, {}), version=version).items():
            changed[level].append(frame)
    rows = blocks.read(windows_block("log", changed)).to_pylist()
    found = [(r["level"], r["start"], r["calls"], r["version"]) for r in rows]
    noon = datetime.fromtimestamp(NOON, UTC)
    assert found == [
        ("day", noon - timedelta(hours=12), 3, 2),
        *(("minute", noon + timedelta(minutes=n), 1, n) for n in range(3)),
        ("quarter_hour", noon, 3, 2),
    ]
