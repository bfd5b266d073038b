"""The windows' saved state on a broker: a save that dies at any record, paused owners, other logs."""

from collections.abc import Iterator
from typing import Any, NoReturn

import pytest
from confluent_kafka.admin import NewTopic

from streams import topics
from streams.kafka import reader
from streams.kafka_topics import create_topics
from streams.publishing import OrderedProducer
from streams.settings import Settings
from streams.spend.merging import Merging
from streams.supervisor import Stack, on_free_ports
from streams.windows_log import WindowsLog
from tests.unit.test_merging import merging, run, same, traffic

BROKERS = ("kafka", "embedded")
pytestmark = pytest.mark.stack

LOG = traffic(1, minutes=200)
FIRST, SECOND = len(LOG) // 3, 2 * len(LOG) // 3
Ids = tuple[str, str, str]


class Dies(Exception):
    """The process ends here."""


class Dying(OrderedProducer):
    """Dies at its `fuse`-th record; what it sent before is there."""

    fuse = 10**9

    def send(self, topic: str, value: bytes | None, **more: object) -> list[int]:
        if self.fuse <= 0:
            self.flush()
            raise Dies
        self.fuse -= 1
        return super().send(topic, value, **more)


def fail(exc: BaseException) -> NoReturn:
    raise exc


class Owner:
    """Whoever has the partition: what `merge_totals` does at a takeover, and then merges and saves."""

    def __init__(self, settings: Settings, ids: Ids) -> None:
        self.ids, self.state = ids, merging(2, per_hour=2)
        self.producer = Dying(settings, fail)
        self.log = WindowsLog(0)
        self.log.claim(self.producer)
        consumer = reader(settings)
        try:
            self.summary = self.log.load(consumer, self.state, ids)
        finally:
            consumer.close()
        self.log.save_summary(self.producer, self.state, ids, {"said": "so"})

    def merge_to(self, end: int) -> "Owner":
        run(LOG[self.state.position : end], [], self.state)
        return self

    def save(self, fuse: int = 10**9) -> int:
        """How many records it took."""
        self.producer.fuse = fuse
        self.log.save(self.producer, self.state, self.ids, {"said": "so"})
        return fuse - self.producer.fuse


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory, broker: str) -> Iterator[Settings]:
    made = on_free_ports(Settings(state_dir=tmp_path_factory.mktemp("broker"), broker=broker))
    with Stack(made, parts=("broker",)):
        create_topics(made, [NewTopic(topics.STATE, 1, config={"cleanup.policy": "compact"})])
        yield made


@pytest.fixture(scope="module")
def calm() -> Merging:
    """The state after the whole log without a crash."""
    state = merging(2, per_hour=2)
    run(LOG, [], state)
    return state


def ids_of(name: Any) -> Ids:
    return "usage", "priced", f"totals {name}"


def test_what_was_saved_comes_back_bit_by_bit(settings: Settings) -> None:
    one = Owner(settings, ids_of("whole")).merge_to(SECOND)
    assert one.summary is None
    one.save()
    other = Owner(settings, ids_of("whole"))
    same(other.state, one.state)
    assert other.summary is not None and other.summary["said"] == "so"
    assert other.state.ahead == {}
    assert other.log.epoch > one.log.epoch


def test_a_save_that_dies_at_any_record_costs_nothing(settings: Settings, calm: Merging) -> None:
    records = 0
    for fuse in range(200):
        one = Owner(settings, ids_of(fuse)).merge_to(FIRST)
        assert one.summary is None  # what earlier rounds saved is of other logs
        one.save()
        one.merge_to(SECOND)
        try:
            records = one.save(fuse)
        except Dies:
            other = Owner(settings, ids_of(fuse)).merge_to(SECOND)
            same(other.state, one.state)
            other.save()
            same(Owner(settings, ids_of(fuse)).merge_to(len(LOG)).state, calm)
            continue
        break
    assert fuse == records > 10


def test_a_takeover_that_dies_half_way_costs_nothing(settings: Settings, calm: Merging) -> None:
    one = Owner(settings, ids_of("takeover")).merge_to(SECOND)
    one.save()
    for fuse in range(6):
        consumer, state, log = reader(settings), merging(2, per_hour=2), WindowsLog(0)
        producer = Dying(settings, fail)
        log.claim(producer)
        log.load(consumer, state, ids_of("takeover"))
        consumer.close()
        producer.fuse = fuse
        with pytest.raises(Dies):
            log.save_summary(producer, state, ids_of("takeover"), {})
    same(Owner(settings, ids_of("takeover")).merge_to(len(LOG)).state, calm)


@pytest.mark.parametrize("fuse", [0, 3, 7, 10**9])
def test_an_owner_that_was_paused_and_wakes_up_harms_nobody(settings: Settings, calm: Merging, fuse: int) -> None:
    ids = ids_of(f"paused {fuse}")
    paused = Owner(settings, ids).merge_to(FIRST)
    paused.save()
    successor = Owner(settings, ids).merge_to(FIRST + 10)
    successor.save()
    paused.merge_to(SECOND)  # further than its successor
    if fuse < 10**9:
        with pytest.raises(Dies):
            paused.save(fuse)
    else:
        paused.save()
    third = Owner(settings, ids)
    assert third.state.position == FIRST + 10  # the successor's word counts
    third.merge_to(SECOND + 5).save()
    successor.save()  # and it too was paused
    same(Owner(settings, ids).merge_to(len(LOG)).state, calm)


def test_parts_of_epochs_that_were_taken_over_are_taken_back(settings: Settings) -> None:
    ids = ids_of("tidy")
    Owner(settings, ids).merge_to(FIRST).save()
    second = Owner(settings, ids).merge_to(len(LOG))
    second.save()
    consumer = reader(settings)
    try:
        WindowsLog(0).load(consumer, merging(2), ids)
        log = WindowsLog(0)
        log.load(consumer, merging(2), ids)
    finally:
        consumer.close()
    kept = {part for part in log.kept if not part.startswith("minute")}
    assert {"summary", "closing/300", "watch/3600"} <= kept
    assert log.kept["summary"] == log.kept["closing/300"] == log.kept["watch/300"] == second.log.epoch
    live = {f"minute/{at}" for at in second.state.windows.chunks["minute"]}
    assert live <= set(log.kept)
