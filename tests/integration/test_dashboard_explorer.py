"""The usage explorer's figures against sums made in Python, one call at a time, over the embedded ClickHouse."""

import random
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from asked_pages import Engine, Page, engine
from priced_rows import Row, row

pytestmark = pytest.mark.stack

KATHMANDU = ZoneInfo("Asia/Kathmandu")  # 5:45 from UTC
END = datetime(2026, 5, 31, 23, 50, tzinfo=KATHMANDU)
START = END - timedelta(days=20)
HOSTILE = ["'; DROP TABLE --", "\\", "\\' OR 1=1 --", "$__toTime", "🦊 ümlaut", "x" * 300, "a&b=c,d+e%20"]
ALL = {"provider": "$__all", "model": "$__all", "gateway": "$__all", "team": "$__all"}
COLUMNS = [
    "provider", "model", "workload", "customer", "team", "project", "service", "server", "gateway", "environment",
    "operation", "cost_category", "cache_outcome", "region", "service_tier",
]  # fmt: skip
NARROW = ["user", "workflow", "agent", "api_key_id", "release"]


def calls() -> list[Row]:
    """1,200 calls over 40 days, half of them within the range; some unattributed, some without a price."""
    chance = random.Random(20260531)
    made = []
    for offset in range(1_200):
        at = END - timedelta(minutes=chance.randrange(40 * 1440))
        cost = None if chance.random() < 0.05 else Decimal(chance.randrange(1, 10**12)).scaleb(-12)
        told = {
            "provider": chance.choice(["openai", "anthropic", HOSTILE[2], HOSTILE[6]]),
            "model": chance.choice(["gpt-4o", "o3", "claude-opus-4"]),
            "operation": chance.choice(["chat", "embeddings"]),
            "cost_category": chance.choice(["inference", "training"]),
            "cache_outcome": chance.choice([None, "hit", "miss", "bypass"]),
            "error_type": chance.choice([None, None, None, "timeout"]),
            "workload": chance.choice([*HOSTILE, None, ""]),
            "tags": chance.choice([[], [("cost center", HOSTILE[0])], [("cost center", "7"), ("a'b", "1")]]),
            "input_tokens": chance.randrange(10_000),
            "output_tokens": chance.choice([None, chance.randrange(1_000)]),
        }
        for name in ("customer", "team", "project", "service", "server", "gateway", "environment", "region", *NARROW):
            told[name] = chance.choice([f"{name}-1", f"{name}-2", None])
        made.append(row(offset, at, cost, **told))
    return made


CALLS = calls()
WITHIN = [  # a quarter of an hour belongs to the range when it starts in it
    call for call in CALLS
    if START.timestamp() <= call["time"].replace(tzinfo=UTC).timestamp() // 900 * 900 <= END.timestamp()
]  # fmt: skip


@pytest.fixture(scope="module")
def clickhouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with engine(tmp_path_factory.mktemp("explorer")) as started:
        yield started


@pytest.fixture
def page(clickhouse: Engine) -> Page:
    return Page("spend-explorer", clickhouse.database("spend", CALLS, KATHMANDU.key))


def member_of(dimension: str) -> Callable[[Row], str]:
    if dimension.startswith("tags."):
        return lambda call: dict(call["tags"]).get(dimension.removeprefix("tags."), "") or "(unattributed)"
    return lambda call: call.get(dimension) or "(unattributed)"


def grouped(dimension: str, within: list[Row]) -> dict[str, tuple[Decimal, int, int, int, int]]:
    """The oracle: by member its cost, calls, tokens, errors and calls without a price."""
    found: dict[str, list[Row]] = defaultdict(list)
    found["(unattributed)"] = []
    for call in within:
        found[member_of(dimension)(call)].append(call)
    return {
        member: (
            sum((call["cost_total"] or Decimal(0) for call in theirs), Decimal(0)),
            len(theirs),
            sum(call["input_tokens"] + (call["output_tokens"] or 0) for call in theirs),
            sum(call["error_type"] is not None for call in theirs),
            sum(call["cost_total"] is None for call in theirs),
        )
        for member, theirs in found.items()
    }


