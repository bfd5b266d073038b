"""What is asked of the raw rows to explain an anomaly of one member: sums by stretch of time.

A stretch is a time in seconds since 1970 from the first up to and without the second. Stretches are disjoint and told
apart by their place in the list; the first is the incident, of one log, the others are past time, of whatever log.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from clickhouse_connect.driver.client import Client

from streams.spend.change_split import Usage
from streams.spend.dimensions import COLUMNS, GLOBAL, TAG
from streams.spend.explained import MemberCosts, added
from streams.spend.service_tiers import served_tier

Stretch = tuple[int, int]

MOST_MEMBERS = 100  # of a dimension: an excess is a third of the spend at least, so at most 60 have 5 % of it

# The amounts behind each component of the cost, disjoint, so that a price is cost over amount.
_UNITS = {
    "input": "greatest(ifNull(input_tokens, 0) - ifNull(cache_read_input_tokens, 0) "
    "- ifNull(cache_creation_input_tokens, 0) - ifNull(audio_input_tokens, 0) - ifNull(image_input_tokens, 0), 0)",
    "cache_read": "ifNull(cache_read_input_tokens, 0)",
    "cache_write": "ifNull(cache_creation_input_tokens, 0)",
    "output": "greatest(ifNull(output_tokens, 0) - ifNull(audio_output_tokens, 0) - ifNull(image_output_tokens, 0), 0)",
    "audio": "ifNull(audio_input_tokens, 0) + ifNull(audio_output_tokens, 0)",
    "image": "ifNull(image_input_tokens, 0) + ifNull(image_output_tokens, 0)",
    "quantities": "arraySum(mapValues(quantities))",
}
_BY_SECONDS = ("audio", "image")  # billed by tokens, or by quantities (seconds, pieces) where no tokens are counted
_GROUP = "provider, model, service_tier, is_batch, speed"


@dataclass
class MemberRows:
    """Questions about (dimension, member), all of them before `deadline` (of time.monotonic).

    With a `sample` of n they look at one in n of the slices of 10 seconds, drawn by a hash: whole slices, so that most
    of what they leave out is not read either.

    Raises (every method):
        TimeoutError: the deadline is over. ClickHouse's own errors pass.
    """

    client: Client
    database: str
    log_id: str
    dimension: str
    member: str
    deadline: float
    sample: int = 1

    def held(self, incident: Stretch) -> tuple[int, int, int]:
        """Picodollars and number of the member's rows in the incident, and the number of all members' rows.

        Of all of them, whatever the sample.
        """
        condition, parameters = self._is_member()
        [[cost, mine, everybodys]] = self._ask(
            f"SELECT sumIf(ifNull(cost_total, 0), {condition}), countIf({condition}), count() "
            f"FROM {self.database}.usage WHERE {_within(incident)} AND log_id = {{log_id:String}}",
            parameters,
        )
        return _picos(cost), int(mine), int(everybodys)

    def usages(self, stretches: Sequence[Stretch]) -> list[list[Usage]]:
        """By stretch, an entry for each (model of a provider, tier)."""
        sums = [*(f"sum({unit})" for unit in _UNITS.values()), *(f"sum(ifNull(cost_{kind}, 0))" for kind in _UNITS)]
        rows, parameters = self._rows(stretches)
        found = self._ask(
            f"SELECT stretch, {_GROUP}, count(), {', '.join(sums)} FROM ({rows}) GROUP BY stretch, {_GROUP}", parameters
        )
        by_stretch: list[list[Usage]] = [[] for _ in stretches]
        for stretch, *row in found:
            by_stretch[stretch].append(_usage(row))
        return [added(usages) for usages in by_stretch]

    def members(self, stretches: Sequence[Stretch]) -> tuple[MemberCosts, list[MemberCosts]]:
        """Costs of all of the calls, and of the members of each dimension that cost most in the first stretch."""
        rows, parameters = self._rows(stretches)
        costs = ", ".join(f"sumIf(ifNull(cost_total, 0), stretch = {n}) AS cost_{n}" for n in range(len(stretches)))
        bears = ", ".join(f"ifNull({column}, '') AS in_{name}" for name, column in COLUMNS.items())
        found = self._ask(
            f"""
            SELECT dimension, key, member, {", ".join(f"cost_{n}" for n in range(len(stretches)))} FROM (
                SELECT arrayFirstIndex(summed -> NOT summed, [{", ".join(f"grouping(in_{d})" for d in COLUMNS)}]) AS at,
                       ['{GLOBAL}', {", ".join(f"'{name}'" for name in COLUMNS)}][at + 1] AS dimension, '' AS key,
                       ['', {", ".join(f"toString(in_{name})" for name in COLUMNS)}][at + 1] AS member, {costs}
                FROM (SELECT stretch, cost_total, {bears} FROM ({rows}))
                GROUP BY GROUPING SETS ((), {", ".join(f"(in_{name})" for name in COLUMNS)})
                UNION ALL
                SELECT 0 AS at, '{TAG}' AS dimension, tag.1 AS key, concat(tag.1, '=', tag.2) AS member, {costs}
                FROM ({rows}) ARRAY JOIN CAST(tags, 'Array(Tuple(String, String))') AS tag
                GROUP BY tag
            )
            ORDER BY cost_0 DESC LIMIT {MOST_MEMBERS} BY dimension, key
            """,
            parameters,
        )
        total = MemberCosts(GLOBAL, "", "", 0, (0,) * (len(stretches) - 1))
        members = []
        for dimension, key, member, cost, *past in found:
            costs_of = MemberCosts(dimension, key, member, _picos(cost), tuple(map(_picos, past)))
            if dimension == GLOBAL:
                total = costs_of
            else:
                members.append(costs_of)
        return total, members

    def _rows(self, stretches: Sequence[Stretch]) -> tuple[str, dict[str, str]]:
        """The member's rows in any of the stretches, with the place of theirs as `stretch`."""
        condition, parameters = self._is_member()
        times = [f"({_within(stretch)})" for stretch in stretches]
        places = ", ".join(f"{when}, {place}" for place, when in enumerate(times))
        sampled = f" AND intHash64(intDiv(toUnixTimestamp(time), 10)) % {self.sample} = 0" if self.sample > 1 else ""
        return (
            f"SELECT *, multiIf({places}, 0) AS stretch FROM {self.database}.usage WHERE ({' OR '.join(times)}) "
            f"AND (log_id = {{log_id:String}} OR NOT {times[0]}) AND {condition}{sampled}",
            parameters,
        )

    def _is_member(self) -> tuple[str, dict[str, str]]:
        """The condition of the member's rows, and its parameters."""
        if self.dimension == GLOBAL:
            return "1", {}
        if self.dimension != TAG:
            column = COLUMNS[self.dimension]
            # without ifNull, so that the index of users is of use
            named = f"{column} = {{member:String}}" if self.member else f"ifNull({column}, '') = ''"
            return f"({named})", {"member": self.member}
        parts = self.member.split("=")
        cuts = range(1, len(parts))  # key and value may both contain the sign
        either = " OR ".join(
            f"(mapContains(tags, {{key_{n}:String}}) AND tags[{{key_{n}:String}}] = {{value_{n}:String}})" for n in cuts
        )
        parameters = {f"key_{n}": "=".join(parts[:n]) for n in cuts} | {f"value_{n}": "=".join(parts[n:]) for n in cuts}
        return f"({either or '0'})", parameters

    def _ask(self, sql: str, parameters: dict[str, str]) -> Sequence[Sequence[Any]]:
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("no time is left")
        return self.client.query(
            sql,
            parameters={"log_id": self.log_id, **parameters},
            settings={"max_execution_time": f"{left:.3f}"},
        ).result_rows


def _within(stretch: Stretch) -> str:
    """The condition of a stretch, of constants, which the index of times can use."""
    return f"time >= toDateTime64({stretch[0]}, 6, 'UTC') AND time < toDateTime64({stretch[1]}, 6, 'UTC')"


def _usage(row: Sequence[Any]) -> Usage:
    provider, model, service_tier, is_batch, speed, calls, *sums = row
    units = dict(zip(_UNITS, map(int, sums[: len(_UNITS)]), strict=True))
    costs = dict(zip(_UNITS, map(_picos, sums[len(_UNITS) :]), strict=True))
    for kind in _BY_SECONDS:
        units[kind] = units[kind] or (units["quantities"] if costs[kind] else 0)
    tier, _ = served_tier(provider, service_tier, is_batch, speed)
    return Usage(
        f"{provider}/{model}",
        tier or f"{service_tier} {is_batch} {speed}",
        calls,
        {kind: amount for kind, amount in units.items() if amount},
        {kind: cost for kind, cost in costs.items() if cost},
    )


def _picos(dollars: Decimal) -> int:
    return int(dollars.scaleb(12))
