"""Explanations of anomalies from raw rows of the embedded ClickHouse: a week of usual calls, and what went wrong."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client
from priced_rows import Row, embedded_clickhouse, insert, row

from clickhouse.client import connect
from clickhouse.migrate import up
from streams import explain_change as explain_change_module
from streams.explain_change import QUERY_SECONDS, asking, explain_change
from streams.explain_rows import MemberRows
from streams.settings import Settings
from streams.spend.anomaly import Finding
from streams.spend.change_split import CAUSES
from streams.spend.explained import Explained
from streams.windows_start import Reasons, new_merging

pytestmark = pytest.mark.stack

SINCE, UNTIL = datetime(2026, 11, 26, 10, 0, tzinfo=UTC), datetime(2026, 11, 26, 10, 5, tzinfo=UTC)
TEN = int(SINCE.timestamp())
OFFSETS = count()
A_CALL = {"input_tokens": 1_000, "output_tokens": 100, "cost_input": Decimal("0.03"), "cost_output": Decimal("0.01")}


def picos(dollars: str) -> int:
    return int(Decimal(dollars) * 10**12)


def call(at: datetime, **columns: Any) -> Row:
    """A call of 1,000 tokens in and 100 out for 4 cents, unless something else is said."""
    told = {**A_CALL, "cost_cache_read": Decimal(0), **columns}
    costs = (told[name] for name in ("cost_input", "cost_output", "cost_cache_read"))
    return row(next(OFFSETS), at, sum(costs, Decimal(0)), **told)


def five_minutes(at: datetime, calls: int, **columns: Any) -> list[Row]:
    """Calls of production, by turns of four customers."""
    usual = {"environment": "production", "team": None}
    return [
        call(at + timedelta(seconds=n * 300 / calls), **{"customer": f"customer-{n % 4}", **usual, **columns})
        for n in range(calls)
    ]


def week(calls: int, **columns: Any) -> list[Row]:
    """The same five minutes of the seven days before."""
    return [told for day in range(1, 8) for told in five_minutes(SINCE - timedelta(days=day), calls, **columns)]


# Each workload is a story of its own; on every day before it cost $1.60 in these five minutes (40 calls).
STORIES: list[list[Row]] = [
    week(40, workload="more calls"),
    five_minutes(SINCE, 120, workload="more calls"),
    week(40, workload="runaway"),
    five_minutes(SINCE, 40, workload="runaway"),
    five_minutes(
        SINCE,
        50,
        workload="runaway",
        model="gpt-5.4",
        customer="customer-3",
        user="agent-7",
        environment="development",
        tags=[("cost_center", "7"), ("note", "a=b")],
        cost_input=Decimal("0.30"),
    ),
    week(40, workload="customer"),
    five_minutes(SINCE, 40, workload="customer"),
    five_minutes(SINCE, 100, workload="customer", customer="customer-2"),
    week(40, workload="price"),
    five_minutes(SINCE, 40, workload="price", cost_input=Decimal("0.09"), cost_output=Decimal("0.03")),
    week(
        40,
        workload="cache",
        cache_read_input_tokens=900,
        cost_input=Decimal("0.003"),
        cost_cache_read=Decimal("0.0027"),
    ),
    five_minutes(SINCE, 40, workload="cache"),
    week(40, workload="prompts"),
    five_minutes(SINCE, 40, workload="prompts", input_tokens=5_000, cost_input=Decimal("0.15")),
    week(40, workload="tier", is_batch=True, cost_input=Decimal("0.015"), cost_output=Decimal("0.005")),
    five_minutes(SINCE, 40, workload="tier"),
    five_minutes(SINCE - timedelta(hours=1), 30, workload="first day"),
    five_minutes(SINCE, 40, workload="first day", cost_input=Decimal("0.27")),
    five_minutes(SINCE, 10, workload="unheard of"),
    week(40, workload=None),
    five_minutes(SINCE, 120, workload=""),
]


@pytest.fixture(scope="module")
def conf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    with embedded_clickhouse(tmp_path_factory.mktemp("explain")) as settings:
        client = connect(settings)
        up(client, settings, lambda: None)
        for number, story in enumerate(STORIES):
            insert(client, settings, story, f"log:0:{number}")
        yield settings


@pytest.fixture
def client(conf: Settings) -> Client:
    return asking(conf)


@pytest.fixture
def explained(conf: Settings, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Explained]:
    """The explanation of a workload's five minutes by default, with no patience; on a busy machine too."""
    monkeypatch.setattr(explain_change_module, "QUERY_SECONDS", 30)
    client = asking(conf)

    def explain(member: str, dimension: str = "workload", **arguments: Any) -> Explained:
        told = {"since": SINCE, "until": UNTIL, "expected": picos("1.60"), "window_seconds": 300, "patience": 0.0}
        told |= {"rows_cost": arguments.get("actual"), "began": time.monotonic()}
        return explain_change(client, conf, "log", dimension, member, **{**told, **arguments})

    return explain


