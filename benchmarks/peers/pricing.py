"""Packages that price calls, called event by event as their documentation shows; prints microseconds an event as JSON.

    python -m benchmarks.peers.pricing 5000

Prices the first events of the peers' topic and stores what each package says, one database a package.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from functools import cache
from itertools import islice

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # the prices that come with the package, not today's from the web

from collections.abc import Iterator

import tokencost
from confluent_kafka import Consumer
from genai_prices import data_snapshot
from litellm import cost_per_token

from benchmarks.peers import job

LITELLM_PROVIDERS = {
    "aws.bedrock": "bedrock",
    "azure.ai.openai": "azure",
    "gcp.gemini": "gemini",
    "gcp.vertex_ai": "vertex_ai",
    "mistral_ai": "mistral",
    "moonshotai": "moonshot",
    "x_ai": "xai",
}


@cache
def _find(provider: str, model: str) -> tuple:
    return data_snapshot.get_snapshot().find_provider_model(model, None, provider, None)


def genai_prices_cached(event: job.Event) -> int | None:
    """genai-prices with the search for the model, most of its time, done once a model: its own parts, not its API."""
    try:
        provider, model = _find(job.PROVIDERS.get(event["provider"], event["provider"]), event["model"])
        found = model.calc_price(
            job.usage(event),
            provider,
            genai_request_timestamp=event["time"],
            price_context=job.price_context(event),
        )
    except (LookupError, ValueError):
        return None
    return job.picodollars(found.total_price)


def litellm(event: job.Event) -> int | None:
    """litellm's `cost_per_token`, in floats."""
    try:
        costs = cost_per_token(
            model=event["model"],
            custom_llm_provider=LITELLM_PROVIDERS.get(event["provider"], event["provider"]),
            prompt_tokens=event["input_tokens"] or 0,
            completion_tokens=event["output_tokens"] or 0,
            cache_read_input_tokens=event["cache_read_input_tokens"] or 0,
            cache_creation_input_tokens=event["cache_creation_input_tokens"] or 0,
            service_tier=event["service_tier"],
        )
    except Exception:  # it raises plain ones for models that it does not know
        return None
    return round(sum(costs) * 10**12)


def tokencost_sums(event: job.Event) -> int | None:
    """tokencost's `calculate_cost_by_tokens`, which knows input and output alone."""
    try:
        costs = (
            tokencost.calculate_cost_by_tokens(event[f"{kind}_tokens"] or 0, event["model"], kind)
            for kind in ("input", "output")
        )
        return job.picodollars(sum(costs))
    except KeyError:
        return None


PACKAGES: dict[str, Callable[[job.Event], int | None]] = {
    "genai_prices": job.price,
    "genai_prices_cached": genai_prices_cached,
    "litellm": litellm,
    "tokencost": tokencost_sums,
}


def events() -> Iterator[job.Event]:
    """The events of the topic, from its start."""
    consumer = Consumer(
        {"bootstrap.servers": job.BROKERS, "group.id": "bench-pricing", "auto.offset.reset": "earliest"}
    )
    consumer.subscribe([job.TOPIC])
    while True:
        for message in consumer.consume(1_000, timeout=1.0):
            if not message.error() and (event := job.decode(message.value() or b"")):
                yield event


def main() -> None:
    some = list(islice(events(), int(sys.argv[1])))
    micros = {}
    for name, price in PACKAGES.items():
        price(some[0])  # what is loaded with the first call is not timed
        started = time.perf_counter()
        costs = [price(event) for event in some]
        micros[name] = (time.perf_counter() - started) / len(some) * 1e6
        job.Store(f"bench_{name}").insert_rows(map(job.row, some, costs))
    print(json.dumps(micros))


if __name__ == "__main__":
    main()
