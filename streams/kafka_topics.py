"""The topics of a cluster: made, given more partitions, their settings read and changed."""

import time
from collections.abc import Mapping

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions, NewTopic, ResourceType

from streams.errors import Unreachable
from streams.kafka import admin
from streams.settings import Settings


def create_topics(settings: Settings, wanted: list[NewTopic]) -> dict[str, bool]:
    """Make topics; by name, whether each was missing.

    A Kafka controller acknowledges a topic before its brokers know of it: this returns when the one that answers shows
    each with a leader for every partition.

    Raises:
        Unreachable: the broker refuses, or does not come to know them.
    """
    client = admin(settings)  # must live until its futures are done
    made = {}
    for name, future in client.create_topics(wanted, request_timeout=30).items():
        try:
            future.result()
            made[name] = True
        except KafkaException as exc:
            if exc.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise Unreachable(f"topic {name} cannot be made: {exc.args[0].str()}") from exc
            made[name] = False
    _await_leaders(settings, dict.fromkeys(made, 1))
    return made


def add_partitions(settings: Settings, topic: str, partitions: int) -> None:
    """Give a topic so many partitions, where it has fewer; returns as `create_topics` does.

    Raises:
        Unreachable: the broker refuses, or does not come to know them.
    """
    client = admin(settings)  # must live until its future is done
    if len(client.list_topics(topic, timeout=10).topics[topic].partitions) < partitions:
        try:
            client.create_partitions([NewPartitions(topic, partitions)], request_timeout=30)[topic].result()
        except KafkaException as exc:
            raise Unreachable(f"{topic} cannot be given {partitions} partitions: {exc.args[0].str()}") from exc
    _await_leaders(settings, {topic: partitions})


def _await_leaders(settings: Settings, partitions: Mapping[str, int]) -> None:
    """Wait until the broker shows at least so many partitions of each topic, all with a leader."""
    client = admin(settings)
    give_up = time.monotonic() + 30
    while True:
        found = client.list_topics(timeout=10).topics
        there = {name: [p.leader for p in found[name].partitions.values()] for name in partitions if name in found}
        if all(len(there.get(name, ())) >= least and min(there[name]) >= 0 for name, least in partitions.items()):
            return
        if time.monotonic() > give_up:
            raise Unreachable(f"Kafka at {settings.kafka_bootstrap_servers} does not show what it has made")
        time.sleep(0.1)


def topic_settings(settings: Settings, names: list[str]) -> dict[str, dict[str, str]]:
    """The settings of each topic as the broker has them, its defaults included.

    Raises:
        Unreachable: the broker does not answer, or a topic does not exist.
    """
    client = admin(settings)  # must live until its futures are done
    wanted = [ConfigResource(ResourceType.TOPIC, name) for name in names]
    try:
        return {
            resource.name: {name: entry.value for name, entry in future.result().items() if entry.value is not None}
            for resource, future in client.describe_configs(wanted, request_timeout=10).items()
        }
    except KafkaException as exc:
        raise Unreachable(f"Kafka at {settings.kafka_bootstrap_servers}: {exc.args[0].str()}") from exc


def alter_topic(settings: Settings, topic: str, name: str, value: str) -> None:
    """Change one setting of a topic.

    Raises:
        Unreachable: the broker refuses, or does not answer.
    """
    client = admin(settings)  # must live until its future is done
    change = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[change])
    try:
        client.incremental_alter_configs([resource], request_timeout=10)[resource].result()
    except KafkaException as exc:
        raise Unreachable(f"topic {topic}: {name}={value} is refused: {exc.args[0].str()}") from exc
