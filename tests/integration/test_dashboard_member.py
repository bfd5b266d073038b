"""The page of one member: every panel's figures against sums made in Python, one call at a time."""

import json
import random
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from statistics import median
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from priced_rows import Row, embedded_clickhouse, insert, row
from shown_pages import Page, between

from clickhouse.client import connect
from clickhouse.copied_rows import row as copied
from clickhouse.migrate import up
from grafana.dashboards.member import DASHBOARD
from streams import topics
from streams.settings import Settings

pytestmark = pytest.mark.stack

KATHMANDU = ZoneInfo("Asia/Kathmandu")  # 5:45 from UTC
QUARTER = timedelta(minutes=15)
HOUR = timedelta(hours=1)
END = datetime.now(UTC).replace(minute=20, second=0, microsecond=0) - HOUR
START = END - timedelta(days=7)
WEEK = between(START, END)
HOSTILE = [
    "'; DROP TABLE usage; --",
    "\\",
    "\\'",
    "emoji 🧨",
    "x" * 300,
    '"${member}" $__timeFilter(time)',
    "a\tb\nc",
    "100%",
]

Mine = Callable[[Row], bool]


def calls() -> list[Row]:
    """4,000 calls of seven weeks, some unattributed, some without a price; and two of each hostile name."""
    chance = random.Random(20261127)
    names: list[str | None] = [*HOSTILE] * 2 + [None] * 4_000
    made = []
    for offset, hostile in enumerate(names):
        at = END - timedelta(seconds=chance.randrange(3_600, 49 * 86_400 if hostile is None else 7 * 86_400))
        cost = None if chance.random() < 0.05 else Decimal(chance.randrange(1, 10**12)).scaleb(-12)
        provider, model = chance.choice([("openai", "gpt-4o"), ("openai", "o3"), ("anthropic", "claude-opus-4")])
        told: dict[str, Any] = {
            "provider": provider,
            "model": model,
            "workload": hostile or chance.choice(["chat", "agent", None]),
            "customer": chance.choice(["acme", "globex", None, ""]),
            "user": hostile or chance.choice([*(f"user-{n}" for n in range(5)), None]),
            "agent": chance.choice(["planner", None]),
            "tags": chance.choice([[("season", "winter")], [("season", ""), ("key=odd", "1")], []]),
            "input_tokens": chance.randrange(100_000),
            "output_tokens": chance.choice([None, chance.randrange(10_000)]),
            "duration_ms": chance.choice([None, chance.randrange(30_000)]),
            "error_type": chance.choice([None, None, None, "timeout"]),
            "cache_outcome": chance.choice(["hit", "miss", "bypass", None]),
        }
        made.append(row(offset, at, cost, **told))
    return made


def bears(column: str, name: str) -> Mine:
    return lambda call: call[column] == name


CALLS = calls()
MEMBERS: dict[tuple[str, str], Mine] = {
    ("workload", "chat"): lambda call: call["workload"] == "chat",
    ("workload", ""): lambda call: not call["workload"],
    ("workload", "(unattributed)"): lambda call: not call["workload"],
    ("customer", ""): lambda call: not call["customer"],
    ("provider", "openai"): lambda call: call["provider"] == "openai",
    ("model", "o3"): lambda call: call["model"] == "o3",
    ("cache_outcome", "hit"): lambda call: call["cache_outcome"] == "hit",
    ("user", "user-3"): lambda call: call["user"] == "user-3",
    ("user", ""): lambda call: not call["user"],
    ("agent", "planner"): lambda call: call["agent"] == "planner",
    ("tags.season", "winter"): lambda call: ("season", "winter") in call["tags"],
    ("tags.season", ""): lambda call: ("season", "winter") not in call["tags"],
    ("tags.key=odd", "1"): lambda call: ("key=odd", "1") in call["tags"],
    ("global", ""): lambda call: True,
    **{(column, name): bears(column, name) for column in ("workload", "user") for name in HOSTILE},
}
every_member = pytest.mark.parametrize("member", list(MEMBERS), ids=lambda member: f"{member[0]} {member[1][:20]!r}")


@pytest.fixture(scope="module")
def conf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    with embedded_clickhouse(tmp_path_factory.mktemp("member")) as server:
        settings = server.model_copy(update={"timezone": "Asia/Kathmandu"})
        client = connect(settings)
        for database in ("spend", "empty", "one"):
            up(client, settings.model_copy(update={"clickhouse_database": database}), lambda: None)
        for first in range(0, len(CALLS), 1_000):
            insert(client, settings, CALLS[first : first + 1_000], f"log:0:{first}")
        only = row(0, END - HOUR, Decimal("0.25"), workload="chat", user="user-3")
        insert(client, settings.model_copy(update={"clickhouse_database": "one"}), [only], "log:0:0")
        yield settings


