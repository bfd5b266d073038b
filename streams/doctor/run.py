"""The checks in their order, from the outside in."""

from collections.abc import Iterator

from clickhouse_connect.driver.exceptions import ClickHouseError
from confluent_kafka import KafkaException

from schemas.registry import Registry
from streams.doctor import broker, database, flow
from streams.doctor.finding import Check, Finding
from streams.errors import SpendError
from streams.rate_sources import read_rates_file
from streams.settings import Settings
from streams.spend.rates import default_table


def examine(settings: Settings) -> Iterator[Finding]:
    """Run the checks; one that cannot run because an earlier one failed says so."""
    broken: set[str] = set()
    for name, needs, check in _CHECKS:
        missing = broken & set(needs)
        if missing:
            yield Finding(name, f"not looked at: {', '.join(sorted(missing))} first", looked=False)
            continue
        try:
            for finding in check(settings):
                if finding.mend:
                    broken.add(name)
                yield finding
        except (SpendError, ClickHouseError, KafkaException, OSError) as exc:
            broken.add(name)
            yield Finding(name, str(exc).splitlines()[0], "see the message")


def _rates(settings: Settings) -> Iterator[Finding]:
    own = read_rates_file(settings.rates_file) if settings.rates_file else []
    yield Finding("rates", default_table(own).version)


def _schema(settings: Settings) -> Iterator[Finding]:
    if settings.schema_registry_url is None:
        yield Finding("schema", "no registry: Avro single-object encoding")
        return
    registry = Registry(settings.schema_registry_url)
    yield Finding("schema", f"{registry.count()} subjects in the registry at {registry.address}")


_CHECKS: tuple[tuple[str, tuple[str, ...], Check], ...] = (
    ("rates", (), _rates),
    ("broker", (), broker.brokers),
    ("topics", ("broker",), broker.topics),
    ("partitions", ("broker", "topics"), broker.partitions),
    ("replicas", ("broker", "topics"), broker.replicas),
    ("topic settings", ("broker", "topics"), broker.settings_of_topics),
    ("schema", (), _schema),
    ("database", (), database.server),
    ("disk", ("database",), database.disks),
    ("parts", ("database",), database.parts),
    ("clock", ("database",), database.clock),
    ("migrations", ("database",), database.migrations),
    ("retention", ("database", "migrations"), database.retention),
    ("time zone", ("database", "migrations"), database.time_zone),
    ("reader", ("database", "migrations"), database.reader),
    ("lag", ("broker", "topics", "partitions", "database", "migrations"), flow.lag),
    ("windows", ("broker", "topics"), flow.windows),
    ("dead letters", ("broker", "topics"), flow.dead_letters),
    ("unpriced", ("database", "migrations"), database.unpriced),
)
