"""A partition's budgets: whose spend counts, since when, what becomes of it when budgets come, change and go."""

from collections import Counter
from collections.abc import Iterable, Sequence
from copy import deepcopy
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.raise_alerts import Alarms
from streams.spend.alert import Completeness, Origin
from streams.spend.budget import Budget
from streams.spend.budget_book import BudgetBook
from streams.spend.budget_levels import Change
from streams.spend.budget_status import BudgetStatus
from streams.spend.budget_told import Told, told
from streams.spend.explained import Explained
from streams.spend.windows import Retention, Windows
from tests.unit.priced_rows_by_hand import deltas_of

ZURICH = ZoneInfo("Europe/Zurich")
NOON = int(datetime(2026, 11, 10, 12, tzinfo=ZURICH).timestamp())
HOUR, A_DAY, DOLLAR = 3_600, 86_400, 10**12
Spent = tuple[str, str, int, int]
"""Dimension, member, second, dollars."""


def budget(name: str = "b", **changes: Any) -> Budget:
    terms = {"scope": "customer", "member": "acme", "limit_usd": "100", "thresholds": [80], "period": "day"} | changes
    created = terms.pop("created_at", datetime(2026, 1, 1, tzinfo=UTC))
    return Budget(id=name, name=name, created_at=created, **terms)  # type: ignore[arg-type]


class Stream:
    """A book beside the windows that it is told of."""

    def __init__(self, *budgets: Budget, owns: Any = lambda *_: True, base: Any = None) -> None:
        self.windows = Windows(0, ZURICH, Retention(3 * HOUR, 40 * A_DAY), 1_000)
        self.book = BudgetBook(ZURICH, owns, base or {})
        self.watermark = self.version = 0
        self.told: list[Change] = []
        self.have(*budgets)

    def have(self, *budgets: Budget) -> list[tuple[str, str, int]]:
        changes = self.book.take_terms({b.id: b for b in budgets}, self.windows, self.watermark)
        self.told += changes
        return said(changes)

    def spend(self, *rows: Spent, at: int | None = None) -> list[tuple[str, str, int]]:
        """Spend, and the watermark after it: by default the latest of it."""
        before, self.version = self.watermark, self.version + 1
        self.watermark = max(self.watermark, max(row[2] for row in rows) if at is None else at)
        frame = deltas_of((d, m, second, {"cost_total": dollars * DOLLAR}) for d, m, second, dollars in rows)
        touched = self.windows.merge([(frame, before)], self.version, self.watermark)
        self.windows.expire(self.watermark)
        changes, _ = self.book.merge(touched, self.watermark)
        self.told += changes
        return said(changes)

    def statuses(self) -> dict[str, BudgetStatus]:
        return dict(self.book.statuses(self.book.all_keys(), self.watermark))

    def restarted(self) -> "Stream":
        """The one that takes over from what was saved."""
        other = Stream()
        other.windows, other.watermark, other.version = deepcopy(self.windows), self.watermark, self.version
        other.book.base = self.book.base
        other.book.put_back(self.book.dump())
        return other


def said(changes: Iterable[Change]) -> list[tuple[str, str, int]]:
    return [(change.what, change.member, change.level) for change in changes]


def test_a_budget_on_one_member_counts_that_member_only() -> None:
    stream = Stream(budget())
    assert stream.spend(("customer", "globex", NOON, 500), ("global", "", NOON, 500), ("team", "acme", NOON, 9)) == []
    assert stream.spend(("customer", "acme", NOON, 79)) == []
    assert stream.spend(("customer", "acme", NOON, 1)) == [("opened", "acme", 80)]
    assert stream.spend(("customer", "acme", NOON, 20)) == [("escalated", "acme", 100)]
    assert {key: status.spent_usd for key, status in stream.statuses().items()} == {"b": "100.00"}