@pytest.fixture
def page(conf: Settings) -> Page:
    return Page.of(DASHBOARD, conf)


def quarter(call: Row) -> datetime:
    at = call["time"].replace(tzinfo=UTC)
    return at - (at - datetime(1970, 1, 1, tzinfo=UTC)) % QUARTER


def of_range(mine: Mine, start: datetime = START) -> list[Row]:
    """The calls of the quarters of an hour that begin in the range."""
    return [call for call in CALLS if start <= quarter(call) <= END and mine(call)]


def cost(found: list[Row]) -> Decimal:
    return sum((call["cost_total"] or Decimal(0) for call in found), Decimal(0))


def tokens(found: list[Row]) -> int:
    return sum(call["input_tokens"] + (call["output_tokens"] or 0) for call in found)


def near(value: Any) -> Any:
    """Quotients are for the eye: ClickHouse cuts decimals at the twelfth place, floats at the fifteenth."""
    return pytest.approx(float(value), rel=1e-9, abs=2e-12)


@every_member
def test_spend_is_the_sum_of_the_members_calls_to_the_last_digit(page: Page, member: tuple[str, str]) -> None:
    mine = of_range(MEMBERS[member])
    [found] = page.ask("member_spend", WEEK, dimension=member[0], member=member[1])
    priced = [call for call in mine if call["cost_total"] is not None]
    assert found["Cost"] == (cost(mine) if priced else None)
    assert (found["Calls"], found["Tokens"]) == (len(mine), tokens(mine))
    assert found["Calls without a price"] == len(mine) - len(priced)
    assert float(found["Errors"]) == near(sum(call["error_type"] is not None for call in mine) / len(mine))
    assert (found["Cost per call"] is None) == (not priced)
    if priced:
        assert float(found["Cost per call"]) == near(cost(mine) / len(priced))


@every_member
def test_models_inside_a_member_add_up_to_it(page: Page, member: tuple[str, str]) -> None:
    mine = of_range(MEMBERS[member])
    found = page.ask("member_models", WEEK, dimension=member[0], member=member[1])
    for each in found:
        those = [call for call in mine if (call["provider"], call["model"]) == (each["Provider"], each["Model"])]
        assert (each["Cost"], each["Calls"], each["Tokens"]) == (cost(those), len(those), tokens(those))
    assert sum(each["Cost"] for each in found) == cost(mine)
    assert [each["Cost"] for each in found] == sorted((each["Cost"] for each in found), reverse=True)


@every_member
def test_users_inside_a_member_add_up_to_it(page: Page, member: tuple[str, str]) -> None:
    mine = of_range(MEMBERS[member])
    found = page.ask("member_users", WEEK, dimension=member[0], member=member[1])
    for each in found:
        those = [call for call in mine if (call["user"] or "(unattributed)") == each["User"]]
        assert (each["Cost"], each["Calls"], each["Tokens"]) == (cost(those), len(those), tokens(those))
    assert sum(each["Calls"] for each in found) == len(mine)


@every_member
def test_shares_are_of_all_calls_and_of_those_that_bear_no_member(page: Page, member: tuple[str, str]) -> None:
    everything = of_range(lambda call: True)
    [found] = page.ask("member_share", WEEK, dimension=member[0], member=member[1])
    assert float(found["Share of spend"]) == near(cost(of_range(MEMBERS[member])) / cost(everything))
    assert float(found["Share of calls"]) == near(len(of_range(MEMBERS[member])) / len(everything))
    nobody = MEMBERS.get((member[0], ""))
    if nobody and member[0] != "global":
        assert float(found["Unattributed"]) == near(cost(of_range(nobody)) / cost(everything))


@every_member
def test_latency_errors_and_cache_hits_are_those_of_the_calls(page: Page, member: tuple[str, str]) -> None:
    mine = of_range(MEMBERS[member])
    [found] = page.ask("member_quality", WEEK, dimension=member[0], member=member[1])
    timed = [call["duration_ms"] for call in mine if call["duration_ms"] is not None]
    asked = [call["cache_outcome"] for call in mine if call["cache_outcome"] in ("hit", "miss")]
    for name, values in (("Mean latency", timed), ("Cache hit rate", [outcome == "hit" for outcome in asked])):
        assert (found[name] is None) == (not values)
        if values:
            assert float(found[name]) == near(sum(values) / len(values))


