"""Records of the copied topics as rows; windows blocks put together: pure, no server."""

import json
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from clickhouse.arrow_streams import joined
from clickhouse.copied_rows import row, version
from schemas.windows import windows_arrow
from streams import topics
from streams.errors import Halt

AT_MS = 1_790_000_000_123  # 2026-09-21 13:33:20.123 UTC

STATUS = {
    "budget_id": "acme-monthly",
    "name": "Acme monthly",
    "scope": "customer",
    "member": "acme",
    "period": "month",
    "period_start": "2026-10-31T23:00:00Z",
    "resets_at": "2026-11-30T23:00:00Z",
    "state": "warning",
    "spent_usd": "81.250000000001",
    "limit_usd": "100.00",
    "percent": "81.25",
    "levels": [80],
    "breach_p50": "2026-11-27T12:30:00.250+01:00",
    "breach_p90": None,
    "forecast_p50_usd": "123.5",
    "forecast_p90_usd": None,
    "forecast_trials": 1000,
    "as_of": "2026-11-21T08:00:00Z",
    "since": None,
}
ALERT = {
    "specversion": "1.0",
    "id": "budget/acme-monthly/acme/2026-11-01/80/opened",
    "source": "/spendstream/AaH85+9/cQGi4S++dGhVoA",
    "type": "spend.budget.warning",
    "subject": "budget/acme-monthly",
    "time": "2026-11-21T08:00:00Z",
    "data": {
        "incident": "budget/acme-monthly/acme/2026-11-01/80",
        "change": "opened",
        "severity": "minor",
        "title": "Acme monthly is at 81% – £",
        "text": "two\nlines",
        "dimension": "customer",
        "member": "acme",
        "spent_usd": "81.250000000001",
        "score": 12.25,
    },
}


def rowed(topic: str, key: str, value: Any, offset: int = 7) -> tuple[str, dict[str, Any]]:
    encoded = value if isinstance(value, bytes) or value is None else json.dumps(value).encode()
    found = row(topic, key.encode(), encoded, AT_MS, offset)
    assert found is not None
    return found[0], json.loads(found[1])


def test_a_budgets_status_becomes_columns_and_stays_whole_beside_them() -> None:
    table, found = rowed(topics.BUDGET_STATUS, "acme-monthly/acme", STATUS)
    assert table == "budget_status"
    assert found["key"] == "acme-monthly/acme"
    assert found["spent_usd"] == "81.250000000001" and found["limit_usd"] == "100.00"
    assert found["percent"] == "81.25"
    assert found["period_start"] == "2026-10-31 23:00:00.000"
    assert found["breach_p50"] == "2026-11-27 11:30:00.250"
    assert "breach_p90" not in found and "since" not in found  # NULL by default
    assert (found["removed"], json.loads(found["value"])) == (0, STATUS)


def test_an_empty_value_removes_its_key() -> None:
    assert rowed(topics.BUDGETS, "acme", None) == (
        "budgets",
        {"id": "acme", "value": "", "removed": 1, "version": version(AT_MS, 7)},
    )
    _, found = rowed(topics.BUDGET_STATUS, "acme", b"")
    assert (found["key"], found["removed"], found["budget_id"]) == ("acme", 1, "")
    _, found = rowed(topics.DELIVERIES, "a|b|pager", None)
    # with the record's own time, or the row would be past its retention and what it removes would come back
    assert (found["alert_id"], found["channel"], found["at"]) == ("a|b", "pager", "2026-09-21 14:13:20.123")


def test_how_far_the_relay_has_come_is_no_delivery() -> None:
    assert row(topics.DELIVERIES, b"|pager", b'{"state": "position", "offset": 7}', AT_MS, 7) is None


def test_an_alert_is_known_by_its_log_and_id() -> None:
    table, found = rowed(topics.ALERTS, "budget/acme-monthly/acme/2026-11-01/80", ALERT)
    assert table == "alerts"
    assert (found["log_id"], found["id"]) == ("AaH85+9/cQGi4S++dGhVoA", ALERT["id"])
    assert found["title"] == "Acme monthly is at 81% – £"
    assert found["time"] == "2026-11-21 08:00:00.000"
    assert json.loads(found["data"]) == ALERT["data"]
    assert "removed" not in found


def test_a_later_record_has_a_greater_version_also_in_the_same_millisecond_and_after_a_broker_began_anew() -> None:
    assert version(AT_MS, 5) < version(AT_MS, 6) < version(AT_MS + 1, 0)
    assert version(AT_MS, 2**40 + 5) < version(AT_MS + 1, 0)
    assert version(-1, 5) == 5  # a record without a timestamp
    assert version(4_102_444_800_000, 2**40) < 2**63  # in the year 2100
    assert version(2**62, 2**40) < 2**63  # whatever a writer says


