"""What the doctor asks of Kafka: brokers, topics, their partitions, copies and settings."""

from collections.abc import Iterator

from streams.doctor.finding import Finding
from streams.kafka import admin, wait_for_brokers
from streams.kafka_topics import topic_settings
from streams.settings import Settings
from streams.topic_settings import due_settings, why
from streams.topics import PRICED, STATE, TOPICS, USAGE


def brokers(settings: Settings) -> Iterator[Finding]:
    """Whether one answers."""
    wait_for_brokers(settings, seconds=2)
    found = admin(settings).list_topics(timeout=10).brokers
    yield Finding("broker", f"{len(found)} at {settings.kafka_bootstrap_servers}")


def topics(settings: Settings) -> Iterator[Finding]:
    """Whether all are there."""
    found = admin(settings).list_topics(timeout=10).topics
    missing = [topic.name for topic in TOPICS if topic.name not in found]
    if missing:
        yield Finding("topics", f"missing: {', '.join(missing)}", "spendstream topics create")
    else:
        yield Finding("topics", f"all {len(TOPICS)} are there")


def partitions(settings: Settings) -> Iterator[Finding]:
    """Whether the pipeline's topics have as many as they must."""
    found = admin(settings).list_topics(timeout=10).topics
    usage, priced, state = (len(found[name].partitions) for name in (USAGE, PRICED, STATE))
    said = f"{USAGE} has {usage} partitions, {PRICED} {priced}"
    if usage < priced:
        yield Finding("partitions", said, f"a move is half done: finish it with `spendstream topics grow {priced}`")
    elif usage > priced or usage > state:
        yield Finding(
            "partitions",
            f"{said}, {STATE} {state}",
            f"{USAGE} was grown by something else than `spendstream topics grow`: Grown by hand in docs/operations.md",
        )
    elif usage != settings.partitions:
        yield Finding("partitions", said, f"set SPEND_PARTITIONS={usage} everywhere (it is {settings.partitions})")
    else:
        yield Finding("partitions", said)


def replicas(settings: Settings) -> Iterator[Finding]:
    """Whether there are as many copies as SPEND_REPLICATION says, and all are in sync."""
    found = admin(settings).list_topics(timeout=10).topics
    ours = {topic.name: found[topic.name].partitions.values() for topic in TOPICS}
    copies = {name: min(len(each.replicas) for each in parts) for name, parts in ours.items()}
    few = [name for name, count in copies.items() if count < settings.replication]
    if few:
        yield Finding(
            "replicas",
            f"SPEND_REPLICATION is {settings.replication}, but there is {min(copies.values())} of "
            f"{'every topic' if len(few) == len(TOPICS) else ', '.join(few)}",
            "give them more copies (More copies in docs/operations.md), or lower SPEND_REPLICATION",
        )
        return
    behind = sum(len(each.isrs) < len(each.replicas) for parts in ours.values() for each in parts)
    yield Finding(
        "replicas",
        f"{min(copies.values())} of each partition"
        + (f", not in sync: those of {behind} partitions" if behind else ""),
        "a broker is down or far behind: start it, and look at its log" if behind else "",
    )


def wrong_settings(settings: Settings) -> list[tuple[str, str, str, str]]:
    """(topic, setting, what it is, what is due) of each setting that would lose or stop something."""
    found = admin(settings).list_topics(timeout=10).topics
    there = [topic for topic in TOPICS if topic.name in found]
    said = topic_settings(settings, [topic.name for topic in there])
    return [
        (topic.name, name, said[topic.name][name], due)
        for topic in there
        for name, due in due_settings(
            topic.settled(settings),
            said[topic.name],
            min(len(each.replicas) for each in found[topic.name].partitions.values()),
        ).items()
    ]


def settings_of_topics(settings: Settings) -> Iterator[Finding]:
    """Whether any would lose or stop something."""
    wrong = wrong_settings(settings)
    for topic, name, value, due in wrong:
        yield Finding(
            "topic settings",
            f"{topic} has {name}={value}, {due} is due: {why(name)}",
            "spendstream topics configure",
        )
    if not wrong:
        yield Finding("topic settings", "as they are made")
