"""The job as Faust's documentation teaches it: an agent, a windowed table with a changelog, a timer that inserts.

    python -m benchmarks.peers.faust_windows worker --without-web

The table is kept in memory, which is faster than RocksDB. With several workers an event would have to be sent on once
for each dimension (`group_by`), so that a member's events meet in one place; one worker is spared that. Windows that
changed are inserted every second: `on_window_close` compares with the wall clock, and would close those of a backlog
while they fill. A crash may lose or double events.
"""

import asyncio
from functools import cache

import faust

from benchmarks.peers import idiomatic_faust, job

app = faust.App(
    "bench-faust",
    broker=f"kafka://{job.BROKERS}",
    store="memory://",
    datadir=str(job.STATE / "faust-windows"),
    autodiscover=False,
    topic_partitions=job.PARTITIONS,  # of the changelog: as many as its source has
    topic_disable_leader=True,
)
usage_topic = app.topic(
    job.TOPIC, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer=idiomatic_faust.CODEC
)
minutes = (
    app.Table("minutes", default=lambda: (0, 0))
    .tumbling(job.MINUTE)
    .relative_to(lambda event: event.value["time"].timestamp())
)

rows: list[job.Row] = []
windows: dict[tuple[str, str, int], tuple[int, int]] = {}  # those that changed since they were last inserted


@app.agent(usage_topic)
async def price_events(events: faust.StreamT) -> None:
    """Price every event, and add it to the minutes of its members."""
    async for event in events:
        if event is None:
            continue
        picos = job.price(event)
        rows.append(job.row(event, picos))
        minute = job.minute(event)
        for member in job.members(event):
            calls, cost = minutes[member].value()
            minutes[member] = windows[(*member, minute)] = (calls + 1, cost + (picos or 0))


@cache
def store() -> job.Store:
    """The tables, made when they are first asked for."""
    return job.Store("bench_faust")


@app.timer(interval=job.INSERT_SECONDS)
async def insert() -> None:
    """Insert what came since the last time, in a thread: the event loop goes on."""
    priced, changed = list(rows), [job.window(*key, *value) for key, value in windows.items()]
    rows.clear()
    windows.clear()
    await asyncio.to_thread(store().insert_windows, changed)
    await asyncio.to_thread(store().insert_rows, priced)


if __name__ == "__main__":
    app.main()
