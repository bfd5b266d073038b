"""The oracle's rules of what an event may say, one event at a time."""

from collections.abc import Mapping
from typing import Any

from streams.oracle.decode import DeadLetter, Reading

MINUTE_US = 60_000_000
EARLIEST_US = 1_420_070_400_000_000  # 2015-01-01
LATEST_US = 4_102_444_800_000_000  # 2100-01-01
BILLION = 10**9
TRILLION = 10**12

TOKEN_COUNTS = (
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
_MOST = {
    **dict.fromkeys(TOKEN_COUNTS, BILLION),
    "attempt": BILLION,
    "max_tokens": 2**63 - 1,
    "source_seq": 2**63 - 1,
    "duration_ms": TRILLION,
    "unit_count": TRILLION,
}


def check(reading: Reading, record_time_us: int) -> None:
    """Apply the rules of what an event may say, in the order in which the first broken one gives the reason.

    Args:
        reading: the event.
        record_time_us: Kafka timestamp of its record, microseconds since 1970; negative when it has none.

    Raises:
        DeadLetter: a rule is broken; the message is the reason.
    """
    event = reading.event
    if not (event["id"] and event["source"] and event["provider"] and event["request_model"]):
        raise DeadLetter("out_of_bounds")
    for name, value in event.items():
        if value.__class__ is str:
            # a character has at most four bytes
            if len(value) > 256 and len(value.encode()) > (65_536 if name == "raw_usage" else 1024):
                raise DeadLetter("too_large")
        elif value.__class__ is dict and value:
            _check_map(value)
    for name in ("time", "start_time", "emitted_at"):
        if event[name] is not None and not EARLIEST_US <= event[name] <= LATEST_US:
            raise DeadLetter("out_of_bounds")
    if record_time_us >= 0 and event["time"] > record_time_us + 5 * MINUTE_US:
        raise DeadLetter("ahead_of_record")
    for name, most in _MOST.items():
        if event[name] is not None and not 0 <= event[name] <= most:
            raise DeadLetter("out_of_bounds")
    reported = event["reported_cost_picos"]
    if reported is not None and not 0 <= reported <= 10**18:
        raise DeadLetter("cost_out_of_bounds")
    if event["quantities"] and not all(0 <= amount <= TRILLION for amount in event["quantities"].values()):
        raise DeadLetter("out_of_bounds")
    if reading.repeated and {"quantities", "tags"} & set(reading.repeated):
        raise DeadLetter("contradiction")
    _check_parts(event)


def _check_map(entries: Mapping[str, Any]) -> None:
    if len(entries) > 64:
        raise DeadLetter("too_large")
    for key, value in entries.items():
        if len(key.encode()) > 1024 or (isinstance(value, str) and len(value.encode()) > 1024):
            raise DeadLetter("too_large")


def _check_parts(event: Mapping[str, Any]) -> None:
    inputs, outputs = event["input_tokens"] or 0, event["output_tokens"] or 0
    written = event["cache_creation_input_tokens"] or 0
    if (
        (event["cache_read_input_tokens"] or 0) + written > inputs
        or (event["cache_creation_1h_input_tokens"] or 0) > written
        or (event["audio_input_tokens"] or 0) + (event["image_input_tokens"] or 0) > inputs
        or (event["reasoning_output_tokens"] or 0)
        + (event["audio_output_tokens"] or 0)
        + (event["image_output_tokens"] or 0)
        > outputs
    ):
        raise DeadLetter("contradiction")
