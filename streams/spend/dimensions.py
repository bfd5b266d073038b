"""The dimensions that windows, budgets and alerts know, and the members of each. Pure."""

GLOBAL = "global"
TAG = "tag"

COLUMNS: dict[str, str] = {
    "provider": "provider",
    "model": "model",
    "workload": "workload",
    "customer": "customer",
    "team": "team",
    "project": "project",
    "user": "user",
    "service": "service",
    "server": "server",
    "gateway": "gateway",
    "environment": "environment",
}
"""Dimension to the column of a priced block that names its member; '' where a call bears none (unattributed)."""

DIMENSIONS: tuple[str, ...] = (GLOBAL, *COLUMNS, TAG)
"""All of them: `global` has the one member '', a member of `tag` is key=value."""

OTHER = "(other)"


def other(partition: int) -> str:
    """The member that counts what is beyond a dimension's cap, one for each partition of spend.totals."""
    return f"{OTHER} {partition}"


def is_other(member: str) -> bool:
    """Whether a member stands for many."""
    return member.startswith(OTHER)


COUNTS: tuple[str, ...] = (
    "calls",
    "errors",
    "cache_hits",
    "unpriced_calls",
    "partial_calls",
    "input_tokens",
    "output_tokens",
    "cache_read_input_tokens",
    "cache_creation_input_tokens",
    "cache_creation_1h_input_tokens",
    "reasoning_output_tokens",
    "audio_input_tokens",
    "audio_output_tokens",
    "image_input_tokens",
    "image_output_tokens",
)
"""What a window counts, whole numbers; its sums of money are `schemas.priced.COSTS`."""
