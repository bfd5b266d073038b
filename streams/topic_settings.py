"""Which settings of a topic are wrong, and what each must be. Pure: the doctor tells it, `topics configure` mends it.

Only what would lose or stop something is wrong. How long a topic is kept is its owner's choice, but for one thing:
`spend.priced` remembers who was counted, so it may not forget an event before `spend.usage` does.
"""

from collections.abc import Mapping

from streams.topics import PRICED, USAGE, Topic, acknowledging

FOR_EVER = -1


def due_settings(
    topic: Topic, said: Mapping[str, str], replicas: int, usage: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The settings that must change, with their due values; none when all is well.

    Args:
        topic: as it should be.
        said: its settings as the broker has them; one that the broker does not tell is not judged.
        replicas: copies of each partition.
        usage: the settings of `spend.usage`, when they are known.
    """
    due = {}
    policy = topic.config.get("cleanup.policy", "delete")
    if {name.strip() for name in said.get("cleanup.policy", policy).split(",")} != {policy}:
        due["cleanup.policy"] = policy
    largest = topic.config.get("max.message.bytes")
    if largest and int(said.get("max.message.bytes", largest)) < int(largest):
        due["max.message.bytes"] = largest
    stamped = topic.config.get("message.timestamp.type", "CreateTime")
    if said.get("message.timestamp.type", stamped) != stamped:
        due["message.timestamp.type"] = stamped
    safe = str(acknowledging(replicas))
    if said.get("min.insync.replicas", safe) != safe:
        due["min.insync.replicas"] = safe
    if said.get("unclean.leader.election.enable") == "true":
        due["unclean.leader.election.enable"] = "false"
    if topic.name == PRICED and usage and "retention.ms" in usage and "retention.ms" in said:
        kept, needed = int(said["retention.ms"]), int(usage["retention.ms"])
        if kept != FOR_EVER and (needed == FOR_EVER or kept < needed):
            due["retention.ms"] = usage["retention.ms"]
    return due


def why(setting: str) -> str:
    """What goes wrong with a wrong setting, in a few words."""
    return _WHY[setting]


_WHY = {
    "cleanup.policy": "records would be dropped that are needed, or budgets and rates forgotten",
    "max.message.bytes": "a block that is larger would stop the worker",
    "message.timestamp.type": "records of a process whose clock is wrong would be refused, or forgotten too early",
    "min.insync.replicas": "acknowledged records could be lost with one broker, or none be taken without it",
    "unclean.leader.election.enable": "acknowledged records could be lost",
    "retention.ms": f"repeats of events that {USAGE} still holds would not be recognised",
}
