"""Planned activity: what a person acknowledged in advance or after the fact. Until it is over, unusual spend of that
member raises no alert.

JSON on `spend.planned`, keyed by its id; an empty value withdraws it:

    {"id": "workload/backfill/2026-11-27T06:00:00Z", "dimension": "workload", "member": "backfill",
     "from": "2026-11-27T06:00:00Z", "until": "2026-11-29T00:00:00Z", "reason": "re-embedding the archive", "by": "ana"}
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from streams import compacted, topics
from streams.compacted import Follower
from streams.errors import SpendError
from streams.settings import Settings
from streams.spend.alert_document import rfc3339
from streams.spend.dimensions import DIMENSIONS, GLOBAL


class Planned(BaseModel):
    """One planned activity: `from_` is in it, `until` is not."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    id: str = Field(min_length=1, max_length=1_000)
    dimension: str
    member: str
    from_: AwareDatetime = Field(alias="from")
    until: AwareDatetime
    reason: str = Field("", max_length=1_000)
    by: str = Field("", max_length=200)

    @field_validator("dimension")
    @classmethod
    def _known(cls, dimension: str) -> str:
        if dimension not in DIMENSIONS:
            raise ValueError(f"{dimension!r} is no dimension: {', '.join(DIMENSIONS)}")
        return dimension

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.until <= self.from_:
            raise ValueError(f"until: {rfc3339(self.until)} is not after {rfc3339(self.from_)}")
        if self.dimension == GLOBAL and self.member:
            raise ValueError("member: the dimension global has the one member ''")
        return self

    def json_bytes(self) -> bytes:
        """A value of spend.planned."""
        return self.model_dump_json(by_alias=True).encode()


def planned_id(dimension: str, member: str, start: datetime) -> str:
    """The id of an activity; acknowledging the same one again takes its place."""
    return f"{dimension}/{member}/{rfc3339(start)}"


def is_planned(planned: Iterable[Planned], dimension: str, member: str, at: datetime) -> bool:
    """Whether a member's activity at an instant was acknowledged. Pure."""
    return any(
        each.dimension == dimension and each.member == member and each.from_ <= at < each.until for each in planned
    )


def parse_planned(value: bytes | str) -> Planned:
    """The activity of a value.

    Raises:
        SpendError: it does not fit; the message names the field.
    """
    try:
        return Planned.model_validate_json(value)
    except ValidationError as exc:
        raise refused(exc) from exc


def refused(error: ValidationError) -> SpendError:
    """What is wrong with an activity, in a line."""
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"])
    return SpendError(f"planned activity: {field + ': ' if field else ''}{first['msg'].removeprefix('Value error, ')}")


class PlannedFeed:
    """Follows spend.planned; `table` is always whole. Raises as `Follower` does."""

    def __init__(self, settings: Settings) -> None:
        self._follower = Follower(settings, topics.PLANNED, parse_planned)

    @property
    def table(self) -> tuple[Planned, ...]:
        return tuple(self._follower.values.values())

    def close(self) -> None:
        """Follow no longer."""
        self._follower.close()


def read_planned(settings: Settings) -> dict[str, Planned]:
    """All planned activity of this moment, by id."""
    return compacted.values(settings, topics.PLANNED, parse_planned)


def publish_planned(settings: Settings, planned: Planned) -> None:
    """Put one on the topic. Raises Unreachable."""
    compacted.put(settings, topics.PLANNED, {planned.id: planned.json_bytes()})


def withdraw(settings: Settings, ids: Iterable[str]) -> None:
    """Take some off the topic. Raises Unreachable."""
    compacted.put(settings, topics.PLANNED, dict.fromkeys(ids))
