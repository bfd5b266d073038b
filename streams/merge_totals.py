"""The windows agent: totals in; windows, alerts and budget states out.

What a message changes is decided by the pure parts (`streams.spend.merging`, `budget_book`, `raise_alerts`); here it is
published and saved. Alerts leave at once, and with them the states of budgets that crossed a level; windows at most
once a second, and with them as many other states of budgets as there is time for. What changed in the state is saved
every `CHECKPOINT_SECONDS`, and after a crash the messages since then are applied again. Budgets are judged once all of
these are there: half-way, what the predecessor told would seem untrue.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, NoReturn

import polars as pl
from confluent_kafka import Consumer
from faust.types import TP

from streams import metrics, topics, totals
from streams.budgets import topic_statuses
from streams.budgets_feed import BudgetsFeed
from streams.clock import uptime
from streams.errors import Halt
from streams.gathering import Batch, Record
from streams.kafka import TAKING_OVER, reader, topic_ids, watermarks
from streams.planned import PlannedFeed, is_planned
from streams.publishing import OrderedProducer, end_process
from streams.raise_alerts import Alarms
from streams.settings import Settings
from streams.spend.alert import Completeness, Origin
from streams.spend.budget import EACH
from streams.spend.budget_book import BudgetBook
from streams.spend.budget_told import Told
from streams.spend.merging import Merged, Merging, Message
from streams.spend.windows import DAY
from streams.status_queue import StatusQueue
from streams.told_alerts import ToldAlerts
from streams.total_blocks import TotalsStage
from streams.windows_block import windows_block
from streams.windows_log import WindowsLog
from streams.windows_start import Earlier, Reasons, new_book, new_merging

log = logging.getLogger("spendstream.windows")

CHECKPOINT_SECONDS = 30.0
_PUBLISH_SECONDS = 1.0


@dataclass
class _Partition:
    """A partition of spend.totals in this worker's hands.

    `caught_up_at`: offset at which all is there that was there when it was taken over. `published` and `told`: the keys
    of the states of budgets, and what was said of budgets, then and no later. `changed`: windows that are not published
    yet, by level.
    """

    number: int
    ids: tuple[str, str, str]
    saved: WindowsLog
    merging: Merging
    book: BudgetBook
    alarms: Alarms
    caught_up_at: int
    published: frozenset[str]
    told: tuple[Told, ...]
    budgets: Mapping[str, object] = field(default_factory=dict)  # as they were taken in last; a new dict at each change
    changed: dict[str, list[pl.DataFrame]] = field(default_factory=dict)
    statuses: StatusQueue = field(default_factory=StatusQueue)
    published_at: float = 0.0
    saved_at: float = field(default_factory=time.monotonic)


class MergeStage:
    """A worker's part of spend.totals."""

    topic = topics.TOTALS
    agent = "merge_totals"
    block_seconds = 0.05
    block_events = 256  # messages
    batch_bytes = 4 << 20  # compressed: in memory some 20 times as much, and again while they are merged
    as_columns = False

    def __init__(
        self, settings: Settings, budgets: BudgetsFeed, planned: PlannedFeed, totals_stage: TotalsStage
    ) -> None:
        self.stall_seconds = settings.stall_seconds
        self._settings = settings
        self._budgets = budgets
        self._planned = planned
        self._totals_stage = totals_stage
        self._producer = OrderedProducer(settings, self.fatal)
        self._parts: dict[int, _Partition] = {}
        self._epoch = 0
        self._thread = ThreadPoolExecutor(1, "merge")
        self._busy = asyncio.Lock()
        self._told = ToldAlerts(settings, self._producer)
        self.ready = False

    async def positions(self, tps: set[TP], epoch: int) -> Mapping[TP, int]:
        """Take over the partitions now assigned and say where each goes on."""
        async with self._busy:
            self._epoch = epoch
            self.ready = False
            self._parts = {}
            if tps:
                # in the one thread: when this is cancelled by the next rebalance, the next take-over waits its turn
                numbers = sorted(tp.partition for tp in tps)
                loop, cut_off = asyncio.get_running_loop(), threading.Event()
                try:
                    self._parts = await loop.run_in_executor(self._thread, self._take_over, numbers, cut_off)
                except asyncio.CancelledError:
                    cut_off.set()
                    raise
            self.ready = True
            return {tp: self._parts[tp.partition].merging.position for tp in tps}

    def _take_over(self, partitions: list[int], cut_off: threading.Event) -> dict[int, _Partition]:
        """The partitions; once `cut_off` is set they may be another's, and none is claimed any more."""
        settings, parts = self._settings, dict[int, _Partition]()
        found = topic_ids(settings, topics.USAGE, topics.PRICED, topics.TOTALS, topics.STATE, topics.ALERTS)
        ids = (found[topics.USAGE], found[topics.PRICED], found[topics.TOTALS])
        self._told.forget()
        self._told.hear()
        statuses = topic_statuses(settings)
        earlier = Earlier(settings, ids[0])
        consumer = reader(settings, **TAKING_OVER)
        count = self._producer.partitions(topics.TOTALS)
        try:
            for number in partitions:
                began = time.monotonic()
                merging = new_merging(settings, number, self._producer.partitions(topics.USAGE), count)
                book = new_book(settings, number, count)
                why = Reasons(settings, ids[0], merging)
                alarms = Alarms(book.zone, self._told.ids, self._told.crossed, why, self._is_planned)
                saved = WindowsLog(number)
                if cut_off.is_set():
                    return {}
                saved.claim(self._producer)
                summary = saved.load(consumer, merging, ids)
                book.base = earlier.days(number, count)
                book.base_until = earlier.until
                self._told.ids |= earlier.alerts
                if summary is not None:
                    self._refuse_other_zone(summary["zone"])
                    book.put_back(summary["book"])
                    alarms.trends_told = summary["trends_told"]
                book.see(self._budgets.budgets, merging.watermark)
                end = self._end(consumer, number, merging.position)
                mine = frozenset(key for key, status in statuses.items() if book.owns(status.scope, status.member))
                told = tuple(self._told.budgets.values())
                parts[number] = _Partition(number, ids, saved, merging, book, alarms, end, mine, told)
                saved.save_summary(self._producer, merging, ids, _kept(parts[number]))
                log.info(
                    "spend.totals partition %d: next offset %d, %d members, in %.1f s",
                    number,
                    merging.position,
                    sum(map(len, merging.windows.members.values())),
                    time.monotonic() - began,
                )
        finally:
            consumer.close()
        return parts

    def _refuse_other_zone(self, zone: str) -> None:
        if zone != self._settings.timezone:
            raise Halt(
                f"SPEND_TIMEZONE is {self._settings.timezone}, and the windows are kept by days of {zone}: set it "
                "back, or make spend.totals and spend.state anew, and windows are built again from spend.priced"
            )

    @staticmethod
    def _end(consumer: Consumer, number: int, position: int) -> int:
        """Where the partition ends now.

        Raises:
            Halt: it has a gap before the position, or ends before it.
        """
        first, end = watermarks(consumer, topics.TOTALS, number)
        if position < first:
            raise Halt(
                f"spend.totals partition {number}: messages {position} to {first - 1} expired before they were merged, "
                "and the windows would lack them. Make spend.totals and spend.state anew: windows are then built again "
                "from spend.priced"
            )
        if position > end:
            raise Halt(f"spend.totals partition {number} ends at {end}, but offset {position - 1} was merged")
        return end

    async def process(self, batch: Batch) -> None:
        """Merge a batch of messages, and publish the alerts that follow."""
        async with self._busy:
            if batch.epoch == self._epoch:
                part = self._parts[batch.tp.partition]
                await asyncio.get_running_loop().run_in_executor(self._thread, self._merge, batch.records, part)

    def _merge(self, records: list[Record], part: _Partition) -> None:
        self._told.listen()
        with metrics.MERGE_SECONDS.time():
            self._take_terms(part)
            messages = _messages(records, part)
            for message in messages:
                due = part.alarms.trends_due(part.merging.windows, part.merging.watermark)
                self._take(part, part.merging.apply(chain((message,), messages), due))
        self._publish(part)

    def _take(self, part: _Partition, merged: Merged) -> None:
        """Note the windows that changed and tell the alerts that follow."""
        for level, frame in merged.touched.items():
            if frame.height:
                part.changed.setdefault(level, []).append(frame)
        origin, alarms = self._origin(part), part.alarms
        if part.merging.position >= part.caught_up_at:
            self._take_terms(part)
            changes, looked_at = part.book.merge(merged.touched, merged.watermark)
            part.statuses.changed(looked_at)
            part.statuses.crossed((change.budget_id, change.member) for change in changes)
            self._told.tell(alarms, alarms.of_budgets(changes, part.book.budgets, origin))
        self._told.tell(alarms, alarms.of_anomalies(merged.found, origin))
        self._told.tell(alarms, alarms.of_unpriced(merged.touched[DAY], origin))
        self._told.tell(alarms, alarms.of_trends(part.merging.windows, merged.watermark, origin))

    def _take_terms(self, part: _Partition) -> None:
        budgets, book = self._budgets.budgets, part.book
        if budgets is part.budgets or part.merging.position < part.caught_up_at:
            return
        names = dict(book.budgets)
        stale = part.published | {names[b].status_key(member) for b, member in book.all_keys() if b in names}
        is_first = not part.budgets
        if is_first:
            names |= {one.budget.id: one.budget for one in part.told if one.budget.id not in names}
            book.believe(part.told)
        known = book.budgets
        changes = book.take_terms(budgets, part.merging.windows, part.merging.watermark)
        part.budgets = budgets
        renewed = {key for key in book.all_keys() if is_first or known.get(key[0]) != budgets.get(key[0])}
        part.statuses.changed(renewed)
        part.statuses.crossed(key for key in renewed if book.has_reached(key))
        self._told.tell(part.alarms, part.alarms.of_budgets(changes, {**names, **budgets}, self._origin(part)))
        part.saved_at = 0.0  # since when these terms stand must not be forgotten
        live = {budgets[b].status_key(member) for b, member in book.all_keys() if b in budgets}
        live |= {budget.id for budget in budgets.values() if budget.member != EACH}  # of another partition now, maybe
        for key in stale - live:
            self._producer.send(topics.BUDGET_STATUS, None, key=key.encode(), partition=0)
        part.published, part.told = frozenset(), ()

    def _origin(self, part: _Partition) -> Origin:
        sources = part.merging.sources.values()
        completeness = Completeness(
            watermark=part.merging.watermark,
            events=sum(source.events for source in sources),
            duplicates_dropped=sum(source.duplicates for source in sources),
            dead_letters=sum(source.dead_letters for source in sources),
        )
        return Origin(part.ids[0], completeness, part.book.zone)

    async def look_around(self) -> None:
        """A few times a second: budgets that changed, what waits to be published or saved, partitions that stand."""
        async with self._busy:
            if self._parts and self.ready:
                await asyncio.get_running_loop().run_in_executor(self._thread, self._look_around)

    def _look_around(self) -> None:
        self._told.listen()
        for part in self._parts.values():
            self._take_terms(part)
        first = self._parts[min(self._parts)]
        stalls = self._totals_stage.stalled()
        self._told.tell(first.alarms, first.alarms.of_stalls(stalls, first.merging.watermark, self._origin(first)))
        oldest = min(self._parts.values(), key=lambda part: part.saved_at)
        if time.monotonic() - oldest.saved_at >= CHECKPOINT_SECONDS:
            self._save(oldest)  # one at a time: alerts wait meanwhile
        for part in self._parts.values():
            self._publish(part)

    def _publish(self, part: _Partition, at_once: bool = False) -> None:
        is_known = part.merging.watermark or part.book.base_until  # what time it is: before that, no period is
        # the last state that is published counts: one that was replaced while it was paused must not have that word
        may_tell = is_known and uptime() >= self._told.is_owner_from
        if may_tell:
            part.statuses.publish_urgent(part.book, part.merging.watermark, self._send_status)
        if time.monotonic() - part.published_at < _PUBLISH_SECONDS and not at_once:
            return
        part.published_at = time.monotonic()
        if may_tell:
            part.statuses.publish(part.book, part.merging.watermark, self._send_status)
        if part.changed:
            block = windows_block(part.ids[0], part.changed)
            self._producer.send(topics.WINDOWS, block, partition=part.number)
            for level, frames in part.changed.items():
                metrics.WINDOWS_CHANGED.labels(level).inc(sum(frame.height for frame in frames))
            part.changed.clear()
        _observe(part)

    def _send_status(self, key: str, value: bytes) -> None:
        self._producer.send(topics.BUDGET_STATUS, value, key=key.encode(), partition=0)

    def _save(self, part: _Partition) -> None:
        # what is saved is not merged again: all that follows from it must be there before, but for states of budgets,
        # which whoever takes over publishes anew
        self._publish(part, at_once=True)
        self._producer.flush()
        part.saved_at = time.monotonic()
        with metrics.CHECKPOINT_SECONDS.time():
            part.saved.save(self._producer, part.merging, part.ids, _kept(part))

    def _is_planned(self, dimension: str, member: str, at: object) -> bool:
        return is_planned(self._planned.table, dimension, member, at)  # type: ignore[arg-type]

    def fatal(self, exc: BaseException) -> NoReturn:
        """End the process at once: what is not saved is merged again by whoever goes on."""
        end_process(log, "the windows agent", exc)


