"""Record batches through Faust: one event is one partition's records, and the offsets are the stage's own.

Stock Faust spends two tasks and an event-loop turn on every message. This transport subclasses the aiokafka driver's
`Transport` and `Consumer` and overrides the loop that drains the fetcher: records of a partition are gathered until
they are `block_events` many or the oldest has waited `block_seconds`, then handed to the agent as ONE event whose value
is a `Batch`, of records or, where the stage wants it, of columns (`streams.record_batches`). One batch of a partition
is in flight at a time; while it is, at most one more is gathered and then the partition is no longer fetched
(back-pressure).

A transport feeds the stages of its app, one a topic. Where to begin is asked of the stages after every rebalance, never
of the broker: `Stage.positions` is explicit, and a position that is gone ends the process. Offsets are committed for
lag monitors to see; nothing depends on them.

What is relied on in Faust beyond its public hooks is named in `RELIED_ON`; `tests/contract/test_transport.py` fails
when a release of Faust or aiokafka changes it.
"""

import asyncio
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn, Protocol

import aiokafka
import faust
from aiokafka import TopicPartition
from aiokafka.consumer import fetcher as aiokafka_fetcher
from aiokafka.consumer.fetcher import FetchResult, PartitionRecords
from aiokafka.errors import KafkaError
from faust.exceptions import ConsumerNotStarted
from faust.transport.consumer import Fetcher
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, Message
from faust.types.tuples import ConsumerMessage

from streams.errors import Halt, Unreachable
from streams.gathering import Batch, Gathered, GatheredColumns, GatheredRecords, Record
from streams.record_batches import Fetched

log = logging.getLogger("spendstream.transport")

BATCH_BYTES = 16 << 20  # a batch of events is due at this size: deciding it takes some 15 times as much memory
FETCH_WAIT_MS = 50  # one fetch a broker is under way at a time: while it waits for its partitions, others wait for it
REQUEST_SECONDS = 70.0  # of aiokafka's requests: longer than the group waits for its members
COMMIT_SECONDS = 5.0
FAULT_SECONDS = 10.0  # a task of aiokafka that has ended, or an error that nobody hears of, for so long
HELD_BYTES = 32 << 20  # of values, gathered or in flight; a stage that holds so much fetches nothing

RELIED_ON: Mapping[type, tuple[str, ...]] = {
    driver.Consumer: (
        "_drain_messages",
        "_getmany",
        "_get_active_partitions",
        "_new_consumer_thread",
        "_commit",
        "on_partitions_revoked",
        "on_partitions_assigned",
        "perform_seek",
        "seek_wait",
        "assignment",
        "wait_first",
        "verify_event_path",
        "force_commit",
    ),
    driver.AIOKafkaConsumerThread: (
        *("_create_worker_consumer", "_fetch_records", "_seek_wait", "_commit", "_ensure_consumer"),
    ),
    PartitionRecords: ("_consumer_record", "_unpack_records"),
    aiokafka.AIOKafkaConsumer: ("commit", "highwater", "last_stable_offset"),
}

aiokafka_fetcher.MemoryRecords = Fetched


class Stage(Protocol):
    """What the transport asks of the stage that it feeds."""

    topic: str
    block_seconds: float
    block_events: int
    batch_bytes: int  # a batch is due at this size of its values
    stall_seconds: float
    as_columns: bool

    async def positions(self, tps: set[TP], epoch: int) -> Mapping[TP, int]:
        """Where to begin, for every partition now assigned. No batch of an earlier epoch may be applied after."""
        ...

    def fatal(self, exc: BaseException) -> NoReturn:
        """End the process, saying why."""
        ...


@dataclass(slots=True)
class _Partition:
    """What is gathered of a partition, and how far the stage is."""

    stage: Stage
    next_offset: int
    gathered: Gathered = field(init=False)
    gathered_since: float = 0.0
    in_flight: bool = False
    bytes_in_flight: int = 0
    done_to: int = -1  # greatest offset that the agent is done with
    progress_at: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.gathered = GatheredColumns(self.stage.batch_bytes) if self.stage.as_columns else GatheredRecords()


class _Answers(OrderedDict[TopicPartition, Any]):
    """What brokers answered and nobody took yet, in the place of aiokafka's own: says how each answer is to be read."""

    def __init__(self, stages: Mapping[str, Stage], answers: Mapping[TopicPartition, Any]) -> None:
        super().__init__()
        self._stages = stages
        self.update(answers)

    def __setitem__(self, tp: TopicPartition, answer: Any) -> None:
        if isinstance(answer, FetchResult):
            found = answer._partition_records
            found._consumer_record = _as_parsed
            found._records.as_columns = tp.topic in self._stages and self._stages[tp.topic].as_columns
        super().__setitem__(tp, answer)