def test_series_add_up_to_the_range(page: Page) -> None:
    mine = of_range(MEMBERS["workload", "chat"])
    chosen: dict[str, Any] = {"dimension": "workload", "member": "chat"}
    errors = page.ask("member_errors", WEEK, **chosen)
    assert sum(point["Errors"] for point in errors) == sum(call["error_type"] is not None for call in mine)
    assert sum(point["Answered"] + point["Errors"] for point in errors) == len(mine)
    [quality] = page.ask("member_quality", WEEK, points=1, **chosen)
    for panel, name in (("member_latency", "Mean latency"), ("member_cache", "Cache hit rate")):
        points = page.ask(panel, WEEK, points=1, **chosen)
        assert all(set(point) == {"time", name} for point in points)
        values = [point[name] for point in points if point[name] is not None]
        assert min(values) <= quality[name] <= max(values)


def local_hour(at: datetime) -> datetime:
    return at.astimezone(KATHMANDU).replace(minute=0, second=0, microsecond=0)


def usual(hours: dict[datetime, Decimal], hour: datetime) -> Decimal | None:
    """The median of the same hour of the four weeks before, of those since the first call that the page looks at."""
    since = min(at for at in hours if at >= local_hour(START) - timedelta(weeks=4))
    weeks = [hour - timedelta(weeks=back) for back in range(1, 5)]
    spent = [hours.get(week, Decimal(0)) for week in weeks if week >= since]
    return median(spent) if spent else None


