"""The report's figures against sums made in Python, one call at a time, over the embedded ClickHouse."""

import json
import random
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from priced_rows import Row, embedded_clickhouse, insert, row

from clickhouse.client import connect
from clickhouse.migrate import up
from streams import settings as settings_module
from streams.cli.report import CARDS, command
from streams.errors import SpendError
from streams.periods import Stretch, custom, period
from streams.report import DIMENSIONS, MEMBER_DIMENSIONS, Comparison, Figures, Rollups
from streams.settings import Settings

pytestmark = pytest.mark.stack

KATHMANDU = ZoneInfo("Asia/Kathmandu")  # 5:45 from UTC: its midnights are at 18:15
NOW = datetime.now(UTC)
LAST_30_DAYS = period("last_30_days", NOW, KATHMANDU)


def calls() -> list[Row]:
    """3,000 calls over 80 days, some unattributed, some without a price."""
    chance = random.Random(20261121)
    made = []
    for offset in range(3_000):
        at = NOW - timedelta(seconds=chance.uniform(0, 80 * 86_400))
        cost = None if chance.random() < 0.05 else Decimal(chance.randrange(1, 10**12)).scaleb(-12)
        provider, model = chance.choice([("openai", "gpt-4o"), ("openai", "o3"), ("anthropic", "claude-opus-4")])
        told = {
            "provider": provider,
            "model": model,
            "workload": chance.choice([*(f"workload-{n}" for n in range(12)), None]),
            "customer": chance.choice([*(f"customer-{n}" for n in range(5)), None, ""]),
            "team": "research",
            "server": f"{provider}.example.com",
            "user": chance.choice([*(f"user-{n}" for n in range(30)), None]),
            "tags": chance.choice([[("cost_center", "7")], [("cost_center", "8"), ("season", "winter")], []]),
            "input_tokens": chance.randrange(100_000),
            "output_tokens": chance.choice([None, chance.randrange(10_000)]),
        }
        made.append(row(offset, at, cost, **told))
    return made


CALLS = calls()


@pytest.fixture(scope="module")
def conf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    with embedded_clickhouse(tmp_path_factory.mktemp("report")) as settings:
        client = connect(settings)
        up(client, settings, lambda: None)
        for first in range(0, len(CALLS), 1_000):
            insert(client, settings, CALLS[first : first + 1_000], f"log:0:{first}")
        up(client, settings.model_copy(update={"clickhouse_database": "empty"}), lambda: None)
        # what is read from here on cannot be the raw rows
        client.command("DROP TABLE spend.usage SYNC")
        yield settings


@pytest.fixture
def rollups(conf: Settings) -> Rollups:
    return Rollups.of(connect(conf), conf.clickhouse_database)


def summed(stretch: Stretch, only: Callable[[Row], bool] = lambda call: True) -> Figures:
    """The oracle: one call at a time."""
    figures = Figures()
    for call in CALLS:
        if stretch.start <= call["time"].replace(tzinfo=UTC) < stretch.end and only(call):
            unpriced = call["cost_total"] is None
            cost = call["cost_total"] or Decimal(0)
            figures += Figures(cost, 1, call["input_tokens"], call["output_tokens"] or 0, int(unpriced))
    return figures


@pytest.mark.parametrize("zone", [ZoneInfo("UTC"), KATHMANDU, ZoneInfo("America/St_Johns")], ids=str)
def test_every_period_is_the_sum_of_its_calls_to_the_last_digit(rollups: Rollups, zone: ZoneInfo) -> None:
    periods = [period(name, NOW, zone) for name in CARDS]
    for each, figures in zip(periods, rollups.totals(periods), strict=True):
        assert figures.current == summed(each.stretch)
        assert figures.previous is None or figures.previous == summed(each.previous)


def test_80_days_of_data_reach_back_behind_30_days_and_not_behind_the_year(rollups: Rollups) -> None:
    days, year = rollups.totals([LAST_30_DAYS, period("year_to_date", NOW, KATHMANDU)])
    assert days.previous == summed(LAST_30_DAYS.previous)
    assert year.previous is None
    assert year.change(lambda figures: figures.cost) is None


