"""What the doctor calls wrong: settings of topics, disks and clocks, by their figures alone."""

import pytest

from streams.doctor.database import judge_clock, judge_disk
from streams.settings import Settings
from streams.topic_settings import due_settings, why
from streams.topics import BUDGETS, NAMES, PRICED, STATE, TOPICS, TOTALS, USAGE, Topic, acknowledging

DAY = 24 * 3600 * 1000
BY_NAME = {topic.name: topic for topic in TOPICS}
DEFAULTS = {
    "cleanup.policy": "delete",
    "retention.ms": str(7 * DAY),
    "max.message.bytes": "1048588",
    "message.timestamp.type": "CreateTime",
    "unclean.leader.election.enable": "false",
}


def as_made(topic: Topic, replicas: int = 3) -> dict[str, str]:
    """The settings of a topic that `topics create` made."""
    return DEFAULTS | topic.settled(Settings()) | {"min.insync.replicas": str(acknowledging(replicas))}


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)
@pytest.mark.parametrize("replicas", [1, 3])
def test_a_topic_as_it_is_made_is_right(topic: Topic, replicas: int) -> None:
    assert due_settings(topic.settled(Settings()), as_made(topic, replicas), replicas) == {}


@pytest.mark.parametrize(
    ("name", "setting", "value", "due"),
    [
        (BUDGETS, "cleanup.policy", "delete", "compact"),
        (BUDGETS, "cleanup.policy", "compact,delete", "compact"),
        (TOTALS, "cleanup.policy", "compact", "delete"),
        (PRICED, "max.message.bytes", "1048588", str(64 << 20)),
        (USAGE, "min.insync.replicas", "1", "2"),
        (USAGE, "min.insync.replicas", "3", "2"),
        (PRICED, "message.timestamp.type", "CreateTime", "LogAppendTime"),
        (USAGE, "message.timestamp.type", "LogAppendTime", "CreateTime"),
        (USAGE, "unclean.leader.election.enable", "true", "false"),
        (PRICED, "retention.ms", str(34 * DAY), str(35 * DAY)),
        (USAGE, "retention.ms", "-1", str(35 * DAY)),
        (STATE, "segment.ms", str(7 * DAY), "600000"),
        (NAMES, "segment.ms", "600000", "10000"),
        (STATE, "min.compaction.lag.ms", "0", "600000"),
        (NAMES, "min.compaction.lag.ms", "600000", "0"),
    ],
)
def test_what_would_lose_or_stop_something_is_due(name: str, setting: str, value: str, due: str) -> None:
    topic = BY_NAME[name]
    said = as_made(topic) | {setting: value}
    assert due_settings(topic.settled(Settings()), said, 3) == {setting: due}
    assert why(setting)


def test_larger_records_than_blocks_need_are_no_fault() -> None:
    said = as_made(BY_NAME[PRICED]) | {"max.message.bytes": str(128 << 20)}
    assert due_settings(BY_NAME[PRICED].settled(Settings()), said, 3) == {}


def test_segments_that_are_closed_sooner_are_no_fault() -> None:
    said = as_made(BY_NAME[STATE]) | {"segment.ms": "60000", "min.compaction.lag.ms": "900000"}
    assert due_settings(BY_NAME[STATE].settled(Settings()), said, 3) == {}


def test_a_disk_needs_room_for_merges() -> None:
    assert not judge_disk("default", 60 << 30, 1000 << 30).mend
    full = judge_disk("default", 40 << 30, 1000 << 30)
    assert "42.9 GB of 1,073.7 GB" in full.found and "SPEND_RAW_RETENTION_DAYS" in full.mend


@pytest.mark.parametrize(("ahead", "said"), [(61.0, "61 s ahead of"), (-400.0, "400 s behind")])
def test_clocks_that_are_apart_are_told_with_the_direction(ahead: float, said: str) -> None:
    assert not judge_clock(ahead / 100).mend
    told = judge_clock(ahead)
    assert said in told.found and "NTP" in told.mend
