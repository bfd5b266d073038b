"""Why did it change? The page's parts equal streams/spend/change_split.py's, to the picodollar, on the same calls."""

import random
from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from priced_rows import Row, embedded_clickhouse, insert, row
from shown_pages import Page, between

from clickhouse.client import connect
from clickhouse.migrate import up
from grafana.dashboards.change import DASHBOARD
from streams.settings import Settings
from streams.spend.change_split import CAUSES, Usage, split_change

pytestmark = pytest.mark.stack

END = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=1)
LENGTH = timedelta(days=2)
THIS = between(END - LENGTH, END - timedelta(seconds=1))
KINDS = ("input", "cache_read", "cache_write", "output", "audio", "image", "quantities")
SCENARIOS = 24
HOSTILE = ["'; DROP TABLE usage; --", "\\'", "🧨" * 100]
NAMES = {"volume": "Volume", "model_mix": "Model mix", "tier_mix": "Tier mix", "tokens_per_call": "Tokens per call",
         "cache": "Cache", "price": "Price"}  # fmt: skip


def scenario(number: int) -> list[Row]:
    """Calls of a customer and user of that number in this range, right before, a week and four weeks before."""
    chance = random.Random(number)
    starts = [END - LENGTH, END - 2 * LENGTH, END - LENGTH - timedelta(days=7), END - LENGTH - timedelta(days=28)]
    made = []
    for start in starts:
        most = chance.choice([0, 1, 3, 30])
        models = chance.sample(["gpt-4o", "o3", "gpt-5", "claude"], chance.randint(1, 4))
        for _ in range(most and chance.randint(1, most)):
            cached, written, audio, image = (chance.choice([0, 0, chance.randrange(500)]) for _ in range(4))
            costs = {kind: Decimal(chance.choice([0, 7, chance.randrange(10**11)])).scaleb(-12) for kind in KINDS}
            if chance.random() < 0.05:
                costs["output"] = -costs["output"]  # a correction
            made.append(
                row(
                    0,
                    start + timedelta(seconds=chance.randrange(int(LENGTH.total_seconds()))),
                    sum(costs.values(), Decimal(0)),
                    customer=f"customer-{number}",
                    user=f"user-{number}",
                    model=chance.choice(models),
                    service_tier=chance.choice([None, "default", "priority", "flex"]),
                    input_tokens=cached + written + audio + image + chance.choice([0, chance.randrange(10_000)]),
                    cache_read_input_tokens=cached,
                    cache_creation_input_tokens=written,
                    audio_input_tokens=audio,
                    image_input_tokens=image,
                    output_tokens=chance.choice([0, chance.randrange(5_000)]),
                    **{f"cost_{kind}": cost for kind, cost in costs.items()},
                )
            )
    return made


def by_hand() -> list[Row]:
    """Two calls of 100 tokens at a cent a token, then three of 200 at two cents: a customer of their own."""
    calls = [(END - LENGTH - timedelta(hours=1), 100, "1.00")] * 2 + [(END - timedelta(hours=1), 200, "4.00")] * 3
    return [row(0, at, Decimal(cost), customer="by hand", input_tokens=tokens) for at, tokens, cost in calls]


CALLS = [call for number in range(SCENARIOS) for call in scenario(number)] + by_hand()
CALLS += [{**call, "customer": name} for name in HOSTILE for call in by_hand()]
CALLS = [{**call, "id": f"call-{n}", "source_offset": n} for n, call in enumerate(CALLS)]


@pytest.fixture(scope="module")
def conf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    with embedded_clickhouse(tmp_path_factory.mktemp("change")) as server:
        settings = server.model_copy(update={"timezone": "UTC"})
        client = connect(settings)
        for database in ("spend", "empty", "one"):
            up(client, settings.model_copy(update={"clickhouse_database": database}), lambda: None)
        for first in range(0, len(CALLS), 1_000):
            insert(client, settings, CALLS[first : first + 1_000], f"log:0:{first}")
        only = row(0, END - timedelta(hours=1), Decimal("0.25"))
        insert(client, settings.model_copy(update={"clickhouse_database": "one"}), [only], "log:0:0")
        yield settings


