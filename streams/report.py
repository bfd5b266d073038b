"""The figures of `spendstream report`: read from the rollups, exact, compared with the same stretch before.

One query a table: the quarters of an hour between two neighbouring edges (starts and ends of stretches) are summed by
ClickHouse, and a stretch is the sum of what lies between its edges, so that stretches that overlap are read once.
"""

from collections.abc import Callable
from dataclasses import astuple, dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from clickhouse_connect.driver.client import Client

from streams.errors import SpendError
from streams.periods import Period, Stretch

# Dimensions of usage_15m that a person may group by; provider_model is the two together.
DIMENSIONS: tuple[str, ...] = (
    "workload",
    "customer",
    "team",
    "project",
    "service",
    "provider",
    "model",
    "provider_model",
    "server",
    "gateway",
    "environment",
    "operation",
    "cost_category",
    "cache_outcome",
    "region",
    "service_tier",
    "pricing_status",
    "usage_status",
)
# Dimensions of members_15m; besides these every tag, as `tags.<key>`.
MEMBER_DIMENSIONS: tuple[str, ...] = ("user", "workflow", "agent", "api_key_id", "release")

_JOINED = {"provider_model": "if(provider = '' OR model = '', '', concat(provider, ' / ', model))"}


@dataclass(frozen=True)
class Figures:
    """Sums over some calls. `cost` is in US dollars and leaves out `unpriced_calls`, whose price is not known."""

    cost: Decimal = Decimal(0)
    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    unpriced_calls: int = 0
    partial_calls: int = 0

    @property
    def tokens(self) -> int:
        """Input and output."""
        return self.input_tokens + self.output_tokens

    @property
    def known_cost(self) -> Decimal | None:
        """The cost; None where there were calls and none of them has a price, which is not the same as $0."""
        return None if self.calls and self.unpriced_calls == self.calls else self.cost

    def __add__(self, other: "Figures") -> "Figures":
        return Figures(*(mine + theirs for mine, theirs in zip(astuple(self), astuple(other), strict=True)))

    def __sub__(self, other: "Figures") -> "Figures":
        return Figures(*(mine - theirs for mine, theirs in zip(astuple(self), astuple(other), strict=True)))


@dataclass(frozen=True)
class Comparison:
    """A period's figures beside those of the same stretch before; `previous` is None when no data reaches back."""

    current: Figures
    previous: Figures | None

    def change(self, of: Callable[[Figures], Decimal | int]) -> Decimal | None:
        """Change in per cent, to a tenth; None without a previous figure, or when that was nothing."""
        if self.previous is None or not of(self.previous):
            return None
        now, before = Decimal(of(self.current)), Decimal(of(self.previous))
        return ((now - before) * 100 / abs(before)).quantize(Decimal("0.1"))


@dataclass(frozen=True)
class Row:
    """A member of a dimension, ranked by cost."""

    member: str
    figures: Comparison


@dataclass(frozen=True)
class Breakdown:
    """A period by the members of a dimension: `total` = `rows` + `others` + `unattributed`."""

    dimension: str
    rows: list[Row]
    others: Comparison
    others_count: int
    unattributed: Comparison
    total: Comparison


@dataclass(frozen=True)
class Report:
    """What `spendstream report` says, as of `now`."""

    now: datetime
    zone: ZoneInfo
    since: datetime | None
    cards: list[tuple[Period, Comparison]]
    period: Period  # of the breakdowns
    breakdowns: list[Breakdown]


