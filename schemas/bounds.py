"""What a usage event may say: the bounds of its fields, and which counts are part of which.

Far above what any call has, and low enough that an int64 of picodollars holds a token cost at any published price (1e9
tokens at $9,000 a million tokens). The cost of quantities is checked where it is computed.
"""

MAX_TOKENS = 10**9
MAX_QUANTITY = 10**12  # of each quantity: a terabyte in bytes, 31,000 years in seconds
MAX_REPORTED_PICOS = 10**18  # a million dollars
MAX_TEXT_BYTES = 1 << 10  # of every text but `raw_usage`, and of a map's keys and texts
MAX_RAW_USAGE_BYTES = 64 << 10
MAX_ENTRIES = 64  # of `quantities` and of `tags`
MAX_RECORD_BYTES = 256 << 10  # of an encoded event, its prefix included

# what is kept of an event: beyond these it counts, and says less (streams/spend/content.py)
MAX_TAG_CHARACTERS = 256  # of a key and of a value of `tags`
MAX_KEPT_USAGE_BYTES = 4 << 10  # of `raw_usage`; the largest usage objects of providers have about 1 KiB
USAGE_OBJECT = (
    r"\A\{(?:[\s{}\[\],]"
    r'|"[A-Za-z0-9_./-]{1,64}"\s*:\s*(?:"[A-Za-z0-9_.:+/-]{0,64}")?'
    r"|-?[0-9]{1,20}(?:\.[0-9]{1,20})?(?:[eE][+-]?[0-9]{1,3})?\b"
    r"|true|false|null)*\}\z"
)
"""A JSON object of nothing but numbers, true, false, null and, as keys and values, names without a space (RE2)."""

EARLIEST_US = 1_420_070_400_000_000  # 2015-01-01
LATEST_US = 4_102_444_800_000_000  # 2100-01-01
MAX_AHEAD_US = 5 * 60 * 1_000_000  # of `time` ahead of its record's Kafka timestamp

NEVER_EMPTY = ("id", "source", "provider", "request_model")
TIMES = ("time", "start_time", "emitted_at")

_INT64 = 2**63 - 1

# the greatest value of each count; none is negative
COUNTS: dict[str, int] = {
    "input_tokens": MAX_TOKENS,
    "output_tokens": MAX_TOKENS,
    "cache_read_input_tokens": MAX_TOKENS,
    "cache_creation_input_tokens": MAX_TOKENS,
    "cache_creation_1h_input_tokens": MAX_TOKENS,
    "reasoning_output_tokens": MAX_TOKENS,
    "audio_input_tokens": MAX_TOKENS,
    "audio_output_tokens": MAX_TOKENS,
    "image_input_tokens": MAX_TOKENS,
    "image_output_tokens": MAX_TOKENS,
    "reported_cost_picos": MAX_REPORTED_PICOS,
    "attempt": MAX_TOKENS,
    "duration_ms": MAX_QUANTITY,
    "unit_count": MAX_QUANTITY,
    "max_tokens": _INT64,  # a limit that was asked for: some callers ask for the greatest number there is
    "source_seq": _INT64,
}

# parts that do not overlap, and what they are part of
PARTS: tuple[tuple[tuple[str, ...], str], ...] = (
    (("cache_read_input_tokens", "cache_creation_input_tokens"), "input_tokens"),
    (("cache_creation_1h_input_tokens",), "cache_creation_input_tokens"),
    (("audio_input_tokens", "image_input_tokens"), "input_tokens"),
    (("reasoning_output_tokens", "audio_output_tokens", "image_output_tokens"), "output_tokens"),
)


def text_limit(field: str) -> int:
    """Most bytes (UTF-8) of a text field."""
    return MAX_RAW_USAGE_BYTES if field == "raw_usage" else MAX_TEXT_BYTES


def too_large(what: str, size: int, limit: int, unit: str = "bytes") -> str:
    """The sentence for something that is too large."""
    return f"{what} has {size:,} {unit}, of at most {limit:,}"


def beyond(name: str, value: int, most: int) -> str:
    """The sentence for a count that is out of bounds."""
    return f"{name} is {value:,}: negative" if value < 0 else f"{name} is {value:,}, more than {most:,}"


def contradiction(parts: dict[str, int], whole: str, value: int | None) -> str:
    """The sentence for parts that are more than their whole, or whose whole is missing."""
    said = " + ".join(f"{part} {count:,}" for part, count in parts.items())
    if value is None:
        return f"{said} is part of {whole}, which is missing"
    return f"{said} is more than {whole} {value:,}"
