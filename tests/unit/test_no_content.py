"""What is said to a model cannot enter: every text field is reviewed, and what is no name or number is not kept."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import schemas
from clickhouse import migrate
from schemas.bounds import MAX_KEPT_USAGE_BYTES, MAX_TAG_CHARACTERS, MAX_TEXT_BYTES, text_limit
from schemas.codec import WriterSchemas, encode_events
from schemas.priced import priced_arrow, usage_event_arrow
from schemas.windows import windows_arrow
from streams.settings import Settings
from streams.spend import totals
from streams.spend.content import CUT, without_content
from streams.spend.decide import PartitionState, PoisonGuard, decide
from streams.spend.decode import decode
from streams.spend.dedupe import DedupIndex
from streams.spend.rates import default_table
from streams.spend.records import Records

# Reviewed: what each text of an event holds, and why a prompt has no business there. All are bounded (`text_limit`).
EVENT = {
    **dict.fromkeys(("id", "source", "response_id", "correction_of", "retry_of", "trace_id", "batch_id"), "an id"),
    **dict.fromkeys(("conversation_id", "api_key_id"), "an id, never what it stands for"),
    **dict.fromkeys(("provider", "request_model", "response_model", "operation", "service_tier", "speed"), "a word"),
    **dict.fromkeys(("finish_reason", "error_type", "reported_cost_currency", "unit_type"), "a word"),
    **dict.fromkeys(("usage_status", "cost_category", "cache_outcome"), "a word of a list"),
    **dict.fromkeys(("server", "region", "gateway", "environment", "release"), "a name of infrastructure"),
    **dict.fromkeys(("workload", "customer", "team", "project", "service", "workflow", "agent"), "a name"),
    "user": "hashed by the producer, or its pseudonym",
    "prompt_hash": "a keyed hash",
    "quantities": "names of units",
    "tags": "names: 256 characters are kept, and a row that lost some says so",
    "raw_usage": "numbers and names without a space, 4 KiB; anything else is left out, and the row says so",
}
# What the pipeline adds by itself; names of it are those of an event's fields.
ADDED = {
    **dict.fromkeys(("model", "pricing_status", "rate_id", "price_version", "unpriced_units"), "of the rates"),
    **dict.fromkeys(("log_id", "priced_log_id", "level", "dimension"), "of the pipeline"),
    "member": "a field of the event that is reviewed above",
}
# Columns of a table whose rows are no events: what people or the pipeline wrote about sums.
TABLES: dict[str, dict[str, str]] = {
    "progress": {"dead_letters": "reasons and counts"},
    "health": {"dead_letters": "reasons and counts"},
    "alerts": {
        **dict.fromkeys(("id", "incident", "type", "change", "severity", "subject"), "of the pipeline"),
        **dict.fromkeys(("title", "text", "data"), "made of sums and members (schemas/alerts)"),
    },
    "budgets": {"id": "made of its name", "value": "a budget, as a person wrote it"},
    "budget_status": {
        **dict.fromkeys(("key", "budget_id", "name", "scope", "period", "state"), "of the budget"),
        "value": "a status, made of sums and members",
    },
    "deliveries": {
        **dict.fromkeys(("alert_id", "channel", "state"), "of the relay"),
        "last_error": "what a chat or paging tool answered",
        "value": "the same as JSON",
    },
    "planned": {"id": "of the member and time", "value": "planned activity, as a person wrote it"},
    "migrations": dict.fromkeys(("name", "action", "digest"), "of the schema"),
    "organisation": {"timezone": "SPEND_TIMEZONE"},
}
PROMPT = "Write me a story about a dragon. " * 20


def texts_of_avro(kind: Any) -> bool:
    """Whether an Avro type can hold text or bytes, at any depth."""
    if isinstance(kind, list):
        return any(texts_of_avro(branch) for branch in kind)
    if isinstance(kind, dict):
        inner = [kind.get(name) for name in ("values", "items")] + [field["type"] for field in kind.get("fields", ())]
        return kind["type"] in ("enum", "map", "fixed") or texts_of_avro(kind["type"]) or texts_of_avro(inner)
    return kind in ("string", "bytes")


def texts_of_arrow(schema: pa.Schema) -> set[str]:
    """Columns that are anything but numbers, times and booleans."""
    plain = (pa.types.is_integer, pa.types.is_timestamp, pa.types.is_boolean, pa.types.is_decimal)
    return {field.name for field in schema if not any(is_plain(field.type) for is_plain in plain)}


PLAIN = r"(Nullable\()?(SimpleAggregateFunction\(sum, )?(U?Int\d+|Bool|Decimal|DateTime(64)?)\b"
"""The kinds of columns that hold no text."""


def texts_of_tables() -> dict[str, set[str]]:
    """By table, its columns that can hold text."""
    conf = Settings()
    made = [text for each in migrate.migrations() for text in migrate.statements(each.up, conf)]
    made += migrate.statements(migrate.HISTORY, conf)
    found: dict[str, set[str]] = {}
    for text in made:
        if table := re.match(r"CREATE TABLE IF NOT EXISTS spend\.(\w+)", text):
            body = text.split("\n(\n", 1)[1].split("\n)\n", 1)[0]
            columns = [
                line.strip().split(" ", 1) for line in body.splitlines() if not line.strip().startswith("INDEX ")
            ]
            found[table[1]] = {name for name, kind in columns if not re.match(PLAIN, kind)}
        elif view := re.match(r"CREATE OR REPLACE VIEW spend\.(\w+)", text):
            found[view[1]] = set(re.findall(r" AS (\w+)", text.split("SELECT", 1)[1]))
        elif change := re.match(r"ALTER TABLE spend\.(\w+)\s+ADD COLUMN", text):
            added = [part.split("ADD COLUMN IF NOT EXISTS ", 1)[1].split(" ", 1) for part in text.split(",\n")]
            found[change[1]] |= {name for name, kind in added if not re.match(PLAIN, kind)}
        else:
            others = r"CREATE (DATABASE|MATERIALIZED VIEW \S+ \S+ \S+ \S+ TO) ?|ALTER TABLE \S+\s+MODIFY SETTING "
            assert re.match(others, text), text
    return found


@pytest.mark.parametrize("path", sorted(Path(schemas.__path__[0]).glob("*.avsc")), ids=lambda path: path.name)
def test_every_text_of_a_published_event_is_reviewed(path: Path) -> None:
    fields = json.loads(path.read_text())["fields"]
    unreviewed = {field["name"] for field in fields if texts_of_avro(field["type"])} - set(EVENT)
    assert not unreviewed, f"{unreviewed}: review what it may hold, bound it, then add it to EVENT"


def test_nothing_is_reviewed_that_is_not_there() -> None:
    assert set(EVENT) == texts_of_arrow(usage_event_arrow())


def test_every_text_of_a_block_is_reviewed() -> None:
    assert texts_of_arrow(priced_arrow()) - set(EVENT) == {
        *("model", "pricing_status", "rate_id", "price_version", "unpriced_units", "log_id"),
    }
    assert {name for name, kind in totals.SCHEMA.items() if not kind.is_numeric()} == {"dimension", "member"}
    assert texts_of_arrow(windows_arrow()) == {"log_id", "level", "dimension", "member"}


def test_every_text_of_a_table_is_reviewed() -> None:
    tables = texts_of_tables()
    assert set(TABLES) <= set(tables)
    for table, columns in tables.items():
        unreviewed = columns - set(EVENT) - set(ADDED) - set(TABLES.get(table, ()))
        assert not unreviewed, f"{table}: {unreviewed}: review what it may hold, then add it to TABLES"
    assert {"usage", "usage_15m", "members_15m", "windows"} == set(tables) - set(TABLES)


def test_every_text_of_an_event_has_a_bound() -> None:
    assert {text_limit(name) for name in EVENT if name != "raw_usage"} == {MAX_TEXT_BYTES} == {1024}
    assert (MAX_TAG_CHARACTERS, MAX_KEPT_USAGE_BYTES) == (256, 4096)


NOON = 1_772_366_400_000_000  # 2026-03-01T12:00:00Z
WRITERS = WriterSchemas()


def event(number: int, **changes: Any) -> dict[str, Any]:
    given = {"id": f"e{number}", "source": "gw", "time": NOON, "provider": "openai", "request_model": "gpt-5-mini"}
    return {**given, "operation": "chat", "input_tokens": 1_000, "output_tokens": 200, **changes}


def kept(*changes: dict[str, Any]) -> list[tuple[dict[str, str], str | None]]:
    """Tags and raw usage of each event as the pipeline keeps them."""
    batch = decode(encode_events([event(n, **each) for n, each in enumerate(changes)]), WRITERS).batch
    found, cut = without_content(batch)
    found.validate(full=True)
    assert found.schema == batch.schema
    rows = [(dict(row["tags"]), row["raw_usage"]) for row in found.to_pylist()]
    assert cut == sum(CUT in tags for tags, _ in rows)
    return rows


USAGE_OBJECTS = [
    '{"prompt_tokens":12,"completion_tokens":3,"prompt_tokens_details":{"cached_tokens":0,"audio_tokens":null}}',
    '{"input_tokens": 2095, "cache_creation": {"ephemeral_1h_input_tokens": 0}, "service_tier": "standard"}',
    '{"promptTokenCount":9,"promptTokensDetails":[{"modality":"TEXT","tokenCount":9}],"trafficType":"ON_DEMAND"}',
    '{\n  "cost": 1.25e-05, "is_byok": false, "server_tool_use": {"web_search_requests": 2}, "geo": ""\n}',
]
NO_USAGE_OBJECTS = [
    PROMPT,
    json.dumps({"prompt": PROMPT}),
    '{"messages":[{"role":"user","content":"Tell me a story"}]}',
    '{"words":["Tell","me","a","story"]}',
    '{"input_tokens":1,"text":"ein\\u0020Satz"}',
    '{"Tell me a story":1}',
    f'{{"a":"{"x" * 65}"}}',
    '{"input_tokens":' + "1" * 21 + "}",
    "{" + '"n":1,' * 700 + '"n":1}',  # 4,206 bytes
    '"input_tokens"',
    "",
]


def test_a_usage_object_of_numbers_and_names_is_kept_as_it_came() -> None:
    assert [raw for _, raw in kept(*({"raw_usage": raw} for raw in USAGE_OBJECTS))] == USAGE_OBJECTS


def test_a_usage_object_that_holds_words_is_left_out_and_its_row_says_so() -> None:
    changes = [{"raw_usage": raw, "tags": {"k": "v"}} for raw in NO_USAGE_OBJECTS]
    assert kept(*changes) == [({"k": "v", CUT: "raw_usage"}, None)] * len(changes)


def test_a_tag_of_over_256_characters_is_cut_and_its_row_says_so() -> None:
    assert (
        kept(
            {"tags": {"a": "é" * 256, "b": "x"}},  # 512 bytes, 256 characters
            {},
            {"tags": {"before": "1", "note": "é" * 257, "after": "2"}},
            {"tags": {"note": PROMPT, "k" * 257: "x"}, "raw_usage": PROMPT},
            {"tags": {CUT: "said by the producer", "note": PROMPT}},
        )
        == [
            ({"a": "é" * 256, "b": "x"}, None),
            ({}, None),
            ({"before": "1", "note": "é" * 256, "after": "2", CUT: "tags"}, None),
            ({"note": PROMPT[:256], CUT: "raw_usage,tags"}, None),
            ({"note": PROMPT[:256], CUT: "tags"}, None),
        ]
    )


def test_events_that_are_as_they_should_be_are_not_touched() -> None:
    batch = decode(encode_events([event(0, tags={"a": "b"}, raw_usage=USAGE_OBJECTS[0]), event(1)]), WRITERS).batch
    assert without_content(batch) == (batch, 0)
    assert without_content(batch)[0] is batch


def test_a_slice_of_a_batch_is_cut_like_a_whole_one() -> None:
    changes = [{"tags": {"a": PROMPT}}, {"tags": {"b": "x"}}, {"raw_usage": PROMPT}, {"tags": {"c": PROMPT}}, {}]
    batch = decode(encode_events([event(n, **each) for n, each in enumerate(changes)]), WRITERS).batch
    whole = without_content(batch)[0].to_pylist()
    for start in range(5):
        for length in range(1, 6 - start):
            assert without_content(batch.slice(start, length))[0].to_pylist() == whole[start : start + length]


def test_what_is_cut_changes_no_cost_and_no_decision() -> None:
    contract = "c" * 300  # prices by contract read the tag before it is cut
    plain = [event(n, tags={"contract": contract}, input_tokens=1_000 + n) for n in range(3)]
    wordy = [each | {"raw_usage": PROMPT, "tags": each["tags"] | {"note": PROMPT}} for each in plain]
    sums = []
    for events in (plain, wordy):
        values = encode_events(events)
        state = PartitionState("log", "blocks", 0, 1, -1, 0, DedupIndex(1_000), PoisonGuard(100, 0.5))
        keys = [b"gw:" + each["id"].encode() for each in events]
        decision = decide(Records.of(keys, values, np.arange(3), np.full(3, NOON)), state, WRITERS, default_table())
        assert (decision.cut, decision.dead_letters) == (3, [])
        sums.append(decision.block.batch.select(["cost_total", "cost_input", "pricing_status", "source_offset"]))
    assert sums[0].equals(sums[1])
    assert sums[0].column("cost_total").null_count == 0
