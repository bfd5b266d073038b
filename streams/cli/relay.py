"""`spendstream relay`"""

import logging
import signal
from datetime import UTC, datetime
from typing import Annotated

import typer

from streams.kafka import wait_for_brokers
from streams.log import setup_logging
from streams.relay.channels import read_channels
from streams.relay.run import Relay
from streams.relay.run import check as check_channels
from streams.settings import settings
from streams.web import serve


def command(
    check: Annotated[
        bool, typer.Option("--check", help="Read the file, send a test to each channel, and end. Needs no broker.")
    ] = False,
    from_beginning: Annotated[
        bool, typer.Option(help="A channel that is new begins with the first alert that is kept, not with the next.")
    ] = False,
) -> None:
    """Forward alerts to the channels of SPEND_RELAY_FILE: chat and paging tools through apprise, and signed webhooks.

    Each channel waits for its own target alone. What was delivered is not sent again after a restart; `spendstream
    alerts show` tells what became of an alert on each channel. Run one relay. It serves /metrics, /health and /ready on
    SPEND_WEB_HOST:SPEND_RELAY_WEB_PORT.
    """
    conf = settings()
    channels = read_channels(conf.relay_file)
    chatty = logging.getLogger("apprise")  # what it logs may hold an address; the relay says what went wrong
    chatty.propagate = False
    chatty.addHandler(logging.NullHandler())
    if check:
        now = datetime.now(UTC)
        results = check_channels(channels, now, f"{now:%Y%m%dT%H%M%S%f}")
        for name, error in results:
            print(f"{name}: {error or 'the test was delivered'}")
        if any(error for _, error in results):
            raise typer.Exit(1)
        return
    setup_logging(conf)
    relay = Relay(conf, channels, from_beginning)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: relay.stop())
    wait_for_brokers(conf)
    serve(conf.web_host, conf.relay_web_port, "SPEND_RELAY_WEB_PORT", lambda: relay.ready)
    relay.run()
