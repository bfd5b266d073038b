"""The price agent: usage events in, priced blocks out.

For each batch: decide (pure, `streams.spend.decide`), publish the dead letters and then the block, wait until Kafka has
acknowledged them, commit. A crash anywhere repeats rows in a later block, which every reader trims; it never leaves a
hole. The state of a partition is taken over from its own blocks (`streams.price_log`).
"""

import asyncio
import logging
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import NoReturn

from faust.types import TP

from schemas.codec import WriterSchemas
from streams import metrics, topics
from streams.dead_letters import DeadLetter
from streams.errors import Halt
from streams.gathering import Batch
from streams.kafka import admin, topic_ids
from streams.price_log import LogIds, take_over
from streams.publishing import OrderedProducer, end_process
from streams.rates_feed import RatesFeed
from streams.settings import Settings
from streams.spend.decide import Decision, PartitionState, decide
from streams.spend.records import Records
from streams.transport import BATCH_BYTES

log = logging.getLogger("spendstream.price")


class PriceStage:
    """A worker's part of spend.usage: the state of its partitions, and what is done with a batch."""

    topic = topics.USAGE
    agent = "price_events"
    batch_bytes = BATCH_BYTES
    as_columns = True

    def __init__(self, settings: Settings, writers: WriterSchemas, rates: RatesFeed, accept_gap: bool = False) -> None:
        self.block_seconds = settings.block_seconds
        self.block_events = settings.block_events
        self.stall_seconds = settings.stall_seconds
        self._settings = settings
        self._writers = writers
        self._rates = rates
        self._accept_gap = accept_gap
        self._producer = OrderedProducer(settings, self.fatal)
        self._states: dict[int, PartitionState] = {}
        self._epoch = 0
        # One thread decides while the other waits for Kafka: a partition has one batch in flight, so its order stands.
        self._deciding = ThreadPoolExecutor(1, "decide")  # allocators keep memory for each thread that needed some
        self._publishing = ThreadPoolExecutor(1, "publish")
        self._taking = ThreadPoolExecutor(2, "take-over")  # one partition's blocks come while another's are read
        self._busy = asyncio.Lock()  # held while a batch is decided; one of an earlier epoch is dropped
        self._published: set[asyncio.Future[None]] = set()  # under way; a takeover waits for them too
        self.ready = False

    async def positions(self, tps: set[TP], epoch: int) -> Mapping[TP, int]:
        """Take over the partitions now assigned and say where each goes on."""
        async with self._busy:
            if self._published:
                await asyncio.wait(self._published)
            self._epoch = epoch
            self.ready = False
            self._states = {}
            positions: dict[TP, int] = {}
            if tps:
                ids = await asyncio.to_thread(self._log_ids)
                loop, wanted = asyncio.get_running_loop(), sorted(tps)
                taken = [
                    loop.run_in_executor(self._taking, take_over, self._settings, ids, tp.partition, self._accept_gap)
                    for tp in wanted
                ]
                for tp, (state, position) in zip(wanted, await asyncio.gather(*taken), strict=True):
                    self._states[tp.partition], positions[tp] = state, position
            self.ready = True
            return positions

    def _log_ids(self) -> LogIds:
        ids = topic_ids(self._settings, topics.USAGE, topics.PRICED)
        found = admin(self._settings).list_topics(timeout=10).topics
        usage, priced = len(found[topics.USAGE].partitions), len(found[topics.PRICED].partitions)
        if usage != priced:
            raise Halt(
                f"spend.usage has {usage} partitions and spend.priced {priced}: they must be as many, and "
                "`spendstream doctor` names the mend"
            )
        return LogIds(ids[topics.USAGE], ids[topics.PRICED], usage)

    async def process(self, batch: Batch) -> None:
        """Decide a batch and publish what was decided; returns when Kafka has acknowledged it."""
        async with self._busy:
            if batch.epoch != self._epoch:
                return
            partition = batch.tp.partition
            state = self._states[partition]
            records = batch.columns.beyond(state.mark)  # after a takeover in between, some may be decided
            if not len(records):
                return
            loop = asyncio.get_running_loop()
            decision = await loop.run_in_executor(self._deciding, self._decide, records, state)
            published = loop.run_in_executor(self._publishing, self._settle, decision, records, state)
            self._published.add(published)
            published.add_done_callback(self._published.discard)
        await published
        _count(decision, partition, state)

    def _decide(self, records: Records, state: PartitionState) -> Decision:
        with metrics.DECIDE_SECONDS.time():
            return decide(records, state, self._writers, self._rates.table)

    def _settle(self, decision: Decision, records: Records, state: PartitionState) -> None:
        """Publish, and move the partition's mark."""
        with metrics.PUBLISH_SECONDS.time():
            offset = self._publish(decision, records, state)
        if offset == state.next_block:
            state.mark, state.next_block = decision.block.header.last, offset + 1
            return
        # Another worker's block came in between: a stretch may have been decided there first.
        log.warning("spend.priced partition %d: block %d is another worker's", state.partition, state.next_block)
        ids = self._log_ids()
        if (ids.usage, ids.priced) != (state.log_id, state.block_log_id):
            raise Halt(
                f"spend.usage is another log since it was read ({state.log_id} before, {ids.usage} now): the "
                "broker was made anew; start the worker again, and it begins that log from its start"
            )
        self._states[state.partition], _ = take_over(self._settings, ids, state.partition, self._accept_gap)

    def _publish(self, decision: Decision, records: Records, state: PartitionState) -> int:
        """Dead letters first: once the block is there, nobody looks at their offsets again."""
        for dead in decision.dead_letters:
            letter = DeadLetter(
                key=records.keys[dead.position].as_py(),
                value=records.values[dead.position].as_py(),
                reason=dead.reason,
                detail=dead.detail,
                topic=topics.USAGE,
                partition=state.partition,
                offset=int(records.offsets[dead.position]),
                log_id=state.log_id,
            )
            self._producer.send(topics.DEAD_LETTER, letter.value, key=letter.key, headers=letter.to_kafka())
        if decision.dead_letters:
            self._producer.flush()
        acknowledged = self._producer.send(
            topics.PRICED,
            decision.block.value,
            partition=state.partition,
            headers=decision.block.header.to_kafka(),
        )
        self._producer.flush()
        return acknowledged[0]

    def fatal(self, exc: BaseException) -> NoReturn:
        """End the process at once: what is not acknowledged is decided again by whoever goes on."""
        end_process(log, "the price agent", exc)


def _count(decision: Decision, partition: int, state: PartitionState) -> None:
    header = decision.block.header
    metrics.EVENTS_PRICED.labels(partition).inc(header.rows)
    metrics.EVENTS_DUPLICATE.labels(partition).inc(len(header.duplicates))
    metrics.EVENTS_UNPRICED.labels("unpriced").inc(decision.unpriced)
    metrics.EVENTS_UNPRICED.labels("partial").inc(decision.partial)
    metrics.EVENTS_CUT.labels(partition).inc(decision.cut)
    for reason, offsets in header.dead_letters.items():
        metrics.DEAD_LETTERS.labels(reason).inc(len(offsets))
    metrics.MISROUTED.labels(partition).inc(header.misrouted)
    metrics.BLOCKS_PUBLISHED.labels(partition).inc()
    metrics.BLOCK_BYTES.labels(partition).inc(len(decision.block.value))
    metrics.DEDUP_ENTRIES.labels(partition).set(len(state.index))
    if header.event_time_max:
        metrics.WATERMARK.labels(partition).set(header.event_time_max / 1e6)
