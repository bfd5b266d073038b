"""`spendstream up --traffic N --incident`: a budget is there, its workload runs away, and the alert says so."""

import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from clickhouse.client import connect
from streams import alerts, child
from streams.alerts import Published
from streams.budgets import topic_budgets
from streams.cli.up import command
from streams.errors import SpendError
from streams.sample.organisation import organisation
from streams.settings import Settings
from streams.spend.budget import Budget
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
        deadline = time.monotonic() + 180
        while not (told := [each for each in alerts.read(conf) if each.alert.document["data"].get("level") == 50]):
            assert time.monotonic() < deadline and up.poll() is None, "no alert"
            time.sleep(0.2)
        (warning,) = told
        assert warning.alert.document["type"] == "spend.budget.warning"
        assert warning.alert.document["data"]["budget_id"] == budget.id
        seconds = behind(conf, budget, warning)
        assert looped(conf) >= 20  # where there is none else
        print(f"the alert was on the topic {seconds:.2f} s after the call that crossed the line")
        assert -1 < seconds < 30  # of a busy machine; the calls of one moment come in any order
    finally:
        up.send_signal(signal.SIGINT)
        up.communicate(timeout=60)
    assert up.returncode == 0


def looped(conf: Settings) -> int:
    """Calls of the loop."""
    loop = (
        "SELECT count() FROM spend.usage WHERE input_tokens > "
        f"{RUNAWAY.context[0]} AND request_model = '{RUNAWAY.model}' AND ifNull(customer, '') = ''"
    )
    return int(str(connect(conf).command(loop)))


def behind(conf: Settings, budget: Budget, warning: Published) -> float:
    """Seconds from the call that spent half of the limit, which ClickHouse has a bit later, to the alert."""
    spent = (
        "SELECT time FROM (SELECT time, sum(cost_total) OVER (ORDER BY time, source_partition, source_offset) AS spent "
        f"FROM spend.usage WHERE workload = '{budget.member}') WHERE spent * 2 >= {budget.limit_usd} "
        "ORDER BY time LIMIT 1"
    )
    client, deadline = connect(conf), time.monotonic() + 180
    while not (found := client.query(spent).result_rows):
        assert time.monotonic() < deadline, "ClickHouse does not hold the calls that the alert is about"
        time.sleep(1)
    [[crossed]] = found
    return (datetime.fromtimestamp(warning.at / 1000, UTC) - crossed.replace(tzinfo=UTC)).total_seconds()


def test_an_incident_needs_traffic() -> None:
    with pytest.raises(SpendError, match="--incident needs --traffic"):
        command(traffic=0, incident=True)