@pytest.mark.parametrize(
    ("workload", "expected", "actual", "cause"),
    [
        ("more calls", "1.60", "4.80", "volume"),
        ("price", "1.60", "4.80", "price"),
        ("prompts", "1.60", "6.40", "tokens_per_call"),
        ("tier", "0.80", "1.60", "tier_mix"),
        ("first day", "1.60", "11.20", "price"),
        ("", "1.60", "4.80", "volume"),
    ],
)
def test_one_cause_is_told_as_that_cause_and_nothing_else(
    explained: Callable[..., Explained], workload: str, expected: str, actual: str, cause: str
) -> None:
    found = explained(workload, expected=picos(expected), actual=picos(actual))
    assert found.details == "complete"
    assert found.split is not None
    assert found.split.parts == {name: picos(actual) - picos(expected) if name == cause else 0 for name in CAUSES}


def test_a_lost_cache_is_told_as_cache(explained: Callable[..., Explained]) -> None:
    found = explained("cache", expected=picos("0.628"), actual=picos("1.60"))  # 40 * 1.57 cents before, 40 * 4 since
    assert found.split is not None
    assert found.split.parts == {name: picos("0.972") if name == "cache" else 0 for name in CAUSES}


def test_a_runaway_inside_a_workload_is_ranked_before_the_others(explained: Callable[..., Explained]) -> None:
    found = explained("runaway", actual=picos("17.10"))  # 40 * 4 cents as ever, and 50 * 31 cents
    assert found.details == "complete"
    assert [(share.dimension, share.member) for share in found.shares] == [
        ("model", "gpt-5.4"),
        ("user", "agent-7"),
        ("environment", "development"),
        ("tag", "cost_center=7"),
        ("tag", "note=a=b"),
    ]
    assert (found.shares[0].expected, found.shares[0].actual) == (0, picos("15.50"))
    assert found.split is not None
    assert sum(found.split.parts.values()) == picos("15.50")
    assert found.split.parts["model_mix"] > picos("10")


def test_one_customer_of_a_workload_is_ranked_first(explained: Callable[..., Explained]) -> None:
    found = explained("customer", actual=picos("5.60"))
    assert found.details == "complete"
    assert (found.shares[0].dimension, found.shares[0].member) == ("customer", "customer-2")
    assert (found.shares[0].expected, found.shares[0].actual) == (picos("0.40"), picos("4.40"))
    assert found.shares[0].share_ppm == 1_000_000
    # the others made up a quarter each of the usual spend and nothing of the excess
    assert not [share for share in found.shares[1:] if share.dimension == "customer"]


def test_seen_from_the_customer_it_is_the_workload(explained: Callable[..., Explained]) -> None:
    found = explained("customer-3", "customer", expected=picos("2.60"), actual=picos("30.00"), rows_cost=None)
    assert found.shares
    assert all(share.dimension != "customer" for share in found.shares)


@pytest.mark.parametrize("tag", ["cost_center=7", "note=a=b"])
def test_a_tag_is_asked_for_by_its_key_and_value(explained: Callable[..., Explained], tag: str) -> None:
    found = explained(tag, "tag", expected=0, actual=picos("15.50"))
    assert found.details == "complete"
    assert found.split is not None and found.split.parts["volume"] == picos("15.50")
    assert [share.member for share in found.shares if share.dimension == "model"] == ["gpt-5.4"]
    assert ("tag", tag) not in [(share.dimension, share.member) for share in found.shares]
    assert explained("cost_center=8", "tag", expected=0, actual=picos("1")).details.startswith("ClickHouse holds $0.00")


def test_all_spend_is_explained_by_the_workload_that_exploded(explained: Callable[..., Explained]) -> None:
    begin = SINCE.replace(tzinfo=None)
    whole = sum(told["cost_total"] for story in STORIES for told in story if told["time"] >= begin)
    found = explained("", "global", expected=picos("15"), actual=int(whole * 10**12))
    assert found.details == "complete"
    assert found.split is not None and sum(found.split.parts.values()) == int(whole * 10**12) - picos("15")
    assert found.shares[0].share_ppm > 300_000


def test_windows_below_the_expected_are_in_the_rows_and_the_split_still_sums(
    explained: Callable[..., Explained],
) -> None:
    found = explained("price", actual=picos("3.90"), expected=picos("1.30"), rows_cost=picos("4.80"))
    assert found.details == "complete"
    assert found.split is not None
    assert sum(found.split.parts.values()) == found.split.change == picos("2.60")
    assert found.split.parts["price"] == picos("2.60")


def test_who_was_never_seen_is_volume_where_nothing_was_expected_and_unknown_otherwise(
    explained: Callable[..., Explained],
) -> None:
    new = explained("unheard of", expected=0, actual=picos("0.40"))
    assert new.split is not None and new.split.parts["volume"] == picos("0.40")
    lost = explained("unheard of", actual=picos("4"), rows_cost=picos("0.40"))
    assert lost == Explained((), None, "there are no calls of before to compare with")