@pytest.fixture
def page(conf: Settings) -> Page:
    return Page.of(DASHBOARD, conf)


def usages(calls: Iterable[Row]) -> list[Usage]:
    """What each model used on each tier, worked out from the calls."""
    groups: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for call in calls:
        tier = call.get("service_tier") or "default"
        groups[f"{call['provider']}/{call['model']}", tier].append(call)
    found = []
    for (model, tier), mine in groups.items():

        def total(name: str, mine: list[Row] = mine) -> int:
            return sum(call.get(name) or 0 for call in mine)

        cached, written = total("cache_read_input_tokens"), total("cache_creation_input_tokens")
        audio, image = total("audio_input_tokens"), total("image_input_tokens")
        units = {
            "input": max(total("input_tokens") - cached - written - audio - image, 0),
            "cache_read": cached,
            "cache_write": written,
            "output": total("output_tokens"),
            "audio": audio,
            "image": image,
        }
        costs = {
            kind: int(sum((call.get(f"cost_{kind}") or Decimal(0) for call in mine), Decimal(0)).scaleb(12))
            for kind in KINDS
        }
        found.append(Usage(model, tier, len(mine), units, costs))
    return found


def split(calls: list[Row], back: timedelta) -> dict[str, Decimal]:
    """The parts of change_split, in dollars, by the page's names."""

    def within(start: datetime) -> list[Row]:
        return [call for call in calls if start <= call["time"].replace(tzinfo=UTC) < start + LENGTH]

    parts = split_change(usages(within(END - LENGTH - back)), usages(within(END - LENGTH))).parts
    return {NAMES[cause]: Decimal(parts[cause]).scaleb(-12) for cause in CAUSES}


@pytest.mark.parametrize(("compare", "days"), [("previous", 2), ("week", 7), ("four_weeks", 28)])
@pytest.mark.parametrize("dimension", ["customer", "user"])
def test_the_parts_equal_change_split_to_the_picodollar(page: Page, dimension: str, compare: str, days: int) -> None:
    compared = 0
    for number in range(SCENARIOS):
        member = f"{dimension}-{number}"
        mine = [call for call in CALLS if call.get(dimension) == member]
        found = page.ask("change_causes", THIS, dimension=dimension, member=member, compare=compare)
        expected = split(mine, timedelta(days=days))
        assert {each["Cause"]: each["Change"] for each in found} == (expected if found else {}), member
        compared += bool(found)
    assert compared > SCENARIOS / 2


def test_all_spend_is_split_like_a_members(page: Page) -> None:
    found = page.ask("change_causes", THIS, dimension="global", member="(all)", compare="previous")
    assert {each["Cause"]: each["Change"] for each in found} == split(CALLS, LENGTH)


@pytest.mark.parametrize("member", ["by hand", *HOSTILE], ids=["plain", "quote", "backslash", "long"])
def test_a_change_worked_out_by_hand(page: Page, member: str) -> None:
    """From 2 calls of 100 tokens at $0.01 to 3 of 200 at $0.02: one cause after another takes its new value."""
    chosen: dict[str, Any] = {"dimension": "customer", "member": member, "compare": "previous"}
    cent = Decimal("0.01")
    was = 2 * 100 * cent
    with_volume = 3 * 100 * cent
    with_tokens = 3 * 200 * cent
    is_now = 3 * 200 * 2 * cent
    found = {each["Cause"]: each["Change"] for each in page.ask("change_causes", THIS, **chosen)}
    assert found == {
        "Volume": with_volume - was,
        "Model mix": 0,
        "Tier mix": 0,
        "Tokens per call": with_tokens - with_volume,
        "Cache": 0,
        "Price": is_now - with_tokens,
    }
    [totals] = page.ask("change_totals", THIS, **chosen)
    assert (totals["Before"], totals["This range"], totals["Change"]) == (was, is_now, is_now - was)
    assert totals["Change in percent"] == (is_now - was) * 100 / was
    assert (totals["Calls before"], totals["Calls in this range"]) == (2, 3)
    bars = page.ask("change_bridge", THIS, **chosen)
    assert {each["Cause"]: each["More"] or 0 for each in bars} == found
    [model] = page.ask("change_models", THIS, **chosen)
    assert (model["Model"], model["Tier"], model["Change"]) == ("gpt-4o", "standard", is_now - was)