def test_changes_are_in_per_cent_of_the_stretch_before() -> None:
    def change(now: str, before: str | None) -> Decimal | None:
        previous = None if before is None else Figures(Decimal(before), 1)
        return Comparison(Figures(Decimal(now), 1), previous).change(lambda figures: figures.cost)

    assert change("150", "100") == Decimal("50.0")
    assert change("99.95", "100") == Decimal("0.0")
    assert change("0", "3") == Decimal("-100.0")
    assert change("3", "0") is None
    assert change("3", None) is None


@pytest.mark.parametrize("dimension", ["workload", "customer", "team", "provider", "server", "user"])
def test_a_breakdown_is_the_sum_of_each_members_calls(rollups: Rollups, dimension: str) -> None:
    found = rollups.breakdown(dimension, LAST_30_DAYS, top=100)
    assert {each.member for each in found.rows} == {call[dimension] for call in CALLS if call[dimension]}
    for each in found.rows:
        assert each.figures.current == summed(LAST_30_DAYS.stretch, lambda call: call[dimension] == each.member)  # noqa: B023
        assert each.figures.previous == summed(LAST_30_DAYS.previous, lambda call: call[dimension] == each.member)  # noqa: B023
    assert found.unattributed.current == summed(LAST_30_DAYS.stretch, lambda call: not call[dimension])
    assert found.total.current == summed(LAST_30_DAYS.stretch)


@pytest.mark.parametrize("dimension", [*DIMENSIONS, *MEMBER_DIMENSIONS, "tags.cost_center", "tags.none"])
def test_named_members_others_and_unattributed_add_up_to_the_total(rollups: Rollups, dimension: str) -> None:
    found = rollups.breakdown(dimension, LAST_30_DAYS, top=3)
    assert len(found.rows) <= 3
    costs = [each.figures.current.cost for each in found.rows]
    assert costs == sorted(costs, reverse=True)
    parts = [each.figures for each in found.rows] + [found.others, found.unattributed]
    assert sum((part.current for part in parts), Figures()) == found.total.current == summed(LAST_30_DAYS.stretch)
    previous = [part.previous for part in parts if part.previous is not None]
    assert sum(previous, Figures()) == found.total.previous == summed(LAST_30_DAYS.previous)


def test_provider_and_model_are_ranked_together(rollups: Rollups) -> None:
    found = rollups.breakdown("provider_model", LAST_30_DAYS, top=15)
    assert {each.member for each in found.rows} == {"openai / gpt-4o", "openai / o3", "anthropic / claude-opus-4"}


def test_a_call_without_the_tag_is_unattributed(rollups: Rollups) -> None:
    found = rollups.breakdown("tags.season", LAST_30_DAYS, top=10)
    assert [each.member for each in found.rows] == ["winter"]
    assert found.unattributed.current == summed(
        LAST_30_DAYS.stretch, lambda call: ("season", "winter") not in call["tags"]
    )


def test_an_unknown_dimension_is_refused_with_those_that_there_are(rollups: Rollups) -> None:
    with pytest.raises(SpendError, match=r"--by colour: .* workload, .*tags\.<key>"):
        rollups.breakdown("colour", LAST_30_DAYS, top=3)


def test_custom_days_are_summed_alike(rollups: Rollups) -> None:
    today = NOW.astimezone(KATHMANDU).date()
    days = custom(today - timedelta(days=9), today - timedelta(days=3), KATHMANDU)
    assert rollups.totals([days])[0].current == summed(days.stretch)


def test_calls_none_of_which_has_a_price_did_not_cost_nothing() -> None:
    assert Figures(Decimal(0), 4, unpriced_calls=4).known_cost is None
    assert Figures(Decimal(0), 4, unpriced_calls=3).known_cost == 0
    assert Figures().known_cost == 0


