"""The audit of windows on the embedded stack: equal to their raw rows, and whatever is not is found and named.

The windows are worked out by hand from the raw rows, apart from the windows worker, and published as it would publish
them. The tests build on each other, in this order, on one stack.
"""

import json
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from confluent_kafka import Producer
from windows_by_hand import Row, Window, publish, start_of, windows_of

from clickhouse.client import connect
from schemas.registry import writer_schemas
from streams.audit import Report, audit
from streams.audit.tables import Tables
from streams.audit.window_sums import Comparison, starts
from streams.audit.windows import Windows, compare_windows
from streams.errors import SpendError
from streams.kafka import block_producer, topic_ids
from streams.producer import UsageProducer
from streams.rates_feed import rates_in_force
from streams.sample.generator import generate
from streams.settings import Settings
from streams.spend.dimensions import other
from streams.supervisor import SERVERS, STEPS, Stack, on_free_ports
from streams.topics import USAGE

pytestmark = pytest.mark.stack

ZONE = ZoneInfo("America/New_York")
PICO = Decimal("0.000000000001")


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    conf = Settings(
        state_dir=tmp_path_factory.mktemp("audit-windows"),
        partitions=2,
        block_seconds=0.1,
        timezone=ZONE.key,
        minute_hours=3,
        quarter_days=10,
    )
    with Stack(on_free_ports(conf), parts=(*SERVERS, *STEPS, "worker", "sink")) as running:
        send(running.settings, seed=11, events=3_000)
        yield running


@pytest.fixture(scope="module")
def producer(stack: Stack) -> Producer:
    return block_producer(stack.settings)


@pytest.fixture(scope="module")
def published(stack: Stack) -> list[Window]:
    """What the windows worker would have published of the 3,000 calls."""
    assert audited(stack.settings, 30).to_json()["accepted"] == 3_000
    return by_hand(stack.settings)


def send(conf: Settings, seed: int, events: int) -> None:
    with UsageProducer(conf) as producer:
        for keys, values in generate(seed=seed, end=datetime.now(UTC), events=events).encoded():
            producer.send_many(keys, values)


def by_hand(conf: Settings, version: int = 1) -> list[Window]:
    found = connect(conf).query("SELECT * FROM spend.usage")
    rows: list[Row] = [dict(zip(found.column_names, row, strict=True)) for row in found.result_rows]
    newest = max(row["time"].replace(tzinfo=UTC) for row in rows)
    since = {
        "minute": newest - timedelta(hours=conf.minute_hours),
        "quarter_hour": newest - timedelta(days=conf.quarter_days),
    }
    return windows_of(rows, ZONE, version, since)


def audited(conf: Settings, wait_seconds: float = 10.0) -> Report:
    return audit(conf, rates_in_force(conf), writer_schemas(conf), wait_seconds, lambda *_: None)


def compared(conf: Settings, wait_seconds: float = 10.0) -> Windows:
    """What the audit says of the windows, without the rest of it."""
    tables = Tables(connect(conf), conf.clickhouse_database)
    log_id = topic_ids(conf, USAGE)[USAGE]
    return compare_windows(tables, log_id, conf, worker_ran=True, wait_seconds=wait_seconds, tell=lambda *_: None)


def one(windows: list[Window], level: str, dimension: str) -> Window:
    """The latest window of a member that is not ''."""
    return max(
        (w for w in windows if w["level"] == level and w["dimension"] == dimension and w["member"]),
        key=lambda w: (w["start"], w["member"]),
    )


def test_without_a_windows_worker_there_is_nothing_to_compare(stack: Stack, published: list[Window]) -> None:
    report = audited(stack.settings)
    assert report.ok
    assert report.to_json()["windows"]["note"] == "no windows: no windows worker has run"
    assert "no windows: no windows worker has run" in stack.run("audit")


def test_windows_that_come_while_the_audit_waits_are_equal_to_their_raw_rows(
    stack: Stack, producer: Producer, published: list[Window]
) -> None:
    half = len(published) // 2
    publish(producer, stack.settings, published[:half])
    found: list[Report] = []
    auditing = threading.Thread(target=lambda: found.append(audited(stack.settings, 40)))
    auditing.start()
    time.sleep(4)
    assert auditing.is_alive()
    publish(producer, stack.settings, published[half:])
    auditing.join()
    [report] = found
    told = report.to_json()
    assert report.ok, told["examples"]
    windows = told["windows"]
    assert (windows["differing"], windows["changing"], windows["dimensions"]) == (0, 0, 13)
    first = {level: datetime.fromisoformat(windows["levels"][level]["since"]) for level in windows["levels"]}
    for level in ("minute", "quarter_hour", "day"):
        wanted = [w for w in published if w["level"] == level and w["start"] >= first[level]]
        assert windows["levels"][level]["windows"] == len(wanted) > 0
        whole = [w for w in wanted if w["dimension"] == "global"]
        assert windows["levels"][level]["calls"] == sum(w["calls"] for w in whole)
        assert Decimal(windows["levels"][level]["cost"]) == sum(w["cost_total"] for w in whole)
        assert windows["levels"][level]["cost_windows_minus_raw"] == "0.000000000000"
    assert windows["levels"]["day"]["calls"] == 3_000


