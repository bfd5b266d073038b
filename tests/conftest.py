"""What every test obeys: no sockets unless marked `stack`; what is skipped is named, and in CI it is a failure."""

import os
import socket
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# No test is timed: these machines are shared, and an example that took long says nothing about the code.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def _no_sockets_unless_marked(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.node.get_closest_marker("stack"):
        return

    def refuse(self: socket.socket, address: object) -> None:
        if self.family != socket.AF_UNIX:
            raise AssertionError(f"a test that is not marked `stack` reached for a socket: {address}")

    for method in ("connect", "connect_ex", "bind"):
        monkeypatch.setattr(socket.socket, method, refuse)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real traces; a test that needs it is marked `data`."""
    folder = Path(os.environ.get("SPEND_SHARED_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"the real traces are not at {folder} (SPEND_SHARED_DATA)")
    return folder


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = terminalreporter.stats.get("skipped", [])
    if skipped and os.environ.get("CI") == "true":
        terminalreporter.write_line(f"CI: {len(skipped)} skipped tests are failures", red=True)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if exitstatus == 0 and os.environ.get("CI") == "true" and reporter and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
