"""The report's trends and forecast against the pure functions on sums made in Python, over the embedded ClickHouse."""

import json
import random
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from priced_rows import Row, embedded_clickhouse, insert, row

from clickhouse.client import connect
from clickhouse.migrate import up
from streams import settings as settings_module
from streams.cli.report import command
from streams.errors import SpendError
from streams.periods import calendar, custom, midnight, period
from streams.report import Rollups
from streams.report_trends import Trending, month_end, trending
from streams.settings import Settings
from streams.spend import forecast, trend
from streams.spend.money import PICOS, usd

pytestmark = pytest.mark.stack

KATHMANDU = ZoneInfo("Asia/Kathmandu")  # 5:45 from UTC: its midnights are at 18:15
NOW = datetime.now(UTC)
TODAY = NOW.astimezone(KATHMANDU).date()
DAYS = 40  # the first of them in part: calls begin at noon

# Dollars a day of each customer, by the number of the day.
CUSTOMERS: dict[str, Callable[[int], float]] = {
    "steady": lambda _: 10,
    "rising": lambda day: 2 + day / 4,
    "falling": lambda day: 20 - day / 3,
    "pennies": lambda day: 0.001 if day < 26 else 0.1,
    "one wild day": lambda day: 900 if day == 33 else 10,
}


def calls() -> list[Row]:
    chance, made = random.Random(3), []
    first = TODAY - timedelta(days=DAYS - 1)
    for number in range(DAYS):
        noon = midnight(first + timedelta(days=number), KATHMANDU) + timedelta(hours=12)
        for customer, dollars in CUSTOMERS.items():
            for part in range(4):
                at = noon + timedelta(minutes=150 * part)
                if at < NOW:
                    cost = Decimal(round(dollars(number) * chance.uniform(0.9, 1.1) * 10**12 / 4)).scaleb(-12)
                    made.append(row(len(made), at, cost, customer=customer, workload="chat"))
        made.append(row(len(made), noon, None, customer="steady", workload=None))
    return made


CALLS = calls()


@pytest.fixture(scope="module")
def conf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    with embedded_clickhouse(tmp_path_factory.mktemp("trends")) as settings:
        client = connect(settings)
        up(client, settings, lambda: None)
        insert(client, settings, CALLS, "log:0:0")
        up(client, settings.model_copy(update={"clickhouse_database": "empty"}), lambda: None)
        few = settings.model_copy(update={"clickhouse_database": "few"})
        up(client, few, lambda: None)
        week_ago = midnight(TODAY - timedelta(days=7), KATHMANDU).replace(tzinfo=None)
        insert(client, few, [call for call in CALLS if call["time"] > week_ago], "log:0:0")
        yield settings


@pytest.fixture
def rollups(conf: Settings) -> Rollups:
    return Rollups.of(connect(conf), conf.clickhouse_database)


def spent(days: list[date], customer: str | None = None) -> list[int]:
    """The oracle: picodollars of each day, one call at a time."""
    sums = dict.fromkeys(days, 0)
    for call in CALLS:
        day = call["time"].replace(tzinfo=UTC).astimezone(KATHMANDU).date()
        if day in sums and customer in (None, call["customer"]):
            sums[day] += int((call["cost_total"] or Decimal(0)) * PICOS)
    return list(sums.values())


def days_before(end: date, count: int) -> list[date]:
    return [end - timedelta(days=back) for back in range(count, 0, -1)]


def over(rollups: Rollups, name: str, floor: str = "10", top: int = 5) -> Trending:
    floor_picos = int(Decimal(floor) * PICOS)
    return trending(rollups, "customer", period(name, NOW, KATHMANDU), NOW, KATHMANDU, top=top, floor_picos=floor_picos)


def test_members_are_ranked_by_their_change_over_whole_days(rollups: Rollups) -> None:
    found = over(rollups, "last_14_days")
    days = days_before(TODAY, 28)
    assert (found.days, found.last, found.too_short) == (14, TODAY - timedelta(days=1), None)
    assert [each.member for each in found.rising] == ["one wild day", "rising"]
    assert [each.member for each in found.falling] == ["falling"]
    for each in (*found.rising, *found.falling):
        assert each == trend.measure(each.member, spent(days, each.member), 14)
    wild, rising = found.rising
    assert wild.p_value > 0.05 > rising.p_value  # one wild day is a change, and no trend


def test_a_change_below_the_floor_is_no_trend(rollups: Rollups) -> None:
    assert "pennies" in [each.member for each in over(rollups, "last_14_days", floor="0").rising]
    assert over(rollups, "last_14_days", floor="10000").rising == []


def test_only_the_first_of_a_ranking_are_named(rollups: Rollups) -> None:
    assert [each.member for each in over(rollups, "last_14_days", top=1).rising] == ["one wild day"]


def test_a_range_without_history_gives_way_to_a_shorter_one_and_says_why(rollups: Rollups) -> None:
    found = over(rollups, "last_30_days")
    assert found.days == 14
    assert found.too_short is not None
    assert found.too_short.startswith("30 days against the 30 before need 60 days of data, there is some since ")


