"""`spendstream sink`"""

import signal
from typing import Annotated

import typer

from clickhouse.copy_topics import Copier
from clickhouse.health import HealthReports
from clickhouse.sink import Sink
from streams.kafka import wait_for_brokers
from streams.log import setup_logging
from streams.settings import settings
from streams.web import serve


def command(
    from_earliest: Annotated[
        bool, typer.Option(help="With an empty database: begin at the first block left when earlier ones have expired.")
    ] = False,
) -> None:
    """Insert priced blocks into ClickHouse, each exactly once; copy windows, alerts, budgets, ... as well.

    Start more than one and they share the partitions. While ClickHouse is down the sink waits and Kafka keeps the
    blocks. It serves /metrics, /health and /ready on SPEND_WEB_HOST:SPEND_SINK_WEB_PORT, and ends with status 3 rather
    than lose or double a row.
    """
    conf = settings()
    setup_logging(conf)
    wait_for_brokers(conf)
    sink, copier = Sink(conf, from_earliest), Copier(conf)
    health = HealthReports(conf, sink.progress)
    serve(conf.web_host, conf.sink_web_port, "SPEND_SINK_WEB_PORT", lambda: sink.ready)

    def stop(*_: object) -> None:
        health.stop()
        copier.stop()
        sink.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    copier.start()
    health.start()
    sink.run()
    copier.join()
    health.join()
