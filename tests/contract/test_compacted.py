"""Values of a compacted topic as whoever starts finds them: the last of each key, or the last that can be read."""

from collections.abc import Iterator

import pytest
from confluent_kafka.admin import NewTopic

from streams.compacted import Follower, put, values
from streams.errors import SpendError
from streams.kafka import send_all
from streams.kafka_topics import create_topics
from streams.settings import Settings
from streams.supervisor import Stack, on_free_ports
from tests.chaos.traffic import until

BROKERS = ("kafka", "embedded")
TOPIC = "numbers"
pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory, broker: str) -> Iterator[Settings]:
    own = on_free_ports(Settings(state_dir=tmp_path_factory.mktemp("broker"), broker=broker))
    with Stack(own, parts=("broker",)):
        create_topics(own, [NewTopic(TOPIC, 1, config={"cleanup.policy": "compact"})])
        yield own


def number(value: bytes) -> int:
    try:
        return int(value)
    except ValueError:
        raise SpendError(f"{value!r} is no number") from None


def test_the_last_value_of_a_key_counts_and_one_that_cannot_be_read_hides_no_earlier_one(settings: Settings) -> None:
    said = [("a", b"1"), ("b", b"2"), ("c", b"3"), ("a", b"4"), ("c", None), ("d", b"5"), ("c", b"6")]
    send_all(settings, TOPIC, ({"key": key, "value": value, "partition": 0} for key, value in said))
    assert list(values(settings, TOPIC, number).items()) == [("a", 4), ("b", 2), ("d", 5), ("c", 6)]
    put(settings, TOPIC, {"b": b"two", "e": b"?", "d": None})
    assert values(settings, TOPIC, number) == {"a": 4, "b": 2, "c": 6}
    follower = Follower(settings, TOPIC, number)
    try:
        assert follower.values == {"a": 4, "b": 2, "c": 6}
        put(settings, TOPIC, {"a": b"7", "b": None, "c": b"three"})
        until(lambda: "b" not in follower.values, "what was put")
        assert follower.values == {"a": 7, "c": 6}
    finally:
        follower.close()