def test_days_long_past_are_not_replaced_by_others(rollups: Rollups) -> None:
    past = custom(TODAY - timedelta(days=32), TODAY - timedelta(days=3), KATHMANDU)
    found = trending(rollups, "customer", past, NOW, KATHMANDU, top=5, floor_picos=0)
    assert found.days == 0 and found.rising == [] and "need 60 days" in (found.too_short or "")
    past = custom(TODAY - timedelta(days=16), TODAY - timedelta(days=3), KATHMANDU)
    found = trending(rollups, "customer", past, NOW, KATHMANDU, top=5, floor_picos=10 * PICOS)
    assert (found.days, found.last) == (14, TODAY - timedelta(days=3))
    assert found.falling[0] == trend.measure(
        "falling", spent(days_before(TODAY - timedelta(days=2), 28), "falling"), 14
    )


def test_a_range_without_a_whole_day_says_so(rollups: Rollups) -> None:
    only_today = custom(TODAY, TODAY, KATHMANDU)
    found = trending(rollups, "customer", only_today, NOW, KATHMANDU, top=5, floor_picos=0)
    assert (found.days, found.too_short) == (0, "the range has no whole day yet")


def test_the_months_end_is_forecast_from_the_whole_days(rollups: Rollups) -> None:
    found = month_end(rollups, NOW, KATHMANDU)
    first, next_first = calendar("month", TODAY)
    known = days_before(TODAY, DAYS - 2)  # the first day begins at noon
    month = [first + timedelta(days=n) for n in range((TODAY - first).days + 1)]
    assert (found.month, found.days_left, found.too_short) == (first, (next_first - TODAY).days, None)
    assert found.spent == sum(spent(month))
    start = midnight(TODAY, KATHMANDU)
    elapsed = (NOW - start) * forecast.ONE // timedelta(days=1)
    outlook = forecast.learn(spent(known), found.days_left)
    assert found.forecast == forecast.forecast(outlook, found.spent, spent([TODAY])[0], elapsed)


def test_without_history_there_is_no_forecast_and_no_trend(conf: Settings) -> None:
    for database, whole in (("empty", "there are 0"), ("few", "there are 6")):
        rollups = Rollups.of(connect(conf), database)
        found = month_end(rollups, NOW, KATHMANDU)
        assert found.forecast is None
        assert found.too_short == f"a forecast needs 14 whole days of data, {whole}"
        assert over(rollups, "last_30_days").days == 0


@pytest.fixture
def spoken(
    conf: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., str]]:
    """Run `spendstream report` with the settings and options given; what it prints."""

    def run(database: str = "spend", **options: object) -> str:
        monkeypatch.setenv("SPEND_CLICKHOUSE_URL", conf.clickhouse_url)
        monkeypatch.setenv("SPEND_CLICKHOUSE_DATABASE", database)
        monkeypatch.setenv("SPEND_TIMEZONE", KATHMANDU.key)
        monkeypatch.setenv("COLUMNS", "80")
        settings_module.settings.cache_clear()
        command(**options)  # type: ignore[arg-type]
        return capsys.readouterr().out

    yield run
    settings_module.settings.cache_clear()


def test_people_read_who_rises_who_falls_and_the_months_end(spoken: Callable[..., str]) -> None:
    text = spoken(over="last_14_days")
    assert max(len(line) for line in text.splitlines()) <= 80
    lines = text[text.index("Trending customers") :].splitlines()
    rising = next(line for line in lines if line.strip().startswith("rising")).split()
    assert rising[0] == "rising" and rising[3].startswith("+") and rising[4].startswith("+$0.")
    assert lines[0].split("  ")[1].startswith("14 days to ") and lines[0].rstrip().endswith("and the 14 before")
    assert f"End of {TODAY:%B %Y}" in text and "p90" in text
    assert "Trending workloads" in text


def test_people_read_once_why_the_range_is_shorter(spoken: Callable[..., str]) -> None:
    assert " ".join(spoken().split()).count("30 days against the 30 before need 60 days of data, there is some") == 1


def test_people_read_why_there_is_no_trend(spoken: Callable[..., str]) -> None:
    text = " ".join(spoken(database="few").split())
    assert "Trending customers 30 days against the 30 before need 60 days of data" in text
    assert "a forecast needs 14 whole days of data, there are 6" in text
    assert "none changed by $99,999.00 or more" in spoken(over="last_14_days", floor="99999")


def test_machines_read_exact_strings(spoken: Callable[..., str]) -> None:
    found = json.loads(spoken(as_json=True, over="last_14_days", by=["team"], floor="2.50"))
    customers = found["trends"]["customer"]
    assert (customers["days"], customers["floor_usd"], customers["too_short"]) == (14, "2.50", None)
    falling = customers["falling"][0]
    daily = spent(days_before(TODAY, 28), "falling")
    assert falling["member"] == "falling"
    assert (falling["previous_usd"], falling["current_usd"]) == (usd(sum(daily[:14])), usd(sum(daily[14:])))
    assert Decimal(falling["change_percent"]) < 0 and Decimal(falling["slope_usd_per_day"]) < 0
    assert 0 <= falling["p_value"] < 0.05
    month = found["month_end"]
    assert Decimal(month["p50_usd"]) >= Decimal(month["spent_usd"])
    assert (month["p90_usd"] is None) == (month["trials"] < 8)


@pytest.mark.parametrize("floor", ["-1", "ten", "NaN", "1e30"])
def test_a_floor_that_is_no_amount_is_refused(spoken: Callable[..., str], floor: str) -> None:
    with pytest.raises(SpendError, match="--floor"):
        spoken(floor=floor)
