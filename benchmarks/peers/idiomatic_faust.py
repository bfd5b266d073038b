"""The price agent as Faust's documentation teaches to write one: a codec, a topic, an agent, one event at a time.

    python -m benchmarks.peers.idiomatic_faust worker --without-web

Reads spend.usage from its start, prices each event with genai-prices' own function and sends the result to
`bench.one-by-one` as JSON. It does less than `streams.price_events`: no deduplication, no bounds, no dead letters, no
long-context or batch prices beyond the library's, and a crash may lose or double events.
"""

import json
from decimal import Decimal
from io import BytesIO
from typing import Any

import fastavro
import faust
from faust.serializers import codecs
from genai_prices import Usage, calc_price

from schemas.priced import usage_event_avsc
from streams.settings import settings
from streams.topics import USAGE

RESULTS = "bench.one-by-one"
PREFIX_BYTES = 10  # Avro single-object encoding: c3 01 and the schema's fingerprint

SCHEMA = fastavro.parse_schema(json.loads(usage_event_avsc()))


class UsageAvro(codecs.Codec):
    """A usage event in Avro single-object encoding."""

    def _loads(self, s: bytes) -> dict[str, Any] | None:
        try:
            return fastavro.schemaless_reader(BytesIO(s[PREFIX_BYTES:]), SCHEMA, None)  # type: ignore[return-value]
        except Exception:
            return None  # Faust would end the agent and start it again for each record that does not decode


codecs.register("usage_avro", UsageAvro())

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
usage_topic = app.topic(USAGE, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="usage_avro")
priced_topic = app.topic(RESULTS, key_type=bytes, key_serializer="raw", value_serializer="json")


@app.agent(usage_topic)
async def price_events(events: faust.StreamT) -> None:
    """Price every event and send it on."""
    async for key, event in events.items():
        if event is None:
            continue
        cost = price(event)
        await priced_topic.send(key=key, value={"id": event["id"], "model": event["request_model"], "cost": cost})


def price(event: dict[str, Any]) -> str | None:
    """The call's cost in US dollars, None when its model has no price."""
    try:
        found = calc_price(
            Usage(
                input_tokens=event["input_tokens"],
                output_tokens=event["output_tokens"],
                cache_read_tokens=event["cache_read_input_tokens"],
                cache_write_tokens=event["cache_creation_input_tokens"],
                input_audio_tokens=event["audio_input_tokens"],
                output_audio_tokens=event["audio_output_tokens"],
            ),
            model_ref=event["response_model"] or event["request_model"],
            provider_id=event["provider"],
            genai_request_timestamp=event["time"],
        )
    except (LookupError, ValueError):  # no such model, or counts that contradict each other
        return None
    return str(Decimal(found.total_price))


if __name__ == "__main__":
    app.main()
