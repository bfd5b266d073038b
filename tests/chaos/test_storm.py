"""Everything that can happen happens while events come in, over two logs: the short form of `make chaos`."""

from pathlib import Path

import pytest
from faults import FAULTS
from storm import Storm, stormy_settings

pytestmark = pytest.mark.stack

SEED = 20261121


def test_storm_over_two_logs_changes_no_digit_and_tells_every_alert_once(tmp_path: Path, broker: str) -> None:
    lines: list[str] = []
    settings = stormy_settings(tmp_path, broker, brokers=1)
    storm = Storm(settings, SEED, pause_seconds=10.0, stretch=100, tell=lines.append)
    storm.rage(legs=2, kills=8, faults=len(FAULTS) // 2, records=6_000)
    found = storm.as_json()
    assert min(found["killed"].values()) >= 1, lines
    assert set(found["faults"]) == {"kill", *(fault.__name__ for fault in FAULTS)}
    assert found["logs"] == 2
    assert {"budget", "anomaly", "unpriced"} <= set(found["alert_kinds"])