def test_a_budget_on_each_member_is_everyones_own_but_nobodys_and_the_others() -> None:
    stream = Stream(budget(member="*"))
    rows = [("customer", name, NOON, 90) for name in ("acme", "globex", "", "(other) 0")]
    assert sorted(stream.spend(*rows)) == [("opened", "acme", 80), ("opened", "globex", 80)]
    assert set(stream.statuses()) == {"b/acme", "b/globex"}


def test_a_budget_on_everything_and_one_on_a_tag() -> None:
    stream = Stream(budget("all", scope="global", member=""), budget("prod", scope="tag", member="env=prod"))
    found = stream.spend(("global", "", NOON, 100), ("tag", "env=prod", NOON, 85), ("tag", "env=dev", NOON, 15))
    assert sorted(found) == [("escalated", "", 100), ("opened", "", 80), ("opened", "env=prod", 80)]


def test_what_another_partition_owns_is_not_judged_here() -> None:
    stream = Stream(budget(), owns=lambda *_: False)
    assert stream.have(budget(limit_usd="1")) == [] and stream.statuses() == {}


@pytest.mark.parametrize("member", ["acme", "*"])
def test_a_budget_that_comes_after_the_spend_counts_it(member: str) -> None:
    stream = Stream()
    stream.spend(("customer", "acme", NOON, 70))
    stream.spend(("customer", "acme", NOON + 60, 20))
    assert stream.have(budget(member=member)) == [("opened", "acme", 80)]
    (change,) = stream.told
    assert change.crossed_at == datetime.fromtimestamp(NOON + 60, UTC)
    assert stream.spend(("customer", "acme", NOON + 60, 10)) == [("escalated", "acme", 100)]


def test_a_month_counts_its_days_before_the_budget_and_judges_no_month_before() -> None:
    stream = Stream()
    stream.spend(("customer", "acme", NOON - 12 * A_DAY, 500))  # in October
    stream.spend(("customer", "acme", NOON - 5 * A_DAY, 60))
    stream.spend(("customer", "acme", NOON, 10))
    assert stream.have(budget(period="month")) == []
    assert stream.statuses()["b"].spent_usd == "70.00"
    assert stream.spend(("customer", "acme", NOON, 10)) == [("opened", "acme", 80)]


def test_a_higher_limit_withdraws_or_resolves_and_a_lower_one_opens() -> None:
    stream = Stream(budget())
    stream.spend(("customer", "acme", NOON, 90))
    ((what, member, level),) = stream.have(budget(limit_usd="1000"))
    assert (what in ("resolved", "retracted"), member, level) == (True, "acme", 80)
    assert stream.statuses()["b"].state == "ok"
    assert [level for _, _, level in stream.have(budget(limit_usd="50"))] == [80, 100]
    assert stream.statuses()["b"].state == "exceeded"


def test_a_budget_that_is_removed_ends_what_is_open_and_is_silent_from_then_on() -> None:
    stream = Stream(budget())
    stream.spend(("customer", "acme", NOON, 90))
    assert stream.have() == [("resolved", "acme", 80)]
    assert stream.spend(("customer", "acme", NOON, 900)) == []
    assert stream.statuses() == {}


def test_a_budget_that_is_removed_while_nobody_works_ends_what_is_open() -> None:
    stream = Stream(budget("kept"), budget("gone"))
    stream.spend(("customer", "acme", NOON, 90))
    other = stream.restarted()
    assert other.have(budget("kept")) == [("resolved", "acme", 80)]
    assert [change.budget_id for change in other.told] == ["gone"]
    assert other.spend(("customer", "acme", NOON, 10)) == [("escalated", "acme", 100)]


def test_spend_between_two_budgets_on_a_member_is_not_forgotten() -> None:
    stream = Stream(budget("first", period="month"))
    stream.spend(("customer", "acme", NOON - 2 * A_DAY, 10))
    stream.have()
    stream.spend(("customer", "acme", NOON - A_DAY, 20))
    stream.spend(("customer", "acme", NOON, 40))
    stream.have(budget("second", period="month"))
    assert stream.statuses()["second"].spent_usd == "70.00"


