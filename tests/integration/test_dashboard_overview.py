"""The overview's figures against sums worked out by hand, over the embedded ClickHouse."""

import random
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import chain
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from asked_pages import Answer, Engine, Page, engine
from priced_rows import Row, row

from streams import periods
from streams.spend import forecast

pytestmark = pytest.mark.stack

KOLKATA = ZoneInfo("Asia/Kolkata")  # 5:30 from UTC: its midnights are at 18:30
ST_JOHNS = ZoneInfo("America/St_Johns")  # 3:30 behind, in summer 2:30
HOSTILE = ["'; DROP TABLE --", "\\", "\\' OR 1=1 --", "${tz}", "$__toTime", "🦊 ümlaut", "x" * 300, "a&b=c,d"]


@pytest.fixture(scope="module")
def clickhouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with engine(tmp_path_factory.mktemp("overview")) as started:
        yield started


def at(text: str, zone: ZoneInfo = KOLKATA) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=zone)


def calls(*told: tuple[str, str | None] | tuple[str, str | None, dict[str, Any]]) -> list[Row]:
    """Calls at local times of Kolkata for dollars; None: without a price."""
    made = []
    for offset, (when, dollars, *columns) in enumerate(told):
        cost = None if dollars is None else Decimal(dollars)
        made.append(row(offset, at(when), cost, **(columns[0] if columns else {})))
    return made


def days(*daily: int, until: str, **columns: Any) -> list[Row]:
    """A call at noon of each day for so many dollars, the last of them on the day before `until`."""
    last = date.fromisoformat(until)
    noons = [f"{last - timedelta(days=back)}T12:00" for back in range(len(daily), 0, -1)]
    return calls(*((noon, str(dollars), columns) for noon, dollars in zip(noons, daily, strict=True)))


def numbered(*groups: list[Row]) -> list[Row]:
    """All of them as calls of one log."""
    return [{**call, "id": f"call-{n}", "source_offset": n} for n, call in enumerate(chain(*groups))]


MAY = calls(
    ("2025-01-01T12:00", "200"),
    ("2025-05-01T12:00", "20"),
    ("2025-05-10T14:14", "2"),
    ("2025-05-10T14:15", "3"),
    ("2026-02-09T14:14", "11"),
    ("2026-02-09T14:15", "12"),
    ("2026-03-31T23:59", "100"),
    ("2026-04-01T00:00", "10"),
    ("2026-04-10T14:14", "30"),
    ("2026-04-10T14:15", "1000"),
    ("2026-05-01T00:00", "50"),
    ("2026-05-09T14:14", "7"),
    ("2026-05-10T09:00", "4"),
    ("2026-05-10T10:00", None),
    ("2026-05-10T15:00", "5000"),  # after the range's end
)
NOW = at("2026-05-10T14:00")  # its quarter of an hour lasts until 14:15


@pytest.mark.parametrize(
    ("card", "cost", "before", "unpriced"),
    [
        ("today", Decimal(4), Decimal(7), 1),
        ("month", Decimal(50) + 7 + 4, Decimal(10) + 30, 1),
        ("quarter", Decimal(10) + 30 + 1000 + 50 + 7 + 4, Decimal(11), 1),
        ("year", Decimal(11) + 12 + 100 + 10 + 30 + 1000 + 50 + 7 + 4, Decimal(200) + 20 + 2, 1),
    ],
)
def test_a_card_is_the_period_up_to_now_against_the_same_stretch_before(
    clickhouse: Engine, card: str, cost: Decimal, before: Decimal, unpriced: int
) -> None:
    page = Page("spend-overview", clickhouse.database("may", MAY, "Asia/Kolkata"))
    (found,) = page.ask(f"overview_{card}", NOW - timedelta(days=30), NOW)
    assert found["Cost"] == cost
    assert found["Change"] == pytest.approx((cost - before) * 100 / before, abs=Decimal("1e-11"))
    assert found["Calls without a price"] == unpriced


def test_the_range_is_compared_with_as_long_a_time_before(clickhouse: Engine) -> None:
    page = Page("spend-overview", clickhouse.database("may", MAY, "Asia/Kolkata"))
    start, end = at("2026-05-01T00:00"), at("2026-05-10T14:00")
    assert page.ask("overview_range", start, end) == [
        {"Cost": Decimal(50) + 7 + 4, "Change": None, "Calls without a price": 1}  # nothing from 21 to 30 April
    ]
    start = at("2026-04-15T00:00")  # the 25 days and 14 hours before begin on 20 March at 10:00
    cost, before = Decimal(50) + 7 + 4, Decimal(100) + 10 + 30 + 1000
    (found,) = page.ask("overview_range", start, end)
    assert found["Cost"] == cost
    assert found["Change"] == pytest.approx((cost - before) * 100 / before, abs=Decimal("1e-11"))
    (found,) = page.ask("overview_calls", start, end)
    assert (found["Calls"], found["Change"]) == (4, Decimal(4 - 4) * 100 / 4)