@dataclass(frozen=True)
class Rollups:
    """The tables that the report reads; never the raw rows."""

    client: Client
    database: str
    since: datetime | None  # start of the first quarter of an hour with data, aware, UTC; None: no data

    @classmethod
    def of(cls, client: Client, database: str) -> "Rollups":
        """The rollups of a database.

        Raises:
            SpendError: it has no tables yet.
        """
        found = client.query(
            "SELECT count() FROM system.tables "
            "WHERE database = {database:String} AND name IN ('usage_15m', 'members_15m')",
            parameters={"database": database},
        ).result_rows
        if found[0][0] != 2:
            raise SpendError(f"database {database} has no tables yet: make them with `spendstream migrate up`")
        rows, first = client.query(f"SELECT count(), toUnixTimestamp(min(time)) FROM {database}.usage_15m").result_rows[
            0
        ]
        return cls(client, database, datetime.fromtimestamp(first, UTC) if rows else None)

    def reach_back(self, period: Period) -> bool:
        """Whether data covers the previous stretch: what began within its first day may just have been quiet before."""
        return self.since is not None and self.since < period.previous.start + timedelta(days=1)

    def totals(self, periods: list[Period]) -> list[Comparison]:
        """Figures of each period."""
        stretches = [stretch for period in periods for stretch in (period.stretch, period.previous)]
        sums = self._sums("usage_15m", "''", stretches).get("", {})
        return [self._compare(sums, period) for period in periods]

    def breakdown(self, dimension: str, period: Period, top: int) -> Breakdown:
        """A period by the members of one dimension, the greatest costs first.

        Args:
            dimension: of DIMENSIONS, of MEMBER_DIMENSIONS, or `tags.<key>`.
            period: which time, and what to compare it with.
            top: rows to name; the rest are added up as others.

        Raises:
            SpendError: there is no such dimension.
        """
        stretches = [period.stretch, period.previous]
        if dimension in DIMENSIONS:
            sums = self._sums("usage_15m", _JOINED.get(dimension, dimension), stretches)
        elif dimension in MEMBER_DIMENSIONS or dimension.startswith("tags."):
            sums = self._sums("members_15m", "member", stretches, dimension)
        else:
            known = ", ".join((*DIMENSIONS, *MEMBER_DIMENSIONS))
            raise SpendError(f"--by {dimension}: there is no such dimension; there are {known} and tags.<key>")
        members = {member: self._compare(edges, period) for member, edges in sums.items()}
        unattributed = members.pop("", self._compare({}, period))
        total = _add(unattributed, *members.values())
        if dimension.startswith("tags."):  # a call without the tag has no row there
            whole = self.totals([period])[0]
            unattributed, total = _add(unattributed, _minus(whole, total)), whole
        ranked = sorted(members.items(), key=lambda item: (-item[1].current.cost, -item[1].current.calls, item[0]))
        rows = [Row(member, figures) for member, figures in ranked if figures.current.calls]
        named = {row.member for row in rows[:top]}
        others = [figures for member, figures in ranked if member not in named]
        return Breakdown(
            dimension,
            rows[:top],
            _add(self._compare({}, period), *others),
            max(0, len(rows) - top),
            unattributed,
            total,
        )

    def _sums(
        self, table: str, member: str, stretches: list[Stretch], dimension: str = ""
    ) -> dict[str, dict[int, Figures]]:
        """By member, the figures from each edge (seconds since 1970) up to the next."""
        edges = sorted({int(edge.timestamp()) for stretch in stretches for edge in (stretch.start, stretch.end)})
        unpriced = (
            "sum(unpriced_calls), sum(partial_calls)"
            if dimension
            else "sumIf(calls, pricing_status = 'unpriced'), sumIf(calls, pricing_status = 'partial')"
        )
        rows = self.client.query(
            f"""
            SELECT {member} AS name, roundDown(toUnixTimestamp(time), {{edges:Array(UInt32)}}) AS edge,
                   sum(cost_total), sum(calls), sum(input_tokens), sum(output_tokens), {unpriced}
            FROM {self.database}.{table}
            WHERE time >= toDateTime({{first:UInt32}}, 'UTC') AND time < toDateTime({{end:UInt32}}, 'UTC')
              {"AND dimension = {dimension:String}" if dimension else ""}
            GROUP BY name, edge
            """,
            parameters={"edges": edges, "first": edges[0], "end": edges[-1], "dimension": dimension},
        ).result_rows
        sums: dict[str, dict[int, Figures]] = {}
        for name, edge, *figures in rows:
            sums.setdefault(name, {})[edge] = Figures(*figures)
        return sums

    def _compare(self, sums: dict[int, Figures], period: Period) -> Comparison:
        previous = _within(sums, period.previous) if self.reach_back(period) else None
        return Comparison(_within(sums, period.stretch), previous)


def _within(sums: dict[int, Figures], stretch: Stretch) -> Figures:
    first, end = stretch.start.timestamp(), stretch.end.timestamp()
    return sum((figures for edge, figures in sums.items() if first <= edge < end), Figures())


def _add(*parts: Comparison) -> Comparison:
    """The sum of figures of one period; at least one part."""
    previous = [part.previous for part in parts if part.previous is not None]
    return Comparison(sum((part.current for part in parts), Figures()), sum(previous, Figures()) if previous else None)


def _minus(whole: Comparison, part: Comparison) -> Comparison:
    previous = None if whole.previous is None or part.previous is None else whole.previous - part.previous
    return Comparison(whole.current - part.current, previous)