def test_the_command_says_so_in_a_line(stack: Stack) -> None:
    shown = " ".join(stack.run("audit").split())
    levels = json.loads(stack.run("audit", "--json"))["windows"]["levels"]
    counts = ", ".join(
        f"{levels[level]['windows']:,} {name}"
        for level, name in (("day", "days"), ("quarter_hour", "quarters"), ("minute", "minutes"))
    )
    assert f"windows: 13 dimensions, {counts}: equal their raw rows" in shown


@pytest.mark.parametrize(
    "place",
    [
        ("day", "customer", "cost_total"),
        ("day", "tag", "cost_output"),
        ("quarter_hour", "user", "output_tokens"),
        ("quarter_hour", "model", "cache_hits"),
        ("minute", "global", "calls"),
    ],
    ids=" ".join,
)
def test_one_digit_is_found_and_named_and_an_older_version_changes_nothing(
    stack: Stack, producer: Producer, published: list[Window], place: tuple[str, str, str]
) -> None:
    conf = stack.settings
    level, dimension, measure = place
    right = max((w for w in published if (w["level"], w["dimension"]) == (level, dimension)), key=lambda w: w["start"])
    digit = PICO if measure.startswith("cost") else 1
    publish(producer, conf, [right | {measure: right[measure] + digit, "version": 2}])
    holds(conf, right | {measure: right[measure] + digit})
    found = compared(conf)
    assert not found.ok
    [where] = found.to_json()["where"]
    assert (where["level"], where["dimension"], where["differing"]) == (level, dimension, 1)
    [example] = found.examples
    named = f"windows: {dimension} {right['member']}".rstrip()
    assert example.startswith(f"{named}, {level} of {right['start']:%Y-%m-%d %H:%M:%S} UTC: {measure} is ")
    publish(producer, conf, [right | {"version": 3}])
    holds(conf, right)
    publish(producer, conf, [right | {measure: right[measure] + digit, "version": 2}])
    publish(producer, conf, [sentinel := right | {"log_id": "another log", "version": 1}])
    holds(conf, sentinel)
    assert compared(conf).ok
    published.remove(right)
    published.append(right | {"version": 3})


def test_a_window_that_is_missing_or_of_no_call_is_found(
    stack: Stack, producer: Producer, published: list[Window]
) -> None:
    conf = stack.settings
    gone = one(published, "quarter_hour", "workload")
    extra = one(published, "day", "team") | {"member": "a team without calls"}
    remove(conf, f"dimension = 'workload' AND level = 'quarter_hour' AND member = '{gone['member']}'", gone["start"])
    publish(producer, conf, [extra])
    holds(conf, extra)
    with pytest.raises(SpendError, match="ended with 1"):
        stack.run("audit", "--wait", "5")
    report = audited(conf, wait_seconds=5)
    assert not report.ok
    told = report.to_json()
    assert told["windows"]["differing"] == 2
    [missing] = [line for line in told["examples"] if line.endswith("is missing")]
    assert f"workload {gone['member']}, quarter_hour of {gone['start']:%Y-%m-%d %H:%M:%S} UTC" in missing
    assert any("team a team without calls" in line and "its raw rows have 0" in line for line in told["examples"])
    publish(producer, conf, [gone])
    remove(conf, "member = 'a team without calls'", extra["start"])
    holds(conf, gone)
    assert compared(conf).ok


def test_of_members_beyond_the_cap_the_totals_are_compared(
    stack: Stack, producer: Producer, published: list[Window]
) -> None:
    conf = stack.settings
    users = [w for w in published if w["dimension"] == "user"]
    capped = {w["member"] for w in users if w["member"] and ord(w["member"][-1]) % 2}
    assert capped
    rest: dict[tuple[str, datetime], Window] = {}
    for window in (w for w in users if w["member"] in capped):
        key = window["level"], window["start"]
        sums = rest.setdefault(key, {n: v if isinstance(v, str | datetime) else 0 * v for n, v in window.items()})
        rest[key] = sums | {
            name: value + window[name] for name, value in sums.items() if not isinstance(value, str | datetime)
        }
    remove(conf, f"dimension = 'user' AND member IN {tuple(capped)}")
    publish(producer, conf, made := [w | {"member": other(1), "version": 1} for w in rest.values()])
    for window in made[:3]:
        holds(conf, window)
    found = compared(conf, wait_seconds=20)
    assert found.ok, found.examples
    assert found.totals_only == ["user"]
    assert "windows: user: more members than SPEND_MEMBERS" in " ".join(stack.run("audit").split())
    wrong = max((w for w in made if w["level"] == "day"), key=lambda w: w["start"])
    publish(producer, conf, [wrong | {"calls": wrong["calls"] + 1, "version": 9}])
    holds(conf, wrong | {"calls": wrong["calls"] + 1})
    [example] = compared(conf).examples
    assert example.startswith(f"windows: user, day of {wrong['start']:%Y-%m-%d %H:%M:%S} UTC, all members: calls is ")
    publish(producer, conf, [wrong | {"version": 10}])
    holds(conf, wrong)


