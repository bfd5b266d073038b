"""`spendstream kafka`"""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from rich.console import Console

from streams.apache_kafka import version
from streams.settings import settings
from streams.signals import stop_in_order
from streams.supervisor import Stack


def command(
    brokers: Annotated[int, typer.Option(min=1, max=9, help="As many, on neighbouring ports; each a controller.")] = 1,
) -> None:
    """Run Apache Kafka alone on this machine until Ctrl-C, empty at each start: `make kafka` fetches it first.

    The first broker listens at SPEND_KAFKA_BOOTSTRAP_SERVERS.
    """
    console = Console(stderr=True)
    host, _, port = settings().kafka_bootstrap_servers.partition(",")[0].rpartition(":")
    addresses = ",".join(f"{host}:{int(port) + number}" for number in range(brokers))
    stop_in_order()
    try:
        with TemporaryDirectory(prefix="spendstream-kafka-") as folder:
            wanted = {"broker": "kafka", "kafka_bootstrap_servers": addresses, "state_dir": Path(folder)}
            with Stack(settings().model_copy(update=wanted), parts=("broker",)) as stack:
                console.print(f"Apache Kafka {version(stack.settings)} is up. Ctrl-C stops it. For other commands:")
                setting = f"SPEND_KAFKA_BOOTSTRAP_SERVERS={addresses} SPEND_REPLICATION={min(3, brokers)}"
                console.print(f"export {setting}", soft_wrap=True, highlight=False)
                stack.wait()
    except KeyboardInterrupt:
        console.print("stopped")
