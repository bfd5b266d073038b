"""The story of the sample traffic: what was sent of it, and that the detectors find it."""

from collections import Counter
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from watched_windows import Said, watch

from streams.sample.generator import Sample, generate
from streams.sample.live import Incident, LiveTraffic
from streams.sample.organisation import organisation
from streams.sample.spend import by_member, priced, sound
from streams.sample.story import runaway_start
from streams.spend import trend
from streams.spend.anomaly import DETECTORS, FIVE_MINUTES, PICOS

END = datetime(2026, 11, 27, 6, 0, tzinfo=UTC)
RUNAWAY = organisation().story.runaway


@pytest.fixture(scope="module")
def sample() -> Sample:
    return generate(seed=1, end=END)


@pytest.fixture(scope="module")
def spend(sample: Sample) -> pl.DataFrame:
    return priced(sound(sample))


@pytest.fixture(scope="module")
def said(spend: pl.DataFrame) -> dict[int, list[Said]]:
    """What the detectors say of all members, by the seconds of their windows."""
    return {detector.window_seconds: watch(spend, detector) for detector in DETECTORS}


@pytest.mark.parametrize("hours", range(0, 24 * 14, 5))
def test_the_loop_begins_in_office_hours_of_a_working_day_some_days_before_the_end(hours: int) -> None:
    end = datetime(2026, 11, 23, 0, 17, 31, tzinfo=UTC) + timedelta(hours=hours)
    start = runaway_start(organisation(), end)
    assert start.weekday() < 5 and RUNAWAY.between[0] <= start.time() <= RUNAWAY.between[1]
    since = end - start - timedelta(minutes=RUNAWAY.minutes)
    assert timedelta(hours=RUNAWAY.hours_before_end) <= since < timedelta(hours=RUNAWAY.hours_before_end, days=3)


def test_the_truth_says_when_the_workload_ran_away_and_how_often_it_called(sample: Sample, spend: pl.DataFrame) -> None:
    told = sample.truth.story
    assert (told.workload, told.runaway_calls) == ("research-agent", 280)  # 70 minutes, 4 calls a minute
    during = pl.col("time").is_between(told.began.replace(tzinfo=None), told.ended.replace(tzinfo=None))
    loop = (
        (pl.col("units") > RUNAWAY.context[0])
        & pl.col("model").str.starts_with(told.model)
        & (pl.col("customer") == "")
    )
    calls = spend.filter(during & loop & pl.col("team").is_in(["ml-platform", ""]))
    assert calls.height == told.runaway_calls
    assert calls.filter(pl.col("environment") == RUNAWAY.environment).height > 0.95 * calls.height
    assert calls["user"].n_unique() <= 2  # one developer; now and then nobody is named


def test_the_workload_spends_ten_times_the_usual_and_over_the_floor(sample: Sample, spend: pl.DataFrame) -> None:
    told = sample.truth.story
    windows = by_member(spend, "workload", timedelta(minutes=5)).filter(pl.col("member") == told.workload)
    whole = windows.filter(pl.col("start").is_between(told.began, told.ended - timedelta(minutes=5)))
    before = windows.filter(pl.col("start") < told.began - timedelta(minutes=5))
    usual = before.filter(pl.col("start").dt.weekday() < 6, pl.col("start").dt.hour().is_between(9, 16))
    assert len(usual) > 0.8 * 23 * 8 * 12  # it nearly always spends in office hours, of 23 working days
    assert whole["picos"].min() > 2 * FIVE_MINUTES.policy.floor_picos  # type: ignore[operator]
    assert whole["picos"].median() > 20 * usual["picos"].median()  # type: ignore[operator]
    assert whole["picos"].sum() < 0.03 * spend["picos"].sum()  # it does not dominate the five weeks


def test_traffic_that_does_not_reach_back_has_no_loop_and_few_events_have_a_small_one() -> None:
    assert generate(seed=1, end=END, events=2_000, days=1).truth.story.runaway_calls == 0
    few = generate(seed=1, end=END, events=2_000).truth
    assert (few.story.runaway_calls, few.events) == (40, 2_000)


def daily(spend: pl.DataFrame, dimension: str) -> dict[str, list[int]]:
    """Picodollars of the 34 whole days before the last, which has just begun."""
    days = [END.date() - timedelta(days=back) for back in range(34, 0, -1)]
    found: dict[str, dict[date, int]] = {}
    for start, member, picos, _ in by_member(spend, dimension, timedelta(days=1), ZoneInfo("UTC")).iter_rows():
        found.setdefault(member, {})[start.date()] = picos
    return {member: [sums.get(day, 0) for day in days] for member, sums in found.items()}


