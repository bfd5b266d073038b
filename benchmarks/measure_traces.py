"""Measures the quantile tables that the sample traffic follows, from the real traces of ../shared/data.

    python benchmarks/measure_traces.py [--data ../shared/data] [--check]

Writes streams/sample/quantiles.json; with --check it compares instead and exits 1 on a difference. The tables hold
figures only: no line of a trace is copied.
"""

import argparse
import json
import re
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from streams.formats import Input
from streams.traces import TRACES, Assignment

PROBABILITIES = [*(p / 100 for p in range(100)), 0.995, 0.999, 1.0]
INPUT_QUARTERS = 4

SOURCES = {
    "azure-llm": (
        "azure_llm_conv_2023.csv.gz",
        "Azure public dataset, AzureLLMInferenceTrace_conv (November 2023, one hour of a conversation service); "
        "Patel et al., Splitwise, ISCA 2024; CC-BY 4.0, Microsoft",
    ),
    "mooncake": (
        "mooncake_conversation.jsonl.gz",
        "kvcache-ai/Mooncake, FAST 2025 release, conversation trace (one hour of a chat service); Apache-2.0",
    ),
}


def requests(name: str, data: Path) -> pl.DataFrame:
    """The trace as `spendstream produce` reads it: time, input_tokens, output_tokens, cache_read_input_tokens."""
    trace = TRACES[name]
    assign = Assignment(trace.source, trace.provider, trace.model, ("-",), ("-",))
    portion = trace.read(
        Input(str(data / SOURCES[name][0])).stream, assign, start=None, now=datetime(2026, 1, 1, tzinfo=UTC)
    )
    wanted = ["time", "input_tokens", "output_tokens", "cache_read_input_tokens"]
    return pl.DataFrame(pl.from_arrow(portion.batch.select(wanted)))


def table(values: np.ndarray, digits: int = 0) -> dict[str, Any]:
    """Values at PROBABILITIES (linear between order statistics), with count and mean."""
    at = np.round(np.quantile(values, PROBABILITIES), digits)
    mean = round(float(values.mean()), max(digits, 3))
    return {"count": len(values), "mean": mean, "values": at.tolist() if digits else at.astype(int).tolist()}


def measure(data: Path) -> dict[str, Any]:
    """All tables, by trace and figure."""
    azure, mooncake = requests("azure-llm", data), requests("mooncake", data)
    shares = (mooncake["cache_read_input_tokens"] / mooncake["input_tokens"]).to_numpy()
    inputs = mooncake["input_tokens"].to_numpy()
    bounds = np.quantile(inputs, np.arange(1, INPUT_QUARTERS) / INPUT_QUARTERS).astype(int)
    quarter = np.searchsorted(bounds, inputs, side="left")
    gap = pl.col("time").diff().dt.total_microseconds().drop_nulls().alias("gap")
    return {
        "about": "measured by benchmarks/measure_traces.py; values[i] is the quantile at probabilities[i]",
        "probabilities": PROBABILITIES,
        "azure-llm": {
            "source": SOURCES["azure-llm"][1],
            "input_tokens": table(azure["input_tokens"].to_numpy()),
            "output_tokens": table(azure["output_tokens"].to_numpy()),
            "gap_us": table(azure.select(gap)["gap"].to_numpy()),
        },
        "mooncake": {
            "source": SOURCES["mooncake"][1],
            "input_tokens": table(inputs),
            "output_tokens": table(mooncake["output_tokens"].to_numpy()),
            "gap_us": table(mooncake.select(gap)["gap"].to_numpy()),
            "cache_read_share": {
                "about": "cache reads / input tokens; one table for each quarter of the requests by input_tokens",
                "input_token_bounds": bounds.tolist(),
                "quarters": [table(shares[quarter == n], digits=6) for n in range(INPUT_QUARTERS)],
            },
        },
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    here = Path(__file__).resolve().parent.parent
    parser.add_argument("--data", type=Path, default=here.parent / "shared" / "data")
    parser.add_argument("--check", action="store_true", help="compare with what is written; exit 1 on a difference")
    args = parser.parse_args()
    target = here / "streams" / "sample" / "quantiles.json"
    measured = measure(args.data)
    if args.check:
        same = bool(json.loads(target.read_text(encoding="utf-8")) == measured)
        print("the tables are as measured" if same else f"{target.name} differs from the traces: measure again")
        return 0 if same else 1
    # Each list of numbers on a line of its own, so that a later measurement reads well in a diff.
    text = re.sub(r"\[([^\[\]{}]*)\]", lambda found: f"[{' '.join(found[1].split())}]", json.dumps(measured, indent=1))
    target.write_text(text + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