class BatchThread(driver.AIOKafkaConsumerThread):
    """The thread that fetches; sees committed transactions only, so that an aborted producer's events do not count."""

    _sought: object = None  # the assignment whose positions are the stages'; a new one begins at committed offsets

    def _create_worker_consumer(self, transport: driver.Transport) -> aiokafka.AIOKafkaConsumer:
        consumer = super()._create_worker_consumer(transport)
        consumer._isolation_level = "read_committed"
        consumer._fetch_max_wait_ms = FETCH_WAIT_MS
        patience = int(max(REQUEST_SECONDS, self.app.conf.broker_session_timeout + 10) * 1000)
        consumer._request_timeout_ms = consumer._client._request_timeout_ms = patience
        return consumer

    async def _seek_wait(self, consumer: aiokafka.AIOKafkaConsumer, partitions: Mapping[TP, int]) -> None:
        assignment = _assignment(consumer)
        await super()._seek_wait(consumer, partitions)
        self._sought = assignment

    async def _fetch_records(
        self,
        consumer: aiokafka.AIOKafkaConsumer,
        active_partitions: set[TP],
        timeout: float | None = None,
        max_records: int | None = None,
    ) -> Any:
        """Records as they were parsed, or columns: a `ConsumerRecord` for each takes longer than all the parsing.

        Of columns one partition's answer at a time, which counts before the next one is unpacked. None of an
        assignment that was not sought: the group may have moved on before Faust has heard of it.
        """
        assignment = _assignment(consumer)
        if assignment is None or assignment is not self._sought:
            await asyncio.sleep(0.02)
            return {}
        if not isinstance(consumer._fetcher._records, _Answers):
            consumer._fetcher._records = _Answers(self.consumer.stages, consumer._fetcher._records)  # type: ignore[attr-defined]
        stages = self.consumer.stages  # type: ignore[attr-defined]
        if any(stage.as_columns for stage in stages.values()):
            answered = next((tp for tp in consumer._fetcher._records if tp in active_partitions), None)
            if answered is None:
                max_records = 1  # of the first that comes; the rest of its answer is there the next time
            else:
                active_partitions = {answered}
        fetched = await super()._fetch_records(consumer, active_partitions, timeout=timeout, max_records=max_records)
        return fetched if _assignment(consumer) is assignment else {}

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        """Only lag monitors read these offsets: what the broker does not take, as in a rebalance, is let go."""
        try:
            positions = {TopicPartition(*tp): offset for tp, offset in offsets.items()}
            await asyncio.wait_for(self._ensure_consumer().commit(positions), COMMIT_SECONDS)  # fetches wait behind it
        except (KafkaError, TimeoutError) as exc:
            log.info("the offsets %s are not committed: %r", dict(offsets), exc)
            return False
        return True

    def fault(self) -> str:
        """What of aiokafka's own has ended, or failed without anybody hearing of it; empty while all is well."""
        try:
            consumer = self._ensure_consumer()
            tasks = {
                "it is in the group no more": consumer._coordinator._coordination_task,
                "it fetches no more": consumer._fetcher._fetch_task,
            }
            unheard = consumer._coordinator._pending_exception
        except (AttributeError, ConsumerNotStarted):
            return ""
        ended = [what for what, task in tasks.items() if task is not None and task.done()]
        return ", ".join([*ended, *([repr(unheard)] if unheard is not None else [])])

    def ahead(self, tp: TP) -> tuple[int, int] | None:
        """Where a partition ends and how far it is fetched; None where that is not known, as between assignments.

        The end is the last stable offset: what lies behind it belongs to transactions under way.
        """
        try:
            consumer = self._ensure_consumer()
            ends = (consumer.last_stable_offset(tp), consumer.highwater(tp))
            position = _assignment(consumer).state_value(tp).position
            return next(end for end in ends if end is not None and end >= 0), position
        except (AssertionError, AttributeError, StopIteration, ConsumerNotStarted):
            return None


