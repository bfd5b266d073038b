"""`spendstream windows`"""

from streams.app import run, windows_app
from streams.budgets_feed import BudgetsFeed
from streams.kafka import wait_for_brokers
from streams.log import setup_logging
from streams.merge_totals import MergeStage
from streams.planned import PlannedFeed
from streams.settings import settings
from streams.total_blocks import TotalsStage


def command() -> None:
    """Watch the money: read spend.priced, keep windows of every member, and raise alerts.

    Publishes the windows on spend.windows, alerts on spend.alerts and each budget's state on spend.budget-status. Start
    as many as you like, up to one a partition; they share the members among themselves. Serves /metrics, /health and
    /ready on SPEND_WEB_HOST:SPEND_WINDOWS_WEB_PORT. It ends with status 3 rather than lose or double anything.
    """
    conf = settings()
    setup_logging(conf)
    conf.state_dir.mkdir(parents=True, exist_ok=True)
    wait_for_brokers(conf)
    totals = TotalsStage(conf)
    run(windows_app(conf, totals, MergeStage(conf, BudgetsFeed(conf), PlannedFeed(conf), totals)))