def test_windows_that_calls_come_to_meanwhile_are_changing_and_not_wrong(
    stack: Stack, producer: Producer, published: list[Window]
) -> None:
    conf = stack.settings
    tables = Tables(connect(conf), "spend")
    comparison = Comparison(tables, topic_ids(conf, USAGE)[USAGE], conf)
    assert (comparison.part("day", "global").differing, comparison.part("day", "global").changing) == (0, 0)
    # the windows worker is ahead of the sink
    ahead = one(published, "day", "customer")
    publish(producer, conf, [ahead | {"calls": ahead["calls"] + 1, "version": 20}])
    holds(conf, ahead | {"calls": ahead["calls"] + 1})
    assert (comparison.part("day", "customer").differing, comparison.part("day", "customer").changing) == (0, 1)
    # the sink is ahead of the windows worker
    send(conf, seed=12, events=300)
    deadline = time.monotonic() + 20
    while (part := comparison.part("day", "global")).raw_calls < 3_300:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert part.differing == 0 < part.changing
    # an audit that begins after they came tells them as what they are
    later = Comparison(tables, topic_ids(conf, USAGE)[USAGE], conf)
    assert later.part("day", "global").differing == part.changing


def test_clickhouse_begins_a_day_where_the_worker_does(stack: Stack) -> None:
    client = connect(stack.settings)
    for zone in ("UTC", "America/New_York", "Asia/Kathmandu", "America/Santiago", "Africa/Cairo", "Pacific/Chatham"):
        found = client.query(
            f"SELECT toUnixTimestamp(t), toUnixTimestamp(toStartOfDay(t, '{zone}')) "
            "FROM (SELECT toDateTime64(1735689600 + number * 1800, 6, 'UTC') AS t FROM numbers(2 * 17568))"
        ).result_rows
        for at, start in found:
            wanted = start_of(datetime.fromtimestamp(at, UTC), "day", ZoneInfo(zone))
            assert wanted.timestamp() == start, (zone, at)


def test_only_windows_that_must_be_whole_are_compared() -> None:
    conf = Settings(timezone="America/New_York", minute_hours=3, quarter_days=40, raw_retention_days=400)
    newest = datetime(2026, 11, 27, 12, 7, 30, tzinfo=UTC)
    long_ago = datetime(2020, 1, 1, tzinfo=UTC)
    assert starts(newest, conf, {400: long_ago, 3650: long_ago, 3: long_ago}) == {
        "minute": datetime(2026, 11, 27, 9, 8, tzinfo=UTC),
        "quarter_hour": datetime(2026, 10, 18, 12, 15, tzinfo=UTC),
        "day": datetime(2025, 10, 24, 4, tzinfo=UTC),  # midnight of the day after 23 October 12:07 UTC
    }
    # a log of last year: its minutes are past their retention by the clock
    recent = datetime(2026, 11, 1, 4, 0, tzinfo=UTC)
    assert starts(newest, conf, {400: recent, 3650: long_ago, 3: newest}) == {
        "minute": datetime(2026, 11, 27, 12, 8, tzinfo=UTC),
        "quarter_hour": recent,
        "day": recent,
    }


def remove(conf: Settings, where: str, start: datetime | None = None) -> None:
    when = f" AND start = '{start:%Y-%m-%d %H:%M:%S}'" if start else ""
    connect(conf).command(f"ALTER TABLE spend.windows DELETE WHERE {where}{when}", settings={"mutations_sync": 2})


def holds(conf: Settings, window: Window) -> None:
    """Wait until ClickHouse has a window with these figures."""
    figures = [name for name, value in window.items() if isinstance(value, int | Decimal) and name != "version"]
    client = connect(conf)
    deadline = time.monotonic() + 20
    while True:
        found = client.query(
            f"SELECT {', '.join(figures)} FROM spend.windows FINAL WHERE log_id = {{log_id:String}} "
            "AND level = {level:String} AND dimension = {dimension:String} AND member = {member:String} "
            "AND start = {start:DateTime}",
            parameters={name: window[name] for name in ("log_id", "level", "dimension", "member")}
            | {"start": f"{window['start']:%Y-%m-%d %H:%M:%S}"},
        ).result_rows
        if found and list(found[0]) == [window[name] for name in figures]:
            return
        assert time.monotonic() < deadline, (window, found)
        time.sleep(0.1)
