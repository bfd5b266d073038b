"""What every test obeys: no sockets unless marked `stack`; what is skipped is named, and in CI it is a failure.

A test that asks for `broker` runs on Apache Kafka where `make kafka-jars` could fetch it, on the embedded broker where
not; where its module says `BROKERS = ("kafka", "embedded")`, once on each. `--broker` leaves one of them.
"""

import os
import shutil
import socket
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from streams import apache_kafka
from streams.settings import Settings

# No test is timed: these machines are shared, and an example that took long says nothing about the code.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

REPOSITORY = Path(__file__).parents[1]
KAFKA = apache_kafka.version(Settings()) if shutil.which("java") else None
NO_KAFKA = "Apache Kafka is not here: `make kafka-jars` fetches it, with Java 17 and Maven"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--broker", choices=("embedded", "kafka"), help="run on this broker what can run on either")


def pytest_report_header(config: pytest.Config) -> str:
    if not KAFKA:
        return f"broker: embedded; {NO_KAFKA}"
    return f"broker: {f'Apache Kafka {KAFKA}' if config.getoption('broker') != 'embedded' else 'embedded'}"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "broker" not in metafunc.fixturenames:
        return
    wanted = metafunc.config.getoption("broker")
    brokers = [wanted] if wanted else getattr(metafunc.module, "BROKERS", ["kafka"])
    if "kafka" in brokers and not KAFKA:
        if wanted or os.environ.get("CI") == "true":
            pytest.fail(NO_KAFKA, pytrace=False)
        brokers = ["embedded"]
    metafunc.parametrize("broker", brokers, indirect=True, scope="module")


@pytest.fixture(scope="module")
def broker(request: pytest.FixtureRequest) -> str:
    """The broker that a stack is to run on: `Settings(broker=broker)`."""
    name: str = request.param
    return name


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
