"""The peers of the benchmark are asked the same question as the pipeline: the same events, prices and windows."""

import re
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree

import polars as pl

from benchmarks import bar_chart
from benchmarks.peers import job
from benchmarks.peers_venv import REQUIREMENTS
from schemas.codec import WriterSchemas, encode_events
from streams.spend.decode import decode
from streams.spend.price import COLUMNS, price
from streams.spend.rates import default_table

NOON = datetime(2026, 11, 2, 12, 0, 59, tzinfo=UTC)


def call(**fields: object) -> dict[str, object]:
    return {
        **{"id": "1", "source": "gateway", "time": int(NOON.timestamp()) * 1_000_000, "operation": "chat"},
        **{"provider": "openai", "request_model": "gpt-4.1", "input_tokens": 1_000, "output_tokens": 100},
        **fields,
    }


def test_a_peer_prices_simple_calls_as_the_pipeline_does():
    values = encode_events(
        [
            call(),
            call(provider="anthropic", request_model="claude-haiku-4-5", input_tokens=7),
            call(provider="x_ai", request_model="grok-4.7"),
            call(request_model="gpt-5.4", is_batch=True),
            call(request_model="no-such-model"),
        ]
    )
    ours = price(pl.DataFrame(decode(values, WriterSchemas()).batch.select(COLUMNS)), default_table())
    theirs = [job.price(event) for event in map(job.decode, values) if event]
    assert theirs[0] == 1_000 * 2_000_000 + 100 * 8_000_000  # picodollars: 2 and 8 USD a million tokens
    assert theirs[-1] is None
    assert theirs == ours["cost_total"].to_list()


def test_what_is_no_event_is_nothing_to_a_peer():
    assert job.decode(b"\xc3\x01 no event") is None


def test_an_event_adds_to_its_minute_of_seven_dimensions():
    (value,) = encode_events([call(customer="acme", team="search")])
    event = job.decode(value)
    assert event is not None
    assert job.minute(event) == int(NOON.timestamp()) - 59
    assert dict(job.members(event)) == {
        **{"global": "", "workload": "", "customer": "acme", "team": "search", "user": ""},
        **{"provider": "openai", "model": "gpt-4.1"},
    }


def test_peers_price_with_the_same_releases_as_the_pipeline():
    lock = (Path(__file__).parents[2] / "requirements.lock").read_text(encoding="utf-8")
    locked = dict(re.findall(r"^([a-z0-9-]+)==([^ ;]+)", lock, re.MULTILINE))
    pinned = dict(re.findall(r"^([a-z0-9-]+)==(\S+)", REQUIREMENTS.read_text(encoding="utf-8"), re.MULTILINE))
    shared = {"genai-prices", "fastavro", "clickhouse-connect"}
    assert {name: pinned[name] for name in shared} == {name: locked[name] for name in shared}


def test_bars_are_as_long_as_their_speeds():
    drawn = ElementTree.fromstring(bar_chart.svg("Ours & theirs", {"ours": 4_000.0, "theirs": 1_000.0}))
    _, ours, theirs = drawn.iter("{http://www.w3.org/2000/svg}rect")
    assert float(ours.attrib["width"]) == 4 * float(theirs.attrib["width"])