def test_contributors_are_members_of_the_other_dimensions_by_their_difference(page: Page) -> None:
    chosen: dict[str, Any] = {"dimension": "global", "member": "(all)", "compare": "previous"}
    found = page.ask("change_contributors", THIS, **chosen)
    changes = [abs(each["Change"]) for each in found]
    assert changes == sorted(changes, reverse=True)
    assert {each["Dimension"] for each in found} <= {"customer", "model"}  # all else is borne by all calls alike
    for each in found:
        mine = [call for call in CALLS if call.get(each["Dimension"], "") == each["Member"]]
        assert each["Change"] == sum(split(mine, LENGTH).values())
    [everything] = page.ask("change_totals", THIS, **chosen)
    models = [each["Change"] for each in found if each["Dimension"] == "model"]
    assert sum(models) == everything["Change"]


def test_stretches_are_as_long_and_follow_the_organisations_clocks(conf: Settings) -> None:
    """The Monday after Berlin's clocks went forward: a week before it is the same time of day, an hour off in UTC."""
    berlin = Page.of(DASHBOARD, conf.model_copy(update={"timezone": "Europe/Berlin"}))
    monday = between(datetime(2026, 3, 30, 8, tzinfo=UTC), datetime(2026, 3, 30, 9, 59, 59, tzinfo=UTC))

    def before(compare: str) -> tuple[str, str]:
        [found] = berlin.ask("change_stretches", monday, compare=compare, dimension="global", member="")
        assert (found["This range, from"], found["This range, to"]) == ("2026-03-30 10:00", "2026-03-30 12:00")
        return found["Before, from"], found["Before, to"]

    assert before("previous") == ("2026-03-30 08:00", "2026-03-30 10:00")
    assert before("week") == ("2026-03-23 10:00", "2026-03-23 12:00")
    assert before("four_weeks") == ("2026-03-02 10:00", "2026-03-02 12:00")
    assert before("'; DROP TABLE usage; --") == before("previous")


def test_members_are_those_of_the_range_and_all_spend_has_none(page: Page) -> None:
    assert page.options("member", THIS, dimension="global", compare="previous") == ["(all)"]
    offered = page.options("member", THIS, dimension="customer", compare="previous")
    assert {*HOSTILE, "by hand", "(unattributed)"} <= set(offered)
    assert page.options("dimension", THIS, compare="previous")[:2] == ["global", "workload"]


@pytest.mark.parametrize("days", [1, 5 * 365])
@pytest.mark.parametrize(
    ("dimension", "member", "compare"),
    [
        ("global", "", "previous"),
        ("global", "", "week"),
        ("global", "", "four_weeks"),
        ("customer", "gone", "previous"),
        ("tags.none", "x", "week"),
        ("nothing", HOSTILE[0], "four_weeks"),
    ],
)
def test_nothing_and_one_call_break_no_panel(
    conf: Settings, dimension: str, member: str, compare: str, days: int
) -> None:
    span = between(END - timedelta(days=days), END)
    chosen: dict[str, Any] = {"dimension": dimension, "member": member, "compare": compare}
    nothing = Page.of(DASHBOARD, conf, "empty").every_panel(span, **chosen)
    assert nothing.pop("What is compared")
    assert all(rows == [] for rows in nothing.values())
    one = Page.of(DASHBOARD, conf, "one").every_panel(span, **chosen)
    changes = {each["Cause"]: each["Change"] for each in one["What the change is made of"]}
    if dimension != "global":
        assert changes == {}
    else:  # with nothing before, all of it is volume
        assert changes["Volume"] == sum(changes.values()) == Decimal("0.25")
