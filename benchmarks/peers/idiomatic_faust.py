"""The price agent as Faust's documentation teaches to write one: a codec, a topic, an agent, one event at a time.

    python -m benchmarks.peers.idiomatic_faust worker --without-web

Reads spend.usage from its start, prices each event with genai-prices' own function and sends the result to
`bench.one-by-one` as JSON. It does less than `streams.price_events`: no deduplication, no bounds, no dead letters, no
long-context or batch prices beyond the library's, and a crash may lose or double events.
"""

import faust
from faust.serializers import codecs

from benchmarks.peers import job
from streams.settings import settings
from streams.topics import USAGE

RESULTS = "bench.one-by-one"
CODEC = "usage_avro"


class UsageAvro(codecs.Codec):
    """A usage event in Avro single-object encoding, None what is none: an error would restart the agent each time."""

    def _loads(self, s: bytes) -> job.Event | None:
        return job.decode(s)


codecs.register(CODEC, UsageAvro())

app = faust.App(
    "bench-one-by-one",
    broker=f"kafka://{settings().kafka_bootstrap_servers}",
    broker_session_timeout=settings().session_timeout_seconds,
    broker_heartbeat_interval=settings().session_timeout_seconds / 6,
    store="memory://",
    datadir=str(settings().state_dir / "idiomatic-faust"),
    autodiscover=False,
    topic_allow_declare=False,
    topic_disable_leader=True,
)
usage_topic = app.topic(USAGE, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer=CODEC)
priced_topic = app.topic(RESULTS, key_type=bytes, key_serializer="raw", value_serializer="json")


@app.agent(usage_topic)
async def price_events(events: faust.StreamT) -> None:
    """Price every event and send it on."""
    async for key, event in events.items():
        if event is None:
            continue
        result = {"id": event["id"], "model": event["model"], "cost_picos": job.price(event)}
        await priced_topic.send(key=key, value=result)


if __name__ == "__main__":
    app.main()