def test_rows_that_are_on_their_way_are_waited_for(
    conf: Settings, client: Client, explained: Callable[..., Explained]
) -> None:
    insert(client, conf, [*week(40, workload="late"), *five_minutes(SINCE, 60, workload="late")], "log:0:100")
    late = threading.Timer(
        0.4, lambda: insert(connect(conf), conf, five_minutes(SINCE, 60, workload="late"), "log:0:101")
    )
    short = explained("late", actual=picos("4.80"))
    assert short.details == "ClickHouse holds $2.40 of $4.80 yet"
    assert short.split is not None and sum(short.split.parts.values()) == picos("3.20")
    late.start()
    found = explained("late", actual=picos("4.80"), patience=10.0)
    late.join()
    assert found.details == "complete"
    assert explained("late", actual=picos("4.80"), rows_cost=None).details == "complete"
    assert explained("late", actual=picos("4.40")).details == "late calls are in it: $4.80, not $4.40"


def test_rows_of_another_log_are_not_the_incident_but_are_its_past(
    conf: Settings, client: Client, explained: Callable[..., Explained]
) -> None:
    insert(client, conf, week(40, workload="moved", log_id="old"), "old:0:0")
    insert(client, conf, five_minutes(SINCE, 40, workload="moved", log_id="old"), "old:0:1")
    insert(client, conf, five_minutes(SINCE, 120, workload="moved"), "log:0:110")
    found = explained("moved", actual=picos("4.80"))
    assert found.details == "complete"
    assert found.split is not None and found.split.parts["volume"] == picos("3.20")


def test_a_member_that_stands_for_many_is_not_explained(explained: Callable[..., Explained]) -> None:
    found = explained("(other) 3", actual=picos("2"))
    assert (found.shares, found.split) == ((), None)
    assert "stands for many members" in found.details


ARGUMENTS: dict[str, Any] = {
    "since": SINCE,
    "until": UNTIL,
    "expected": picos("1.60"),
    "actual": picos("4.80"),
    "window_seconds": 300,
}


def test_a_clickhouse_that_is_slow_is_given_up_in_time(conf: Settings, client: Client) -> None:
    slow = conf.model_copy(update={"clickhouse_database": "slow"})
    admin = connect(conf)
    admin.command("CREATE DATABASE slow")
    admin.command("CREATE VIEW slow.usage AS SELECT *, sleepEachRow(0.003) AS slept FROM spend.usage WHERE slept = 0")
    begun = time.monotonic()
    found = explain_change(client, slow, "log", "workload", "price", **ARGUMENTS, began=begun, patience=0.5)
    assert found == Explained((), None, "ClickHouse took longer than 2 s")
    assert time.monotonic() - begun < 0.5 + QUERY_SECONDS + 1  # and the machine is slow


def test_of_very_many_calls_a_sample_is_enough(
    explained: Callable[..., Explained], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(explain_change_module, "_MOST_ROWS", 10)
    found = explained("price", actual=picos("4.80"))
    assert found.details == "it is from a sample, one in 4 of 40 calls"
    assert found.split is not None
    assert found.split.parts["price"] == sum(found.split.parts.values()) == picos("3.20")


def test_a_split_is_kept_where_the_members_take_too_long(
    explained: Callable[..., Explained], monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_long(*_: object) -> None:
        raise TimeoutError("no time is left")

    monkeypatch.setattr(MemberRows, "members", too_long)
    found = explained("price", actual=picos("4.80"))
    assert not found.shares
    assert found.details.startswith("ClickHouse took longer than")
    assert found.split is not None and found.split.parts["price"] == picos("3.20")


def test_a_refusal_is_told_by_its_code(conf: Settings, client: Client) -> None:
    nowhere = conf.model_copy(update={"clickhouse_database": "nowhere"})
    found = explain_change(client, nowhere, "log", "workload", "price", **ARGUMENTS, began=time.monotonic())
    assert found == Explained((), None, "ClickHouse refuses the question (its code 81)")


def test_a_clickhouse_that_is_away_is_told(conf: Settings, tmp_path: Path) -> None:
    away = Explained((), None, "ClickHouse does not answer")
    began = time.monotonic()
    assert explain_change(None, conf, "log", "workload", "price", **ARGUMENTS, began=began) == away
    with embedded_clickhouse(tmp_path) as gone:
        lost = asking(gone)
    assert explain_change(lost, gone, "log", "workload", "price", **ARGUMENTS, began=time.monotonic()) == away


def test_what_those_before_left_no_time_for_says_so(explained: Callable[..., Explained]) -> None:
    late = explained("price", actual=picos("4.80"), began=time.monotonic() - 31)  # the fixture has patience of 30 s
    assert late == Explained((), None, "the alerts before it took the time there is")


def test_twenty_anomalies_wait_no_longer_than_one_for_a_clickhouse_that_hangs(conf: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        hung = conf.model_copy(update={"clickhouse_url": url})
        why = Reasons(hung, "log", new_merging(hung, 0, 1, 1))
        found = Finding(0, "opened", "major", 300, TEN, TEN, TEN + 300, picos("1.60"), picos("4.80"), 2.0)
        began = time.monotonic()
        told = [why("workload", f"job-{number}", found, began) for number in range(20)]
        taken = time.monotonic() - began
    assert {each.details for each in told} == {"ClickHouse does not answer"}
    assert taken < 20, f"{taken:.1f} s"  # some 4 s; SPEND_STALL_SECONDS is 60
