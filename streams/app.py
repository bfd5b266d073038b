"""The two Faust apps, price and windows: their agents, their web pages, and how a worker runs and ends."""

import asyncio
import ctypes
import gc
import logging
import sys
from collections.abc import Sequence
from typing import Any, Protocol

import faust
from faust.types.web import Response
from faust.web import Request, View
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from streams import metrics
from streams.gathering import Batch
from streams.kafka_rights import PRICE_GROUP, WINDOWS_GROUP
from streams.settings import Settings
from streams.transport import BatchConsumer, BatchSchema, BatchTransport, Stage

log = logging.getLogger("spendstream.worker")

FETCH_BYTES = 3 << 20  # of a partition at once, as they are compressed
_M_ARENA_MAX, _M_MMAP_THRESHOLD = -8, -3  # malloc.h


class AppStage(Stage, Protocol):
    """A stage with the agent that works on its batches."""

    agent: str
    ready: bool

    async def process(self, batch: Batch) -> None:
        """Work on a batch; returns when what follows from it is where it belongs."""
        ...


def price_app(settings: Settings, stage: AppStage) -> faust.App:
    """The Faust app `spendstream-price`: `spend.usage` into priced blocks."""
    return _app(PRICE_GROUP, settings, settings.worker_web_port, stage)


class LookingStage(AppStage, Protocol):
    """A stage that has something to do now and then, also when nothing comes."""

    async def look_around(self) -> None:
        """Do it."""
        ...


def windows_app(settings: Settings, total_blocks: LookingStage, merge_totals: LookingStage) -> faust.App:
    """The Faust app `spendstream-windows`: priced blocks into totals, totals into windows and alerts."""
    app = _app(WINDOWS_GROUP, settings, settings.windows_web_port, total_blocks, merge_totals, fetch_bytes=16 << 20)
    for stage, seconds in ((total_blocks, 1.0), (merge_totals, 0.25)):
        _add_timer(app, stage, seconds)
    return app


def _add_timer(app: faust.App, stage: LookingStage, seconds: float) -> None:
    @app.timer(seconds)
    async def look() -> None:
        try:
            await stage.look_around()
        except Exception as exc:
            stage.fatal(exc)


def _app(name: str, settings: Settings, port: int, *stages: AppStage, fetch_bytes: int = FETCH_BYTES) -> faust.App:
    """An app with an agent for each stage, fed by the batch transport."""
    servers = settings.kafka_bootstrap_servers.split(",")
    session = settings.session_timeout_seconds
    app = faust.App(
        name,
        broker=[f"kafka://{server.strip()}" for server in servers],
        broker_credentials=_credentials(settings),
        store="memory://",
        datadir=str(settings.state_dir / "faust"),
        autodiscover=False,
        broker_session_timeout=session,
        broker_heartbeat_interval=session / 6,
        broker_request_timeout=600,  # of a takeover, which reads many blocks; of requests: `transport.REQUEST_SECONDS`
        broker_max_poll_interval=10 * 365 * 86_400,  # one that has no partition polls nothing, and must stay in reserve
        broker_max_poll_records=10_000,  # of a stage that has columns, Kafka's batches: an answer is all that comes
        consumer_max_fetch_size=fetch_bytes,
        consumer_metadata_max_age_ms=10_000,  # a topic that was made anew is seen after this, not after five minutes
        consumer_auto_offset_reset="none",
        topic_allow_declare=False,
        topic_disable_leader=True,
        stream_wait_empty=False,
        web_bind=settings.web_host,
        web_host=settings.web_host,
        web_port=port,
        web_router_enabled=False,
        web_tables_enabled=False,
        web_graph_enabled=False,
        web_stats_enabled=False,
        web_metrics_enabled=False,
    )
    app.transport = BatchTransport(app, *stages)
    for stage in stages:
        _add_agent(app, stage)
    _add_pages(app, stages)
    return app


def _credentials(settings: Settings) -> faust.SASLCredentials | faust.SSLCredentials | None:
    """What `streams.kafka.client_config` says to librdkafka, for Faust's own client."""
    tls = settings.kafka_tls() if settings.kafka_speaks_tls else None
    if settings.kafka_signs_in:
        return faust.SASLCredentials(
            username=settings.kafka_username,
            password=settings.kafka_password.get_secret_value(),
            mechanism=settings.kafka_sasl_mechanism,
            ssl_context=tls,
        )
    return faust.SSLCredentials(tls) if tls else None


def _add_agent(app: faust.App, stage: AppStage) -> None:
    in_work: set[asyncio.Task[None]] = set()  # a task that nobody holds may be collected before its end

    async def work_on(batch: Batch) -> None:
        try:
            await stage.process(batch)
            await _consumer(app).done(batch)
        except Exception as exc:
            stage.fatal(exc)

    @app.agent(app.topic(stage.topic, schema=BatchSchema()), name=stage.agent)
    async def work(batches: faust.StreamT) -> None:
        async for batch in batches:  # of other partitions: the transport has one batch of a partition in flight
            task = asyncio.create_task(work_on(batch))
            in_work.add(task)
            task.add_done_callback(in_work.discard)


def _consumer(app: faust.App) -> BatchConsumer:
    return app.consumer  # type: ignore[return-value]


def _add_pages(app: faust.App, stages: Sequence[AppStage]) -> None:
    @app.page("/metrics")
    async def serve_metrics(web: View, request: Request) -> Response:
        metrics.LAG.clear()  # of partitions that are another's by now
        for tp, behind in _consumer(app).lag().items():
            metrics.LAG.labels(tp.topic, tp.partition).set(behind)
        return web.bytes(generate_latest(), content_type=CONTENT_TYPE_LATEST.split(";")[0])

    @app.page("/health")
    async def health(web: View, request: Request) -> Response:
        return web.json({"status": "ok"})

    @app.page("/ready")
    async def ready(web: View, request: Request) -> Response:
        is_ready = all(stage.ready for stage in stages) and not app.rebalancing
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
