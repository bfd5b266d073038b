"""`spendstream worker`"""

from typing import Annotated

import typer

from schemas.registry import writer_schemas
from streams.api import add_api
from streams.app import price_app, run
from streams.budgets_feed import BudgetsFeed, StatusFeed
from streams.kafka import wait_for_brokers
from streams.log import setup_logging
from streams.price_events import PriceStage
from streams.rates_feed import RatesFeed
from streams.settings import settings


def command(
    accept_gap: Annotated[
        bool, typer.Option(help="Go on with the first event that is left when earlier ones have expired unpriced.")
    ] = False,
) -> None:
    """Price events: read spend.usage, publish priced blocks to spend.priced.

    Start as many workers as you like, up to one a partition; they share the partitions among themselves. A worker
    serves /metrics, /health, /ready and the API under /api on SPEND_WEB_HOST:SPEND_WORKER_WEB_PORT. It ends with
    status 3 rather than lose or double an event, and says why.
    """
    conf = settings()
    setup_logging(conf)
    conf.state_dir.mkdir(parents=True, exist_ok=True)  # Faust makes its own folder in it
    wait_for_brokers(conf)
    app = price_app(conf, PriceStage(conf, writer_schemas(conf), RatesFeed(conf), accept_gap))
    add_api(app, conf, BudgetsFeed(conf), StatusFeed(conf))
    run(app)
