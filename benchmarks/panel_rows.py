"""A year of a big organisation, made inside ClickHouse: rollups of 100 million calls, raw calls of the last month.

Members are drawn so that a few bear most of it (the cube of an even draw). A rollup's row stands for `_EACH` calls on
average. The table of windows is left empty: no panel reads it.
"""

from collections.abc import Callable
from datetime import datetime

from clickhouse_connect.driver.client import Client

CALLS = 100_000_000  # of the year
DAYS, RAW_DAYS, HEALTH_DAYS = 365, 30, 30
USAGE_ROWS, MEMBER_ROWS = 10_000_000, 8_000_000  # of usage_15m and members_15m
RAW_ROWS = CALLS * RAW_DAYS // DAYS
PARTITIONS, REPORT_SECONDS = 4, 5
BUDGETS, STATUSES, ALERTS = 1_000, 10_000, 20_000

# Members of each dimension.
MEMBERS = {
    "provider": 8, "model": 40, "workload": 60, "customer": 500, "team": 25, "project": 80, "service": 40, "server": 30,
    "gateway": 4, "environment": 4, "operation": 6, "cost_category": 4, "region": 10, "service_tier": 4,
}  # fmt: skip
MANY = {"user": 20_000, "workflow": 200, "agent": 300, "api_key_id": 1_000, "release": 100}
TAGS = {"cost_center": 40, "feature": 300}

_EACH = CALLS // USAGE_ROWS
_AT_ONCE = 1_000_000  # rows of an insert
_SETTINGS = {"min_insert_block_size_rows": _AT_ONCE, "max_insert_threads": 2}
_QUARTER = 900
_PICO = "1000000000000"