def _kept(part: _Partition) -> dict[str, Any]:
    """What the summary holds besides."""
    return {
        "book": part.book.dump(),
        "trends_told": part.alarms.trends_told,
        "zone": part.merging.windows.zone.key,
    }


def _messages(records: list[Record], part: _Partition) -> Iterator[Message]:
    for record in records:
        if record.offset != part.merging.position:
            raise Halt(
                f"spend.totals partition {part.number}: message {record.offset} came, and {part.merging.position} is "
                "next: messages were passed over; start it again, it goes on where it was"
            )
        header, message = totals.message(record.offset, record.headers, record.value)  # type: ignore[attr-defined]
        if (header.log_id, header.block_log_id) != part.ids[:2]:
            raise Halt("spend.totals holds totals of another log: the broker was made anew; start the worker again")
        yield message


def _observe(part: _Partition) -> None:
    windows, number = part.merging.windows, part.number
    for level, calls in windows.frozen.items():
        metrics.WINDOWS_TOO_LATE.labels(level, number).set(calls)
    metrics.WINDOWS_OTHER.labels(number).set(windows.beyond_cap)
    metrics.WINDOWS_WATERMARK.labels(number).set(part.merging.watermark)
    metrics.ALERTS_HELD_BACK.labels(number).set(sum(watch.held_back for watch in part.merging.watches))
