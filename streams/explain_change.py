"""What ClickHouse knows of the causes of an anomaly: the raw calls of the member, beside those of comparable past time.

Comparable is the same stretch of the day on the seven days before (every second day when it lasts longer than one, and
so on); where they hold fewer than 20 calls, the 24 windows before it (two hours, for windows of five minutes) if those
hold more. How the sums come to meet what the stream saw is in `streams.spend.explained`.
"""

import logging
import time
from datetime import datetime

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError
from urllib3.exceptions import HTTPError

from clickhouse.client import connect
from streams.explain_rows import MemberRows, Stretch
from streams.settings import Settings
from streams.spend.change_split import Share, Split, Usage
from streams.spend.dimensions import is_other
from streams.spend.explained import Explained, excluded, rank_members, split_excess
from streams.spend.money import usd

log = logging.getLogger("spendstream.windows")

QUERY_SECONDS = 2
_PAUSE = 0.1  # seconds between two looks at what has arrived
_DAY = 86_400
_DAYS = 7  # how far back
_FEWEST_CALLS = 20  # of past days: fewer say little of what is usual
_WINDOWS_BEFORE = 24
_MOST_ROWS = 400_000  # of the member that are summed up, of the incident, and as many of past days
_MOST_READ = 2_000_000  # of past days, all members: where the member's are looked for
_TOO_SLOW = (159, 160)  # ClickHouse's codes of a question that took too long, or would


def asking(settings: Settings) -> Client:
    """A client for `explain_change`: it gives up a question after QUERY_SECONDS.

    Raises:
        SpendError, Unreachable: as `clickhouse.client.connect`.
    """
    return connect(settings, QUERY_SECONDS)


def explain_change(
    client: Client | None,
    settings: Settings,
    log_id: str,
    dimension: str,
    member: str,
    *,
    since: datetime,
    until: datetime,
    expected: int,
    actual: int,
    window_seconds: int,
    began: float,
    rows_cost: int | None = None,
    patience: float = 1.5,
) -> Explained:
    """Why (dimension, member) cost `actual` instead of `expected` picodollars in [since, until).

    First it waits, at most `patience` seconds, until the raw rows of the log cost what the stream saw. It is at its end
    at most `patience` + QUERY_SECONDS after `began`, and QUERY_SECONDS more where a server hangs; so are all that began
    together. That ClickHouse is away, slow or refuses, or that those before took the time, is said in `details` and
    never raised; a split without shares is what there was time for. A split sums to actual - expected exactly.

    Of a member with very many calls (twice 400,000) a sample is taken, and `details` says so.

    Args:
        client: from `asking`; None: ClickHouse was not there when it was made.
        settings: name of the database.
        log_id: the log whose rows are explained; past time is taken from whatever log.
        dimension, member: of `streams.spend.dimensions`.
        since, until: aware, whole seconds.
        expected, actual: picodollars of a Finding: only of those windows of the incident that were above the expected.
        window_seconds: width of the detector's windows.
        began: when this explanation, or the first of those that share its time, began (of time.monotonic).
        rows_cost: picodollars that the stream saw of the member in [since, until), in all windows. `details` is
            `complete` when the rows cost exactly that. None: when they cost `actual` at least, which all windows do;
            rows that windows below the expected lack go unnoticed then.
        patience: seconds.
    """
    if is_other(member):
        return Explained((), None, "it stands for many members, which are not told apart")
    if client is None:
        return Explained((), None, "ClickHouse does not answer")
    deadline = began + patience + QUERY_SECONDS
    if time.monotonic() >= deadline:
        return Explained((), None, "the alerts before it took the time there is")
    rows = MemberRows(client, settings.clickhouse_database, log_id, dimension, member, deadline)
    incident = (int(since.timestamp()), int(until.timestamp()))
    awaited = actual if rows_cost is None else rows_cost
    shares: tuple[Share, ...] = ()
    split: Split | None = None
    try:
        held, mine, everybodys = _wait(rows, incident, awaited, began + patience)
        rows.sample = max(1, mine // _MOST_ROWS)
        days = min(_MOST_ROWS // max(1, mine // rows.sample), _MOST_READ // max(1, everybodys))
        now, past, stretches = _usages(rows, incident, days_before(incident, days), window_seconds)
        split, weights = split_excess(now, past, expected, actual)
        total, members = rows.members([incident, *stretches])
        others = [costs for costs in members if not excluded(dimension, member, costs)]
        shares = rank_members(total, others, weights, expected, actual)
    except (ClickHouseError, HTTPError, OSError) as exc:
        log.warning("The anomaly of %s %r is not explained: %s", dimension, member, exc)
        return Explained(shares, split, _trouble(exc))
    if held < awaited:
        return Explained(shares, split, f"ClickHouse holds ${usd(held)} of ${usd(awaited)} yet")
    if split is None:
        return Explained(shares, split, "there are no calls of before to compare with")
    if rows_cost is not None and held > rows_cost:
        return Explained(shares, split, f"late calls are in it: ${usd(held)}, not ${usd(rows_cost)}")
    if rows.sample > 1:
        return Explained(shares, split, f"it is from a sample, one in {rows.sample} of {mine:,} calls")
    return Explained(shares, split, "complete")


def _wait(rows: MemberRows, incident: Stretch, cost: int, until: float) -> tuple[int, int, int]:
    """Wait for the rows of the incident to cost that much, until then at most; what `MemberRows.held` tells of them."""
    while True:
        found = rows.held(incident)
        if found[0] >= cost or time.monotonic() + _PAUSE > until:
            return found
        time.sleep(_PAUSE)


def _usages(
    rows: MemberRows, incident: Stretch, days: list[Stretch], window_seconds: int
) -> tuple[list[Usage], list[list[Usage]], list[Stretch]]:
    """Usage in the incident, in each comparable stretch, and those stretches."""
    now, *past = rows.usages([incident, *days])
    calls = sum(usage.calls for stretch in past for usage in stretch)
    if calls < _FEWEST_CALLS:
        before = (incident[0] - _WINDOWS_BEFORE * window_seconds, incident[0])
        _, nearer = rows.usages([(incident[0], incident[0]), before])  # the incident is not read again
        if sum(usage.calls for usage in nearer) > calls:
            return now, [nearer], [before]
    return now, past, days


def days_before(incident: Stretch, most: int) -> list[Stretch]:
    """The same stretch of the day on earlier days that the incident does not reach, the latest first: 1 to `most`."""
    since, until = incident
    step = -(-(until - since) // _DAY) * _DAY
    count = max(1, min(_DAYS * _DAY // step, most))
    return [(since - n * step, until - n * step) for n in range(1, count + 1)]


def _trouble(exc: Exception) -> str:
    code = getattr(exc, "code", None)
    if isinstance(exc, TimeoutError) or code in _TOO_SLOW or "timed out" in str(exc):
        return f"ClickHouse took longer than {QUERY_SECONDS} s"
    return f"ClickHouse refuses the question (its code {code})" if code else "ClickHouse does not answer"
