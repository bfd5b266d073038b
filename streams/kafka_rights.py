"""Who may do what in Kafka: the one table of roles. `spendstream topics grant` brings a cluster to it.

A process has a user of its own, and a right only where its work needs it; what is not in the table is refused. Everyone
who reads may use the group of readers that commit nothing; the groups that share work belong to the process alone.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from streams import topics

PRICE_GROUP, WINDOWS_GROUP, SINK_GROUP = "spendstream-price", "spendstream-windows", "spendstream-sink"
COPY_GROUP, AUDIT_GROUP = "spendstream-copy", "spendstream-audit"
READERS = "spendstream-reader"  # of those that commit nothing


@dataclass(frozen=True, order=True)
class Right:
    """One line of a cluster's list: a user may do this to that. READ of a group is joining it and committing in it."""

    user: str
    kind: Literal["topic", "group"]
    name: str
    operation: Literal["READ", "WRITE", "CREATE", "DESCRIBE", "DESCRIBE_CONFIGS"]


@dataclass(frozen=True)
class Role:
    """A user and what its process does. Whoever may read or write a topic, or use a group, may look at it (DESCRIBE),
    too; who may make topics may see their settings. `watches`: topics and groups that it may only look at."""

    user: str
    what: str
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    creates: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    watches: tuple[str, ...] = ()

    def rights(self) -> Iterator[Right]:
        """Its lines."""
        may = {"READ": self.reads, "WRITE": self.writes, "CREATE": self.creates, "DESCRIBE_CONFIGS": self.creates}
        for operation, names in may.items():
            for name in names:
                yield Right(self.user, "topic", name, operation)  # type: ignore[arg-type]
        for name in self.groups:
            yield Right(self.user, "group", name, "READ")
        for name in self.watches:
            yield Right(self.user, "topic" if name.startswith("spend.") else "group", name, "DESCRIBE")


ROLES: tuple[Role, ...] = (
    Role("spend-gateway", "gateways and services that send events", writes=(topics.USAGE,)),
    Role(
        "spend-naming-gateway",
        "those of them that write pseudonyms (SPEND_PSEUDONYMS)",
        reads=(topics.FORGOTTEN,),
        writes=(topics.USAGE, topics.NAMES),
        groups=(READERS,),
    ),
    Role(
        "spend-worker",
        "`spendstream worker`, and its API for budgets",
        reads=(topics.USAGE, topics.PRICED, topics.RATES, topics.BUDGETS, topics.BUDGET_STATUS),
        writes=(topics.PRICED, topics.DEAD_LETTER, topics.BUDGETS),
        groups=(PRICE_GROUP, READERS),
    ),
    Role(
        "spend-windows",
        "`spendstream windows`",
        reads=(
            topics.USAGE,
            topics.PRICED,
            topics.TOTALS,
            topics.STATE,
            topics.BUDGETS,
            topics.PLANNED,
            topics.ALERTS,
        ),
        writes=(topics.TOTALS, topics.STATE, topics.WINDOWS, topics.BUDGET_STATUS, topics.ALERTS),
        groups=(WINDOWS_GROUP, READERS),
    ),
    Role(
        "spend-sink",
        "`spendstream sink`",
        reads=(
            topics.USAGE,
            topics.PRICED,
            topics.WINDOWS,
            topics.ALERTS,
            topics.BUDGETS,
            topics.BUDGET_STATUS,
            topics.DELIVERIES,
            topics.PLANNED,
        ),
        groups=(SINK_GROUP, COPY_GROUP, READERS),
    ),
    Role(
        "spend-relay",
        "`spendstream relay`",
        reads=(topics.ALERTS, topics.PLANNED, topics.DELIVERIES),
        writes=(topics.DELIVERIES,),
        groups=(READERS,),
    ),
    Role(
        "spend-reader",
        "gateways that stop calls, and whoever follows alerts",
        reads=(topics.ALERTS, topics.BUDGET_STATUS),
        groups=(READERS,),
    ),
    Role(
        "spend-autoscaler",
        "KEDA, which starts as many processes as their lag asks for",
        watches=(topics.USAGE, topics.PRICED, topics.TOTALS, PRICE_GROUP, WINDOWS_GROUP, SINK_GROUP),
    ),
    Role(
        "spend-admin",
        "an operator's commands: topics, rates, budgets, alerts, dead-letters, audit, repair, doctor",
        reads=tuple(topic.name for topic in topics.TOPICS),
        writes=(
            topics.USAGE,
            topics.DEAD_LETTER,
            topics.RATES,
            topics.BUDGETS,
            topics.PLANNED,
            topics.NAMES,
            topics.FORGOTTEN,
        ),
        creates=tuple(topic.name for topic in topics.TOPICS),
        groups=(
            AUDIT_GROUP,
            COPY_GROUP,
            PRICE_GROUP,
            SINK_GROUP,
            WINDOWS_GROUP,
            READERS,
        ),
    ),
)


def wanted() -> set[Right]:
    """All lines of the table."""
    return {right for role in ROLES for right in role.rights()}
