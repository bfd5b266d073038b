"""Windows and the raw rows they count, level by level and dimension by dimension: the statements."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from schemas.priced import COSTS
from streams.audit.tables import Tables, picos
from streams.periods import midnight
from streams.settings import Settings
from streams.spend.dimensions import COLUMNS, COUNTS, GLOBAL, OTHER, TAG

EXAMPLES = 10
DAYS_KEPT = 400  # behind the newest event

MEASURES = (*COUNTS, *COSTS)
# measures that are not the sum of the raw column of the same name
_MEASURES = {
    "calls": "toInt64(count())",
    "errors": "toInt64(count(error_type))",
    "cache_hits": "toInt64(countIf(cache_outcome = 'hit'))",
    "unpriced_calls": "toInt64(countIf(pricing_status = 'unpriced'))",
    "partial_calls": "toInt64(countIf(pricing_status = 'partial'))",
}
_MEMBERS = {
    GLOBAL: "''",
    TAG: "tag",
    **{dimension: f"toString(ifNull({column}, ''))" for dimension, column in COLUMNS.items()},
}
_TAGS = "arrayMap((k, v) -> concat(toString(k), '=', v), mapKeys(tags), mapValues(tags))"
_START = {
    "minute": "toStartOfMinute(time)",
    "quarter_hour": "toStartOfFifteenMinutes(time)",
    "day": "toStartOfDay(time, {zone:String})",
}


@dataclass(frozen=True)
class Part:
    """The windows of one level and dimension against the raw rows.

    Attributes:
        level, dimension: which.
        windows: how many there are.
        differing: windows, there or missing, with another figure than their raw rows.
        changing: such windows that came, or whose raw rows came, while they were compared.
        calls, raw_calls, cost, raw_cost: sums over all of them; costs in picodollars.
        totals_only: members are beyond the dimension's cap, so each start's total is compared and not each member.
        examples: some of the differences in words.
    """

    level: str
    dimension: str
    windows: int
    differing: int
    changing: int
    calls: int
    raw_calls: int
    cost: int
    raw_cost: int
    totals_only: bool
    examples: tuple[str, ...] = ()

    @property
    def gap(self) -> tuple[int, int, int, int]:
        """What differs, and by how much."""
        return self.differing, self.changing, self.calls - self.raw_calls, self.cost - self.raw_cost

    def at_rest(self) -> "Part":
        """The same where no call came meanwhile: what changed should have become equal."""
        return replace(self, differing=self.differing + self.changing, changing=0)


class Comparison:
    """Asks ClickHouse, for one log, what its raw rows say and what its windows hold."""

    def __init__(self, tables: Tables, log_id: str, settings: Settings) -> None:
        self._tables = tables
        self._log_id = log_id
        self._zone = settings.timezone
        [[began, newest]] = tables.rows(
            f"""
            SELECT toString(now64(3, 'UTC')), greatest(
                (SELECT toUnixTimestamp(max(time)) FROM {tables.database}.usage WHERE log_id = {{log:String}}),
                (SELECT toUnixTimestamp(max(start)) FROM {tables.database}.windows WHERE log_id = {{log:String}})
            )
            """,
            log=log_id,
        )
        self._began: str = began
        kept = {days: tables.kept_since(days).replace(tzinfo=UTC) for days in _retention(settings)}
        self.since = starts(datetime.fromtimestamp(newest, UTC), settings, kept)

    def part(self, level: str, dimension: str) -> Part:
        """Compare a level and dimension."""
        totals_only = self._is_capped(level, dimension)
        sums = "sum(its_calls), sum(raw_calls), toString(sum(its_cost_total)), toString(sum(raw_cost_total))"
        [[windows, differing, changing, calls, raw_calls, cost, raw_cost]] = self._rows(
            f"SELECT sum(windows), countIf(wrong AND NOT changed), countIf(wrong AND changed), {sums} FROM ({{}})",
            level,
            dimension,
            totals_only,
            ("calls", "cost_total"),
        )
        return Part(
            level, dimension, windows, differing, changing, calls, raw_calls, picos(cost), picos(raw_cost), totals_only
        )

    def told(self, part: Part) -> Part:
        """The part, with examples where it differs."""
        if not part.differing:
            return part
        figures = ", ".join(f"('{name}', toString(its_{name}), toString(raw_{name}))" for name in MEASURES)
        only = "AND NOT changed" if part.changing else ""
        rows = self._rows(
            f"""
            SELECT toString(toDateTime(k_start, 'UTC')), k_member, windows,
                   arrayFilter(figure -> figure.2 != figure.3, [{figures}])
            FROM ({{}}) WHERE wrong {only} ORDER BY k_start, k_member LIMIT {EXAMPLES}
            """,
            part.level,
            part.dimension,
            part.totals_only,
            MEASURES,
        )
        return replace(part, examples=tuple(_example(part, *row) for row in rows))

    def _is_capped(self, level: str, dimension: str) -> bool:
        [[capped]] = self._tables.rows(
            f"SELECT count() FROM {self._tables.database}.windows "
            "WHERE log_id = {log:String} AND level = {level:String} AND dimension = {dimension:String} "
            "AND startsWith(member, {other:String})",
            log=self._log_id,
            level=level,
            dimension=dimension,
            other=OTHER,
        )
        return bool(capped)

    def _rows(self, query: str, level: str, dimension: str, totals_only: bool, told: tuple[str, ...]) -> list[list]:
        return self._tables.rows(
            query.format(_grouped(self._tables.database, level, dimension, totals_only, told)),
            log=self._log_id,
            level=level,
            dimension=dimension,
            zone=self._zone,
            since=int(self.since[level].timestamp()),
            began=self._began,
        )


def starts(newest: datetime, settings: Settings, kept: dict[int, datetime]) -> dict[str, datetime]:
    """The first start of each level whose window must have all of its raw rows, and be there itself.

    Args:
        newest: the latest event time; windows are kept so long behind it.
        settings: retention and time zone.
        kept: since when ClickHouse has all rows that it keeps for so many days.
    """
    raw, rollups, minutes = (kept[days] for days in _retention(settings))
    minute = max(newest - timedelta(hours=settings.minute_hours), raw, minutes)
    quarter = max(newest - timedelta(days=settings.quarter_days), raw)
    return {
        "minute": _up(minute, timedelta(minutes=1)),
        "quarter_hour": _up(quarter, timedelta(minutes=15)),
        "day": _midnight_from(max(newest - timedelta(days=DAYS_KEPT), raw, rollups), ZoneInfo(settings.timezone)),
    }


def _retention(settings: Settings) -> tuple[int, int, int]:
    """Days that raw rows, rollups and minutes are kept."""
    return settings.raw_retention_days, settings.rollup_retention_days, settings.minute_retention_days


def _up(instant: datetime, step: timedelta) -> datetime:
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    return epoch - (epoch - instant) // step * step


def _midnight_from(instant: datetime, zone: ZoneInfo) -> datetime:
    """The first local midnight at or after an instant, in UTC."""
    day = instant.astimezone(zone).date()
    start = midnight(day, zone)
    return start if start >= instant else midnight(day + timedelta(days=1), zone)


def _grouped(database: str, level: str, dimension: str, totals_only: bool, told: tuple[str, ...]) -> str:
    """A query of each start and member: are all measures of the window those of its raw rows? In one statement.

    `told`: measures whose sums are given, as `raw_x` and `its_x`. Of the others only the difference is summed up, which
    is half of the work.
    """
    join = f"ARRAY JOIN {_TAGS} AS tag" if dimension == TAG else ""
    raw_member, its_member = ("''", "''") if totals_only else (_MEMBERS[dimension], "member")
    summed = {name: _MEASURES.get(name, f"ifNull(sum({name}), 0)") for name in MEASURES}
    zeros = {name: "toDecimal128(0, 12)" if name in COSTS else "toInt64(0)" for name in told}
    raw = [f"{summed[name]} AS d_{name}" for name in MEASURES]
    raw += [f"{summed[name]} AS r_{name}, {zero} AS i_{name}" for name, zero in zeros.items()]
    its = [f"-{name} AS d_{name}" for name in MEASURES]
    its += [f"{zero} AS r_{name}, {name} AS i_{name}" for name, zero in zeros.items()]
    sums = ", ".join(f"sum(r_{name}) AS raw_{name}, sum(i_{name}) AS its_{name}" for name in told)
    wrong = " OR ".join(f"sum(d_{name}) != 0" for name in MEASURES)
    return f"""
        SELECT k_start, k_member, sum(n) AS windows, {sums}, {wrong} AS wrong,
               max(seen) > toDateTime64({{began:String}}, 3, 'UTC') AS changed
        FROM (
            SELECT toInt64(toUnixTimestamp({_START[level]})) AS k_start, {raw_member} AS k_member, toUInt64(0) AS n,
                   max(inserted_at) AS seen, {", ".join(raw)}
            FROM {database}.usage {join}
            WHERE log_id = {{log:String}} AND time >= toDateTime64({{since:Int64}}, 6, 'UTC')
            GROUP BY k_start, k_member
            UNION ALL
            SELECT toInt64(toUnixTimestamp(start)) AS k_start, {its_member} AS k_member, toUInt64(1) AS n,
                   inserted_at AS seen, {", ".join(its)}
            FROM {database}.windows FINAL
            WHERE log_id = {{log:String}} AND level = {{level:String}} AND dimension = {{dimension:String}}
              AND start >= toDateTime({{since:Int64}}, 'UTC')
        ) GROUP BY k_start, k_member
    """


def _example(part: Part, start: str, member: str, windows: int, figures: list[tuple[str, str, str]]) -> str:
    place = f"windows: {part.dimension} {member}".rstrip() + f", {part.level} of {start} UTC"
    if part.totals_only:
        place += ", all members"
    if not windows:
        return f"{place}: is missing"
    told = "; ".join(f"{name} is {its}, its raw rows have {raw}" for name, its, raw in figures[:3])
    return f"{place}: {told}"
