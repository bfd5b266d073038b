"""The detectors as they run give the same bits as the detectors written plainly."""

import numpy as np
import pytest
from plain_detector import observe, observe_incidents

from streams.spend import anomaly, baseline
from streams.spend.anomaly import DETECTORS, Detector

STEPS = 1_000  # five-minute windows: enough for the season of the third day


def traffic(rng: np.random.Generator, members: int) -> tuple[np.ndarray, np.ndarray]:
    """Spend and units of a window: bursts, gaps, credits, calls whose units nobody knows."""
    level = np.exp(np.linspace(30, 18, members))
    burst = np.where(rng.random(members) < 0.01, 50, 1) * (rng.random(members) > 0.05)
    picos = (level * np.exp(rng.normal(0, 0.4, members)) * burst).astype(np.int64)
    units = picos // 10**6 * (rng.random(members) > 0.1)
    return np.where(rng.random(members) < 0.01, -picos, picos), units


@pytest.mark.parametrize("detector", DETECTORS, ids=lambda d: f"{d.window_seconds}s")
@pytest.mark.parametrize("members", [1, 2, 7, 40])
def test_incidents_are_the_same_to_the_bit(detector: Detector, members: int) -> None:
    rng = np.random.default_rng(members)
    states, plain = anomaly.new_members(members), anomaly.new_members(members)
    windows, findings = np.full(members, 5_000_000), 0
    for _ in range(STEPS):
        # Some members miss a window, now and then for hours or weeks, and a call judges some of them.
        windows = windows + 1 + (rng.random(members) < 0.02) * rng.integers(0, 900, members)
        picos, units = traffic(rng, members)
        rows = np.flatnonzero(rng.random(members) < 0.8)
        some, same = states[rows], plain[rows]
        found = anomaly.observe(some, windows[rows], picos[rows], units[rows], detector)
        assert found == observe_incidents(same, windows[rows], picos[rows], units[rows], detector)
        findings += len(found)
        anomaly.publish(some, found, room=3)
        anomaly.publish(same, found, room=3)
        states[rows], plain[rows] = some, same
        assert states.tobytes() == plain.tobytes()
    assert findings > 0


@pytest.mark.parametrize("detector", DETECTORS, ids=lambda d: f"{d.window_seconds}s")
def test_evidence_is_the_same_to_the_bit(detector: Detector) -> None:
    rng = np.random.default_rng(7)
    states, plain = baseline.new_members(9), baseline.new_members(9)
    for number in range(STEPS):
        picos, units = traffic(rng, 9)
        windows = np.full(9, number)
        made = baseline.observe(states, windows, picos, units, detector.learning)
        expected = observe(plain, windows, picos, units, detector.learning)
        for name in ("surprise", "drifted", "expected", "known_season"):
            assert getattr(made, name).tobytes() == getattr(expected, name).tobytes(), name
