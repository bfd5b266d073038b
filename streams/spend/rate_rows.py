"""The plans of the kinds of calls seen so far as flat arrays: an event's rate row is found by two binary searches.

A row holds integer numerators over one denominator: picodollars a unit = numerator / denominator, exactly.
"""

import math
from fractions import Fraction

import numpy as np
import polars as pl

from streams.errors import SpendError
from streams.spend.price_sheet import BUCKETS, MAX_NUMERATOR, Sheet, component
from streams.spend.rates import RateKey, RateTable, Resolved

SECONDS_BITS = 34  # seconds since 1970 in a composite key: until the year 2514
WEEK_BITS = 20
_NEVER = np.iinfo(np.int64).max

_ROW_SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    "rate_id": pl.String,
    "denominator": pl.Int128,
    "missing": pl.Int64,  # bit i: bucket i has no price
    "request_fee": pl.Int128,  # numerator of one request, billed when the event counts none
    **{f"rate_{bucket}": pl.Int128 for bucket in BUCKETS},
}
_QUANTITY_SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    "row": pl.Int64,
    "quantity": pl.String,
    "numerator": pl.Int128,
    "floor": pl.Int64,
    "component": pl.String,
}


class RateRows:
    """Rate rows of a table, added as kinds of calls are met and forgotten all at once beyond `capacity` kinds."""

    def __init__(self, table: RateTable, capacity: int = 50_000) -> None:
        self._table = table
        self._capacity = capacity
        self._forget()

    def _forget(self) -> None:
        self._plan_ids: dict[RateKey, int] = {}
        self._segments: list[int] = []  # plan << SECONDS_BITS | start
        self._slots: list[int] = []  # segment << WEEK_BITS | second of the week
        self._slot_row: list[int] = []
        self._thresholds: list[list[int]] = []  # of each slot
        self._rows: list[dict[str, object]] = []
        self._quantities: list[dict[str, object]] = []
        self._stale = True

    def plan_ids(self, keys: list[RateKey]) -> np.ndarray:
        """The plan of each kind of call, int64 of the same length; new kinds are compiled."""
        if len(self._plan_ids) + len(keys) > self._capacity and not all(key in self._plan_ids for key in keys):
            self._forget()
        return np.array([self._plan(key) for key in keys], dtype=np.int64)

    def locate(self, plans: np.ndarray, seconds: np.ndarray, input_tokens: np.ndarray) -> np.ndarray:
        """The rate row of each event: int64, from its plan, its time (seconds since 1970) and its input tokens."""
        self._refresh()
        seconds = np.clip(seconds, 0, (1 << SECONDS_BITS) - 1)
        segments = np.searchsorted(self._segment_keys, (plans << SECONDS_BITS) | seconds, side="right") - 1
        slots = self._first_slots[segments]
        weekly = np.flatnonzero(self._slot_counts[segments] > 1)
        if weekly.size:
            week = (seconds[weekly] - 4 * 86400) % (7 * 86400)  # 5 January 1970 was the first Monday
            keys = (segments[weekly] << WEEK_BITS) | week
            slots[weekly] = np.searchsorted(self._slot_keys, keys, side="right") - 1
        rows = self._slot_rows[slots]
        for threshold in self._threshold_columns:
            rows = rows + (input_tokens > threshold[slots])
        return rows

    @property
    def rows(self) -> pl.DataFrame:
        """All rows, by row number."""
        self._refresh()
        return self._row_frame

    @property
    def quantities(self) -> pl.DataFrame:
        """The prices of quantities: row, quantity, numerator, floor, component."""
        self._refresh()
        return self._quantity_frame

    def _plan(self, key: RateKey) -> int:
        known = self._plan_ids.get(key)
        if known is not None:
            return known
        plan = len(self._plan_ids)
        self._plan_ids[key] = plan
        for segment in self._table.plan(key):
            number = len(self._segments)
            self._segments.append((plan << SECONDS_BITS) | segment.start)
            for second, resolved in segment.slots:
                self._slots.append((number << WEEK_BITS) | second)
                self._slot_row.append(len(self._rows))
                self._thresholds.append(self._add(resolved))
        self._stale = True
        return plan

    def _add(self, resolved: Resolved) -> list[int]:
        """Append the rows of a price, one for each long-context step; gives its thresholds."""
        sheet = resolved.sheet
        if sheet is None:
            everything = (1 << len(BUCKETS)) - 1
            nothing = dict.fromkeys((f"rate_{bucket}" for bucket in BUCKETS), 0)
            self._rows.append({"rate_id": None, "denominator": 1, "missing": everything, "request_fee": 0, **nothing})
            return []
        thresholds = sheet.thresholds()
        for tokens in (0, *(threshold + 1 for threshold in thresholds)):
            self._add_row(str(resolved.rate_id), sheet, tokens)
        return thresholds

    def _add_row(self, rate_id: str, sheet: Sheet, input_tokens: int) -> None:
        prices = sheet.leaves(input_tokens)
        denominator = math.lcm(*(price.denominator for price in (*prices.values(), *sheet.quantities.values())))
        row: dict[str, object] = {
            "rate_id": rate_id,
            "denominator": denominator,
            "missing": sum(1 << bit for bit, bucket in enumerate(BUCKETS) if bucket not in prices),
            "request_fee": _numerator(rate_id, sheet.quantities.get("request", Fraction(0)), denominator),
        }
        for bucket in BUCKETS:
            row[f"rate_{bucket}"] = _numerator(rate_id, prices.get(bucket, Fraction(0)), denominator)
        for name, price in sheet.quantities.items():
            self._quantities.append(
                {
                    "row": len(self._rows),
                    "quantity": name,
                    "numerator": _numerator(rate_id, price, denominator),
                    "floor": sheet.floors.get(name, 0),
                    "component": component(name),
                }
            )
        self._rows.append(row)

    def _refresh(self) -> None:
        if not self._stale:
            return
        self._segment_keys = np.array(self._segments, dtype=np.int64)
        self._slot_keys = np.array(self._slots, dtype=np.int64)
        self._slot_rows = np.array(self._slot_row, dtype=np.int64)
        self._slot_counts = np.bincount(self._slot_keys >> WEEK_BITS, minlength=len(self._segments))
        self._first_slots = np.cumsum(self._slot_counts) - self._slot_counts
        depth = max((len(thresholds) for thresholds in self._thresholds), default=0)
        self._threshold_columns = [
            np.array([t[level] if level < len(t) else _NEVER for t in self._thresholds], dtype=np.int64)
            for level in range(depth)
        ]
        self._row_frame = pl.DataFrame(self._rows, schema=_ROW_SCHEMA, orient="row")
        self._quantity_frame = pl.DataFrame(self._quantities, schema=_QUANTITY_SCHEMA, orient="row")
        self._stale = False


def _numerator(rate_id: str, price: Fraction, denominator: int) -> int:
    numerator = int(price * denominator)
    if numerator > MAX_NUMERATOR or denominator > MAX_NUMERATOR:
        raise SpendError(
            f"the rate {rate_id!r} has more digits than exact arithmetic allows; round it to fewer decimals"
        )
    return numerator


def rate_rows(table: RateTable) -> RateRows:
    """The rows compiled for a table so far; they live as long as it does."""
    return table.compiled(RateRows)
