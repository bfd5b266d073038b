"""Logs of a process: what is told, and what is told once."""

import logging

import pytest

from streams.log import setup_logging
from streams.settings import Settings


@pytest.fixture
def own_root(monkeypatch: pytest.MonkeyPatch) -> None:
    """The root logger as it was, afterwards."""
    monkeypatch.setattr(logging.getLogger(), "handlers", [])


def test_a_broker_that_is_away_is_told_once_and_not_at_each_attempt(
    own_root: None, capsys: pytest.CaptureFixture[str]
) -> None:
    setup_logging(Settings())
    for attempt in range(100):
        logging.getLogger("spendstream.kafka").error("FAIL [rdkafka#producer-1]: refused (after %dms)", attempt)
        logging.getLogger("aiokafka").error("Unable connect to node with id %d", attempt % 3)
        logging.getLogger("spendstream.sink").info("block %d", attempt)
    lines = capsys.readouterr().err.splitlines()
    assert len([line for line in lines if "refused" in line]) == 1
    assert len([line for line in lines if "Unable connect" in line]) == 1
    assert len([line for line in lines if "spendstream.sink" in line]) == 100
