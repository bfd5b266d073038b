"""Every row of the failure table in docs/reliability.md, brought about on real processes; then the audit.

Rows 1 to 9 are one scene: five workers and four sinks die or stop side by side, each at a step of its own, and one
worker and one sink go on behind them. The rows after that follow each other on a second stack.
"""

import json
from collections import Counter
from dataclasses import dataclass
from typing import Any

import pytest
from traffic import (
    Traffic,
    assert_exact,
    audit,
    await_death,
    await_end,
    await_stop,
    begin,
    crash,
    headers,
    messages,
    said,
    until,
)

from streams import topics
from streams.blocks import Header
from streams.dead_letters import DeadLetter
from streams.embedded import answers
from streams.kafka import admin
from streams.settings import Settings
from streams.supervisor import SERVERS, STEPS, Stack, on_free_ports

pytestmark = pytest.mark.stack

DYING_WORKERS = {
    "w1": "block-decided",
    "w2": "dead-letters-acknowledged",
    "w3": "block-sent",
    "w4": "block-acknowledged",
}
STOPPING_WORKER = "w5"
DYING_SINKS = {"s1": "insert", "s2": "insert-sent", "s3": "inserted"}
STOPPING_SINKS = {"s4": "insert-stop", "s5": "insert-stop-long"}


def chaos_settings(folder: Any, **more: Any) -> Settings:
    """Small blocks, many of them; short patience."""
    wanted = {"session_timeout_seconds": 2, "block_events": 200, "block_seconds": 0.2, "poison_window": 300} | more
    return on_free_ports(Settings(state_dir=folder, **wanted))


@dataclass
class Scene:
    """What was left of rows 1 to 9: logs by process, blocks by partition, dead letters, and the audits."""

    logs: dict[str, str]
    headers: dict[int, list[Header]]
    published_letters: Counter[tuple[int, int]]
    listed_letters: Counter[str]
    before_waking: dict[str, Any]
    after_waking: dict[str, Any]
    traffic: Traffic


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    settings = chaos_settings(tmp_path_factory.mktemp("rows-1-9"), partitions=5)
    with Stack(settings, parts=(*SERVERS, *STEPS)) as stack:
        traffic = Traffic(settings)
        processes = [*DYING_WORKERS, STOPPING_WORKER, *DYING_SINKS, *STOPPING_SINKS]
        ports = [crash(stack, name, step, "worker") for name, step in DYING_WORKERS.items()]
        ports.append(crash(stack, STOPPING_WORKER, "block-decided-stop", "worker"))
        ports += [crash(stack, name, step, "sink") for name, step in DYING_SINKS.items()]
        ports += [crash(stack, name, step, "sink") for name, step in STOPPING_SINKS.items()]
        for port in ports:
            until(lambda port=port: answers(f"http://127.0.0.1:{port}/ready"), f"port {port} to be ready")
        traffic.publish(events=4000, again=200, poison=60)
        for name in DYING_WORKERS:
            await_death(stack, name)
        await_stop(stack, STOPPING_WORKER)
        begin(stack, "worker", "worker")
        for name in DYING_SINKS:
            await_death(stack, name)
        for name in STOPPING_SINKS:
            await_stop(stack, name)
        begin(stack, "sink", "sink")
        before_waking = audit(stack)
        for name in (STOPPING_WORKER, *STOPPING_SINKS):
            stack.resume(name)
        for name in (STOPPING_WORKER, "s4"):
            until(lambda name=name: "crash_at: went on" in said(stack, name), f"{name} to go on")
        await_end(stack, "s5")
        traffic.publish(events=2000, again=200, poison=10)
        after_waking = audit(stack)
        letters = [json.loads(line) for line in stack.run("dead-letters", "list", "--json").splitlines()]
        stack.check()
        return Scene(
            logs={name: said(stack, name) for name in processes},
            headers={p: headers(settings, p) for p in range(5)},
            published_letters=published_letters(settings),
            listed_letters=Counter(letter["place"] for letter in letters),
            before_waking=before_waking,
            after_waking=after_waking,
            traffic=traffic,
        )


def published_letters(settings: Settings) -> Counter[tuple[int, int]]:
    """How often each (partition, offset) was published as a dead letter."""
    count: Counter[tuple[int, int]] = Counter()
    for partition in admin(settings).list_topics(topics.DEAD_LETTER, timeout=10).topics[topics.DEAD_LETTER].partitions:
        for message in messages(settings, topics.DEAD_LETTER, partition):
            letter = DeadLetter.from_kafka(message.key(), message.value(), message.headers())
            count[letter.partition, letter.offset] += 1
    return count


def repeats(blocks: list[Header]) -> list[Header]:
    """Blocks that begin at or below the mark of those before: what a worker published behind its successor."""
    found, mark = [], -1
    for header in blocks:
        assert header.first <= mark + 1, "a hole"
        if header.first <= mark:
            found.append(header)
        mark = max(mark, header.last)
    return found


class TestWorkersAndSinksThatDie:
    """Rows 1 to 9."""

    def test_row_1_worker_dies_with_a_batch_decided_and_nothing_sent(self, scene: Scene) -> None:
        assert "crash_at: SIGKILL" in scene.logs["w1"]
        assert_exact(scene.after_waking, scene.traffic)

    def test_row_2_worker_dies_between_its_dead_letters_and_its_block(self, scene: Scene) -> None:
        assert "crash_at: SIGKILL" in scene.logs["w2"]
        assert max(scene.published_letters.values()) > 1  # decided again, published again
        assert set(scene.listed_letters.values()) == {1}
        assert len(scene.listed_letters) == scene.traffic.poison
        assert_exact(scene.after_waking, scene.traffic)

    def test_row_3_worker_dies_before_it_sees_the_acknowledgement_of_its_block(self, scene: Scene) -> None:
        assert "crash_at: SIGKILL" in scene.logs["w3"]
        assert_exact(scene.after_waking, scene.traffic)

    def test_row_4_worker_dies_before_it_commits_an_acknowledged_block(self, scene: Scene) -> None:
        assert "crash_at: SIGKILL" in scene.logs["w4"]
        assert_exact(scene.after_waking, scene.traffic)

    def test_row_5_paused_worker_wakes_up_behind_its_successor(self, scene: Scene) -> None:
        assert_exact(scene.before_waking)
        assert "block " in scene.logs["w5"] and "is another worker's" in scene.logs["w5"]
        assert any(repeats(blocks) for blocks in scene.headers.values())
        assert_exact(scene.after_waking, scene.traffic)

    def test_row_6_sink_dies_before_an_insert(self, scene: Scene) -> None:
        assert "crash_at: SIGKILL" in scene.logs["s1"]
        assert_exact(scene.after_waking, scene.traffic)

    def test_row_7_sink_dies_before_it_sees_the_answer_to_an_insert(self, scene: Scene) -> None:
        assert "crash_at: SIGKILL" in scene.logs["s2"]
        assert_exact(scene.after_waking, scene.traffic)

    def test_row_8_sink_dies_between_an_insert_and_its_progress(self, scene: Scene) -> None:
        assert "crash_at: SIGKILL" in scene.logs["s3"]
        assert_exact(scene.after_waking, scene.traffic)

    def test_row_9_paused_sink_wakes_up_behind_its_successor_and_ends(self, scene: Scene) -> None:
        assert_exact(scene.before_waking)
        assert "crash_at: went on" in scene.logs["s4"]
        assert "the sink was paused for" in scene.logs["s5"]
        assert_exact(scene.after_waking, scene.traffic)
