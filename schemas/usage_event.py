"""The usage event in Python: what a producer fills in, with the same fields and bounds as the pipeline's.

The twin of `usage_event.avsc`, which is the source: a test holds their names, types and defaults to be the same.
"""

import secrets
import time as clock
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    model_validator,
)

from schemas import bounds
from schemas.codec import encode_event

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def new_id() -> str:
    """An id that is unique and sorts by the time it was made (UUID version 7, RFC 9562)."""
    value = (clock.time_ns() // 1_000_000) << 80 | 0x7 << 76 | secrets.randbits(76)
    value = value & ~(0b11 << 62) | 0b10 << 62
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def _no_number(value: Any) -> Any:
    if isinstance(value, int | float):
        raise ValueError("a time is a datetime with a time zone or ISO 8601 text, never a number")
    return value


Instant = Annotated[AwareDatetime, BeforeValidator(_no_number)]
Count = Annotated[StrictInt, Field(ge=0)]


class UsageEvent(BaseModel):
    """One call of a model, or another billed quantity, at its end.

    Each field is described in `usage_event.avsc`. Times have a time zone; counts are whole numbers; None is unknown,
    which is not 0. `id` is minted when none is given.

    Raises:
        pydantic.ValidationError: a field is missing, unknown, out of bounds, or contradicts another.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(default_factory=new_id)
    source: str
    time: Instant
    provider: str
    request_model: str
    operation: str
    response_model: str | None = None
    response_id: str | None = None
    usage_status: Literal["final", "partial", "estimated", "correction"] = "final"
    correction_of: str | None = None
    attempt: Count | None = None
    retry_of: str | None = None
    trace_id: str | None = None
    start_time: Instant | None = None
    emitted_at: Instant | None = None
    source_seq: Count | None = None
    duration_ms: Count | None = None
    finish_reason: str | None = None
    error_type: str | None = None
    max_tokens: Count | None = None
    stream: StrictBool | None = None
    server: str | None = None
    region: str | None = None
    service_tier: str | None = None
    is_batch: StrictBool | None = None
    batch_id: str | None = None
    speed: str | None = None
    input_tokens: Count | None = None
    output_tokens: Count | None = None
    cache_read_input_tokens: Count | None = None
    cache_creation_input_tokens: Count | None = None
    cache_creation_1h_input_tokens: Count | None = None
    reasoning_output_tokens: Count | None = None
    audio_input_tokens: Count | None = None
    audio_output_tokens: Count | None = None
    image_input_tokens: Count | None = None
    image_output_tokens: Count | None = None
    quantities: dict[str, Count] = Field(default_factory=dict)
    reported_cost_picos: Count | None = None
    reported_cost_currency: str | None = None
    workload: str | None = None
    customer: str | None = None
    team: str | None = None
    project: str | None = None
    service: str | None = None
    user: str | None = None
    gateway: str | None = None
    api_key_id: str | None = None
    environment: str | None = None
    workflow: str | None = None
    agent: str | None = None
    conversation_id: str | None = None
    release: str | None = None
    cost_category: Literal["training", "inference", "storage", "data_processing"] = "inference"
    cache_outcome: Literal["hit", "miss", "bypass"] | None = None
    prompt_hash: str | None = None
    unit_type: str | None = None
    unit_count: Count | None = None
    tags: dict[str, str] = Field(default_factory=dict)
    raw_usage: str | None = None

    @model_validator(mode="after")
    def _countable(self) -> Self:
        """The rules of `streams.spend.check`, of which the pipeline would make a dead letter."""
        for problem in (*self._texts(), *self._numbers(), *self._contradictions()):
            raise ValueError(problem)
        return self

    def _texts(self) -> list[str]:
        problems = [f"{name} is empty" for name in bounds.NEVER_EMPTY if not getattr(self, name)]
        for name, value in self:
            if isinstance(value, str) and _size(value) > bounds.text_limit(name):
                problems.append(bounds.too_large(name, _size(value), bounds.text_limit(name)))
            if isinstance(value, dict):
                if len(value) > bounds.MAX_ENTRIES:
                    problems.append(bounds.too_large(name, len(value), bounds.MAX_ENTRIES, "entries"))
                longest = max(
                    (_size(text) for pair in value.items() for text in pair if isinstance(text, str)), default=0
                )
                if longest > bounds.MAX_TEXT_BYTES:
                    problems.append(bounds.too_large(f"a key or value of {name}", longest, bounds.MAX_TEXT_BYTES))
        return problems

    def _numbers(self) -> list[str]:
        counts = {name: (getattr(self, name), most) for name, most in bounds.COUNTS.items()}
        counts |= {f"quantity {key!r}": (value, bounds.MAX_QUANTITY) for key, value in self.quantities.items()}
        problems = [bounds.beyond(name, n, most) for name, (n, most) in counts.items() if n is not None and n > most]
        for name in bounds.TIMES:
            at = getattr(self, name)
            if at is not None and not bounds.EARLIEST_US <= micros(at) <= bounds.LATEST_US:
                problems.append(f"{name} is {at.isoformat()}, not between 2015 and 2100")
        return problems

    def _contradictions(self) -> list[str]:
        problems = []
        for names, whole in bounds.PARTS:
            parts = {name: count for name in names if (count := getattr(self, name)) is not None}
            value = getattr(self, whole)
            if sum(parts.values()) > (value or 0):
                problems.append(bounds.contradiction(parts, whole, value))
        return problems

    @property
    def key(self) -> bytes:
        """The key of its Kafka record, which decides the partition: repeats of an event have to meet."""
        return event_key(self.source, self.id)


def event_key(source: str, event_id: str) -> bytes:
    """The Kafka key of an event: `source:id`."""
    return f"{source}:{event_id}".encode()


def micros(at: datetime) -> int:
    """Microseconds since 1970 of a datetime with a time zone, exactly."""
    return (at - _EPOCH) // _MICROSECOND


def to_row(event: UsageEvent) -> dict[str, Any]:
    """The event by field name as the codec takes it: times as microseconds since 1970."""
    return {name: micros(value) if isinstance(value, datetime) else value for name, value in event}


def to_avro(event: UsageEvent, prefix: bytes | None = None) -> bytes:
    """The event as the value of a Kafka record.

    Args:
        prefix: of the registered schema (`schemas.wire.confluent_prefix`); None: Avro single-object encoding.

    Raises:
        ValueError: it is larger than a record may be.
    """
    value = encode_event(to_row(event), prefix)
    if len(value) > bounds.MAX_RECORD_BYTES:
        raise ValueError(bounds.too_large("the event", len(value), bounds.MAX_RECORD_BYTES))
    return value


def _size(text: str) -> int:
    return len(text.encode())