def agrees(page: Page, dimension: str, within: list[Row], **chosen: str | list[str]) -> None:
    """Every figure of the table is that of the calls."""
    group = {"group_by": "tag", "tag_key": dimension[5:]} if dimension.startswith("tags.") else {"group_by": dimension}
    found = page.ask("explorer_members", START, END, **{**ALL, **group, **chosen})
    expected = grouped(dimension, within)
    assert {each["Member"] for each in found} == set(expected)
    whole = sum(cost for cost, *_ in expected.values())
    for each in found:
        cost, count, tokens, errors, unpriced = expected[each["Member"]]
        assert each["Cost"] == (None if count and unpriced == count else cost)
        assert (each["Calls"], each["Tokens"], each["Unpriced"]) == (count, tokens, unpriced)
        assert each["Share of spend"] == pytest.approx(cost / whole, abs=Decimal("1e-11"))
        assert each["Share of calls"] == pytest.approx(Decimal(count) / len(within), abs=Decimal("1e-5"))
        assert each["dimension"] == dimension
        if count:
            assert each["Tokens per call"] == pytest.approx(tokens / count)
            assert each["Errors"] == pytest.approx(errors / count)
        if count > unpriced:
            assert each["Cost per call"] == pytest.approx(cost / (count - unpriced), abs=Decimal("1e-11"))


@pytest.mark.parametrize("dimension", [*COLUMNS, *NARROW, "tags.cost center", "tags.a'b", "tags.nobody's"])
def test_each_grouping_is_the_sum_of_its_members_calls(page: Page, dimension: str) -> None:
    agrees(page, dimension, WITHIN)


@pytest.mark.parametrize("dimension", ["provider", "workload", "user", "tags.cost center"])
@pytest.mark.parametrize("providers", [["openai"], [HOSTILE[2], HOSTILE[6], "anthropic"]], ids=["one", "many"])
def test_filters_of_one_and_of_many_values_leave_the_calls_that_bear_them(
    page: Page, dimension: str, providers: list[str]
) -> None:
    agrees(page, dimension, [call for call in WITHIN if call["provider"] in providers], provider=providers)


@pytest.mark.parametrize("dimension", ["model", "agent", "tags.a'b"])
def test_filters_hold_together_and_the_unattributed_can_be_chosen(page: Page, dimension: str) -> None:
    within = [
        call
        for call in WITHIN
        if call["model"] in ("o3", "gpt-4o") and call["gateway"] == "gateway-1" and call["team"] is None
    ]
    agrees(page, dimension, within, model=["o3", "gpt-4o"], gateway=["gateway-1"], team=["(unattributed)"])


@pytest.mark.parametrize("value", ["') OR 1=1 --", "\\", "\\') OR 1=1 --", "$__timeFilter(time)", "nobody", "' AND '"])
def test_a_hostile_filter_or_grouping_is_a_name_that_nobody_bears(page: Page, value: str) -> None:
    for filtered in ("provider", "team"):
        assert page.ask("explorer_members", START, END, **{**ALL, filtered: [value]}) == []
        assert page.ask("explorer_members", START, END, **{**ALL, "group_by": "user", filtered: [value]}) == []
    (found,) = page.ask("explorer_members", START, END, **ALL, group_by=value)
    assert (found["Member"], found["Calls"]) == ("(unattributed)", len(WITHIN))


def test_the_totals_stand_side_by_side(page: Page) -> None:
    (found,) = page.ask("explorer_totals", START, END, **{**ALL, "model": ["o3"]})
    within = [call for call in WITHIN if call["model"] == "o3"]
    cost = sum((call["cost_total"] or Decimal(0) for call in within), Decimal(0))
    unpriced = sum(call["cost_total"] is None for call in within)
    tokens = sum(call["input_tokens"] + (call["output_tokens"] or 0) for call in within)
    hits, misses = (sum(call["cache_outcome"] == outcome for call in within) for outcome in ("hit", "miss"))
    assert (found["Cost"], found["Calls without a price"]) == (cost, unpriced)
    assert (found["Calls"], found["Tokens"]) == (len(within), tokens)
    assert found["Tokens per call"] == pytest.approx(tokens / len(within))
    assert found["Cost per call"] == pytest.approx(cost / (len(within) - unpriced), abs=Decimal("1e-11"))
    assert found["Cache hit rate"] == pytest.approx(hits / (hits + misses))


