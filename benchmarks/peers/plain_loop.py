"""The job without a framework: confluent-kafka's consumer, fastavro, dicts and inserts in batches.

    python -m benchmarks.peers.plain_loop

Rows and the windows that changed are inserted together, then the offsets are committed: a crash between the two doubles
rows. Windows are lost with the process; nothing is deduplicated, checked or kept as a dead letter.
"""

import time

from confluent_kafka import Consumer

from benchmarks.peers import job


def main() -> None:
    consumer = Consumer(
        {
            "bootstrap.servers": job.BROKERS,
            "group.id": "bench-plain-loop",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    consumer.subscribe([job.TOPIC])
    store = job.Store("bench_plain_loop")
    rows: list[job.Row] = []
    windows: dict[tuple[str, str, int], tuple[int, int]] = {}
    changed = set()
    inserted = time.monotonic()
    while True:
        for message in consumer.consume(1_000, timeout=0.1):
            event = None if message.error() else job.decode(message.value() or b"")
            if event is None:
                continue
            picos = job.price(event)
            rows.append(job.row(event, picos))
            minute = job.minute(event)
            for dimension, member in job.members(event):
                key = (dimension, member, minute)
                calls, cost = windows.get(key, (0, 0))
                windows[key] = (calls + 1, cost + (picos or 0))
                changed.add(key)
        if len(rows) >= job.INSERT_ROWS or (rows and time.monotonic() - inserted > job.INSERT_SECONDS):
            store.insert_windows(job.window(*key, *windows[key]) for key in changed)
            store.insert_rows(rows)
            consumer.commit(asynchronous=False)
            rows, changed, inserted = [], set(), time.monotonic()


if __name__ == "__main__":
    main()
