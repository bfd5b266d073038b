"""Apache Kafka on this machine in place of the embedded broker: what SPEND_BROKER=kafka and `make kafka` start.

The embedded broker is in memory and speaks most of Kafka; this one is what a cluster runs, and keeps what it is given
under `<state_dir>/kafka`. Each address of SPEND_KAFKA_BOOTSTRAP_SERVERS is one broker, which is a controller as well
(KRaft, combined): three addresses are a cluster that lives through the death of any one of them. With another
SPEND_KAFKA_SECURITY_PROTOCOL than PLAINTEXT it is guarded (`streams.secured_kafka`).
"""

import shlex
import shutil
from pathlib import Path

from streams import secured_kafka
from streams.embedded import LOOPBACK, Address, Server, broker_answers
from streams.errors import SpendError
from streams.ports import free_port
from streams.settings import Settings

SETTING = "SPEND_KAFKA_BOOTSTRAP_SERVERS"

_CLUSTER_ID = "c3BlbmRzdHJlYW0ta2Fma2"  # 16 bytes in base64: these brokers know each other by their ports
# The quickest start rather than the last tenth of speed: brokers of tests live for seconds.
_JVM = ("-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn")


def names(settings: Settings) -> list[str]:
    """The names of the brokers as parts of a stack: broker, broker-2, broker-3."""
    count = len(settings.kafka_bootstrap_servers.split(","))
    return ["broker", *(f"broker-{number}" for number in range(2, count + 1))]


def version(settings: Settings) -> str | None:
    """The version of the jars in SPEND_KAFKA_LIBS; None when there are none."""
    jars = sorted(settings.kafka_libs.glob("kafka_2.13-*.jar"))
    return jars[-1].stem.removeprefix("kafka_2.13-") if jars else None


class Cluster:
    """The brokers of one stack. Their controllers listen on free ports, which a broker that starts again keeps."""

    def __init__(self, settings: Settings) -> None:
        """
        Raises:
            SpendError: a broker is to be elsewhere than on this machine, or guarded and `secure` has not been here.
        """
        self._settings = settings
        self._guard = secured_kafka.broker_config(settings) if settings.kafka_security_protocol != "PLAINTEXT" else {}
        self._addresses = {}
        for name, text in zip(names(settings), settings.kafka_bootstrap_servers.split(","), strict=True):
            host, _, port = text.strip().rpartition(":")
            if host not in LOOPBACK:
                raise SpendError(f"{SETTING}: with SPEND_BROKER=kafka brokers are on this machine, as 127.0.0.1:9092")
            self._addresses[name] = Address("127.0.0.1", int(port), SETTING)
        self._controllers = {name: free_port() for name in self._addresses}

    def server(self, name: str) -> Server:
        """One broker, over its files of the last time if there are any.

        Raises:
            SpendError: Java or the jars are missing.
        """
        libs = self._settings.kafka_libs
        if version(self._settings) is None:
            raise SpendError(f"Apache Kafka is not in {libs} (SPEND_KAFKA_LIBS): `make kafka` fetches it")
        home = folder(self._settings, name)
        home.mkdir(parents=True, exist_ok=True)
        config = home / "server.properties"
        config.touch(mode=0o600)  # a guarded broker's holds passwords
        properties = self._config(name) | self._guard
        config.write_text("".join(f"{key}={value}\n" for key, value in properties.items()), encoding="utf-8")
        archive = class_archive(self._settings)
        shared = (f"-XX:SharedArchiveFile={archive}",) if archive.exists() else ()
        classes = ":".join(str(jar.absolute()) for jar in sorted(libs.glob("*.jar")))
        java = shlex.join([_program("java"), *_JVM, *shared, "-cp", classes])
        file = shlex.quote(str(config))
        users = f" @{shlex.quote(str(secured_kafka.folder(self._settings) / 'users'))}" if self._guard else ""
        script = (
            f"[ -e {shlex.quote(str(home / 'data' / 'meta.properties'))} ] || "
            f"{java} kafka.tools.StorageTool format -t {_CLUSTER_ID} -c {file}{users} && exec {java} kafka.Kafka {file}"
        )
        address = self._addresses[name]
        return Server(["sh", "-c", script], address, lambda: broker_answers(self._settings, address))

    def _config(self, name: str) -> dict[str, object]:
        address, brokers = self._addresses[name], list(self._addresses)
        client, controller = f"CLIENT://127.0.0.1:{address.port}", f"CONTROLLER://127.0.0.1:{self._controllers[name]}"
        copies = min(3, len(brokers))
        return {
            "process.roles": "broker,controller",
            "node.id": brokers.index(name) + 1,
            "controller.quorum.voters": ",".join(
                f"{number}@127.0.0.1:{self._controllers[each]}" for number, each in enumerate(brokers, 1)
            ),
            "listeners": f"{client},{controller}",
            "advertised.listeners": client,
            "listener.security.protocol.map": "CLIENT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "inter.broker.listener.name": "CLIENT",
            "controller.listener.names": "CONTROLLER",
            "log.dirs": folder(self._settings, name) / "data",
            "auto.create.topics.enable": "false",
            "default.replication.factor": copies,
            "min.insync.replicas": max(1, copies - 1),
            "offsets.topic.replication.factor": copies,
            "offsets.topic.num.partitions": 1,
            "transaction.state.log.replication.factor": copies,
            "transaction.state.log.min.isr": max(1, copies - 1),
            "transaction.state.log.num.partitions": 1,
            # a broker that was killed may come back when its session is over
            "broker.session.timeout.ms": 3000,
            "broker.heartbeat.interval.ms": 1000,
            # they are all stopped together: the last would wait for a controller that is gone
            "controlled.shutdown.enable": "false",
            # a group begins with its first member, and a worker that died is missed soon: tests wait for 2 seconds
            "group.initial.rebalance.delay.ms": 0,
            "group.min.session.timeout.ms": 1000,
        }


def class_archive(settings: Settings) -> Path:
    """What a JVM once loaded, written down: with it a broker starts a third sooner."""
    return settings.kafka_libs.absolute() / "classes.jsa"


def folder(settings: Settings, name: str) -> Path:
    """The folder of a broker's files. Without it, the broker starts empty: a new log."""
    return settings.state_dir.absolute() / "kafka" / name


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise SpendError(f"{name} is not installed: SPEND_BROKER=kafka needs Java 17 or newer")
    return found
