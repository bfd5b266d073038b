"""The price worker: a Faust app with one agent, its web pages, and how it runs and ends."""

import asyncio
import ctypes
import gc
import logging
import sys
from typing import Any

import faust
from faust.types.web import Response
from faust.web import Request, View
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from streams import metrics
from streams.price_events import PriceStage
from streams.settings import Settings
from streams.transport import Batch, BatchConsumer, BatchSchema, BatchTransport

log = logging.getLogger("spendstream.worker")

_M_ARENA_MAX, _M_MMAP_THRESHOLD = -8, -3  # malloc.h


def price_app(settings: Settings, stage: PriceStage) -> faust.App:
    """The Faust app `spendstream-price`: `spend.usage` through the batch transport into `stage`."""
    servers = settings.kafka_bootstrap_servers.split(",")
    session = settings.session_timeout_seconds
    app = faust.App(
        "spendstream-price",
        broker=[f"kafka://{server.strip()}" for server in servers],
        store="memory://",
        datadir=str(settings.state_dir / "faust"),
        autodiscover=False,
        broker_session_timeout=session,
        broker_heartbeat_interval=session / 6,
        broker_request_timeout=600,  # a takeover reads many blocks
        broker_max_poll_records=10_000,
        consumer_max_fetch_size=3 << 20,
        consumer_auto_offset_reset="none",
        topic_allow_declare=False,
        topic_disable_leader=True,
        stream_wait_empty=False,
        web_bind=settings.web_host,
        web_host=settings.web_host,
        web_port=settings.worker_web_port,
        web_router_enabled=False,
        web_tables_enabled=False,
        web_graph_enabled=False,
        web_stats_enabled=False,
        web_metrics_enabled=False,
    )
    app.transport = BatchTransport(app, stage)

    in_work: set[asyncio.Task[None]] = set()  # a task that nobody holds may be collected before its end

    async def work_on(batch: Batch) -> None:
        try:
            await stage.process(batch)
            await _consumer(app).done(batch)
        except Exception as exc:
            stage.fatal(exc)

    @app.agent(app.topic(stage.topic, schema=BatchSchema()))
    async def price_events(batches: faust.StreamT) -> None:
        async for batch in batches:  # of other partitions: the transport has one batch of a partition in flight
            task = asyncio.create_task(work_on(batch))
            in_work.add(task)
            task.add_done_callback(in_work.discard)

    _add_pages(app, stage)
    return app


def _consumer(app: faust.App) -> BatchConsumer:
    return app.consumer  # type: ignore[return-value]


def _add_pages(app: faust.App, stage: PriceStage) -> None:
    @app.page("/metrics")
    async def serve_metrics(web: View, request: Request) -> Response:
        for tp, behind in _consumer(app).lag().items():
            metrics.LAG.labels(tp.partition).set(behind)
        return web.bytes(generate_latest(), content_type=CONTENT_TYPE_LATEST.split(";")[0])

    @app.page("/health")
    async def health(web: View, request: Request) -> Response:
        return web.json({"status": "ok"})

    @app.page("/ready")
    async def ready(web: View, request: Request) -> Response:
        is_ready = stage.ready and not app.rebalancing
        return web.json({"ready": is_ready}, status=200 if is_ready else 503)


def _tune_interpreter() -> None:
    """For a process that makes and drops batches of tens of megabytes in several threads, all day long."""
    # The thread that decides gives the interpreter up in every call of Arrow and gets it back a switch interval later,
    # while the one that fetches runs Python without a pause: at the usual 5 ms, a batch took six times as long.
    sys.setswitchinterval(0.0002)
    gc.freeze()  # with the usual thresholds a sixth of the time went into looking for garbage among records
    gc.set_threshold(100_000, 20, 20)
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # glibc has it, musl has not
        if mallopt is not None:
            mallopt(_M_ARENA_MAX, 1)  # an arena a thread keeps what each of them once needed
            mallopt(_M_MMAP_THRESHOLD, 4 << 20)  # larger pieces go back to the system and leave no gaps


def run(app: faust.App) -> None:
    """Run the worker until SIGTERM or SIGINT; returns when it has stopped."""
    _tune_interpreter()
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    worker: Any = faust.Worker(app, loop=loop, override_logging=False, redirect_stdouts=False, quiet=True)
    try:
        worker.execute_from_commandline()
    except SystemExit as exc:
        if exc.code:
            log.critical("the worker ended with status %s", exc.code)
            sys.exit(exc.code)
