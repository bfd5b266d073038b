"""Requests that real users sent, through the whole pipeline: published, priced, inserted, proved."""

import csv
import gzip
import json
from decimal import Decimal
from pathlib import Path

import pytest

from clickhouse.client import connect
from streams.settings import Settings
from streams.supervisor import Stack, on_free_ports

pytestmark = [pytest.mark.stack, pytest.mark.data]


def test_both_traces_are_priced_whole_and_the_audit_proves_it(shared_data: Path, tmp_path: Path):
    azure, mooncake = shared_data / "azure_llm_conv_2023.csv.gz", shared_data / "mooncake_conversation.jsonl.gz"
    with Stack(on_free_ports(Settings(state_dir=tmp_path))) as stack:
        stack.run("produce", "--format", "azure-llm", str(azure))
        stack.run("produce", "--format", "mooncake", str(mooncake))
        found = json.loads(stack.run("audit", "--json"))
        rows = connect(stack.settings).query(
            "SELECT source, count(), sum(cost_total) FROM spend.usage GROUP BY source ORDER BY source"
        )
    assert (found["ok"], found["lost"], found["duplicated"], found["unpriced"]) == (True, 0, 0, 0)
    assert [(source.split("-")[0], calls) for source, calls, _ in rows.result_rows] == [
        ("azure", 19_366),
        ("mooncake", 12_031),
    ]
    with gzip.open(azure, "rt") as file:
        requests = list(csv.DictReader(file))
    # Azure's gpt-4.1-mini: $0.40 the million tokens in, $1.60 out
    tokens_in, tokens_out = (sum(int(r[name]) for r in requests) for name in ("ContextTokens", "GeneratedTokens"))
    cost = (Decimal("0.40") * tokens_in + Decimal("1.60") * tokens_out) / 1_000_000
    assert rows.result_rows[0][2] == cost