@pytest.mark.parametrize(
    ("topic", "key", "value", "why"),
    [
        (topics.BUDGETS, "a", b"{", "Expecting"),
        (topics.BUDGETS, "a", b"[1]", "not a JSON object"),
        (topics.BUDGETS, "a", b"[" * 100_000, "nested too deeply"),
        (topics.BUDGETS, "a", b'{"limit_usd": NaN}', "NaN is no number"),
        (topics.BUDGETS, "", b"{}", "no key"),
        (topics.BUDGETS, "a", b'"\xff"', "utf-8"),
        (topics.BUDGET_STATUS, "a", STATUS | {"spent_usd": 81.25}, "spent_usd is not text"),
        (topics.BUDGET_STATUS, "a", STATUS | {"spent_usd": "NaN"}, "spent_usd is too large"),
        (topics.BUDGET_STATUS, "a", STATUS | {"spent_usd": "1e26"}, "spent_usd is too large"),
        (topics.BUDGET_STATUS, "a", STATUS | {"spent_usd": "dear"}, "not a decimal number"),
        (topics.BUDGET_STATUS, "a", STATUS | {"limit_usd": "0.0000000000001"}, "more than 12 decimals"),
        (topics.BUDGET_STATUS, "a", STATUS | {"as_of": "yesterday"}, "as_of is not a time"),
        (topics.BUDGET_STATUS, "a", STATUS | {"as_of": "0001-01-01T00:00:00+14:00"}, "as_of is not"),
        (topics.ALERTS, "a", None, "empty"),
        (topics.ALERTS, "a", {"id": "x"}, "not a CloudEvent"),
        (topics.ALERTS, "a", ALERT | {"time": None}, "time is missing"),
        (topics.ALERTS, "a", ALERT | {"id": "\ud800"}, "surrogates"),
        (topics.DELIVERIES, "without a channel", {}, "key is not"),
        (topics.DELIVERIES, "a|b", {"attempts": -1}, "attempts"),
    ],
)
def test_what_is_no_such_record_says_why(topic: str, key: str, value: Any, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        rowed(topic, key, value)


def block(*members: str, schema: pa.Schema | None = None) -> bytes:
    """A windows block: a window for each member, of as many calls as its name has letters."""
    told = {"log_id": "log", "level": "day", "start": 0, "dimension": "customer", "version": 1}
    rows = [told | {"member": member, "calls": len(member)} for member in members]
    zeros = {name: Decimal(0) if name.startswith("cost_") else 0 for name in windows_arrow().names[6:]}
    batch = pa.RecordBatch.from_pylist([zeros | each for each in rows], schema=windows_arrow())
    if schema is not None:
        batch = pa.RecordBatch.from_arrays(
            [column.cast(field.type) for column, field in zip(batch.columns, schema, strict=True)], schema=schema
        )
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema, options=pa.ipc.IpcWriteOptions(compression="lz4")) as stream:
        stream.write_batch(batch)
    return bytes(sink.getvalue().to_pybytes())


def members(stream: bytes) -> list[str]:
    return list(pa.ipc.open_stream(stream).read_all().column("member").to_pylist())


def put_together(*blocks: bytes) -> list[list[str]]:
    numbered = [(f"offset {number}", value) for number, value in enumerate(blocks)]
    return [members(stream) for stream in joined(numbered, windows_arrow().names)]


def test_blocks_of_one_schema_are_one_stream_in_their_order() -> None:
    assert put_together(block("a", "b"), block(), block("c")) == [["a", "b", "c"]]
    assert put_together() == []


def with_member_as(kind: pa.DataType) -> pa.Schema:
    return pa.schema([pa.field(f.name, kind) if f.name == "member" else f for f in windows_arrow()])


def test_blocks_of_other_schemas_are_streams_of_their_own() -> None:
    large = block("c", schema=with_member_as(pa.large_string()))
    assert put_together(block("a"), large, large, block("b")) == [["a"], ["c", "c"], ["b"]]


def test_blocks_with_dictionaries_stay_alone() -> None:
    coded = with_member_as(pa.dictionary(pa.int32(), pa.string()))
    assert put_together(block("a", schema=coded), block("b", schema=coded), block("c")) == [["a"], ["b"], ["c"]]


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (b"not arrow", "offset 0: it is not an Arrow stream"),
        (b"", "offset 0: it is not an Arrow stream"),
        (block("a", schema=windows_arrow().set(5, pa.field("edition", pa.int64()))), r"\(edition, version\)"),
    ],
)
def test_a_block_that_is_no_windows_block_halts(value: bytes, why: str) -> None:
    with pytest.raises(Halt, match=why):
        put_together(value)
