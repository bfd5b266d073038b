"""`spendstream topics`"""

import json
from dataclasses import asdict
from typing import Annotated

import typer
from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import NewTopic
from rich.console import Console
from rich.table import Table

from streams.doctor.broker import wrong_settings
from streams.errors import SpendError, Unreachable
from streams.grant_rights import grant as grant_rights
from streams.grow_log import grow as grow_log
from streams.kafka import admin, wait_for_brokers
from streams.kafka_rights import ROLES
from streams.kafka_topics import alter_topic, create_topics
from streams.settings import settings
from streams.topics import PRICED, TOPICS, USAGE, acknowledging

app = typer.Typer(help="Kafka topics of the pipeline.", no_args_is_help=True)


@app.command()
def create() -> None:
    """Make the topics that are missing, as `show` lists them. Existing topics are left as they are: see `configure`."""
    conf = settings()
    wait_for_brokers(conf)
    durable = {"min.insync.replicas": str(acknowledging(conf.replication))}
    wanted = [
        NewTopic(t.name, t.partitions or conf.partitions, conf.replication, config=t.settled(conf) | durable)
        for t in TOPICS
    ]
    for name, missing in create_topics(conf, wanted).items():
        print(f"{name}: {'made' if missing else 'is there'}")
    found = admin(conf).list_topics(timeout=10).topics
    usage, priced = (len(found[name].partitions) for name in (USAGE, PRICED))
    if usage != priced:
        raise SpendError(f"{USAGE} has {usage} partitions and {PRICED} {priced}: they must be as many")


@app.command()
def configure() -> None:
    """Mend the settings of existing topics that would lose or stop something (`spendstream doctor` tells which).

    Topics are then kept for as long as the SPEND_..._RETENTION_DAYS settings say.
    """
    conf = settings()
    wait_for_brokers(conf)
    wrong = wrong_settings(conf)
    for topic, name, value, due in wrong:
        alter_topic(conf, topic, name, due)
        print(f"{topic}: {name}={due} (it was {value})")
    if not wrong:
        print("nothing to mend")


@app.command()
def grow(
    partitions: Annotated[int, typer.Argument(min=2, help="How many there are to be: a multiple of what there is.")],
) -> None:
    """Give the log more partitions, so that more workers and sinks can share the work.

    Every event stays counted once, also one that is sent again across the move: the new partitions go on from what the
    old ones accepted. Stop the producers, let the workers price everything, stop workers, windows workers and sinks;
    grow; start them with SPEND_PARTITIONS at the new count, and then the producers. Cut short, run it again.
    """
    conf = settings()
    wait_for_brokers(conf)
    grow_log(conf, partitions, print)
    print(f"set SPEND_PARTITIONS={partitions} everywhere, and start the workers, then the producers")


@app.command(hidden=True)
def restore() -> None:
    """Put budgets and planned activity as ClickHouse has them on topics that never held any (a step of `up`)."""
    from clickhouse.restore_topics import restore_topics

    for topic, count in restore_topics(settings()).items():
        print(f"{topic}: {count} restored")


@app.command()
def show(as_json: Annotated[bool, typer.Option("--json", help="JSON for machines.")] = False) -> None:
    """Show each topic: what it carries, how long it is kept, its partitions and id."""
    conf = settings()
    wait_for_brokers(conf)
    client = admin(conf)  # must live until its futures are done
    described = client.describe_topics(TopicCollection([t.name for t in TOPICS]), request_timeout=10)
    rows = []
    for topic in TOPICS:
        try:
            there = described[topic.name].result()
            partitions, log_id = str(len(there.partitions)), str(there.topic_id)
        except KafkaException as exc:
            if exc.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise Unreachable(f"Kafka at {conf.kafka_bootstrap_servers}: {exc.args[0].str()}") from exc
            partitions, log_id = "missing", ""
        what = {"topic": topic.name, "partitions": partitions, "id": log_id, "what": topic.what}
        rows.append(what | topic.settled(conf))
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    table = Table("topic", "partitions", "id", "carries", "kept")
    for row in rows:
        days = int(row["retention.ms"]) // 86_400_000 if "retention.ms" in row else None
        table.add_row(row["topic"], row["partitions"], row["id"], row["what"], f"{days} days" if days else "compacted")
    Console().print(table)


@app.command()
def rights(as_json: Annotated[bool, typer.Option("--json", help="JSON for machines.")] = False) -> None:
    """Show who may do what in Kafka: a user for each process, and no right that its work does not need."""
    if as_json:
        print(json.dumps([asdict(role) for role in ROLES], indent=2))
        return
    for role in ROLES:
        print(f"{role.user}: {role.what}")
        for what in ("reads", "writes", "creates", "groups", "watches"):
            if names := getattr(role, what):
                print(f"  {what:8}{'all topics' if len(names) == len(TOPICS) else ', '.join(names)}")


@app.command()
def grant(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would be changed.")] = False,
) -> None:
    """Give the users that `rights` lists their rights in Kafka, and take from them what else they are allowed.

    Run it as Kafka's administrator, before `create`, and again after each release; it changes what differs.
    """
    conf = settings()
    wait_for_brokers(conf)
    changes = grant_rights(conf, dry_run)
    for right in changes.granted:
        print(f"{'missing' if dry_run else 'granted'}: {right.user}: {right.operation} {right.kind} {right.name}")
    for line in changes.withdrawn:
        print(f"{'beyond the table' if dry_run else 'withdrawn'}: {line}")
    if not (changes.granted or changes.withdrawn):
        print("the rights are as `spendstream topics rights` lists them")
