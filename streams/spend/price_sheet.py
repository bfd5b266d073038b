"""The price sheet of one rate: what a unit of each bucket costs, as exact rationals.

Buckets hold disjoint tokens: `input` is uncached text, `cache_write` the 5-minute writes, `output` text (and reasoning
where reasoning has no price of its own). A price has steps, because long prompts can cost more: the whole request is
billed at the step that its total input tokens fall in ("cliff").
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from types import MappingProxyType

PICOS = 10**12  # picodollars in a dollar

# The greatest numerator of a price over its sheet's denominator: times the greatest count and number of quantities of
# an event (schemas.bounds), it stays inside 128 bits.
MAX_NUMERATOR = 10**24

# bucket -> the column of the event that counts it, which is how an unpriced count is named
BUCKETS: dict[str, str] = {
    "input": "input_tokens",
    "cache_read": "cache_read_input_tokens",
    "cache_write": "cache_creation_input_tokens",
    "cache_write_1h": "cache_creation_1h_input_tokens",
    "audio_input": "audio_input_tokens",
    "audio_cache_read": "cached_audio_input_tokens",
    "image_input": "image_input_tokens",
    "image_cache_read": "cached_image_input_tokens",
    "output": "output_tokens",
    "reasoning": "reasoning_output_tokens",
    "audio_output": "audio_output_tokens",
    "image_output": "image_output_tokens",
}
INPUT_BUCKETS = frozenset(bucket for bucket, column in BUCKETS.items() if "input" in column)

# quantity -> other names that events use for the same thing
QUANTITY_ALIASES: dict[str, str] = {
    "web_searches": "web_search",
    "web_search_requests": "web_search",
    "audio_seconds": "audio_second",
    "input_audio_seconds": "input_audio_second",
    "characters": "character",
    "input_characters": "character",
    "pages": "page",
    "images": "image",
    "requests": "request",
    "file_searches": "file_search",
    "storage_searches": "file_search",
    "gpu_seconds": "gpu_second",
}


@dataclass(frozen=True)
class Steps:
    """Picodollars a unit: `base`, and above a threshold of total input tokens another price for the whole request."""

    base: Fraction
    over: tuple[tuple[int, Fraction], ...] = ()  # (threshold, price for more input tokens than it), ascending

    def at(self, input_tokens: int) -> Fraction:
        """The price of a unit in a request of `input_tokens`."""
        price = self.base
        for threshold, above in self.over:
            if input_tokens > threshold:
                price = above
        return price

    def times(self, factor: Fraction) -> "Steps":
        """Every step multiplied by `factor`."""
        return Steps(self.base * factor, tuple((threshold, price * factor) for threshold, price in self.over))


@dataclass(frozen=True)
class Sheet:
    """Prices of buckets (steps) and of quantities (picodollars a unit); `floors` are least billed amounts a request."""

    tokens: Mapping[str, Steps] = field(default_factory=dict)
    quantities: Mapping[str, Fraction] = field(default_factory=dict)
    floors: Mapping[str, int] = field(default_factory=dict)

    def amended(
        self, tokens: Mapping[str, Steps], quantities: Mapping[str, Fraction], floors: Mapping[str, int] | None = None
    ) -> "Sheet":
        """This sheet with the given prices laid over it."""
        return Sheet({**self.tokens, **tokens}, {**self.quantities, **quantities}, {**self.floors, **(floors or {})})

    def leaf(self, bucket: str) -> Steps | None:
        """What a token of the bucket costs, falling back to the parent bucket where providers bill it as the parent.

        Cached reads and 5-minute writes without a price of their own are billed as input, reasoning as output, images
        that a model sees as input text. Audio and produced images are never taken for text, nor an hour's write for
        five minutes': without a price of their own they stay unpriced.
        """
        own = self.tokens.get(bucket)
        if own is not None or bucket in ("input", "output"):
            return own
        if bucket in ("cache_read", "cache_write", "image_input"):
            return self.tokens.get("input")
        if bucket == "cache_write_1h" and "cache_write" not in self.tokens:
            return self.tokens.get("input")
        if bucket == "image_cache_read" and "image_input" not in self.tokens:
            return self.leaf("cache_read")
        if bucket == "reasoning":
            return self.tokens.get("output")
        return None

    def leaves(self, input_tokens: int = 0) -> Mapping[str, Fraction]:
        """Bucket -> exact picodollars a token in a request of `input_tokens`; buckets without a price are absent."""
        return MappingProxyType(
            {bucket: steps.at(input_tokens) for bucket in BUCKETS if (steps := self.leaf(bucket)) is not None}
        )

    def thresholds(self) -> list[int]:
        """All thresholds of the sheet, ascending."""
        return sorted({threshold for steps in self.tokens.values() for threshold, _ in steps.over})


def component(quantity: str) -> str:
    """The cost component of a quantity: spoken audio and speech characters, images, or everything else."""
    if quantity in ("audio_second", "input_audio_second", "output_audio_second", "character"):
        return "cost_audio"
    if quantity == "image" or quantity.startswith(("image_", "pixel")):
        return "cost_image"
    return "cost_quantities"