def test_calls_none_of_which_has_a_price_did_not_cost_nothing(clickhouse: Engine) -> None:
    page = Page("spend-overview", clickhouse.database("unpriced", calls(("2026-05-10T10:00", None)), "Asia/Kolkata"))
    for card in ("range", "today", "month", "quarter", "year"):
        (found,) = page.ask(f"overview_{card}", NOW - timedelta(days=1), NOW)
        assert (found["Cost"], found["Calls without a price"]) == (None, 1)


# a month before is shorter, a month begins, clocks went forward in St John's, a leap day
MOMENTS = ("2027-03-30T10:07", "2027-03-31T23:59", "2027-04-01T00:00", "2027-03-14T12:00", "2028-02-29T18:22")


def test_cards_agree_with_the_report_at_the_ends_of_months_and_where_clocks_change(clickhouse: Engine) -> None:
    chance = random.Random(20260510)
    first = datetime(2025, 12, 1, tzinfo=UTC)
    made = [
        row(n, first + timedelta(minutes=chance.randrange(850 * 1440)), Decimal(chance.randrange(10**13)).scaleb(-12))
        for n in range(3_000)
    ]
    client = clickhouse.database("ends", made)

    def spent(stretch: periods.Stretch) -> Decimal:
        return sum(
            (call["cost_total"] for call in made if stretch.start <= call["time"].replace(tzinfo=UTC) < stretch.end),
            Decimal(0),
        )

    page = Page("spend-overview", client)
    for zone in (KOLKATA, ST_JOHNS):
        for moment in (
            "2027-03-30T10:07",
            "2027-03-31T23:59",
            "2027-04-01T00:00",
            "2027-03-14T12:00",
            "2028-02-29T18:22",
        ):
            now = at(moment, zone)
            for card in ("month", "quarter", "year"):
                compared = periods.period(f"{card}_to_date", now, zone)
                (found,) = page.ask(f"overview_{card}", now - timedelta(days=7), now, tz=zone.key)
                cost, before = spent(compared.stretch), spent(compared.previous)
                assert found["Cost"] == cost, (zone, moment, card)
                change = (cost - before) * 100 / before if before else None
                assert found["Change"] == pytest.approx(change, abs=Decimal("1e-8")), (zone, moment, card)


def test_data_that_does_not_reach_back_gives_no_change(clickhouse: Engine) -> None:
    made = calls(("2026-04-02T00:00", "1"), ("2026-05-10T01:00", "3"))
    page = Page("spend-overview", clickhouse.database("late", made, "Asia/Kolkata"))
    changes = {
        card: page.ask(f"overview_{card}", NOW - timedelta(days=1), NOW)[0]["Change"] for card in ("month", "quarter")
    }
    assert changes == {"month": None, "quarter": None}  # April lacks its first day


TRENDS = numbered(
    days(*[10] * 7, *[25] * 7, until="2026-05-10", workload="rises"),
    days(*[40] * 7, *[20] * 7, until="2026-05-10", workload="falls"),
    days(*[0] * 7, *[12] * 7, until="2026-05-10", workload="new"),
    days(*[1] * 7, *[2] * 7, until="2026-05-10", workload="pennies"),
    days(*[1] * 7, *[200] * 7, until="2026-05-10"),
    calls(("2026-05-10T09:00", "1000", {"workload": "falls"})),  # today has not yet happened
)


def test_trends_are_ranked_by_percent_over_whole_days_with_a_floor(clickhouse: Engine) -> None:
    page = Page("spend-overview", clickhouse.database("trends", TRENDS, "Asia/Kolkata"))
    week = NOW - timedelta(days=7)
    assert page.ask("overview_workload_trends", week, NOW, floor="10") == [
        {"Workload": "new", "Before": 0, "After": 84, "Change": None, "Days": 7},
        {"Workload": "rises", "Before": 70, "After": 175, "Change": 150, "Days": 7},
        {"Workload": "falls", "Before": 280, "After": 140, "Change": -50, "Days": 7},
    ]
    names = [each["Workload"] for each in page.ask("overview_workload_trends", week, NOW, floor="0")]
    assert names == ["new", "rises", "pennies", "falls"]
    assert page.ask("overview_workload_trends", week, NOW, floor="nonsense'") != []
    assert page.ask("overview_customer_trends", week, NOW, floor="10") == []


