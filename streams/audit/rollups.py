"""Raw rows against each rollup: the same sums of every key, asked in one statement."""

import time
from dataclasses import dataclass
from datetime import date, datetime

from schemas.priced import COSTS
from streams.audit.tables import Tables, picos

ROLLUPS = ("usage_15m", "members_15m")
EXAMPLES = 10
_SETTLED = 3  # times that a difference is the same again until it is believed
_MOST_ROUNDS = 60
_PAUSE_SECONDS = 0.5

# measures that are not the sum of the raw column of the same name
_MEASURES = {
    "calls": "toInt64(1)",
    "errors": "toInt64(isNotNull(error_type))",
    "timed_calls": "toInt64(isNotNull(duration_ms))",
    "partial_calls": "toInt64(pricing_status = 'partial')",
    "unpriced_calls": "toInt64(pricing_status = 'unpriced')",
}
_MEMBERS = """arrayConcat(
    [('user', toString(ifNull(user, ''))), ('workflow', toString(ifNull(workflow, ''))),
     ('agent', toString(ifNull(agent, ''))), ('api_key_id', toString(ifNull(api_key_id, ''))),
     ('release', toString(ifNull(release, '')))],
    arrayMap((k, v) -> (concat('tags.', toString(k)), toString(v)), mapKeys(tags), mapValues(tags)))"""


@dataclass(frozen=True)
class Rollup:
    """A rollup against all raw rows of the time that raw rows are kept.

    Attributes:
        table: its name.
        calls, raw_calls: sums of calls there, and of what the raw rows say they should be.
        costs, raw_costs: likewise of `COSTS`; of the total only where the rollup has no components; picodollars.
        differing: keys (time and dimensions) with another figure.
        examples: some of them in words.
    """

    table: str
    calls: int
    raw_calls: int
    costs: dict[str, int]
    raw_costs: dict[str, int]
    differing: int
    examples: list[str]

    @property
    def gap(self) -> tuple[int, int, list[int]]:
        """Keys that differ, and by how much calls and costs do."""
        costs = [cost - self.raw_costs[name] for name, cost in self.costs.items()]
        return self.differing, self.calls - self.raw_calls, costs


def compare_rollup(tables: Tables, table: str, since: datetime) -> Rollup:
    """Compare a rollup with the raw rows it was made from, month by month.

    While events arrive, an insert may lie between the raw table and its views at the moment of asking. So a month that
    differs is asked again, until it does not or has stayed the same for some seconds.
    """
    months = {month: _rollup_of_month(tables, table, month, since) for month in _months(tables, table, since)}
    same = 0
    for _ in range(_MOST_ROUNDS):
        wrong = {month: part for month, part in months.items() if part.differing}
        if not wrong or same == _SETTLED:
            break
        time.sleep(_PAUSE_SECONDS)
        again = {month: _rollup_of_month(tables, table, month, since) for month in wrong}
        same = same + 1 if all(again[month].gap == part.gap for month, part in wrong.items()) else 0
        months |= again
    found = Rollup(table, 0, 0, {}, {}, 0, [])
    for month, part in months.items():
        examples = _examples(tables, table, month, since) if part.differing and len(found.examples) < EXAMPLES else []
        found = Rollup(
            table,
            found.calls + part.calls,
            found.raw_calls + part.raw_calls,
            {name: found.costs.get(name, 0) + cost for name, cost in part.costs.items()},
            {name: found.raw_costs.get(name, 0) + cost for name, cost in part.raw_costs.items()},
            found.differing + part.differing,
            (found.examples + examples)[:EXAMPLES],
        )
    return found


def _months(tables: Tables, table: str, since: datetime) -> list[date]:
    return [
        date.fromisoformat(month)
        for [month] in tables.rows(
            f"""
            SELECT DISTINCT toString(toStartOfMonth(time)) AS month FROM (
                SELECT DISTINCT toDate(time) AS time FROM {tables.database}.usage
                UNION DISTINCT SELECT DISTINCT toDate(time) AS time FROM {tables.database}.{table}
            ) WHERE time >= toDate({{since:String}}) ORDER BY month
            """,
            since=str(since.date()),
        )
    ]


