"""Quantile tables measured from real traces, and draws that follow them."""

import json
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

import numpy as np


@dataclass(frozen=True)
class Table:
    """A distribution by its quantiles; between two of them it is taken as even."""

    probabilities: np.ndarray
    values: np.ndarray

    def draw(self, rng: np.random.Generator, size: int) -> np.ndarray:
        """`size` values (float64) that follow the table."""
        return np.interp(rng.random(size), self.probabilities, self.values)

    def counts(self, rng: np.random.Generator, size: int) -> np.ndarray:
        """`size` whole numbers (int64) that follow the table."""
        return np.rint(self.draw(rng, size)).astype(np.int64)


@dataclass(frozen=True)
class TraceTables:
    """What one real trace says of requests: tokens, and microseconds from one request to the next."""

    source: str
    input_tokens: Table
    output_tokens: Table
    gap_us: Table


@dataclass(frozen=True)
class CacheTables:
    """Share of a prompt that a prefix cache held, by the prompt's length.

    `quarters[n]` is for prompts above `bounds[n - 1]` and up to `bounds[n]` tokens.
    """

    bounds: np.ndarray
    quarters: tuple[Table, ...]

    def draw(self, rng: np.random.Generator, input_tokens: np.ndarray) -> np.ndarray:
        """Shares (0 to 1) for prompts of these lengths."""
        quarter = np.searchsorted(self.bounds, input_tokens, side="left")
        at = rng.random(len(input_tokens))
        drawn = [np.interp(at, table.probabilities, table.values) for table in self.quarters]
        return np.choose(quarter, drawn)


@dataclass(frozen=True)
class Measured:
    """The contents of quantiles.json: tables by trace, and the cache reads of the trace that shows them."""

    traces: dict[str, TraceTables]
    cache_read: CacheTables


@lru_cache
def measured() -> Measured:
    """The tables of quantiles.json, which benchmarks/measure_traces.py wrote; their sources stand in it."""
    said = json.loads(resources.files("streams.sample").joinpath("quantiles.json").read_text(encoding="utf-8"))
    at = np.asarray(said["probabilities"])

    def table(figures: dict[str, list[float]]) -> Table:
        return Table(at, np.asarray(figures["values"], dtype=np.float64))

    traces = {
        name: TraceTables(
            said[name]["source"], *(table(said[name][key]) for key in ("input_tokens", "output_tokens", "gap_us"))
        )
        for name in ("azure-llm", "mooncake")
    }
    shares = said["mooncake"]["cache_read_share"]
    cache = CacheTables(
        np.asarray(shares["input_token_bounds"]), tuple(table(quarter) for quarter in shares["quarters"])
    )
    return Measured(traces, cache)