def test_a_range_that_data_does_not_reach_twice_shows_trends_of_a_shorter_one(clickhouse: Engine) -> None:
    page = Page("spend-overview", clickhouse.database("trends", TRENDS, "Asia/Kolkata"))
    for start in (NOW - timedelta(days=30), NOW - timedelta(days=5 * 365)):
        found = page.ask("overview_workload_trends", start, NOW, floor="10")
        assert {each["Days"] for each in found} == {7}
        assert [each["Workload"] for each in found] == ["new", "rises", "falls"]
    assert page.ask("overview_workload_trends", NOW - timedelta(hours=3), NOW, floor="0") == []  # no whole day


MEMBERS = numbered(
    calls(
        ("2026-05-09T12:00", "0.000000000001", {"workload": "small", "input_tokens": 3, "output_tokens": 4}),
        ("2026-05-09T12:00", "6", {"workload": "big", "customer": "acme", "team": "red"}),
        ("2026-05-09T12:20", "1.5", {"workload": "big", "customer": "", "input_tokens": 100}),
        ("2026-05-09T12:40", None, {"workload": "big"}),
        ("2026-05-09T13:00", None, {"workload": "unpriced"}),
    )
)


def test_top_members_have_cost_share_calls_tokens_and_what_has_no_price(clickhouse: Engine) -> None:
    page = Page("spend-overview", clickhouse.database("members", MEMBERS, "Asia/Kolkata"))
    whole = Decimal(6) + Decimal("1.5") + Decimal("0.000000000001")
    found = page.ask("overview_workloads", NOW - timedelta(days=7), NOW)
    told = ("Workload", "Cost", "Calls", "Tokens", "Unpriced")
    assert [tuple(each[name] for name in told) for each in found] == [
        ("big", Decimal("7.5"), 3, 100, 1),
        ("small", Decimal("0.000000000001"), 1, 7, 0),
        ("unpriced", None, 1, 0, 1),
        ("(unattributed)", 0, 0, 0, 0),
    ]
    assert found[0]["Share"] == pytest.approx(Decimal("7.5") / whole, abs=Decimal("1e-11"))
    customers = page.ask("overview_customers", NOW - timedelta(days=7), NOW)
    assert [(each["Customer"], each["Cost"], each["Calls"]) for each in customers] == [
        ("acme", Decimal(6), 1),
        ("(unattributed)", whole - 6, 4),
    ]
    (share,) = page.ask("overview_unattributed", NOW - timedelta(days=7), NOW)
    assert share["No workload"] == 0
    assert share["No customer"] == share["No team"] == pytest.approx((whole - 6) / whole, abs=Decimal("1e-11"))


def test_a_hundred_members_are_named_and_the_unattributed_one_always(clickhouse: Engine) -> None:
    made = numbered(
        *(calls(("2026-05-09T12:00", str(n + 1), {"workload": f"w{n:03}"})) for n in range(120)),
        calls(("2026-05-09T12:00", "0.5")),
    )
    page = Page("spend-overview", clickhouse.database("many", made, "Asia/Kolkata"))
    names = [each["Workload"] for each in page.ask("overview_workloads", NOW - timedelta(days=7), NOW)]
    assert names == [*(f"w{n:03}" for n in range(119, 19, -1)), "(unattributed)"]


def test_spend_over_time_is_in_days_of_the_organisation(clickhouse: Engine) -> None:
    made = numbered(
        calls(
            ("2026-05-08T23:59", "1", {"provider": "openai"}),
            ("2026-05-09T00:00", "2", {"provider": "openai"}),
            ("2026-05-09T23:59", "4", {"provider": "anthropic"}),
        )
    )
    page = Page("spend-overview", clickhouse.database("days", made, "Asia/Kolkata"))

    def asked(start: str, end: str) -> list[tuple[datetime, str, Decimal]]:
        found = page.ask("overview_providers", at(start), at(end))
        return [(each["time"].replace(tzinfo=UTC), each["name"], each["cost"]) for each in found]

    assert asked("2026-05-01T00:00", "2026-05-10T14:00") == [
        (at("2026-05-08T00:00"), "openai", 1),
        (at("2026-05-09T00:00"), "anthropic", 4),
        (at("2026-05-09T00:00"), "openai", 2),
    ]
    assert asked("2026-05-08T14:00", "2026-05-10T14:00") == [
        (at("2026-05-08T23:00"), "openai", 1),
        (at("2026-05-09T00:00"), "openai", 2),
        (at("2026-05-09T23:00"), "anthropic", 4),
    ]
    assert asked("2024-05-01T00:00", "2026-05-10T14:00") == [
        (at("2026-05-01T00:00"), "anthropic", 4),
        (at("2026-05-01T00:00"), "openai", 3),
    ]