def _rollup_of_month(tables: Tables, table: str, month: date, since: datetime) -> Rollup:
    keys, measures = _columns(tables, table)
    costs = [name for name in measures if name in COSTS]
    grouped = _grouped(tables, table, keys, measures)
    figures = ", ".join(f"toString(sum(its_{name})), toString(sum(raw_{name}))" for name in ("calls", *costs))
    [[differing, *sums]] = tables.rows(
        f"SELECT countIf({_wrong(measures)}), {figures} FROM ({grouped})", **_within(month, since)
    )
    calls, raw_calls, *pairs = sums
    return Rollup(
        table,
        int(calls),
        int(raw_calls),
        {name: picos(its) for name, its in zip(costs, pairs[::2], strict=True)},
        {name: picos(raw) for name, raw in zip(costs, pairs[1::2], strict=True)},
        int(differing),
        [],
    )


def _examples(tables: Tables, table: str, month: date, since: datetime) -> list[str]:
    """Some keys of a month that differ, in words."""
    keys, measures = _columns(tables, table)
    names = ", ".join(f"toString(k_{key})" for key in keys)
    told = ", ".join(f"toString(raw_{name}), toString(its_{name})" for name in ("calls", "cost_total"))
    grouped, wrong = _grouped(tables, table, keys, measures), _wrong(measures)
    query = f"SELECT {names}, {told} FROM ({grouped}) WHERE {wrong} ORDER BY k_time LIMIT {EXAMPLES}"
    examples = []
    for row in tables.rows(query, **_within(month, since)):
        place = ", ".join(f"{key} {value}" for key, value in zip(keys, row, strict=False) if value)
        calls, its_calls, cost, its_cost = row[len(keys) :]
        examples.append(f"{table}: {place}: {its_calls} calls and {its_cost}, its raw rows have {calls} and {cost}")
    return examples


def _wrong(measures: list[str]) -> str:
    return " OR ".join(f"raw_{name} != its_{name}" for name in measures)


def _within(month: date, since: datetime) -> dict[str, str]:
    start = max(since, datetime(month.year, month.month, 1))
    return {"start": str(start), "stop": str(datetime(month.year + month.month // 12, month.month % 12 + 1, 1))}


def _columns(tables: Tables, table: str) -> tuple[list[str], list[str]]:
    """Key columns and summed columns of a rollup."""
    rows = tables.rows(
        "SELECT name, type FROM system.columns WHERE database = {database:String} AND table = {table:String} "
        "ORDER BY position",
        database=tables.database,
        table=table,
    )
    keys = [name for name, kind in rows if not kind.startswith("SimpleAggregateFunction")]
    return keys, [name for name, kind in rows if kind.startswith("SimpleAggregateFunction(sum")]


def _grouped(tables: Tables, table: str, keys: list[str], measures: list[str]) -> str:
    """A query of each key's sums: `raw_x` from the raw rows, `its_x` the rollup's own, both in one statement."""
    source = {"time": "toStartOfFifteenMinutes(time)"}
    join = ""
    if "member" in keys:
        source |= {"dimension": "entry.1", "member": "entry.2"}
        join = f"ARRAY JOIN {_MEMBERS} AS entry"
    raw_keys = [f"{source.get(key) or _text(key)} AS k_{key}" for key in keys]
    its_keys = [f"{key if key == 'time' else f'toString({key})'} AS k_{key}" for key in keys]
    raw, its = [], []
    for name in measures:
        kind = "toDecimal128({}, 12)" if name in COSTS else "toInt128({})"
        zero = kind.format(0)
        raw += [f"{kind.format(_MEASURES.get(name, f'ifNull({name}, 0)'))} AS r_{name}", f"{zero} AS i_{name}"]
        its += [f"{zero} AS r_{name}", f"{kind.format(name)} AS i_{name}"]
    sums = ", ".join(f"sum(r_{name}) AS raw_{name}, sum(i_{name}) AS its_{name}" for name in measures)
    within = "time >= toDateTime({start:String}, 'UTC') AND time < toDateTime({stop:String}, 'UTC')"
    return f"""
        SELECT {", ".join(f"k_{key}" for key in keys)}, {sums} FROM (
            SELECT {", ".join([*raw_keys, *raw])} FROM {tables.database}.usage {join} WHERE {within}
            UNION ALL
            SELECT {", ".join([*its_keys, *its])} FROM {tables.database}.{table} WHERE {within}
        ) GROUP BY {", ".join(f"k_{key}" for key in keys)}
    """


def _text(column: str) -> str:
    return f"toString(ifNull({column}, ''))"
