"""`spendstream kafka`"""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from rich.console import Console

from streams.apache_kafka import version
from streams.grant_rights import grant
from streams.secured_kafka import folder as secured_folder
from streams.secured_kafka import secure
from streams.settings import settings
from streams.signals import stop_in_order
from streams.supervisor import Stack


def command(
    brokers: Annotated[int, typer.Option(min=1, max=9, help="As many, on neighbouring ports; each a controller.")] = 1,
    secured: Annotated[
        bool, typer.Option(help="With TLS, a user for each role, and rights as `spendstream topics rights` lists them.")
    ] = False,
) -> None:
    """Run Apache Kafka alone on this machine until Ctrl-C, empty at each start: `make kafka` fetches it first.

    The first broker listens at SPEND_KAFKA_BOOTSTRAP_SERVERS. With --secured each user has a folder that
    SPEND_SECRETS_DIR can name, made anew with each start.
    """
    console = Console(stderr=True)
    host, _, port = settings().kafka_bootstrap_servers.partition(",")[0].rpartition(":")
    addresses = ",".join(f"{host}:{int(port) + number}" for number in range(brokers))
    stop_in_order()
    try:
        with TemporaryDirectory(prefix="spendstream-kafka-") as folder:
            wanted = {"broker": "kafka", "kafka_bootstrap_servers": addresses, "state_dir": Path(folder)}
            own = settings().model_copy(update=wanted)
            with Stack(secure(own) if secured else own, parts=("broker",)) as stack:
                console.print(f"Apache Kafka {version(stack.settings)} is up. Ctrl-C stops it. For other commands:")
                setting = f"SPEND_KAFKA_BOOTSTRAP_SERVERS={addresses} SPEND_REPLICATION={min(3, brokers)}"
                if secured:
                    grant(stack.settings)
                    setting += f" SPEND_SECRETS_DIR={secured_folder(own)}/spend-admin"
                console.print(f"export {setting}", soft_wrap=True, highlight=False)
                stack.wait()
    except KeyboardInterrupt:
        console.print("stopped")