def test_the_report_names_only_rollups(conf: Settings) -> None:
    client = connect(conf)
    said: list[str] = []
    query: Callable[..., object] = client.query

    def listening(text: str, *args: object, **options: object) -> object:
        said.append(text)
        return query(text, *args, **options)

    client.query = listening  # type: ignore[method-assign,assignment]
    rollups = Rollups.of(client, conf.clickhouse_database)
    rollups.totals([LAST_30_DAYS])
    for dimension in (*DIMENSIONS, *MEMBER_DIMENSIONS, "tags.cost_center"):
        rollups.breakdown(dimension, LAST_30_DAYS, top=3)
    read = {table for text in said for table in re.findall(r"FROM\s+([\w.]+)", text)}
    assert read == {"system.tables", "spend.usage_15m", "spend.members_15m"}


@pytest.fixture
def spoken(
    conf: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., str]]:
    """Run `spendstream report` with the settings and options given; what it prints."""

    def run(database: str = "spend", columns: int = 80, **options: object) -> str:
        monkeypatch.setenv("SPEND_CLICKHOUSE_URL", conf.clickhouse_url)
        monkeypatch.setenv("SPEND_CLICKHOUSE_DATABASE", database)
        monkeypatch.setenv("SPEND_TIMEZONE", KATHMANDU.key)
        monkeypatch.setenv("COLUMNS", str(columns))
        settings_module.settings.cache_clear()
        command(**options)  # type: ignore[arg-type]
        return capsys.readouterr().out

    yield run
    settings_module.settings.cache_clear()


def test_the_tables_fit_80_columns_and_show_the_unattributed_row(spoken: Callable[..., str]) -> None:
    before = datetime.now(UTC)
    text = spoken()
    assert max(len(line) for line in text.splitlines()) <= 80
    assert "…" not in text
    assert text.count("unattributed") == 6
    # a quarter of an hour may end meanwhile
    wholes = [summed(period("last_30_days", at, KATHMANDU).stretch) for at in (before, datetime.now(UTC))]
    assert any(f"{whole.tokens:,}" in text and f"${whole.cost:,.2f}" in text for whole in wholes)
    assert "no earlier data" in text


def test_the_json_has_exact_figures_as_strings(spoken: Callable[..., str]) -> None:
    found = json.loads(spoken(as_json=True, by=["team"]))
    card = next(each for each in found["periods"] if each["name"] == "last_7_days")
    week = period("last_7_days", datetime.fromisoformat(found["as_of"]), KATHMANDU)
    whole = summed(week.stretch)
    assert isinstance(card["cost"], str)
    assert Decimal(card["cost"]) == whole.cost
    assert (card["calls"], card["tokens"], card["unpriced_calls"]) == (whole.calls, whole.tokens, whole.unpriced_calls)
    assert card["start"].endswith("+05:45")
    assert set(found["breakdowns"]) == {"team"}
    assert Decimal(found["breakdowns"]["team"]["unattributed"]["cost"]) == 0


def test_an_empty_database_says_how_to_begin(spoken: Callable[..., str]) -> None:
    text = " ".join(spoken(database="empty").split())
    assert "There is no usage yet: `spendstream produce`" in text
    assert "no earlier data" in text
    assert text.count("unattributed") == 6


def test_a_database_without_tables_names_the_command_that_makes_them(spoken: Callable[..., str]) -> None:
    with pytest.raises(SpendError, match="spendstream migrate up"):
        spoken(database="never_made")


def test_days_are_chosen_with_from_and_to(spoken: Callable[..., str]) -> None:
    today = NOW.astimezone(KATHMANDU).date()
    first, last = today - timedelta(days=5), today - timedelta(days=4)
    found = json.loads(spoken(as_json=True, by=["team"], first=str(first), last=str(last)))
    assert Decimal(found["breakdowns"]["team"]["total"]["cost"]) == summed(custom(first, last, KATHMANDU).stretch).cost
    with pytest.raises(SpendError, match="--from, --to"):
        spoken(first=str(last), last=str(first))
    with pytest.raises(SpendError, match="--range fortnight"):
        spoken(over="fortnight")