def test_a_budget_of_the_same_name_about_somebody_else_is_another() -> None:
    stream = Stream(budget(member="*"))
    stream.spend(("customer", "acme", NOON, 90), ("customer", "globex", NOON, 10), ("team", "acme", NOON, 5))
    assert stream.have(budget(scope="team", member="acme")) == [("resolved", "acme", 80)]
    assert stream.statuses()["b"].spent_usd == "5.00"
    assert stream.spend(("customer", "acme", NOON, 90), ("customer", "globex", NOON, 90)) == []


def test_a_day_ends_at_the_local_midnight_and_the_next_begins_with_nothing() -> None:
    stream = Stream(budget())
    midnight = NOON + 12 * HOUR  # in Zurich: 23:00 UTC
    stream.spend(("customer", "acme", NOON, 90))
    assert stream.spend(("customer", "globex", midnight - 1, 1)) == []
    assert stream.spend(("customer", "globex", midnight, 1)) == [("resolved", "acme", 80)]
    assert stream.told[-1].at == datetime.fromtimestamp(midnight, UTC)
    assert stream.spend(("customer", "acme", midnight + 60, 79)) == []
    assert stream.spend(("customer", "acme", midnight - 60, 79)) == [
        ("escalated", "acme", 100),
        ("resolved", "acme", 100),
    ]
    assert stream.statuses()["b"].spent_usd == "79.00"


def test_both_sides_of_a_midnight_in_one_batch_are_told_like_in_two() -> None:
    rows = [("customer", "acme", NOON, 90), ("customer", "acme", NOON + A_DAY, 80)]
    one, two = Stream(budget()), Stream(budget())
    one.spend(*rows)
    for row in rows:
        two.spend(row)
    assert [change.id for change in one.told] == [change.id for change in two.told]


def test_days_of_earlier_logs_count_in_their_period() -> None:
    day = date(2026, 11, 9)
    base = {
        ("customer", "acme"): {day: 70 * DOLLAR, date(2026, 11, 10): 5 * DOLLAR},
        ("customer", "x"): {day: 900 * DOLLAR},
    }
    stream = Stream(budget(period="month"), base=base)
    stream.spend(("customer", "acme", NOON, 1))
    assert stream.statuses()["b"].spent_usd == "76.00"
    assert stream.spend(("customer", "acme", NOON, 3)) == []
    assert stream.spend(("customer", "acme", NOON, 1)) == [("opened", "acme", 80)]
    assert stream.statuses()["b"].spent_usd == "80.00"  # 70 + 5 + 1 + 3 + 1
    each = Stream(budget(period="month", member="*"), base=base)
    each.spend(("global", "", NOON, 1))
    assert each.statuses()["b/x"].state == "exceeded"


def test_what_is_put_back_tells_nothing_again_and_goes_on() -> None:
    stream = Stream(budget(), budget("each", member="*", period="month"))
    stream.spend(("customer", "acme", NOON, 90), ("customer", "globex", NOON, 30))
    other = stream.restarted()
    assert other.have(*stream.book.budgets.values()) == []
    assert other.book.dump() == stream.book.dump()
    assert other.statuses() == stream.statuses()
    row = ("customer", "acme", NOON + 60, 10)
    assert sorted(other.spend(row)) == sorted(stream.spend(row))
    assert other.book.dump() == stream.book.dump()


def test_a_correction_withdraws_and_spend_opens_again_under_another_id() -> None:
    stream = Stream(budget())
    stream.spend(("customer", "acme", NOON, 90))
    assert stream.spend(("customer", "acme", NOON, -20)) == [("retracted", "acme", 80)]
    assert stream.spend(("customer", "acme", NOON, 20)) == [("opened", "acme", 80)]
    assert len({change.id for change in stream.told}) == 3