@pytest.mark.parametrize("dimension", ["workload", "user", "tags.cost center"])
def test_spend_over_time_adds_up_to_each_members_day(page: Page, dimension: str) -> None:
    group = {"group_by": "tag", "tag_key": dimension[5:]} if dimension.startswith("tags.") else {"group_by": dimension}
    found = page.ask("explorer_over_time", START, END, **ALL, **group)
    expected: dict[tuple[datetime, str], Decimal] = defaultdict(Decimal)
    for call in WITHIN:
        day = call["time"].replace(tzinfo=UTC).astimezone(KATHMANDU).replace(hour=0, minute=0, second=0, microsecond=0)
        expected[day, member_of(dimension)(call)] += call["cost_total"] or 0
    spent = {(each["time"].replace(tzinfo=UTC), each["name"]): each["cost"] for each in found if each["cost"]}
    assert spent == {key: cost for key, cost in expected.items() if cost}


def test_shares_of_spend_and_of_calls_stand_beside_each_other(page: Page) -> None:
    found = page.ask("explorer_shares", START, END, **ALL, group_by="model")
    expected = grouped("model", WITHIN)
    whole = sum(cost for cost, *_ in expected.values())
    assert {each["Member"] for each in found} == {"gpt-4o", "o3", "claude-opus-4"}
    for each in found:
        cost, count, *_ = expected[each["Member"]]
        assert each["Share of spend"] == pytest.approx(cost / whole, abs=Decimal("1e-11"))
        assert each["Share of calls"] == pytest.approx(Decimal(count) / len(WITHIN), abs=Decimal("1e-5"))


def test_concentration_is_one_by_the_sum_of_squared_shares(clickhouse: Engine) -> None:
    at = END - timedelta(days=1)
    made = [row(n, at, Decimal(dollars), provider=f"p{n}") for n, dollars in enumerate(("6", "3", "1"))]
    page = Page("spend-explorer", clickhouse.database("concentration", made))
    (found,) = page.ask("explorer_concentration", START, END)
    assert (found["Largest provider"], found["Providers"]) == (Decimal("0.6"), 3)
    assert found["As many equal providers"] == pytest.approx(1 / (0.6**2 + 0.3**2 + 0.1**2))
    pie = [(each["Provider"], each["Cost"]) for each in page.ask("explorer_providers", START, END)]
    assert pie == [("p0", 6), ("p1", 3), ("p2", 1)]


def test_variables_list_what_is_there_in_the_range(page: Page) -> None:
    assert page.options("tz", START, END) == [KATHMANDU.key]
    assert set(page.options("provider", START, END)) == {call["provider"] for call in WITHIN}
    assert page.options("team", START, END) == ["(unattributed)", "team-1", "team-2"]
    assert page.options("tag_key", START, END) == ["a'b", "cost center"]
    assert page.options("model", START - timedelta(days=365), START - timedelta(days=364)) == []


def test_an_empty_database_and_one_call_leave_the_page_whole(clickhouse: Engine) -> None:
    empty = Page("spend-explorer", clickhouse.database("nothing", []))
    one = Page("spend-explorer", clickhouse.database("one", [row(0, END - timedelta(hours=1), Decimal("0.000001"))]))
    for group in ("workload", "user", "tag"):
        for panel in empty.panels:
            years = END - timedelta(days=5 * 365)
            assert empty.ask_panel(panel["id"], years, END, **ALL, group_by=group) == [], panel["title"]
            assert one.ask_panel(panel["id"], years, END, **ALL, group_by=group) != [], panel["title"]


def test_columns_that_a_panel_formats_are_columns_of_its_answer(page: Page) -> None:
    for panel in page.panels:
        formatted = {each["matcher"]["options"] for each in panel["fieldConfig"]["overrides"]}
        assert formatted <= set(page.ask_panel(panel["id"], START, END, **ALL)[0]), panel["title"]


def test_users_and_tags_are_read_from_their_rollup_and_with_a_filter_from_the_calls(clickhouse: Engine) -> None:
    client = clickhouse.database("dropped", CALLS)
    page = Page("spend-explorer", client)
    client.command("TRUNCATE TABLE usage SYNC")
    agrees(page, "user", WITHIN)
    agrees(page, "tags.cost center", WITHIN)
    agrees(page, "team", [call for call in WITHIN if call["model"] == "o3"], model=["o3"])
    assert page.ask("explorer_members", START, END, **{**ALL, "model": ["o3"], "group_by": "user"}) == []
