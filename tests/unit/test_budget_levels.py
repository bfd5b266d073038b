"""Crossings of a budget's levels: what is told, once, and what stands in the end in any order."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.spend.budget import Budget
from streams.spend.budget_course import follow
from streams.spend.budget_crossing import Crossing, Spend
from streams.spend.budget_levels import Change, Standing, evaluate
from streams.spend.budget_memory import dump, load
from streams.spend.budget_period import period_of

ZURICH = ZoneInfo("Europe/Zurich")
DOLLAR = 10**12
DAY = date(2026, 11, 10)
NOON = datetime(2026, 11, 10, 11, tzinfo=UTC)  # in Zurich
MONTH = period_of("month", DAY, ZURICH)
MINUTE = timedelta(minutes=1)


def budget(**changes: Any) -> Budget:
    terms: dict[str, Any] = {"scope": "customer", "member": "acme", "limit_usd": "100", "thresholds": [80]}
    return Budget(id="b", name="B", created_at=datetime(2026, 1, 1, tzinfo=UTC), **{**terms, **changes})


def epoch(instant: datetime) -> int:
    return int(instant.timestamp())


def spend(minutes: dict[datetime, int], daily: dict[date, int] | None = None) -> Spend:
    """Dollars by minute of DAY and by other days."""
    picos = {epoch(minute): amount * DOLLAR for minute, amount in minutes.items()}
    days = {day: amount * DOLLAR for day, amount in (daily or {}).items()}
    return Spend({**days, DAY: sum(picos.values())}, DAY, picos)


def told(changes: list[Change]) -> list[tuple[str, int]]:
    return [(change.what, change.level) for change in changes]


def judge(amount: int, before: Standing | None = None, **terms: Any) -> tuple[Standing, list[Change]]:
    return evaluate(budget(**terms), "acme", spend({NOON: amount}), MONTH, NOON + MINUTE, before=before)


def test_a_level_opens_once_and_the_next_one_escalates():
    first, changes = judge(79)
    assert (first.levels, changes) == ((), [])
    second, changes = judge(80, first)
    assert told(changes) == [("opened", 80)]
    assert changes[0].id == "budget/b/acme/2026-11-01/80/opened"
    assert changes[0].crossed_at == NOON and changes[0].at == NOON + MINUTE
    third, changes = judge(99, second)
    assert changes == []
    fourth, changes = judge(100, third)
    assert told(changes) == [("escalated", 100)]
    assert changes[0].id == "budget/b/acme/2026-11-01/100/escalated"
    assert judge(130, fourth)[1] == []


def test_both_levels_at_once_are_told_as_one_after_the_other():
    assert told(judge(100)[1]) == [("opened", 80), ("escalated", 100)]
    assert told(judge(100, thresholds=[100])[1]) == [("opened", 100)]


def test_levels_compare_exactly():
    limit = 3  # picodollars: 80 % of them are 2.4
    under, over = (
        evaluate(
            budget(limit_usd="0.000000000003"), "acme", Spend({DAY: picos}, DAY, {epoch(NOON): picos}), MONTH, NOON
        )[0]
        for picos in (2, 3)
    )
    assert (under.limit, under.levels, under.percent) == (limit, (), "66.66")
    assert (over.levels, over.percent) == ((80, 100), "100.00")


def test_the_crossing_is_the_first_minute_at_whose_close_the_level_is_reached():
    minutes = {NOON - MINUTE: 30, NOON: 5, NOON + 2 * MINUTE: 40}
    standing, changes = evaluate(budget(), "acme", spend(minutes, {date(2026, 11, 1): 45}), MONTH, NOON + 3 * MINUTE)
    assert [(change.level, change.crossed_at, change.spent) for change in changes] == [
        (80, NOON, 80 * DOLLAR),
        (100, NOON + 2 * MINUTE, 120 * DOLLAR),
    ]
    assert standing.spent == 120 * DOLLAR


def test_a_crossing_on_an_earlier_day_is_that_day():
    days = {date(2026, 11, 1): 50, date(2026, 11, 3): 45, date(2026, 10, 31): 500}
    _, changes = evaluate(budget(), "acme", spend({NOON: 1}, days), MONTH, NOON)
    assert [(change.level, change.crossed_at, change.at) for change in changes] == [
        (80, MONTH.day_start(date(2026, 11, 3)), MONTH.day_end(date(2026, 11, 3)))
    ]


def test_what_the_minutes_lack_of_their_day_counts_from_its_start():
    whole = Spend({DAY: 90 * DOLLAR}, DAY, {epoch(NOON): 5 * DOLLAR})
    standing, changes = evaluate(budget(), "acme", whole, MONTH, NOON)
    assert [(change.level, change.crossed_at, change.at) for change in changes] == [
        (80, MONTH.day_start(DAY), MONTH.day_start(DAY))
    ]
    later = Spend({DAY: 90 * DOLLAR, DAY + timedelta(1): 0}, DAY + timedelta(1), {})
    next_day, _ = evaluate(
        budget(), "acme", later, MONTH, NOON + timedelta(1), before=standing, changed_from=NOON + timedelta(1)
    )
    assert next_day.incidents[0].crossing == Crossing(MONTH.day_start(DAY), MONTH.day_end(DAY), DAY, 90 * DOLLAR)


def test_an_earlier_minute_that_comes_late_revises_the_crossing():
    before, _ = judge(80)
    late = spend({NOON - MINUTE: 80, NOON: 80})
    standing, changes = evaluate(budget(thresholds=[80]), "acme", late, MONTH, NOON + MINUTE, before=before)
    assert told(changes) == [("revised", 80), ("escalated", 100)]
    assert changes[0].crossed_at == NOON - MINUTE
    minute = epoch(NOON - MINUTE) // 60
    assert changes[0].id == f"budget/b/acme/2026-11-01/80/revised/1{minute:08d}"
    assert evaluate(budget(), "acme", late, MONTH, NOON + MINUTE, before=standing)[1] == []


def test_a_day_that_has_passed_is_no_revision_and_the_minute_that_was_told_stays():
    before, _ = judge(80)
    tomorrow = DAY + timedelta(days=1)
    later = Spend({DAY: 80 * DOLLAR, tomorrow: DOLLAR}, tomorrow, {epoch(NOON + timedelta(days=1)): DOLLAR})
    standing, changes = evaluate(budget(), "acme", later, MONTH, NOON + timedelta(days=1), before=before)
    assert changes == []
    assert standing.incidents[0].told == NOON
    assert standing.incidents[0].crossing.at == MONTH.day_start(DAY)
    _, changes = evaluate(budget(), "acme", later, MONTH, MONTH.end, before=standing)
    assert [(change.what, change.crossed_at, change.at) for change in changes] == [("resolved", NOON, MONTH.end)]


def test_corrections_retract_and_a_later_rise_opens_anew_with_an_id_of_its_own():
    standing, _ = judge(101)
    standing, changes = judge(79, standing)
    assert [(change.what, change.level, change.reason) for change in changes] == [
        ("retracted", 80, "spend"),
        ("retracted", 100, "spend"),
    ]
    assert judge(79, standing)[1] == []
    standing, changes = judge(85, standing)
    assert [change.id for change in changes] == ["budget/b/acme/2026-11-01/80/opened/2"]
    _, changes = judge(10, standing)
    assert [change.id for change in changes] == ["budget/b/acme/2026-11-01/80/retracted/2"]


def test_a_level_that_opens_anew_is_crossed_where_it_is_and_not_where_it_was():
    first, _ = judge(80)
    fallen = spend({NOON - MINUTE: -5, NOON: 80})
    second, _ = evaluate(budget(), "acme", fallen, MONTH, NOON + MINUTE, before=first, changed_from=NOON - MINUTE)
    assert second.levels == ()
    risen = spend({NOON - MINUTE: -5, NOON: 80, NOON + MINUTE: 5})
    _, changes = evaluate(budget(), "acme", risen, MONTH, NOON + MINUTE, before=second, changed_from=NOON + MINUTE)
    assert [(change.what, change.crossed_at) for change in changes] == [("opened", NOON + MINUTE)]


def test_the_end_of_the_period_resolves_and_a_second_look_says_nothing():
    standing, _ = judge(100)
    over = {"before": standing}
    closed, changes = evaluate(budget(), "acme", spend({NOON: 100}), MONTH, MONTH.end, **over)
    assert [(change.what, change.level, change.reason, change.at) for change in changes] == [
        ("resolved", 80, "period", MONTH.end),
        ("resolved", 100, "period", MONTH.end),
    ]
    assert evaluate(budget(), "acme", spend({NOON: 100}), MONTH, MONTH.end, before=closed)[1] == []
    _, changes = evaluate(budget(), "acme", spend({NOON: 90}), MONTH, MONTH.end, before=closed)
    assert told(changes) == [("retracted", 100)]  # a correction after the end


def test_a_level_crossed_by_late_events_of_a_period_that_is_over_opens_and_resolves():
    _, changes = evaluate(budget(), "acme", spend({NOON: 85}), MONTH, MONTH.end)
    assert told(changes) == [("opened", 80), ("resolved", 80)]


def test_a_raised_limit_resolves_and_is_no_correction():
    standing, _ = judge(100)
    standing, changes = judge(100, standing, limit_usd="200")
    assert [(change.what, change.level, change.reason) for change in changes] == [
        ("resolved", 80, "terms"),
        ("resolved", 100, "terms"),
    ]
    assert judge(100, standing, limit_usd="200")[1] == []
    _, changes = judge(160, standing, limit_usd="200")
    assert [change.id for change in changes] == ["budget/b/acme/2026-11-01/80/opened/2"]


def test_another_limit_says_nothing_more_of_a_period_that_is_over():
    closed, _ = evaluate(budget(), "acme", spend({NOON: 100}), MONTH, MONTH.end)
    raised = budget(limit_usd="200")
    assert evaluate(raised, "acme", spend({NOON: 100}), MONTH, MONTH.end, before=closed)[1] == []


def test_a_limit_raised_while_spend_falls_below_the_old_one_too_is_a_correction():
    standing, _ = judge(100)
    _, changes = judge(85, standing, limit_usd="200")
    assert told(changes) == [("resolved", 80), ("retracted", 100)]


def test_a_lowered_limit_opens_levels_in_the_minute_they_would_have_been_crossed():
    minutes = {NOON - MINUTE: 30, NOON: 30}
    before, _ = evaluate(budget(), "acme", spend(minutes), MONTH, NOON)
    _, changes = evaluate(budget(limit_usd="50"), "acme", spend(minutes), MONTH, NOON, before=before)
    assert [(change.what, change.level, change.crossed_at) for change in changes] == [
        ("opened", 80, NOON),
        ("escalated", 100, NOON),
    ]


def test_a_threshold_that_is_taken_away_is_resolved_and_another_opens():
    standing, _ = judge(85)
    standing, changes = judge(85, standing, thresholds=[50])
    assert told(changes) == [("opened", 50), ("resolved", 80)]
    _, changes = judge(85, standing, thresholds=[50, 80])
    assert [change.id for change in changes] == ["budget/b/acme/2026-11-01/80/opened/2"]


def test_a_budget_that_is_gone_is_resolved_and_its_ids_go_on_when_it_comes_back():
    whole = spend({NOON: 85})
    standings, _ = follow(budget(), "acme", whole, NOON, ZURICH, changed_days=[DAY])
    standings, changes = follow(None, "acme", whole, NOON, ZURICH, before=standings)
    assert [(change.what, change.reason) for change in changes] == [("resolved", "removed")]
    assert follow(None, "acme", whole, NOON, ZURICH, before=standings)[1] == []
    _, changes = follow(budget(), "acme", whole, NOON, ZURICH, before=standings)
    assert [change.id for change in changes] == ["budget/b/acme/2026-11-01/80/opened/2"]


def test_another_period_resolves_the_old_one():
    whole = spend({NOON: 85})
    standings, _ = follow(budget(), "acme", whole, NOON, ZURICH, changed_days=[DAY])
    standings, changes = follow(budget(period="week"), "acme", whole, NOON, ZURICH, before=standings)
    assert [(c.what, c.reason, c.period.kind, c.period.first) for c in changes] == [
        ("resolved", "terms", "month", date(2026, 11, 1)),
        ("opened", "spend", "week", date(2026, 11, 9)),
    ]
    _, changes = follow(budget(), "acme", whole, NOON, ZURICH, before=standings)
    assert [(change.what, change.id) for change in changes] == [
        ("resolved", "budget/b/acme/2026-11-09/80/resolved"),
        ("opened", "budget/b/acme/2026-11-01/80/opened/2"),
    ]


def test_periods_that_began_on_the_same_day_share_their_incident():
    first = date(2026, 6, 1)  # a Monday
    now = datetime(2026, 6, 1, 12, tzinfo=UTC)
    whole = Spend({first: 85 * DOLLAR}, first, {epoch(now): 85 * DOLLAR})
    standings, _ = follow(budget(), "acme", whole, now, ZURICH)
    standings, changes = follow(budget(period="week"), "acme", whole, now, ZURICH, before=standings)
    assert changes == []
    assert [standing.period.kind for standing in standings] == ["week"]


def test_roll_over_resolves_and_begins_with_nothing():
    whole = spend({NOON: 100})
    standings, _ = follow(budget(), "acme", whole, NOON, ZURICH, changed_days=[DAY])
    standings, changes = follow(budget(), "acme", whole, MONTH.end, ZURICH, before=standings)
    assert told(changes) == [("resolved", 80), ("resolved", 100)]
    assert [(s.period.first, s.spent) for s in standings] == [
        (date(2026, 11, 1), 100 * DOLLAR),
        (date(2026, 12, 1), 0),
    ]
    assert follow(budget(), "acme", whole, MONTH.end, ZURICH, before=standings, changed_days=[DAY])[1] == []


@pytest.mark.parametrize("days", [1, 39, 41])
def test_late_events_of_a_period_long_past_open_nothing(days: int):
    now = MONTH.end + timedelta(days=days)
    _, changes = follow(budget(), "acme", spend({NOON: 85}), now, ZURICH, changed_days=[DAY])
    assert told(changes) == ([] if days > 40 else [("opened", 80), ("resolved", 80)])


def test_terms_do_not_judge_what_had_ended_when_they_came():
    late = {"changed_days": [DAY]}
    after = MONTH.end + timedelta(days=1)
    assert follow(budget(), "acme", spend({NOON: 85}), after, ZURICH, seen=MONTH.end, **late)[1] == []
    assert follow(budget(), "acme", spend({NOON: 85}), after, ZURICH, seen=MONTH.start, **late)[1] != []


def test_memory_gives_back_the_same_standings():
    standings, _ = follow(budget(), "acme", spend({NOON: 100}, {date(2026, 10, 5): 90}), NOON, ZURICH,
                          changed_days=[DAY, date(2026, 10, 5)])  # fmt: skip
    assert len(standings) == 2
    assert load(dump(standings), ZURICH) == standings
    with pytest.raises(ValueError, match="format 2"):
        load(b"[2]", ZURICH)


# The same events in any order and pieces.

FIRST = datetime(2026, 10, 20, 21, 57, tzinfo=UTC)  # clocks go back on the 25th
Event = tuple[datetime, int]


@dataclass
class Worker:
    """What a windows worker does with the pure functions: sums, and follow after each batch."""

    budget: Budget
    shortcut: bool
    events: list[Event] = field(default_factory=list)
    standings: tuple[Standing, ...] = ()

    def take(self, batch: Sequence[Event]) -> list[Change]:
        self.events += batch
        now = max(at for at, _ in self.events)
        days = [at.astimezone(ZURICH).date() for at, _ in batch]
        earliest = min(at.replace(second=0) for at, _ in batch)
        self.standings, changes = follow(
            self.budget, "acme", whole(self.events), now, ZURICH, before=load(dump(self.standings), ZURICH),
            changed_days=days, changed_from=earliest if self.shortcut else None,
        )  # fmt: skip
        return changes


def today(events: Sequence[Event]) -> date:
    return max(at for at, _ in events).astimezone(ZURICH).date()


def whole(events: Sequence[Event]) -> Spend:
    daily: dict[date, int] = {}
    minutes: dict[int, int] = {}
    for at, picos in events:
        day, minute = at.astimezone(ZURICH).date(), epoch(at) // 60 * 60
        daily[day] = daily.get(day, 0) + picos
        if day == today(events):
            minutes[minute] = minutes.get(minute, 0) + picos
    return Spend(daily, today(events), minutes)


def crossings(standings: Sequence[Standing]) -> dict[tuple[date, int], Crossing]:
    return {
        (standing.period.first, incident.level): incident.crossing
        for standing in standings
        for incident in standing.incidents
        if incident.level in standing.levels
    }


def cut(data: st.DataObject, events: Sequence[Event]) -> list[Sequence[Event]]:
    shuffled = data.draw(st.permutations(events))
    edges = sorted(data.draw(st.sets(st.integers(1, len(events) - 1)))) if len(events) > 1 else []
    return [shuffled[start:end] for start, end in zip([0, *edges], [*edges, len(events)], strict=True)]


def instants() -> st.SearchStrategy[datetime]:
    near = st.integers(0, 400).map(lambda seconds: FIRST + timedelta(seconds=seconds))
    far = st.integers(0, 14 * 86_400).map(lambda seconds: FIRST + timedelta(seconds=seconds))
    return near | far


kinds = st.sampled_from(["day", "week", "month"])
levels = st.sets(st.integers(1, 100), max_size=3).map(sorted)
limits = st.integers(1, 60).map(lambda picos: f"{picos * 10}e-12")
paid = st.lists(st.tuples(instants(), st.integers(1, 100)), min_size=1, max_size=12)
corrected = st.lists(st.tuples(instants(), st.integers(-100, 100)), min_size=1, max_size=12)


@settings(max_examples=300, deadline=None)
@given(st.data(), paid, kinds, levels, limits)
def test_any_order_and_cut_gives_the_same_crossings_each_told_once(data, events, kind, thresholds, limit):
    terms = budget(period=kind, thresholds=thresholds, limit_usd=limit)
    at_once = Worker(terms, shortcut=False)
    expected = {change.id for change in at_once.take(events) if change.what in ("opened", "escalated")}
    for shortcut in (False, True):
        worker = Worker(terms, shortcut)
        changes = [change for batch in cut(data, events) for change in worker.take(batch)]
        opened = [change for change in changes if change.what in ("opened", "escalated")]
        assert {change.id for change in opened} == expected
        assert len(opened) == len(expected)
        assert crossings(worker.standings) == crossings(at_once.standings)
        assert {change.what for change in changes} <= {"opened", "escalated", "revised", "resolved"}
        told_last = {change.incident: change.crossed_at for change in changes}
        present = worker.standings[-1]
        for incident in present.open:  # once it is resolved nothing more is said
            said = told_last[f"budget/b/acme/{present.period.first}/{incident.level}"]
            assert said.astimezone(ZURICH).date() == incident.crossing.day
            assert incident.crossing.day != today(events) or said == incident.crossing.at  # to the minute


@settings(max_examples=300, deadline=None)
@given(st.data(), corrected, kinds, levels, limits)
def test_with_corrections_the_final_standing_is_the_same_and_every_id_is_told_once(
    data, events, kind, thresholds, limit
):
    terms = budget(period=kind, thresholds=thresholds, limit_usd=limit)
    at_once = Worker(terms, shortcut=False)
    at_once.take(events)
    for shortcut in (False, True):
        worker = Worker(terms, shortcut)
        changes = [change for batch in cut(data, events) for change in worker.take(batch)]
        assert crossings(worker.standings) == crossings(at_once.standings)
        assert len({change.id for change in changes}) == len(changes)
        believed = {change.incident: change.what for change in changes}
        for incident, what in believed.items():
            first, level = incident.split("/")[-2:]
            reached = (date.fromisoformat(first), int(level)) in crossings(at_once.standings)
            assert (what == "retracted") is not reached


@settings(max_examples=200, deadline=None)
@given(st.data(), paid, kinds, levels, limits)
def test_a_crash_between_telling_and_remembering_opens_nothing_twice(data, events, kind, thresholds, limit):
    terms = budget(period=kind, thresholds=thresholds, limit_usd=limit)
    expected = {change.id for change in Worker(terms, False).take(events) if change.what in ("opened", "escalated")}
    batches = cut(data, events)
    kept = data.draw(st.integers(0, len(batches) - 1))
    worker = Worker(terms, shortcut=True)
    published: dict[str, Change] = {}
    crossed: dict[str, datetime] = {}  # what was last said of each incident

    def publish(change: Change) -> None:
        opening = change.what in ("opened", "escalated")
        if opening and change.id in published:
            if not change.contradicts(crossed[change.incident]):
                return
            change = change.as_revision()
        published[change.id] = change
        crossed[change.incident] = change.crossed_at

    for batch in batches[:kept]:
        for change in worker.take(batch):
            publish(change)
    standings, taken = worker.standings, list(worker.events)
    for batch in batches[kept:]:
        for change in worker.take(batch):
            publish(change)
    again = Worker(terms, True, taken, standings)  # everything after `kept` is forgotten
    rest = [event for batch in batches[kept:] for event in batch]
    for change in (change for batch in cut(data, rest) for change in again.take(batch)):
        publish(change)
    assert {change.id for change in published.values() if change.what in ("opened", "escalated")} == expected
    for incident in again.standings[-1].open:
        key = f"budget/b/acme/{again.standings[-1].period.first}/{incident.level}"
        assert crossed[key].astimezone(ZURICH).date() == incident.crossing.day
        assert not incident.crossing.to_the_minute or crossed[key] == incident.crossing.at


def test_what_was_published_before_a_crash_is_contradicted_by_another_crossing_only():
    _, [opened] = judge(80)
    assert not opened.contradicts(NOON)
    assert opened.contradicts(NOON - MINUTE)
    _, [by_day] = evaluate(budget(), "acme", spend({}, {date(2026, 11, 3): 85}), MONTH, NOON)
    assert not by_day.contradicts(MONTH.day_start(date(2026, 11, 3)) + 600 * MINUTE)
    assert by_day.contradicts(MONTH.day_start(date(2026, 11, 4)))
    assert opened.as_revision().id.startswith("budget/b/acme/2026-11-01/80/revised/")
