"""When calls happen and for whom: seasons, growth and measured arrival gaps.

Each workload is a renewal process with the measured gaps of a real trace, run through the clock of its own expected
traffic (time-rescaling: the n-th call comes when the expected traffic reaches the sum of n gaps). Calls therefore bunch
as in the trace and follow the season and the customers' growth in the large.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np

from streams.event_columns import EPOCH
from streams.sample.organisation import Organisation
from streams.sample.quantiles import measured

HOUR_US = 3600 * 10**6
DAY_US = 24 * HOUR_US
GROWTH_DAYS = 30  # a customer's growth is given for this many days
GROWN_DAYS = 35  # from `sized_at`, either way: nothing doubles every month for ever
NO_CUSTOMER = -1


@dataclass(frozen=True)
class Arrivals:
    """Calls: time (us since 1970), index of the workload, index of the customer (NO_CUSTOMER: none)."""

    time: np.ndarray
    workload: np.ndarray
    customer: np.ndarray


class Demand:
    """Expected traffic of every workload and customer over `days` days from `start`.

    Args:
        org: whose traffic.
        start: the first instant.
        days: how long.
        sized_at: when the customers have the sizes that their order gives; their growth counts from there.
    """

    def __init__(self, org: Organisation, start: datetime, days: int, sized_at: datetime) -> None:
        self.org = org
        self.start_us = (start - EPOCH) // timedelta(microseconds=1)
        self.days = days
        size = 1 / np.arange(2, len(org.customers) + 2)  # sizes fall as 1 / rank, without a giant
        growth = np.log1p(np.asarray(list(org.customers.values())))
        day = np.arange(days + 1) + (start - sized_at) / timedelta(days=1)
        # Which customer uses which workload how much: fixed by the organisation, whatever the seed of the traffic.
        taste = np.random.default_rng(len(org.name)).gamma(0.8, size=(len(org.workloads), len(org.customers)))
        by_day = size * np.exp(np.outer(day.clip(-GROWN_DAYS, GROWN_DAYS), growth) / GROWTH_DAYS)
        # [workload, day, customer]
        self.by_customer = taste[:, None, :] * by_day[None, :, :]
        hours = [start.astimezone(UTC) + timedelta(hours=n) for n in range(days * 24)]
        self.by_hour = np.empty((len(org.workloads), days * 24))
        for index, workload in enumerate(org.workloads):
            season = org.seasons[workload.season]
            wave = np.array([season.hours[hour.hour] * season.days[hour.weekday()] for hour in hours])
            level = np.ones(days + 1) if workload.internal else self.by_customer[index].sum(axis=1)
            self.by_hour[index] = wave * np.repeat(level[:days], 24)

    def spread(self, rng: np.random.Generator, count: int) -> Arrivals:
        """`count` calls over the whole time, workload after workload."""
        shares = np.asarray([workload.share for workload in self.org.workloads])
        counts = np.floor(shares * count).astype(np.int64)
        counts[np.argsort(counts - shares * count, kind="stable")[: count - counts.sum()]] += 1
        time = np.concatenate([self._times(rng, index, int(n)) for index, n in enumerate(counts)])
        workload = np.repeat(np.arange(len(counts)), counts)
        return Arrivals(time, workload, self._customers(rng, workload, time))

    def at(self, rng: np.random.Generator, time: np.ndarray) -> Arrivals:
        """A call at each of these times (us since 1970), with the hour's mix of workloads and customers."""
        hour = np.clip((time - self.start_us) // HOUR_US, 0, self.days * 24 - 1)
        mix = self.by_hour / self.by_hour.sum(axis=1, keepdims=True)
        mix = (mix * np.asarray([[workload.share] for workload in self.org.workloads]))[:, hour].T.cumsum(axis=1)
        workload = (rng.random(len(time))[:, None] * mix[:, -1:] > mix).sum(axis=1)
        return Arrivals(time, workload, self._customers(rng, workload, time))

    def _times(self, rng: np.random.Generator, workload: int, count: int) -> np.ndarray:
        gaps = measured().traces[self.org.workloads[workload].gaps].gap_us.draw(rng, count + 1) + 1  # never all 0
        reached = np.cumsum(gaps)
        expected = np.concatenate([[0.0], np.cumsum(self.by_hour[workload])])
        at = np.interp(reached[:-1] / reached[-1] * expected[-1], expected, np.arange(len(expected)) * float(HOUR_US))
        return self.start_us + at.astype(np.int64)

    def _customers(self, rng: np.random.Generator, workload: np.ndarray, time: np.ndarray) -> np.ndarray:
        day = np.clip((time - self.start_us) // DAY_US, 0, self.days)
        within = self.by_customer.cumsum(axis=2)
        within /= within[:, :, -1:]
        # One sorted array for all workloads and days: the distribution of cell n lies between n and n + 1.
        cell = workload * (self.days + 1) + day
        flat = (within.reshape(-1, within.shape[2]) + np.arange(within.shape[0] * within.shape[1])[:, None]).ravel()
        customer = np.searchsorted(flat, cell + rng.random(len(time)), side="right") - cell * within.shape[2]
        internal = np.asarray([workload.internal for workload in self.org.workloads])
        return np.where(internal[workload], NO_CUSTOMER, np.minimum(customer, within.shape[2] - 1))
