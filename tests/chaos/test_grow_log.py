"""More partitions on a log that has been counted: events sent again across the move are still counted once.

The tests build on each other, in this order, on one stack; a user types the same commands.
"""

from collections.abc import Iterator

import pytest
from confluent_kafka.admin import NewPartitions
from traffic import Traffic, assert_windows_exact, audit, await_end, database, headers, spawn, until

from streams import topics
from streams.doctor import examine
from streams.errors import SpendError
from streams.grow_log import grow
from streams.kafka import admin, topic_ids
from streams.partitioner import partitions_of
from streams.settings import Settings
from streams.supervisor import PROCESSES, SERVERS, STEPS, Stack, on_free_ports

pytestmark = pytest.mark.stack

OLD, NEW, NEWER = 2, 4, 8


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, broker: str) -> Iterator[Stack]:
    if broker != "kafka":
        pytest.skip("the embedded broker starts anew with as many partitions as SPEND_PARTITIONS says")
    wanted = {"partitions": OLD, "session_timeout_seconds": 2, "block_events": 500, "block_seconds": 0.2}
    conf = on_free_ports(Settings(state_dir=tmp_path_factory.mktemp("grow"), broker=broker, **wanted))
    with Stack(conf, parts=(*SERVERS, *STEPS, *PROCESSES)) as running:
        yield running


@pytest.fixture(scope="module")
def traffic(stack: Stack) -> Traffic:
    return Traffic(stack.settings, records=6_000)


def partitions(stack: Stack, topic: str) -> int:
    return len(admin(stack.settings).list_topics(topic, timeout=10).topics[topic].partitions)


def decided(stack: Stack) -> int:
    """How many records are in blocks."""
    found = [header for number in range(OLD) for header in headers(stack.settings, number)]
    return sum(header.rows + len(header.duplicates) + header.dead_letter_count for header in found)


def stop_all(stack: Stack) -> None:
    for name in PROCESSES:
        stack.stop(name)


def start_all(stack: Stack, partitions: int) -> None:
    stack.settings = stack.settings.model_copy(update={"partitions": partitions})
    for name in PROCESSES:
        stack.start(name)


def test_nothing_grows_while_processes_run_or_events_wait(stack: Stack, traffic: Traffic) -> None:
    traffic.publish(events=1_500, again=100, poison=5)
    assert_windows_exact(audit(stack), traffic)
    with pytest.raises(SpendError, match=r"with 3: .*processes still run .*-price, .*-windows, .*-sink"):
        stack.run("topics", "grow", str(NEW))
    stop_all(stack)
    traffic.publish(events=500, again=50)
    with pytest.raises(SpendError, match="events have no price yet: let `spendstream worker` price them"):
        stack.run("topics", "grow", str(NEW))
    with pytest.raises(SpendError, match="has 2 partitions: it can grow to a multiple of them, such as 4"):
        stack.run("topics", "grow", "3")
    assert partitions(stack, topics.PRICED) == OLD
    stack.start("worker")
    until(lambda: decided(stack) == traffic.sent + traffic.again + traffic.poison, "everything to be priced")
    stack.stop("worker")


def test_a_worker_refuses_a_move_that_is_half_done(stack: Stack) -> None:
    client = admin(stack.settings)  # must live until its future is done
    client.create_partitions([NewPartitions(topics.PRICED, NEW)])[topics.PRICED].result(10)
    spawn(stack, "hasty", "-m", "streams.cli", "worker")
    assert "spend.usage has 2 partitions and spend.priced 4" in await_end(stack, "hasty")
    doctor = {finding.check: finding for finding in examine(stack.settings)}
    assert f"spendstream topics grow {NEW}" in doctor["partitions"].mend


def test_what_is_sent_again_across_the_move_is_counted_once(stack: Stack, traffic: Traffic) -> None:
    said = stack.run("topics", "grow", str(NEW))
    assert f"SPEND_PARTITIONS={NEW}" in said
    assert [partitions(stack, t) for t in (topics.USAGE, topics.PRICED, topics.STATE, topics.TOTALS)] == [
        NEW,
        NEW,
        NEW,
        OLD,
    ]
    start_all(stack, NEW)
    assert (partitions_of(traffic.keys(), NEW) >= OLD).sum() > 500
    traffic.publish(events=1_000, again=1_500)
    assert_windows_exact(audit(stack), traffic)
    with database(stack.settings) as query:
        assert query("SELECT count() FROM (SELECT source, id FROM usage GROUP BY source, id HAVING count() > 1)") == [
            (0,)
        ]
        assert query("SELECT countDistinct(source_partition) FROM usage") == [(NEW,)]


def test_a_worker_that_starts_anew_still_knows_them(stack: Stack, traffic: Traffic) -> None:
    stack.kill("worker")
    stack.start("worker")
    traffic.publish(events=500, again=1_000)
    assert_windows_exact(audit(stack), traffic)


def test_a_log_that_grew_may_grow_again_also_after_a_death_half_way(stack: Stack, traffic: Traffic) -> None:
    stop_all(stack)

    def die(line: str) -> None:
        if "goes on where" in line:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        grow(stack.settings, NEWER, die)
    assert [partitions(stack, t) for t in (topics.USAGE, topics.PRICED)] == [NEW, NEWER]
    stack.run("topics", "grow", str(NEWER))
    start_all(stack, NEWER)
    traffic.publish(events=500, again=1_500)
    report = audit(stack)
    assert_windows_exact(report, traffic)
    follows = {number: headers(stack.settings, number)[0].follows for number in range(NEWER)}
    assert [number for number, follow in follows.items() if follow is None] == [0, 1]
    assert {number: follow[0] for number, follow in follows.items() if follow} == {2: 0, 3: 1, 4: 0, 5: 1, 6: 2, 7: 3}


def test_windows_are_built_again_from_the_blocks_in_as_many_partitions(stack: Stack, traffic: Traffic) -> None:
    stop_all(stack)
    client, anew = admin(stack.settings), [topics.TOTALS, topics.STATE, topics.WINDOWS]
    for future in client.delete_topics(anew).values():
        future.result(10)
    until(lambda: not set(anew) & client.list_topics(timeout=10).topics.keys(), "the topics to be gone")
    stack.run("topics", "create")
    log_id = topic_ids(stack.settings, topics.USAGE)[topics.USAGE]
    with database(stack.settings) as query:
        query(f"ALTER TABLE windows DELETE WHERE log_id = '{log_id}' SETTINGS mutations_sync = 2")
    start_all(stack, NEWER)
    traffic.publish(events=300)
    assert_windows_exact(audit(stack), traffic)
    assert partitions(stack, topics.TOTALS) == NEWER