spent = st.tuples(
    st.just("customer"),
    st.sampled_from(["acme", "globex"]),
    st.integers(-70, 70).map(lambda hours: NOON + hours * HOUR),
    st.integers(1, 60),
)
BUDGETS = (budget(), budget("each", member="*", period="week"), budget("m", member="globex", period="month"))


def openings_by_hand(log: Sequence[Spent]) -> set[str]:
    """The levels that each member reaches in each period in the end: with positive costs, when does not matter."""
    sums: Counter[tuple[str, str, date]] = Counter()
    for _, member, second, dollars in log:
        day = datetime.fromtimestamp(second, ZURICH).date()
        sums["each", member, day - timedelta(days=day.weekday())] += dollars
        if member == "acme":
            sums["b", member, day] += dollars
        else:
            sums["m", member, day.replace(day=1)] += dollars
    words = {80: "opened", 100: "escalated"}
    return {
        f"budget/{name}/{member}/{first}/{level}/{words[level]}"
        for (name, member, first), dollars in sums.items()
        for level in words
        if dollars >= level
    }


@given(
    log=st.lists(spent, min_size=1, max_size=14), cuts=st.lists(st.integers(1, 6), max_size=14), when=st.integers(0, 9)
)
@settings(max_examples=60, deadline=None)
def test_the_crossings_are_the_same_in_any_batches_and_across_restarts(
    log: list[Spent], cuts: list[int], when: int
) -> None:
    stream, position, told = Stream(*BUDGETS), 0, set()
    while position < len(log):
        count = cuts.pop() if cuts else 1
        stream.spend(*log[position : position + count])
        position += count
        told |= {change.id for change in stream.told}
        if position % 3 == when % 3:
            stream = stream.restarted()
            stream.have(*BUDGETS)
    told |= {change.id for change in stream.told}
    assert {each for each in told if each.endswith(("/opened", "/escalated"))} == openings_by_hand(log)
    assert not any("retracted" in each for each in told)


class Careful(BudgetBook):
    """Judges every change from the ground up."""

    def _fits(self, *_: Any) -> bool:
        return False


changed_by = st.tuples(
    st.just("customer"),
    st.sampled_from(["acme", "globex", "", "(other) 0"]),
    st.integers(-200, 3).map(lambda hours: hours * HOUR),
    st.integers(-30, 60),
)
term = st.builds(
    budget,
    st.sampled_from("xy"),
    member=st.sampled_from(["*", "acme"]),
    limit_usd=st.sampled_from(["5", "50", "100"]),
    thresholds=st.sampled_from([[80], [50, 80], [1]]),
    period=st.sampled_from(["day", "week", "month"]),
)
step = st.one_of(
    st.tuples(st.just("spend"), st.lists(changed_by, min_size=1, max_size=3), st.sampled_from([0, 60, HOUR, A_DAY])),
    st.tuples(st.just("have"), st.lists(term, max_size=2, unique_by=lambda each: each.id), st.booleans()),
)


@given(steps=st.lists(step, max_size=14))
@settings(max_examples=80, deadline=None)
def test_the_short_way_of_a_change_that_reaches_no_level_comes_to_the_same(steps: list[Any]) -> None:
    streams, now = [Stream(), Stream()], NOON
    streams[1].book = Careful(ZURICH, lambda *_: True)
    streams[1].have()
    for kind, what, more in steps:
        now += more if kind == "spend" else 0
        for number, stream in enumerate(streams):
            if kind == "spend":
                stream.spend(*[(d, m, now + second, dollars) for d, m, second, dollars in what], at=now)
                continue
            if more:  # it ends, and another one takes over with other terms
                kept = stream.book.dump()
                stream.book = (Careful if number else BudgetBook)(ZURICH, lambda *_: True)
                stream.book.put_back(kept)
            stream.have(*what)
        assert streams[0].statuses() == streams[1].statuses()
    assert sorted(map(repr, streams[0].told)) == sorted(map(repr, streams[1].told))