@pytest.mark.parametrize("member", [("workload", "chat"), ("user", "user-3"), ("tags.season", ""), ("workload", "\\'")])
def test_the_baseline_is_the_median_of_the_same_hour_of_four_weeks(page: Page, member: tuple[str, str]) -> None:
    hours: dict[datetime, Decimal] = defaultdict(Decimal)
    for call in of_range(MEMBERS[member], START - timedelta(weeks=8)):
        hours[local_hour(quarter(call))] += call["cost_total"] or Decimal(0)
    found = page.ask("member_baseline", WEEK, points=10_000, dimension=member[0], member=member[1])
    first = local_hour(START)
    assert [point["time"].replace(tzinfo=UTC) for point in found] == [
        (first + n * HOUR).astimezone(UTC) for n in range((local_hour(END) - first) // HOUR + 1)
    ]
    for point in found:
        hour = point["time"].replace(tzinfo=UTC).astimezone(KATHMANDU)
        assert point["Spend"] == hours.get(hour, Decimal(0))
        expected = usual(hours, hour)
        assert point["Usual"] is None if expected is None else float(point["Usual"]) == near(expected)


def test_a_baseline_worked_out_by_hand(conf: Settings) -> None:
    """$4, $1, nothing and $2 at this hour of the weeks before: the median is $1.50; $6 now is four times as much."""
    database = conf.model_copy(update={"clickhouse_database": "by_hand"})
    client = connect(conf)
    up(client, database, lambda: None)
    hour = local_hour(END) - 2 * HOUR
    spent = {0: "6", 1: "2", 3: "1", 4: "4"}
    rows = [
        row(back, (hour - timedelta(weeks=back)).astimezone(UTC), Decimal(dollars), workload="chat")
        for back, dollars in spent.items()
    ]
    insert(client, database, rows, "log:0:0")
    span = between(hour.astimezone(UTC), (hour + HOUR).astimezone(UTC))
    [found] = Page.of(DASHBOARD, conf, "by_hand").ask("member_against_usual", span, dimension="workload", member="chat")
    assert found["Usual"] == (Decimal(1) + Decimal(2)) / 2
    assert found["Spend"] == Decimal(6)
    assert found["Difference"] == (Decimal(6) - Decimal("1.5")) * 100 / Decimal("1.5")


def test_days_of_the_baseline_begin_at_the_organisations_midnight(page: Page) -> None:
    found = page.ask("member_baseline", WEEK, points=3, dimension="global", member="")
    assert all(point["time"].strftime("%H:%M") == "18:15" for point in found[1:])
    assert sum(point["Spend"] for point in found) == cost(of_range(lambda call: True, local_hour(START)))


@every_member
def test_the_spend_log_has_the_latest_calls_with_every_component(page: Page, member: tuple[str, str]) -> None:
    ended = [call for call in CALLS if START <= call["time"].replace(tzinfo=UTC) <= END and MEMBERS[member](call)]
    latest = sorted(ended, key=lambda call: call["time"], reverse=True)[:100]
    found = page.ask("member_calls", WEEK, dimension=member[0], member=member[1])
    assert [each["Id"] for each in found] == [call["id"] for call in latest]
    for each, call in zip(found, latest, strict=True):
        assert (each["Cost"], each["Input"], each["Output"]) == (call["cost_total"], call["cost_input"], None)
        assert (each["Price version"], each["Log"], each["Offset"]) == ("test", "log", call["source_offset"])


def told(incident: str, change: str, hours: int, dimension: str, member: str) -> bytes:
    """The row of an alert of an anomaly since the range's start, so many hours later."""
    at = START + hours * HOUR
    data = {
        "incident": incident, "change": change, "severity": "major", "dimension": dimension, "member": member,
        "title": f"{incident} {change}", "text": "…", "since": START.isoformat(), "until": at.isoformat(),
    }  # fmt: skip
    event = {
        "id": f"{incident}/{change}", "source": "/spendstream/log", "type": f"spend.anomaly.{change}",
        "subject": incident, "time": at.isoformat(), "data": data,
    }  # fmt: skip
    made = copied(topics.ALERTS, b"", json.dumps(event).encode(), int(at.timestamp() * 1000), 0)
    assert made is not None
    return made[1]


def test_an_anomaly_is_one_mark_from_its_start_to_its_latest_word(page: Page) -> None:
    lines = [
        told("a", "opened", 1, "workload", "chat"),
        told("a", "closed", 2, "workload", "chat"),
        told("b", "opened", 1, "tag", "season=winter"),
        told("c", "opened", 1, "workload", ""),
        told("d", "opened", 1, "user", HOSTILE[2]),
    ]
    page.client.raw_insert("alerts", insert_block=b"\n".join(lines), fmt="JSONEachRow")

    def titles(dimension: str, member: str) -> list[str]:
        return [mark["title"] for mark in page.marks(WEEK, dimension=dimension, member=member)]

    [mark] = page.marks(WEEK, dimension="workload", member="chat")
    assert (mark["title"], mark["tags"]) == ("a closed", "anomaly,major")
    assert mark["timeEnd"] - mark["time"] == 2 * HOUR
    assert titles("tags.season", "winter") == ["b opened"]
    assert titles("workload", "(unattributed)") == ["c opened"]
    assert titles("user", HOSTILE[2]) == ["d opened"]
    assert titles("workload", "agent") == []


def test_members_are_offered_by_their_spend_and_the_unattributed_always(page: Page, conf: Settings) -> None:
    providers = page.options("member", WEEK, dimension="provider")
    costs = {name: cost(of_range(lambda call: call["provider"] == name)) for name in ("openai", "anthropic")}  # noqa: B023
    assert providers == [*sorted(costs, key=lambda name: -costs[name]), "(unattributed)"]
    assert set(page.options("member", WEEK, dimension="workload")) == {"chat", "agent", "(unattributed)", *HOSTILE}
    assert page.options("member", WEEK, dimension="tags.season") == ["winter", "(unattributed)"]
    assert page.options("member", WEEK, dimension="'; DROP") == ["(unattributed)"]
    assert {"workload", "user", "tags.season", "tags.key=odd"} <= set(page.options("dimension", WEEK))
    assert Page.of(DASHBOARD, conf, "empty").options("member", WEEK, dimension="team") == ["(unattributed)"]


@pytest.mark.parametrize("dimension", ["workload", "user", "tags.season", "global", "no such dimension"])
@pytest.mark.parametrize("member", ["chat", "", "a member that vanished", *HOSTILE])
def test_an_empty_database_shows_nothing_and_breaks_nothing(conf: Settings, dimension: str, member: str) -> None:
    found = Page.of(DASHBOARD, conf, "empty").every_panel(WEEK, dimension=dimension, member=member)
    assert all(rows == [] for rows in found.values())


def test_a_member_that_vanished_has_no_calls_and_its_page_stays_whole(page: Page) -> None:
    found = page.every_panel(WEEK, dimension="workload", member="gone")
    [share] = found.pop("Share of everything")
    assert share["Share of spend"] == 0
    assert all(rows == [] for rows in found.values())


@pytest.mark.parametrize("days", [1, 30, 5 * 365])
def test_one_event_is_shown_everywhere_in_any_range(conf: Settings, days: int) -> None:
    page = Page.of(DASHBOARD, conf, "one")
    span = between(END - timedelta(days=days), END)
    for chosen in (("workload", "chat"), ("user", "user-3"), ("tags.none", ""), ("global", "")):
        found = page.every_panel(span, dimension=chosen[0], member=chosen[1])
        for title, rows in found.items():
            if title != "Against its own baseline":  # there is no week before it
                assert rows, f"{title} of {chosen} shows nothing"
        [spend] = next(rows for title, rows in found.items() if title.startswith("Spend of"))
        assert (spend["Cost"], spend["Calls"]) == (Decimal("0.25"), 1)