def test_ten_providers_have_a_name_and_the_rest_is_one(clickhouse: Engine) -> None:
    made = numbered(*(calls(("2026-05-09T12:00", str(2**n), {"provider": f"p{n:02}"})) for n in range(12)))
    page = Page("spend-overview", clickhouse.database("providers", made, "Asia/Kolkata"))
    found = {each["name"]: each["cost"] for each in page.ask("overview_providers", NOW - timedelta(days=7), NOW)}
    assert found == {**{f"p{n:02}": Decimal(2**n) for n in range(2, 12)}, "(others)": Decimal(1) + 2}


def test_the_sparkline_has_thirty_days_with_zeros_where_nothing_was_spent(clickhouse: Engine) -> None:
    page = Page("spend-overview", clickhouse.database("spark", days(5, 0, 7, until="2026-05-10"), "Asia/Kolkata"))
    found = page.ask("overview_sparkline", NOW - timedelta(days=1), NOW)
    assert [each["Cost"] for each in found] == [*[0] * 26, 5, 0, 7, 0]
    assert found[-1]["time"].replace(tzinfo=UTC) == at("2026-05-10T00:00")


@pytest.mark.parametrize("history", [200, 60, 21, 15])
def test_the_forecast_is_the_method_of_the_pipeline_to_the_picodollar(clickhouse: Engine, history: int) -> None:
    chance = random.Random(history)
    daily = [chance.randrange(20, 40) * (1 if n % 7 < 5 else 3) for n in range(history)]
    made = numbered(days(*daily, until="2026-05-10"), calls(("2026-05-10T09:00", "11.111111111111")))
    page = Page("spend-overview", clickhouse.database(f"forecast_{history}", made, "Asia/Kolkata"))
    (found,) = page.ask("overview_forecast", NOW - timedelta(days=7), NOW)

    # the first day is not whole: its call came at noon; the forecast looks back 120 days at most
    picos = [dollars * 10**12 for dollars in daily][1:][-120:]
    today = 11_111_111_111_111
    outlook = forecast.learn(picos, days_left=22)  # 10 to 31 May
    expected = forecast.forecast(outlook, sum(picos[-9:]) + today, today, elapsed_ppm=14 * 1_000_000 // 24)
    assert found["Half (p50)"] == Decimal(expected.p50[-1]).scaleb(-12)
    assert found["Nine in ten (p90)"] == (Decimal(expected.p90[-1]).scaleb(-12) if expected.measured else None)


def test_a_forecast_needs_two_weeks_of_whole_days(clickhouse: Engine) -> None:
    page = Page("spend-overview", clickhouse.database("fortnight", days(*[9] * 14, until="2026-05-10"), "Asia/Kolkata"))
    assert page.ask("overview_forecast", NOW - timedelta(days=7), NOW) == [
        {"Half (p50)": None, "Nine in ten (p90)": None}
    ]


def test_budgets_over_their_threshold_count_only_while_their_period_lasts(clickhouse: Engine) -> None:
    client = clickhouse.database("budgets", [])
    client.command("INSERT INTO budgets (id, version) VALUES ('a', 1), ('b', 1), ('c', 1), ('each', 1), ('gone', 1)")
    client.command("INSERT INTO budgets (id, removed, version) VALUES ('gone', 1, 2)")
    statuses = [
        ("a", "a", "warning", "2026-06-01"),
        ("b", "b", "exceeded", "2026-06-01"),
        ("c", "c", "exceeded", "2026-05-01"),  # its period is over
        ("each/x", "each", "exceeded", "2026-06-01"),
        ("each/y", "each", "warning", "2026-06-01"),
        ("each/z", "each", "ok", "2026-06-01"),
    ]
    for key, budget, state, resets in statuses:
        client.command(
            f"INSERT INTO budget_status (key, budget_id, state, resets_at, version) "
            f"VALUES ('{key}', '{budget}', '{state}', '{resets} 00:00:00', 1)"
        )
    page = Page("spend-overview", client)
    assert page.ask("overview_budgets", NOW - timedelta(days=7), NOW) == [
        {"Over their threshold": 3, "Over their limit": 2, "Budgets": 4}
    ]


def test_an_incident_is_open_until_its_last_change_ends_it(clickhouse: Engine) -> None:
    client = clickhouse.database("alerts", [])
    told = [
        ("budget/a", "spend.budget.warning", "opened", "minor", "2026-05-01"),
        ("budget/a", "spend.budget.exceeded", "escalated", "critical", "2026-05-02"),
        ("budget/b", "spend.budget.warning", "opened", "minor", "2026-05-01"),
        ("budget/b", "spend.budget.resolved", "resolved", "info", "2026-05-09"),
        ("anomaly/c", "spend.anomaly.opened", "opened", "major", "2026-05-03"),
        ("anomaly/d", "spend.anomaly.closed", "closed", "info", "2026-05-03"),
        ("trend/e", "spend.trend", "opened", "info", "2026-05-03"),  # told once, has no end
        ("anomaly/f", "spend.anomaly.opened", "opened", "critical", "2026-06-01"),  # after the range
    ]
    for n, (incident, kind, change, severity, day) in enumerate(told):
        client.command(
            f"INSERT INTO alerts (id, log_id, incident, type, change, severity, time, version) "
            f"VALUES ('{n}', 'log', '{incident}', '{kind}', '{change}', '{severity}', '{day} 00:00:00', {n})"
        )
    page = Page("spend-overview", client)
    assert page.ask("overview_alerts", NOW - timedelta(days=7), NOW) == [{"Open": 2, "Critical": 1}]
    earlier = at("2026-05-05T00:00")
    assert page.ask("overview_alerts", earlier - timedelta(days=7), earlier) == [{"Open": 3, "Critical": 1}]


def everything(page: Page, start: datetime, end: datetime) -> dict[str, Answer]:
    return {panel["title"]: page.ask_panel(panel["id"], start, end) for panel in page.panels}


def test_an_empty_database_leaves_the_page_whole(clickhouse: Engine) -> None:
    page = Page("spend-overview", clickhouse.database("nothing", []))
    found = everything(page, NOW - timedelta(days=5 * 365), NOW)
    assert found["Month to date"] == [{"Cost": 0, "Change": None, "Calls without a price": 0}]
    assert found["Month-end forecast"] == [{"Half (p50)": None, "Nine in ten (p90)": None}]
    assert found["Top workloads"] == found["Trending customers"] == found["Spend over time by provider"] == []


def test_one_call_is_on_every_figure(clickhouse: Engine) -> None:
    made = calls(("2026-05-10T13:59", "0.25", {"input_tokens": 7}))
    found = everything(
        Page("spend-overview", clickhouse.database("one", made, "Asia/Kolkata")), NOW - timedelta(days=1), NOW
    )
    for card in ("In this range", "Today", "Month to date", "Quarter to date", "Year to date"):
        assert found[card] == [{"Cost": Decimal("0.25"), "Change": None, "Calls without a price": 0}]
    assert found["Calls"] == [{"Calls": 1, "Change": None, "Tokens": 7}]
    assert found["Unattributed"] == [{"No workload": 1, "No customer": 1, "No team": 1}]


def test_columns_that_a_panel_formats_are_columns_of_its_answer(clickhouse: Engine) -> None:
    page = Page("spend-overview", clickhouse.database("trends", TRENDS, "Asia/Kolkata"))
    for panel in page.panels:
        formatted = {each["matcher"]["options"] for each in panel["fieldConfig"]["overrides"]}
        answer = page.ask_panel(panel["id"], NOW - timedelta(days=7), NOW, floor="0")
        assert not answer or formatted <= set(answer[0]), panel["title"]


def test_names_may_be_anything(clickhouse: Engine) -> None:
    made = numbered(*(calls(("2026-05-09T12:00", "1", {"workload": name, "customer": name})) for name in HOSTILE))
    page = Page("spend-overview", clickhouse.database("hostile", made, "Asia/Kolkata"))
    for panel, column in (("overview_workloads", "Workload"), ("overview_customers", "Customer")):
        found = page.ask(panel, NOW - timedelta(days=7), NOW)
        assert {each[column] for each in found} == {*HOSTILE, "(unattributed)"}
