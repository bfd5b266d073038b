"""The README's commands do what it says, on a machine with nothing but Python and make."""

import os
import re
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path

import clickhouse_connect
import pytest

from streams.settings import Settings
from streams.supervisor import Stack, on_free_ports

REPOSITORY = Path(__file__).parents[2]
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")

pytestmark = pytest.mark.stack


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_first_two_commands_are_targets_of_the_makefile():
    commands = [line.split("#")[0].split() for line in blocks("sh")[0].splitlines()]
    assert commands == [["make", "demo"], ["make", "test"]]
    for command in commands:
        dry = subprocess.run([*command, "--dry-run"], cwd=REPOSITORY, capture_output=True, text=True, check=False)
        assert dry.returncode == 0, dry.stderr


def test_make_demo_ends_with_nothing_lost_and_nothing_doubled(tmp_path: Path):
    environment = {**os.environ, "SPEND_STATE_DIR": str(tmp_path), "COLUMNS": "120"}
    demo = subprocess.run(
        ["make", "demo"], cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert demo.returncode == 0, demo.stdout[-3000:] + demo.stderr[-3000:]
    assert "OK: 0 lost, 0 duplicated" in demo.stdout
    assert "By workload" in demo.stdout and "unattributed" in demo.stdout
    assert re.search(r"windows: 13 dimensions.*equal", demo.stdout.replace("\n", " "))
    assert re.search(r"Research agent.*exceeded", demo.stdout) and "warning" in demo.stdout
    assert re.search(r"Found \d+ minutes after it began", demo.stdout)
    assert "Unusual spend of workload research-agent" in demo.stdout


def test_the_ten_lines_send_an_event_whose_exact_cost_can_be_read_back(tmp_path: Path):
    with Stack(on_free_ports(Settings(state_dir=tmp_path))) as stack:
        program = blocks("python")[0].replace("127.0.0.1:9092", stack.settings.kafka_bootstrap_servers)
        subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, check=True, timeout=60)
        sent = time.monotonic()
        address = stack.settings.clickhouse_url.removeprefix("http://").split(":")
        client = clickhouse_connect.get_client(host=address[0], port=int(address[1]))
        rows: list[tuple[str, str, Decimal]] = []
        while not rows and time.monotonic() - sent < 20:
            rows = list(client.query("SELECT customer, model, cost_total FROM spend.usage").result_rows)
            time.sleep(0.1)
    # 1,200 tokens at $0.25 and 300 at $2.00 the million
    cost = (Decimal("0.25") * 1200 + Decimal("2.00") * 300) / 1_000_000
    assert rows == [("acme", "gpt-5-mini", cost)]
