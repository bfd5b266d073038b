"""`spendstream up --traffic N --incident`: a budget is there, and its workload runs away."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from clickhouse.client import connect
from streams import child
from streams.budgets import topic_budgets
from streams.cli.up import command
from streams.errors import SpendError
from streams.sample.organisation import organisation
from streams.settings import Settings
from streams.supervisor import on_free_ports

pytestmark = pytest.mark.stack

RUNAWAY = organisation().story.runaway


def test_the_workload_runs_away_from_the_budget_that_was_made_for_it(tmp_path: Path) -> None:
    conf = on_free_ports(Settings(state_dir=tmp_path))
    up = subprocess.Popen(
        [sys.executable, "-m", "streams.cli", "up", "--traffic", "40", "--incident", "--incident-after", "2"],
        env={**child.environment(conf), "COLUMNS": "200"},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert up.stderr is not None
    try:
        said = ""
        for line in up.stderr:
            said += line
            if line.startswith("╰"):
                break
        (budget,) = topic_budgets(conf).values()
        assert (budget.scope, budget.member, budget.period) == ("workload", RUNAWAY.workload, "day")
        assert f"{RUNAWAY.workload} runs away in 2 s, past its budget {budget.name!r} of ${budget.limit_usd}" in said
        loop = (
            "SELECT count() FROM spend.usage WHERE input_tokens > "
            f"{RUNAWAY.context[0]} AND request_model = '{RUNAWAY.model}' AND ifNull(customer, '') = ''"
        )
        deadline, found = time.monotonic() + 60, 0
        while found < 20:  # nearly five a second, where there is none else
            assert time.monotonic() < deadline and up.poll() is None, f"{found} calls of the loop"
            time.sleep(0.2)
            found = int(str(connect(conf).command(loop)))
    finally:
        up.send_signal(signal.SIGINT)
        up.communicate(timeout=60)
    assert up.returncode == 0


def test_an_incident_needs_traffic() -> None:
    with pytest.raises(SpendError, match="--incident needs --traffic"):
        command(traffic=0, incident=True)
