"""Which settings of a topic are wrong, and what each must be. Pure: the doctor tells it, `topics configure` mends it.

Only what would lose or stop something is wrong, a topic that is kept for another time than the settings say, and one
that is compacted so late that whoever reads it as he starts would take minutes.
"""

from collections.abc import Mapping

from streams.topics import acknowledging

_AS_MADE = ("max.message.bytes", "message.timestamp.type", "retention.ms", "segment.ms", "min.compaction.lag.ms")
_AT_LEAST = ("max.message.bytes", "min.compaction.lag.ms")
_AT_MOST = ("segment.ms",)


def due_settings(made: Mapping[str, str], said: Mapping[str, str], replicas: int) -> dict[str, str]:
    """The settings that must change, with their due values; none when all is well.

    Args:
        made: the settings that the topic is made with, `Topic.settled`.
        said: its settings as the broker has them; one that the broker does not tell is not judged.
        replicas: copies of each partition.
    """
    wanted = {name: made[name] for name in _AS_MADE if name in made}
    wanted.setdefault("message.timestamp.type", "CreateTime")
    wanted["min.insync.replicas"] = str(acknowledging(replicas))
    wanted["unclean.leader.election.enable"] = "false"
    due = {name: value for name, value in wanted.items() if name in said and not _is_fine(name, said[name], value)}
    policy = made.get("cleanup.policy", "delete")
    if {name.strip() for name in said.get("cleanup.policy", policy).split(",")} != {policy}:
        due["cleanup.policy"] = policy
    return due


def _is_fine(name: str, said: str, wanted: str) -> bool:
    if name in _AT_LEAST and wanted != "0":  # a topic that is made with 0 must not wait at all
        return int(said) >= int(wanted)
    return int(said) <= int(wanted) if name in _AT_MOST else said == wanted


def why(setting: str) -> str:
    """What goes wrong with a wrong setting, in a few words."""
    return _WHY[setting]


_WHY = {
    "cleanup.policy": "records would be dropped that are needed, or budgets and rates forgotten",
    "max.message.bytes": "a block that is larger would stop the worker",
    "message.timestamp.type": "records of a process whose clock is wrong would be refused, or forgotten too early",
    "min.insync.replicas": "acknowledged records could be lost with one broker, or none be taken without it",
    "min.compaction.lag.ms": "who reads it while it is written to may miss what it replaces",
    "segment.ms": "what is written to it is compacted later, and forgotten later; whoever starts reads all of it",
    "unclean.leader.election.enable": "acknowledged records could be lost",
    "retention.ms": "SPEND_..._RETENTION_DAYS say so, and spend.usage and spend.priced are kept equally long",
}