def fill(client: Client, end: datetime, tell: Callable[[str], None]) -> None:
    """Fill the tables of the client's database, which are empty, up to `end`."""
    until = int(end.timestamp()) // _QUARTER * _QUARTER
    tell(f"making raw calls of {RAW_DAYS} days: {RAW_ROWS:,}")
    for view in ("usage_15m_view", "members_15m_view"):  # the rollups have the year by themselves
        client.command(f"DROP VIEW {view} SYNC")
    _insert(client, "usage", _raw(until), RAW_ROWS)
    tell(f"making rollups of {CALLS:,} calls: {USAGE_ROWS:,} rows of usage_15m, {MEMBER_ROWS:,} of members_15m")
    _insert(client, "usage_15m", _usage(until), USAGE_ROWS)
    _insert(client, "members_15m", _members(until), MEMBER_ROWS)
    tell("making health reports, budgets and alerts")
    _insert(client, "health", _health(until), HEALTH_DAYS * 86_400 // REPORT_SECONDS * PARTITIONS)
    _insert(client, "budgets", _budgets(), BUDGETS)
    _insert(client, "budget_status", _statuses(until), STATUSES)
    _insert(client, "alerts", _alerts(until), ALERTS)
    _insert(client, "deliveries", _deliveries(until), ALERTS)
    _insert(client, "progress", _progress(until), PARTITIONS)


def _insert(client: Client, table: str, columns: dict[str, str], rows: int) -> None:
    """`columns`: an expression of `number`, and of those before it, for each; the others have their defaults."""
    made = ", ".join(f"{expression} AS {name}" for name, expression in columns.items())
    for first in range(0, rows, _AT_ONCE):
        numbers = f"numbers_mt({first}, {min(_AT_ONCE, rows - first)})"
        client.command(f"INSERT INTO {table} ({', '.join(columns)}) SELECT {made} FROM {numbers}", settings=_SETTINGS)


def _spread(until: int, days: int, rows: int, step: int) -> str:
    """The time of a row, as seconds on a multiple of `step`: evenly over the days, the latest last."""
    return f"intDiv({until - days * 86_400} + intDiv(number * {days * 86_400}, {rows}), {step}) * {step}"


def _draw(salt: str, many: int) -> str:
    """A whole number from 0 up to `many`, small ones much more often."""
    return f"toUInt32(pow(cityHash64(number, '{salt}') / 18446744073709551616., 3) * {many})"


def _name(dimension: str, many: int) -> str:
    """A member's name, one of `many`, or '' in one of 20 rows."""
    name = f"concat('{dimension}-', toString({_draw(dimension, many)}))"
    return f"if(cityHash64(number, '{dimension}?') % 20 = 0, '', {name})"


def _named() -> dict[str, str]:
    return {
        dimension: f"concat('{dimension}-', toString({_draw(dimension, many)}))"
        if dimension in ("provider", "model", "operation", "cost_category")
        else _name(dimension, many)
        for dimension, many in MEMBERS.items()
    }


def _one_of(salt: str, *values: str) -> str:
    listed = ", ".join(f"'{value}'" for value in values)
    return f"[{listed}][cityHash64(number, '{salt}') % {len(values)} + 1]"


def _cost(salt: str, picos: int, calls: str = "1") -> str:
    return f"toDecimal128(cityHash64(number, '{salt}') % {picos}, 12) * {calls} / {_PICO}"


def _counted(calls: str) -> dict[str, str]:
    return {
        "input_tokens": f"toInt64(cityHash64(number, 'in') % 4000 * {calls})",
        "output_tokens": f"toInt64(cityHash64(number, 'out') % 800 * {calls})",
        "cache_read_input_tokens": "intDiv(input_tokens, 3)",
        "cost_input": _cost("cost in", 10**10, calls),
        "cost_output": _cost("cost out", 10**10, calls),
    }


def _raw(until: int) -> dict[str, str]:
    many = {dimension: _name(dimension, count) for dimension, count in MANY.items()}
    tags = ", ".join(f"'{key}', concat('{key}-', toString({_draw(key, count)}))" for key, count in TAGS.items())
    return {
        "id": "hex(cityHash64(number, 'id'))",
        "source": "'gateway'",
        "time": f"toDateTime64({_spread(until, RAW_DAYS, RAW_ROWS, 1)}, 6, 'UTC')",
        **_named(),
        **many,
        "request_model": "model",
        "usage_status": "'final'",
        "cache_outcome": _one_of("cache", "hit", "miss", "miss", "bypass"),
        "error_type": "if(number % 50 = 0, 'timeout', NULL)",
        "duration_ms": "toInt64(cityHash64(number, 'ms') % 9000)",
        "quantities": "map()",
        "tags": f"if(number % 3 = 0, map(), map({tags}))",
        **_counted("1"),
        "cost_total": "cost_input + cost_output",
        "pricing_status": "if(number % 100 = 0, 'unpriced', 'priced')",
        "rate_id": "'rate'",
        "price_version": "'bench'",
        "record_time": "time + toIntervalMillisecond(cityHash64(number, 'late') % 20000)",
        "log_id": "'log'",
        "source_partition": f"number % {PARTITIONS}",
        "source_offset": f"intDiv(number, {PARTITIONS})",
    }


def _usage(until: int) -> dict[str, str]:
    return {
        "time": f"toDateTime({_spread(until, DAYS, USAGE_ROWS, _QUARTER)}, 'UTC')",
        **_named(),
        "cache_outcome": _one_of("cache", "hit", "miss", "miss", "bypass"),
        "pricing_status": "if(number % 100 = 0, 'unpriced', 'priced')",
        "usage_status": "'final'",
        "calls": f"toInt64(1 + cityHash64(number, 'calls') % {2 * _EACH - 1})",
        "errors": "intDiv(calls, 50)",
        **_counted("calls"),
        "cost_total": "cost_input + cost_output",
        "timed_calls": "calls",
        "duration_ms": "toInt128(calls * 3000)",
    }


def _members(until: int) -> dict[str, str]:
    counts = {**MANY, **{f"tags.{key}": count for key, count in TAGS.items()}}
    names = ", ".join(f"'{name}'" for name in counts)
    sizes = ", ".join(str(count) for count in counts.values())
    drawn = f"pow(cityHash64(number, 'member') / 18446744073709551616., 3) * [{sizes}][place]"
    return {
        "time": f"toDateTime({_spread(until, DAYS, MEMBER_ROWS, _QUARTER)}, 'UTC')",
        "dimension": f"[{names}][number % {len(counts)} + 1]",
        "member": "if(cityHash64(number, '?') % 20 = 0, '', concat(dimension, '-', toString(toUInt32("
        + drawn.replace("place", f"number % {len(counts)} + 1")
        + "))))",
        "calls": f"toInt64(1 + cityHash64(number, 'calls') % {2 * CALLS * len(counts) // MEMBER_ROWS})",
        "errors": "intDiv(calls, 50)",
        "input_tokens": "calls * 2000",
        "output_tokens": "calls * 400",
        "cost_total": _cost("cost", 10**10, "calls"),
    }


def _progress(until: int) -> dict[str, str]:
    counts = ("block_offset", "mark", "blocks", "all_blocks", "rows", "duplicates")
    return {
        "priced_log_id": "'blocks'",
        "log_id": "'log'",
        "source_partition": "number",
        **dict.fromkeys(counts, "1"),
        "dead_letters": "map('empty', 1)",
        "event_time_max": f"toDateTime({until})",
        "recorded_at": f"toDateTime({until})",
    }


def _health(until: int) -> dict[str, str]:
    events = CALLS // (DAYS * 86_400 // REPORT_SECONDS) // PARTITIONS  # between two reports
    seconds = f"{until - HEALTH_DAYS * 86_400} + intDiv(number, {PARTITIONS}) * {REPORT_SECONDS}"
    return {
        "recorded_at": f"toDateTime64({seconds}, 3, 'UTC')",
        "priced_log_id": "'blocks'",
        "log_id": "'log'",
        "source_partition": f"number % {PARTITIONS}",
        "mark": f"intDiv(number, {PARTITIONS}) * {events}",
        "usage_end": f"mark + 1 + cityHash64(number, 'lag') % {events}",
        "block_offset": f"intDiv(number, {PARTITIONS})",
        "blocks": "block_offset",
        "rows": "mark - intDiv(mark, 100)",
        "duplicates": "intDiv(mark, 100)",
        "dead_letters": "map('undecodable', toUInt64(intDiv(mark, 100000)), 'empty', toUInt64(intDiv(mark, 200000)))",
        "event_time_max": "recorded_at - toIntervalSecond(2)",
    }


def _budgets() -> dict[str, str]:
    return {
        "id": "concat('budget-', toString(number))",
        "value": """concat('{"name":"Budget ', toString(number), '","scope":"customer","member":"',
            if(number % 10 = 0, '*', 'customer-1'),
            '","period":"month","limit_usd":"1000.00","thresholds":[50,80]}')""",
        "version": "1",
    }


def _statuses(until: int) -> dict[str, str]:
    return {
        "key": "concat('status-', toString(number))",
        "budget_id": f"concat('budget-', toString(number % {BUDGETS}))",
        "member": "concat('customer-', toString(number))",
        "resets_at": f"toDateTime64({until + 86_400}, 3, 'UTC')",
        "state": _one_of("state", "ok", "ok", "ok", "warning", "exceeded"),
        "spent_usd": "toDecimal128(number % 1200, 12)",
        "limit_usd": "toDecimal128(1000, 12)",
        "percent": "spent_usd / 10",
        "version": "1",
    }


def _alerts(until: int) -> dict[str, str]:
    return {
        "id": "concat('alert-', toString(number))",
        "log_id": "'log'",
        "incident": "concat('incident-', toString(intDiv(number, 2)))",
        "type": "if(number % 2 = 0, 'spend.anomaly.opened', 'spend.anomaly.closed')",
        "change": "if(number % 2 = 0, 'opened', 'closed')",
        "severity": _one_of("severity", "minor", "major", "critical"),
        "dimension": "'workload'",
        "member": f"concat('workload-', toString({_draw('workload', MEMBERS['workload'])}))",
        "time": f"toDateTime64({_spread(until, DAYS, ALERTS, 1)}, 3, 'UTC')",
        "title": "'Spend of a workload is unusual'",
        "text": "repeat('It was more than is usual at this hour. ', 5)",
        "data": """concat('{"since":"2026-01-01T00:00:00Z","until":"2026-01-01T01:00:00Z","expected_usd":"1.00",',
            '"actual_usd":"9.00","parts":"', repeat('x', 1000), '"}')""",
        "version": "number + 1",
    }


def _deliveries(until: int) -> dict[str, str]:
    return {
        "alert_id": "concat('alert-', toString(number))",
        "channel": "'chat'",
        "state": _one_of("delivered", "delivered", "delivered", "failed"),
        "at": f"toDateTime64({_spread(until, DAYS, ALERTS, 1)}, 3, 'UTC')",
        "version": "1",
    }
