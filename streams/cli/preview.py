"""`spendstream preview`"""

from grafana.preview_server import serve
from streams.log import setup_logging
from streams.settings import settings


def command() -> None:
    """Show the dashboards in a browser without Grafana, at http://127.0.0.1:6080/ (SPEND_PREVIEW_PORT).

    `spendstream up` and `spendstream demo` start it; on its own it needs a ClickHouse that has the tables
    (SPEND_CLICKHOUSE_URL) and the user who may only read (SPEND_READER_USER), and answers this machine only. It draws
    the dashboards that Grafana gets, from the same files and with the same queries; alerting, editing and sharing are
    Grafana's: spendstream dashboards push.
    """
    conf = settings()
    setup_logging(conf)
    serve(conf)
