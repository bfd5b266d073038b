"""`spendstream topics`"""

import json
from typing import Annotated

import typer
from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import NewTopic
from rich.console import Console
from rich.table import Table

from streams.errors import SpendError, Unreachable
from streams.kafka import admin, create_topics, keep, other_retention, wait_for_brokers
from streams.settings import settings
from streams.topics import PRICED, TOPICS, USAGE, acknowledging, retention_of_topics

app = typer.Typer(help="Kafka topics of the pipeline.", no_args_is_help=True)


@app.command()
def create() -> None:
    """Make the topics that are missing, as `show` lists them. Those that are there are left as they are, save that they
    keep records for as long as the SPEND_..._RETENTION_DAYS settings say.
    """
    conf = settings()
    wait_for_brokers(conf)
    durable = {"min.insync.replicas": str(acknowledging(conf.replication))}
    wanted = [
        NewTopic(t.name, t.partitions or conf.partitions, conf.replication, config=t.settled(conf) | durable)
        for t in TOPICS
    ]
    made = create_topics(conf, wanted)
    retention = {name: kept for name, kept in retention_of_topics(conf).items() if not made[name]}
    others = other_retention(conf, retention) if retention else {}
    if others:
        keep(conf, {name: retention[name] for name in others})
    for name, missing in made.items():
        print(f"{name}: {'made' if missing else 'kept for another time' if name in others else 'is there'}")
    found = admin(conf).list_topics(timeout=10).topics
    usage, priced = (len(found[name].partitions) for name in (USAGE, PRICED))
    if usage != priced:
        raise SpendError(f"{USAGE} has {usage} partitions and {PRICED} {priced}: they must be as many")


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
