"""What is told, and told once: budgets after a crash, anomalies that were planned, trends, missing prices."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl

from streams.raise_alerts import Alarms, crossings
from streams.spend.alert import Alert, Completeness, Origin
from streams.spend.anomaly import Finding
from streams.spend.budget import Budget
from streams.spend.budget_levels import Change
from streams.spend.budget_period import period_of
from streams.spend.explained import Explained
from streams.spend.windows import DAY, Retention, Windows
from tests.unit.priced_rows_by_hand import deltas_of

ZURICH = ZoneInfo("Europe/Zurich")
NOON = int(datetime(2026, 11, 10, 12, tzinfo=ZURICH).timestamp())  # a Tuesday
A_DAY, DOLLAR = 86_400, 10**12
ORIGIN = Origin("log", Completeness(NOON, 9, 0, 0), ZURICH)
BUDGET = Budget(
    id="b", name="B", scope="customer", member="acme", limit_usd="100", created_at=datetime(2026, 1, 1, tzinfo=UTC)
)  # type: ignore[call-arg, arg-type]


class Plans:
    """Planned activity of members, by the window that it covers."""

    def __init__(self) -> None:
        self.planned: set[tuple[str, datetime]] = set()

    def __call__(self, dimension: str, member: str, at: datetime) -> bool:
        return (member, at) in self.planned


def alarms(published: Iterable[Alert] = (), plans: Plans | None = None) -> Alarms:
    """What takes over from alerts that are on the topic."""
    told = list(published)
    return Alarms(
        ZURICH,
        {each.id for each in told},
        crossings(each.document for each in told),
        lambda *_: Explained((), None, "not asked"),
        plans or Plans(),
    )


def opening(minute: int = NOON, **changes: Any) -> Change:
    at = datetime.fromtimestamp(minute, UTC)
    period = period_of("month", at.astimezone(ZURICH).date(), ZURICH)
    closed = datetime.fromtimestamp(minute + 60, UTC)
    made = Change(
        "opened", "spend", "b", "acme", period, 80, 100 * DOLLAR, 81 * DOLLAR, crossed_at=at, at=closed
    )  # fmt: skip
    return replace(made, **changes)


def of_budgets(teller: Alarms, *changes: Change) -> list[Alert]:
    return list(teller.fresh(teller.of_budgets(changes, {"b": BUDGET}, ORIGIN)))


def ids(alerts: Iterable[Alert]) -> list[str]:
    return [alert.id for alert in alerts]


# Budgets.


def test_an_alert_has_the_id_of_its_change() -> None:
    changes = [
        opening(),
        opening(what="escalated", level=100),
        opening(what="revised", revision=1),
        opening(what="retracted"),
        opening(what="opened", again=1),
        opening(what="resolved", reason="period", again=1),
    ]
    assert ids(of_budgets(alarms(), *changes)) == [change.id for change in changes]


def test_the_same_opening_after_a_crash_is_not_told_again() -> None:
    told = of_budgets(alarms(), opening())
    after = alarms(told)
    assert of_budgets(after, opening()) == []
    assert of_budgets(after, opening()) == []


def test_another_opening_after_a_crash_corrects_what_was_told() -> None:
    told = of_budgets(alarms(), opening())
    after = alarms(told)
    (corrected,) = of_budgets(after, opening(NOON - 120))
    assert "/revised/" in corrected.id and corrected.document["data"]["change"] == "revised"
    assert of_budgets(after, opening(NOON - 120)) == []
    again = alarms([*told, corrected])
    assert of_budgets(again, opening(NOON - 120)) == []  # nor by whoever comes then
    assert len(of_budgets(again, opening())) == 1  # back to where it was is a correction too


def test_an_opening_of_an_earlier_log_whose_words_are_gone_is_not_told_again() -> None:
    teller = Alarms(ZURICH, {opening().id}, {}, lambda *_: Explained((), None, ""), Plans())
    assert of_budgets(teller, opening(NOON - 120)) == []


def test_a_budget_that_is_gone_is_still_known_by_name_when_its_end_is_told() -> None:
    teller = alarms()
    of_budgets(teller, opening())
    (ended,) = teller.fresh(teller.of_budgets([opening(what="resolved", reason="removed")], {}, ORIGIN))
    assert ended.document["data"]["name"] == "B"


# Anomalies.


def finding(change: Any = "opened", window: int = NOON) -> Finding:
    return Finding(0, change, "major", 300, window, NOON, window + 300, 5 * DOLLAR, 90 * DOLLAR, 2.0)


def of_anomalies(teller: Alarms, *found: Finding) -> list[str]:
    told = teller.fresh(teller.of_anomalies([("workload", "loop", each) for each in found], ORIGIN))
    return [alert.document["data"]["change"] for alert in told]


def test_an_incident_opens_grows_and_closes_each_once() -> None:
    teller = alarms()
    story = [finding(), finding("updated", NOON + 300), finding("updated", NOON + 600), finding("closed", NOON + 9_000)]
    assert of_anomalies(teller, *story) == ["opened", "updated", "updated", "closed"]
    assert of_anomalies(teller, *story) == []


def test_what_was_planned_is_not_told_neither_its_growth_nor_its_end() -> None:
    plans = Plans()
    plans.planned = {("loop", datetime.fromtimestamp(NOON + at, UTC)) for at in (0, 300)}
    assert of_anomalies(alarms(plans=plans), finding(), finding("updated", NOON + 300)) == []
    assert of_anomalies(alarms(plans=plans), finding(), finding("closed", NOON + 9_000)) == []


def test_what_goes_on_beyond_its_plan_opens_then() -> None:
    plans = Plans()
    plans.planned = {("loop", datetime.fromtimestamp(NOON, UTC))}
    teller = alarms(plans=plans)
    assert of_anomalies(teller, finding()) == []
    assert of_anomalies(teller, finding("updated", NOON + 300)) == ["opened"]
    assert of_anomalies(teller, finding("updated", NOON + 600), finding("closed", NOON + 9_000)) == [
        "updated",
        "closed",
    ]


def test_an_incident_that_is_acknowledged_after_it_was_told_is_told_to_be_over() -> None:
    plans = Plans()
    teller = alarms(plans=plans)
    assert of_anomalies(teller, finding()) == ["opened"]
    plans.planned = {("loop", datetime.fromtimestamp(NOON + 300, UTC))}
    assert of_anomalies(teller, finding("updated", NOON + 300)) == []
    assert of_anomalies(teller, finding("closed", NOON + 9_000)) == ["closed"]


def test_a_plan_of_one_member_says_nothing_of_another() -> None:
    plans = Plans()
    plans.planned = {("backfill", datetime.fromtimestamp(NOON, UTC))}
    assert of_anomalies(alarms(plans=plans), finding()) == ["opened"]


def test_an_anomaly_leaves_before_the_next_is_explained_and_all_share_the_time_of_one() -> None:
    story: list[str] = []
    began: set[float] = set()

    def explain(_: str, member: str, __: Finding, at: float) -> Explained:
        story.append(f"{member} is explained")
        began.add(at)
        return Explained((), None, "asked")

    teller = replace(alarms(), explain=explain)
    found = [("workload", member, finding()) for member in ("loop", "batch", "agent")]
    for told in teller.fresh(teller.of_anomalies(found, ORIGIN)):
        story.append(f"{told.document['data']['member']} is told")
    assert story == [f"{member} is {what}" for _, member, _ in found for what in ("explained", "told")]
    assert len(began) == 1


# Models without a price, trends, stalls.


def windows(*rows: tuple[str, str, int, dict[str, int]]) -> tuple[Windows, dict[str, pl.DataFrame]]:
    made = Windows(0, ZURICH, Retention(3 * 3_600, 40 * A_DAY), 100)
    return made, made.merge([(deltas_of(rows), 0)], 1, max(row[2] for row in rows))


def test_a_model_without_a_price_is_told_once_however_many_days_it_is_called() -> None:
    _, touched = windows(
        ("model", "new-model", NOON, {"unpriced_calls": 3}),
        ("model", "new-model", NOON - A_DAY, {"unpriced_calls": 1}),
        ("model", "gpt-4o", NOON, {}),
        ("customer", "acme", NOON, {"unpriced_calls": 4}),
    )
    teller = alarms()
    (told,) = teller.fresh(teller.of_unpriced(touched[DAY], ORIGIN))
    assert (told.id, told.document["data"]["calls"]) == ("unpriced/new-model/opened", 1)  # the first day is the first
    assert told.document["data"]["first_seen"] == "2026-11-08T23:00:00Z"
    assert list(teller.fresh(teller.of_unpriced(touched[DAY], ORIGIN))) == []
    after = alarms([told])
    assert list(after.fresh(after.of_unpriced(touched[DAY], ORIGIN))) == []


def rising() -> Windows:
    """A workload that costs more each day of four weeks before Monday the 9th, and one that does not."""
    monday = NOON - A_DAY
    days = [(monday - back * A_DAY, 28 - back) for back in range(28, -2, -1)]
    rows = [("workload", "rises", at, {"cost_total": (n + 5) * DOLLAR}) for at, n in days]
    rows += [("workload", "stays", at, {"cost_total": 20 * DOLLAR}) for at, _ in days]
    rows += [("workload", "", at, {"cost_total": (n + 5) * DOLLAR}) for at, n in days]
    return windows(*rows)[0]


def of_trends(teller: Alarms, kept: Windows, watermark: int) -> list[str]:
    return ids(teller.fresh(teller.of_trends(kept, watermark, ORIGIN)))


def test_a_trend_is_told_once_a_week() -> None:
    kept, teller = rising(), alarms()
    (told,) = of_trends(teller, kept, NOON)
    assert told.startswith("trend/workload/rises/rising/")
    assert of_trends(teller, kept, NOON + 60) == []
    assert of_trends(teller, kept, NOON + 5 * A_DAY) == []  # Sunday
    assert all("2026-11-09" not in each for each in of_trends(teller, kept, NOON + 6 * A_DAY))


def test_after_a_crash_the_trends_of_the_week_have_the_same_ids() -> None:
    kept = rising()
    assert of_trends(alarms(), kept, NOON) == of_trends(alarms(), kept, NOON + 3 * A_DAY)


def test_no_trend_is_told_before_there_is_a_watermark_or_where_the_range_before_is_not_known() -> None:
    kept, teller = rising(), alarms()
    assert of_trends(teller, kept, 0) == []
    young, _ = windows(*(("workload", "rises", NOON - n * A_DAY, {"cost_total": (30 - n) * DOLLAR}) for n in range(20)))
    assert of_trends(teller, young, NOON) == []


def test_the_week_begins_on_the_local_monday() -> None:
    kept = rising()
    monday = int(datetime(2026, 11, 9, tzinfo=ZURICH).timestamp())
    teller = alarms()
    of_trends(teller, kept, monday - 1)
    assert teller.trends_told == monday - 7 * A_DAY
    assert teller.trends_due(kept, monday - 1) == monday
    assert len(of_trends(teller, kept, monday)) == 1
    assert teller.trends_told == monday
    assert teller.trends_due(kept, monday) == monday + 7 * A_DAY


def test_a_partition_that_stands_is_told_once_a_place() -> None:
    teller = alarms()
    stalls = [(0, 41, 5, 60), (1, 41, 5, 60)]
    assert len(ids(teller.fresh(teller.of_stalls(stalls, NOON, ORIGIN)))) == 2
    assert ids(teller.fresh(teller.of_stalls(stalls, NOON + 60, ORIGIN))) == []
    assert ids(teller.fresh(teller.of_stalls([(0, 42, 5, 60)], NOON, ORIGIN))) == ["stalled/0/42/opened"]
