"""Everything that can happen happens while events come in: the short form of `make chaos`."""

from pathlib import Path

import pytest
from faults import FAULTS, KINDS
from storm import Storm, lacking, stormy_settings

pytestmark = [
    pytest.mark.stack,
    pytest.mark.skipif(bool(lacking()), reason=f"a storm needs {', '.join(lacking())}"),
]

SEED = 20261127


def test_a_storm_changes_no_digit_and_tells_every_alert_once(tmp_path: Path, broker: str) -> None:
    if broker != "kafka":
        pytest.skip("brokers' disks are filled: the embedded one keeps nothing on disk")
    lines: list[str] = []
    settings = stormy_settings(tmp_path, broker, brokers=1)
    storm = Storm(settings, SEED, pause_seconds=8.0, stretch=100, days=3, tell=lines.append)
    storm.rage(legs=1, kills=11, faults=len(FAULTS), records=6_000)
    found = storm.as_json()
    assert min(found["killed"].values()) >= 1, lines
    assert set(found["faults"]) == {"kill", *(fault.__name__ for fault in FAULTS)}
    assert found["stood_still"] == dict.fromkeys(KINDS, 1), lines
    assert found["repeats"] > 0 and found["dead_letters"] > 0
    assert {"budget", "anomaly", "unpriced"} <= set(found["alert_kinds"])
