"""The job as Quix Streams' documentation teaches it: a StreamingDataFrame, a group-by, tumbling windows, two sinks.

    python -m benchmarks.peers.quix

An event becomes one message for each of its seven members (`group_by` sends them through a topic of its own), so that
each member's minutes are added up in one place. State is in RocksDB with a changelog topic, as is the default. Windows
that changed are inserted at each checkpoint; what comes two days of event time after a window's end is dropped.
"""

from datetime import timedelta
from typing import Any

from quixstreams import Application
from quixstreams.dataframe.windows import Count, Sum
from quixstreams.models import Deserializer
from quixstreams.sinks import BatchingSink, SinkBatch

from benchmarks.peers import job

GRACE = timedelta(days=2)


class UsageAvro(Deserializer):
    """A usage event in Avro single-object encoding."""

    def __call__(self, value: bytes, ctx: Any) -> job.Event | None:
        return job.decode(value)


class RowSink(BatchingSink):
    """Inserts priced events at each checkpoint."""

    def setup(self) -> None:
        self._store = job.Store("bench_quix")

    def write(self, batch: SinkBatch) -> None:
        self._store.insert_rows(item.value["row"] for item in batch)


class WindowSink(RowSink):
    """Inserts the windows that changed, each once, at each checkpoint."""

    def write(self, batch: SinkBatch) -> None:
        latest = {(item.key, item.value["start"]): item.value for item in batch}
        self._store.insert_windows(
            job.window(*member.split("\0"), start // 1_000, value["calls"], value["picos"])
            for (member, start), value in latest.items()
        )


def priced(event: job.Event) -> dict[str, Any]:
    """What later steps need of an event, small enough to be sent on seven times."""
    picos = job.price(event)
    return {"row": job.row(event, picos), "picos": picos or 0, "members": job.members(event)}


def one_each(event: dict[str, Any]) -> list[dict[str, Any]]:
    """An event once for each of its members."""
    return [{"member": "\0".join(member), "picos": event["picos"]} for member in event["members"]]


def event_time(event: job.Event | None, *_: Any) -> int:
    """Milliseconds since 1970."""
    return int(event["time"].timestamp() * 1_000) if event else 0


app = Application(
    broker_address=job.BROKERS,
    consumer_group="bench-quix",
    auto_offset_reset="earliest",
    commit_interval=job.INSERT_SECONDS,
    state_dir=job.STATE / "quix",
)
usage = app.topic(job.TOPIC, value_deserializer=UsageAvro(), key_deserializer="bytes", timestamp_extractor=event_time)
events = app.dataframe(usage)
events = events[events.apply(lambda event: event is not None)].apply(priced)
events.sink(RowSink())
by_member = events.apply(one_each, expand=True).group_by("member")
minutes = by_member.tumbling_window(timedelta(minutes=1), grace_ms=GRACE).agg(calls=Count(), picos=Sum("picos"))
minutes.current().sink(WindowSink())

if __name__ == "__main__":
    app.run()
