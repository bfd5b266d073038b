"""The demo stays up for whoever looks at its dashboards, and ends with its verdict when they have seen enough."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from streams.embedded import answers

pytestmark = pytest.mark.stack


def test_a_demo_that_is_kept_shows_its_dashboards_until_it_is_interrupted(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "streams.cli", "demo", "--events", "1000", "--keep"],
        env={**os.environ, "SPEND_STATE_DIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        text=True,
    ) as demo:
        assert demo.stdout is not None
        said = ""
        for line in demo.stdout:
            said += line
            if line.startswith("Dashboards"):
                break
        found = re.search(r"^Dashboards  (http://127\.0\.0\.1:\d+/)$", said, re.MULTILINE)
        assert found, said
        assert "The stack stays up until Ctrl-C." in said
        assert answers(f"{found[1]}api/timezone")
        demo.send_signal(signal.SIGINT)
        assert demo.wait(60) == 0
        assert not answers(f"{found[1]}ready")