def test_one_customer_rises_and_one_falls_significantly_and_both_lead_the_ranking(sample, spend) -> None:
    story, sums = sample.truth.story, daily(spend, "customer")
    named = [trend.measure(member, days, 14) for member, days in sums.items() if member]
    rising, falling = trend.rank(named, floor_picos=10 * PICOS)
    assert (rising[0].member, falling[0].member) == (story.rising, story.falling)
    assert rising[0].ratio > 0.4 and falling[0].ratio < -0.2  # type: ignore[operator]
    for customer, sign in ((story.rising, 1), (story.falling, -1)):
        assert trend.slope(sums[customer][-28:]) * sign > 0
        assert trend.significance(sums[customer][-28:]) < 0.01
        assert sum(sums[customer]) < 0.1 * sum(map(sum, sums.values()))


def test_the_detector_opens_one_incident_for_the_workload_within_ten_minutes_and_closes_it(sample, said) -> None:
    told = sample.truth.story
    for seconds, first in ((300, 10), (3_600, 120)):
        about = [each for each in said[seconds] if (each.dimension, each.member) == ("workload", told.workload)]
        opened, *updated, closed = about
        assert opened.finding.change == "opened" and closed.finding.change == "closed"
        assert all(each.finding.change == "updated" for each in updated)
        seen = datetime.fromtimestamp(opened.finding.window + seconds, UTC)
        assert timedelta() < seen - told.began <= timedelta(minutes=first)
        assert told.ended < datetime.fromtimestamp(closed.finding.until, UTC) + timedelta(seconds=seconds)
        assert closed.finding.excess > 30 * PICOS


def test_nothing_else_is_an_anomaly_but_a_few(sample, said) -> None:
    told = sample.truth.story
    others: Counter[tuple[int, str]] = Counter()
    for seconds, all_said in said.items():
        for each in all_said:
            near = told.began - timedelta(hours=1) <= datetime.fromtimestamp(each.finding.since, UTC) <= told.ended
            if each.finding.change == "opened" and not near:
                others[seconds, each.dimension] += 1
    assert others.total() <= 8, others  # of 2,600 members in five weeks


def test_live_traffic_runs_away_on_demand() -> None:
    incident = Incident.after(60, rate=50)
    assert [incident.due(at) for at in (0, 60, 61, 60 + 300, 10_000)] == [0, 0, 6, 1_800, 1_800]  # 0.12 of 50 a second
    batch = LiveTraffic(seed=1, now=END).events(END, END + timedelta(seconds=1), 50, 6)
    calls = priced(batch)
    assert calls.height == 56
    assert calls.filter(pl.col("units") > RUNAWAY.context[0], pl.col("customer") == "").height >= 6
    assert LiveTraffic(seed=1, now=END).events(END, END, 0, 3).num_rows == 3


def test_live_the_workload_spends_ten_times_the_usual() -> None:
    traffic = LiveTraffic(seed=1, now=END)
    rate, seconds = 50, 100
    incident = Incident.after(0, rate)
    usual = priced(traffic.events(END, END + timedelta(seconds=seconds), rate * seconds))
    loop = priced(traffic.events(END, END, 0, incident.due(seconds)))
    of = usual.filter(pl.col("workload") == RUNAWAY.workload)["picos"].sum()
    assert loop["picos"].sum() > 10 * of


def test_a_windows_units_and_money_are_those_of_its_calls(spend: pl.DataFrame) -> None:
    kathmandu = ZoneInfo("Asia/Kathmandu")
    days = by_member(spend, "team", timedelta(days=1), kathmandu)
    assert days["picos"].sum() == spend["picos"].sum()
    assert set(days["start"].dt.hour()) == {0}
    tags = by_member(spend, "tag", timedelta(days=1))
    centre = spend.filter(pl.col("tags").map.get("cost_center") == "cc-103")
    assert tags.filter(pl.col("member") == "cost_center=cc-103")["picos"].sum() == centre["picos"].sum()
    assert by_member(spend, "global", timedelta(days=400))["units"].sum() == spend["units"].sum()
    with pytest.raises(ValueError, match="no dimension planet"):
        by_member(spend, "planet", timedelta(days=1))