def as_told(stream: Stream, *changes: Change) -> list[Told]:
    """What spend.alerts tells of changes."""
    known: dict[str, Told] = {}
    origin = Origin("log", Completeness(0, 0, 0, 0), ZURICH)
    alarms = Alarms(ZURICH, set(), {}, lambda *_: Explained(), lambda *_: False)
    for each in alarms.of_budgets(changes, stream.book.budgets, origin):
        incident = each.document["data"]["incident"]
        known[incident] = told(each.document, ZURICH, known.get(incident))
    return list(known.values())


def test_an_opening_that_was_told_and_not_saved_is_withdrawn_where_it_is_not_so_any_more() -> None:
    stream = Stream(budget())
    saved = stream.restarted()
    stream.spend(("customer", "acme", NOON, 90))
    saved.spend(("customer", "acme", NOON, 90), ("customer", "acme", NOON, -20))  # all at once, after a crash
    saved = saved.restarted()
    saved.book.believe(as_told(stream, *stream.told))
    assert saved.have(budget()) == [("retracted", "acme", 80)]


def test_an_opening_that_was_told_and_not_saved_stands_and_is_not_told_again() -> None:
    stream = Stream(budget())
    saved = stream.restarted()
    stream.spend(("customer", "acme", NOON, 90))
    saved.windows, saved.watermark = deepcopy(stream.windows), stream.watermark
    saved.book.believe(as_told(stream, *stream.told))
    assert saved.have(budget()) == []
    assert saved.spend(("customer", "acme", NOON + 60, 20)) == [("escalated", "acme", 100)]


def test_a_level_that_opened_and_was_withdrawn_before_a_crash_opens_under_a_new_id_after_it() -> None:
    stream = Stream(budget())
    saved = stream.restarted()
    stream.spend(("customer", "acme", NOON, 90))
    stream.spend(("customer", "acme", NOON, -20))
    saved.windows, saved.watermark = deepcopy(stream.windows), stream.watermark
    saved.book.believe(as_told(stream, *stream.told))
    assert saved.have(budget()) == []
    saved.spend(("customer", "acme", NOON + 60, 20))
    assert [change.id for change in saved.told] == ["budget/b/acme/2026-11-10/80/opened/2"]


def test_what_a_budget_told_that_is_gone_by_now_is_over() -> None:
    stream = Stream(budget())
    stream.spend(("customer", "acme", NOON, 90))
    other = Stream()
    other.watermark = NOON
    other.book = BudgetBook(ZURICH, lambda *_: True)
    other.book.believe(as_told(stream, *stream.told))
    assert other.have() == [("resolved", "acme", 80)]


def test_what_was_told_of_anothers_members_is_his_business() -> None:
    stream = Stream(budget())
    stream.spend(("customer", "acme", NOON, 90))
    other = Stream(owns=lambda *_: False)
    other.book.believe(as_told(stream, *stream.told))
    assert other.have(budget()) == [] and not other.book.standings


def test_a_log_that_begins_anew_judges_no_period_that_had_ended() -> None:
    days = {date(2026, month, 5): 60 * DOLLAR for month in range(1, 12)}
    stream = Stream(base={("customer", "acme"): days})
    stream.book.base_until = NOON
    lowered = budget(limit_usd="50", period="month", created_at=datetime(2026, 1, 1, tzinfo=UTC))
    assert stream.have(lowered) == [("opened", "acme", 80), ("escalated", "acme", 100)]
    assert {change.period.first for change in stream.told} == {date(2026, 11, 1)}
    assert stream.statuses()["b"].state == "exceeded"


def test_a_removed_budget_is_forgotten_when_its_period_is_over() -> None:
    stream = Stream(budget())
    stream.spend(("customer", "acme", NOON, 90))
    assert stream.have() == [("resolved", "acme", 80)]
    stream.spend(("customer", "acme", NOON + A_DAY, 1))
    stream.spend(("customer", "acme", NOON + 60 * A_DAY, 1))
    assert stream.book.dump()["standings"] == []