class BatchConsumer(driver.Consumer):
    """Gathers, hands over, and waits for the agents to be done."""

    _thread: BatchThread

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.stages: Mapping[str, Stage] = self.transport.stages  # type: ignore[attr-defined]
        self._partitions: dict[TP, _Partition] = {}
        self._epoch = 0
        self._released = asyncio.Event()
        self._fetching = asyncio.Lock()
        threading.Thread(target=self._watch, name="stall-watchdog", daemon=True).start()

    def _new_consumer_thread(self) -> BatchThread:
        return BatchThread(self, loop=self.loop, beacon=self.beacon)

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """From here on nothing of this assignment is gathered, handed over or committed."""
        self._epoch += 1
        self._partitions = {}
        await super().on_partitions_revoked(revoked)

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Faust asks for no position where nothing is assigned; the stage hears of it all the same."""
        await super().on_partitions_assigned(assigned, generation_id)
        if not assigned:
            await self.perform_seek()

    async def perform_seek(self) -> None:
        """Begin where the stages say, after every rebalance."""
        self._epoch += 1
        self._partitions = {}
        epoch = self._epoch
        assigned = self.assignment()
        patience = 0.9 * self.app.conf.broker_request_timeout  # after which Faust gives up, without a word
        positions: dict[TP, int] = {}
        try:
            async with asyncio.timeout(patience):
                for topic, stage in self.stages.items():
                    positions |= await stage.positions({tp for tp in assigned if tp.topic == topic}, epoch)
                async with self._fetching:  # a fetch under way takes records behind the new positions, to be dropped
                    if epoch == self._epoch and positions:
                        await self.seek_wait(dict(positions))
        except TimeoutError:
            many = f"{len(assigned)} partitions of {', '.join(self.stages)}"
            self._fatal(Halt(f"{many} were not taken over in {patience:.0f} s: start it again, or more of them"))
        except Exception as exc:
            if epoch != self._epoch and isinstance(exc, KafkaError):
                return  # revoked meanwhile: Faust asks again for what is assigned next
            self._fatal(exc)
        if epoch != self._epoch:
            return
        self._partitions = {
            tp: _Partition(self.stages[tp.topic], offset, done_to=offset - 1) for tp, offset in positions.items()
        }

    def _fatal(self, exc: BaseException) -> NoReturn:
        next(iter(self.stages.values())).fatal(exc)

    async def _drain_messages(self, fetcher: Fetcher) -> None:  # type: ignore[override]
        try:
            while not (self._stopped.is_set() or fetcher._stopped.is_set()):
                if not self.flow_active:
                    await self.wait_first(self.can_resume_flow.wait(), fetcher._stopped.wait())
                    continue
                await self._hand_over()
                await self._gather()
        except asyncio.CancelledError:
            if not self.app.should_stop:
                raise
        except self.consumer_stopped_errors:
            if not self.app.should_stop:
                raise
        except KafkaError as exc:
            self._fatal(
                Halt(
                    f"{', '.join(self.stages)}: {type(exc).__name__}: {exc}. Where the offset is gone, records have "
                    "expired before they were read: see docs/reliability.md"
                )
            )
        except Exception as exc:
            self._fatal(exc)

    async def _gather(self) -> None:
        """Take what the fetcher has for partitions that have room, for as long as no batch is due."""
        room = self._room()
        if not room:
            self._released.clear()
            await self.wait_first(self._released.wait(), asyncio.sleep(0.05))
            return
        epoch = self._epoch
        try:
            async with self._fetching:
                fetched = await self._getmany(room, self._patience()) if epoch == self._epoch else {}
        except KafkaError:
            if epoch == self._epoch:
                raise
            return  # about a position that the broker chose, before the stage's own was sought
        if epoch != self._epoch:
            return
        for key, records in (fetched or {}).items():
            state = self._partitions[TP(key.topic, key.partition)]
            if records:
                if not state.gathered.count:
                    state.gathered_since = time.monotonic()
                state.next_offset = state.gathered.add(records, state.next_offset)

    def _room(self) -> set[TP]:
        """Partitions to fetch: whose batch is not full; of a stage that holds much already, only the fullest."""
        room: set[TP] = set()
        open_ = {tp for tp in self._get_active_partitions() if tp in self._partitions}
        for stage in self.stages.values():
            held = self._held(stage)
            mine = {
                tp for tp in open_ if self._partitions[tp].stage is stage and not self._is_full(self._partitions[tp])
            }
            if mine and held < HELD_BYTES:
                fullest = max(mine, key=lambda tp: self._partitions[tp].gathered.bytes)
                room |= mine if held < HELD_BYTES // 2 else {fullest}
        return room

    def _held(self, stage: Stage) -> int:
        return sum(s.gathered.bytes + s.bytes_in_flight for s in self._partitions.values() if s.stage is stage)

    def _is_full(self, state: _Partition) -> bool:
        return state.gathered.count >= state.stage.block_events or state.gathered.bytes >= state.stage.batch_bytes

    def _has_waited(self, state: _Partition, now: float) -> bool:
        """Whether a batch that is not full is due. Behind much that is in flight it would only wait: let it grow."""
        in_flight = sum(other.bytes_in_flight for other in self._partitions.values() if other.stage is state.stage)
        waited = now - state.gathered_since >= state.stage.block_seconds
        return state.gathered.count > 0 and waited and in_flight < BATCH_BYTES // 4

    def _patience(self) -> float:
        """Seconds that a fetch may wait for records before a batch is due."""
        now = time.monotonic()
        some = (state for state in self._partitions.values() if state.gathered.count)
        waiting = [state.gathered_since + state.stage.block_seconds - now for state in some]
        return min(max(min(waiting, default=0.2), 0.01), 0.2)

    async def _hand_over(self) -> None:
        now, epoch = time.monotonic(), self._epoch
        for tp, state in list(self._partitions.items()):
            if not state.in_flight and (self._is_full(state) or self._has_waited(state, now)):
                before = state.gathered.bytes
                batch = state.gathered.take(state.stage.block_events, tp, epoch)
                state.bytes_in_flight = before - state.gathered.bytes
                state.in_flight = True
                message = self._batch_message(batch)
                await self.wait_first(self.callback(message), self.suspend_flow.wait())
        await asyncio.sleep(0)

    def _batch_message(self, batch: Batch) -> ConsumerMessage:
        return ConsumerMessage(
            batch.tp.topic,
            batch.tp.partition,
            batch.last,
            time.time(),
            0,
            [],
            None,
            batch,  # type: ignore[arg-type]
            None,
            0,
            0,
            batch.tp,
            generation_id=self.app.consumer_generation_id,  # a stream drops messages of another generation
        )

    async def done(self, batch: Batch) -> None:
        """The agent is done with a batch: let the partition's next one come, and commit for lag monitors."""
        if batch.epoch != self._epoch:
            return
        state = self._partitions[batch.tp]
        state.in_flight, state.bytes_in_flight = False, 0
        state.done_to = batch.last
        state.progress_at = time.monotonic()
        self._released.set()
        await self._commit({batch.tp: batch.last + 1})

    async def force_commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:
        """Faust's own bookkeeping counts messages one by one; it is emptied and nothing of it is committed."""
        self._acked.clear()
        self._acked_index.clear()
        return False

    def lag(self) -> dict[TP, int]:
        """Records of each assigned partition that the agent is not done with."""
        behind = {}
        for tp, state in list(self._partitions.items()):
            found = self._thread.ahead(tp)
            if found is not None:
                end, fetched = found
                # With nothing in hand, what was passed over is not behind: transactions end with a marker, no record.
                at = state.done_to + 1 if state.in_flight or state.gathered.count else max(fetched, state.done_to + 1)
                behind[tp] = max(0, end - at)
        return behind

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Faust's own livelock detector counts messages, not batches: `_watch` takes its place."""

    def _watch(self) -> None:
        """A thread, so that a blocked event loop is seen too."""
        shortest = min(stage.stall_seconds for stage in self.stages.values())
        well_at = time.monotonic()
        while not self._stopped.is_set():
            time.sleep(min(1.0, shortest / 4))
            now = time.monotonic()
            fault = self._thread.fault()
            if not fault:
                well_at = now
            elif now - well_at > FAULT_SECONDS and not self._stopped.is_set():
                self._fatal(Unreachable(f"{', '.join(self.stages)}: the Kafka client gave up: {fault}"))
            for tp, behind in self.lag().items():
                state = self._partitions.get(tp)
                waits = not self.flow_active or tp in self._paused_partitions
                if state is None or behind == 0 or waits:
                    if state is not None:
                        state.progress_at = now
                elif now - state.progress_at > state.stage.stall_seconds:
                    state.stage.fatal(
                        Halt(
                            f"{tp.topic} partition {tp.partition}: {behind} records behind and no progress for "
                            f"{state.stage.stall_seconds:g} s (SPEND_STALL_SECONDS); the process ends so that another "
                            "can take over"
                        )
                    )


def _assignment(consumer: aiokafka.AIOKafkaConsumer) -> Any:
    """aiokafka's object for the present assignment, a new one at each; None where there is none."""
    subscription = consumer._subscription.subscription
    return None if subscription is None else subscription.assignment


def _as_parsed(tp: TP, record: Record) -> Record:
    return record


class BatchTransport(driver.Transport):
    """The aiokafka transport with the batch consumer, feeding the stages."""

    Consumer = BatchConsumer

    def __init__(self, app: faust.App, *stages: Stage) -> None:
        super().__init__(app.conf.broker_consumer, app, loop=None)
        self.stages = {stage.topic: stage for stage in stages}


class BatchSchema(faust.Schema):
    """No decoding: the agent gets the `Batch`."""

    def compile(self, app: Any, **_: Any) -> Any:
        async def decode(message: Message, *, propagate: bool = False) -> Any:
            return app.create_event(None, message.value, message.headers, message)

        return decode
