"""CSV, JSON lines and the two published traces as usage events; a bad line costs itself alone."""

import csv
import gzip
import io
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from streams.cli.produce import acceptable, command, with_hashed_users
from streams.errors import SpendError
from streams.event_columns import columns
from streams.formats import BadLine, Input, Portion, read_csv, read_jsonl
from streams.traces import TRACES, Assignment

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
HEADING = "id,source,time,provider,request_model,operation"
GOOD = "a1,gw,2026-11-20T10:00:00Z,openai,gpt-4o,chat"
EVENT = {
    "id": "a1",
    "source": "gw",
    "time": "2026-11-20T10:00:00Z",
    "provider": "openai",
    "request_model": "gpt-4o",
    "operation": "chat",
}


def of_csv(text: str | bytes) -> Portion:
    (portion,) = read_csv(io.BytesIO(text.encode() if isinstance(text, str) else text))
    return portion


def of_jsonl(*lines: object) -> Portion:
    text = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    (portion,) = read_jsonl(io.BytesIO(text.encode()))
    return portion


def assign(workloads: int = 12, customers: int = 60) -> Assignment:
    names = [tuple(f"{what}{n}" for n in range(count)) for what, count in (("w", workloads), ("c", customers))]
    return Assignment("trace", "openai", "gpt-4o", *names)


def test_csv_has_the_fields_of_an_event_as_columns() -> None:
    text = (
        f"{HEADING},input_tokens,is_batch,usage_status,workload,tags.cost_center,quantities.page,start_time\n"
        f"{GOOD},1200,true,partial,search,cc-7,3,1763632799.5\n"
        f"{GOOD.replace('a1', 'a2')},,,,,,,\n"
    )
    full, bare = of_csv(text).batch.to_pylist()
    assert (full["id"], full["source"], full["provider"], full["request_model"]) == ("a1", "gw", "openai", "gpt-4o")
    assert full["time"] == datetime(2026, 11, 20, 10)
    assert (full["input_tokens"], full["is_batch"], full["usage_status"]) == (1200, True, "partial")
    assert (full["tags"], full["quantities"]) == ([("cost_center", "cc-7")], [("page", 3)])
    assert full["start_time"] == datetime(2025, 11, 20, 9, 59, 59, 500_000)
    assert bare["input_tokens"] is None and bare["workload"] is None and bare["is_batch"] is None
    assert (bare["usage_status"], bare["cost_category"], bare["tags"], bare["quantities"]) == (
        "final",
        "inference",
        [],
        [],
    )


def test_json_lines_hold_maps_as_objects_or_as_fields() -> None:
    portion = of_jsonl(
        {**EVENT, "tags": {"a": "1"}, "quantities": {"web_search": 2}},
        {**EVENT, "tags.a": "1", "quantities.web_search": 2, "workload": None},
    )
    assert [event["tags"] for event in portion.batch.to_pylist()] == [[("a", "1")]] * 2
    assert [event["quantities"] for event in portion.batch.to_pylist()] == [[("web_search", 2)]] * 2
    assert portion.bad == []


@pytest.mark.parametrize(
    "said",
    [
        "2026-11-20T10:00:00.25Z",
        "2026-11-20T11:00:00.250000+01:00",
        "2026-11-20 10:00:00.25",
        1795168800.25,
        "1795168800.25",
        1795168800250,
        1795168800250000,
    ],
)
def test_a_time_is_iso_8601_or_a_count_since_1970(said: object) -> None:
    assert of_jsonl({**EVENT, "time": said}).batch["time"].to_pylist() == [datetime(2026, 11, 20, 10, 0, 0, 250_000)]


@pytest.mark.parametrize(
    "line, reason",
    [
        ("{", "is not JSON (Expecting property name"),
        ("[1]", "is not a JSON object"),
        ({**EVENT, "id": ""}, "id is missing"),
        ({key: value for key, value in EVENT.items() if key != "provider"}, "provider is missing"),
        ({**EVENT, "input_token": 5}, "input_token: an event has no such field"),
        ({**EVENT, "input_tokens": "many"}, "input_tokens: 'many' is not a whole number"),
        ({**EVENT, "input_tokens": 1.5}, "input_tokens: '1.5' is not a whole number"),
        ({**EVENT, "input_tokens": True}, "input_tokens: True is not a whole number"),
        ({**EVENT, "input_tokens": 2**63}, "input_tokens: 9223372036854775808 does not fit in 64 bits"),
        ({**EVENT, "time": "yesterday"}, "time: 'yesterday' is not a time"),
        ({**EVENT, "time": 10**18}, "time: 1000000000000000000 is not a time"),
        ({**EVENT, "stream": "maybe"}, "stream: 'maybe' is not true or false"),
        ({**EVENT, "cost_category": "fun"}, "cost_category: 'fun' is not one of training, inference, storage"),
        ({**EVENT, "tags": "x"}, "tags: 'x' is not an object"),
        ({**EVENT, "tags": {"x": 1.5}}, "tags.x: '1.5' is not text"),
        ({**EVENT, "quantities": {"page": "two"}}, "quantities.page: 'two' is not a whole number"),
        ({**EVENT, "workload": ["a"]}, "workload: ['a'] is not text"),
        ({**EVENT, "workload": "\ud800"}, "workload: is not UTF-8 text"),
        ('{"id": NaN}', "is not JSON (NaN is no number)"),
        ("[" * 100_000, "is not JSON"),
    ],
)
def test_a_bad_line_is_reported_by_number_with_its_reason_and_the_rest_goes_on(line: object, reason: str) -> None:
    portion = of_jsonl(EVENT, "", line, {**EVENT, "id": "a2"})
    (bad,) = portion.bad
    assert bad.number == 3
    assert bad.reason.startswith(reason)
    assert portion.batch["id"].to_pylist() == ["a1", "a2"]
    assert portion.lines.tolist() == [1, 4]


def test_csv_counts_lines_also_across_quoted_cells() -> None:
    text = f'{HEADING},workload\n{GOOD},"two\nlines"\n\nshort\n{GOOD},a,b\n{GOOD},ok\n'
    portion = of_csv(text)
    assert portion.bad == [
        BadLine(5, "has 1 cells where the heading has 7"),
        BadLine(6, "has 8 cells where the heading has 7"),
    ]
    assert portion.batch["workload"].to_pylist() == ["two\nlines", "ok"]
    assert portion.lines.tolist() == [2, 7]


def test_csv_that_is_not_utf_8_loses_that_line_only() -> None:
    portion = of_csv(f"{HEADING},workload\n{GOOD},".encode() + b"\xff\xfe\n" + f"{GOOD},Zürich\n".encode())
    assert portion.bad == [BadLine(2, "workload: is not UTF-8 text")]
    assert portion.batch["workload"].to_pylist() == ["Zürich"]


@pytest.mark.parametrize(
    "heading, says",
    [
        (f"{HEADING},input_token", "unknown column input_token"),
        ("id,source,time", "the heading lacks provider, request_model, operation"),
        (f"{HEADING},id", "names a column twice"),
        ("", "the heading lacks id"),
    ],
)
def test_a_heading_that_cannot_be_meant_is_one_clear_line(heading: str, says: str) -> None:
    with pytest.raises(SpendError, match=says):
        of_csv(f"{heading}\n{GOOD}\n")


def test_a_byte_order_mark_is_no_part_of_the_heading() -> None:
    assert of_csv(b"\xef\xbb\xbf" + f"{HEADING}\n{GOOD}\n".encode()).batch.num_rows == 1


def test_many_lines_come_in_portions_with_numbers_that_go_on() -> None:
    text = "".join(json.dumps({**EVENT, "id": str(n)}) + "\n" for n in range(1, 45_001))
    portions = list(read_jsonl(io.BytesIO(text.encode())))
    assert len(portions) == 3
    assert [line for portion in portions for line in portion.lines.tolist()] == list(range(1, 45_001))


def test_gzip_is_known_by_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "events.jsonl").write_bytes(gzip.compress(json.dumps(EVENT).encode()))
    with Input(str(tmp_path / "events.jsonl")) as file:
        assert next(read_jsonl(file.stream)).batch.num_rows == 1
        assert file.position() == file.size


def test_a_file_that_is_not_there_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(SpendError, match="cannot be read"):
        Input(str(tmp_path / "none.csv"))


def test_what_the_pipeline_would_refuse_is_a_bad_line() -> None:
    portion = acceptable(
        of_jsonl(
            EVENT,
            {**EVENT, "input_tokens": 10, "cache_read_input_tokens": 11},
            "nonsense",
            {**EVENT, "output_tokens": -1},
            {**EVENT, "time": "2090-01-01T00:00:00Z"},
        )
    )
    assert portion.batch.num_rows == 1
    assert [bad.number for bad in portion.bad] == [2, 3, 4, 5]
    assert portion.bad[0].reason == "cache_read_input_tokens 11 is more than input_tokens 10"


def test_users_in_the_clear_are_hashed_and_hashed_ones_stay() -> None:
    batch = of_jsonl(*({**EVENT, "user": user} for user in ("ann", "bob", None, "ann", "0123456789abcdef" * 2))).batch
    plain = with_hashed_users(batch, None)["user"].to_pylist()
    keyed = with_hashed_users(batch, b"0123456789abcdef")["user"].to_pylist()
    for hashed in (plain, keyed):
        assert hashed[0] == hashed[3] != hashed[1]
        assert hashed[2:5:2] == [None, "0123456789abcdef" * 2]
        assert len(hashed[0]) == 32 and "ann" not in hashed[0]
    assert plain[0] != keyed[0]


def test_help_documents_every_column() -> None:
    text = command.__doc__ or ""
    for name, column in columns().items():
        assert f"`{name}` (" in text
        assert column.doc.replace("[", "\\[") in text


MOONCAKE = [
    {"timestamp": 0, "input_length": 1300, "output_length": 5, "hash_ids": [1, 2, 3]},
    {"timestamp": 0, "input_length": 1300, "output_length": 6, "hash_ids": [1, 2, 3]},
    {"timestamp": 3000, "input_length": 1500, "output_length": 7, "hash_ids": [1, 9, 3]},
    {"timestamp": 6000, "input_length": 100, "output_length": 8, "hash_ids": [9]},
    {"timestamp": 6000, "input_length": 700, "output_length": 9, "hash_ids": []},
]


def mooncake(*lines: object, start: datetime | None = None) -> Portion:
    text = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    return TRACES["mooncake"].read(io.BytesIO(text.encode()), assign(2, 2), start=start, now=NOW)


def test_a_cache_read_is_the_leading_blocks_that_came_before() -> None:
    assert mooncake(*MOONCAKE).batch["cache_read_input_tokens"].to_pylist() == [
        0,  # nothing was there
        1300,  # all three blocks, the last of them in part
        512,  # the first block; the second is new to it, and what follows a miss is no prefix
        100,  # one block, in part
        0,
    ]


def test_a_trace_ends_now_or_starts_when_told() -> None:
    ends = mooncake(*MOONCAKE).batch["time"].to_pylist()
    assert (ends[0], ends[-1]) == (datetime(2026, 11, 20, 11, 59, 54), datetime(2026, 11, 20, 12))
    starts = mooncake(*MOONCAKE, start=datetime(2026, 11, 1, tzinfo=UTC)).batch["time"].to_pylist()
    assert (starts[0], starts[-1]) == (datetime(2026, 11, 1), datetime(2026, 11, 1, 0, 0, 6))


def test_workload_and_customer_follow_from_the_line_alone() -> None:
    batch = mooncake(*MOONCAKE).batch
    assert batch["id"].to_pylist() == ["1", "2", "3", "4", "5"]
    assert batch["workload"].to_pylist() == ["w0", "w1", "w0", "w1", "w0"]
    assert batch["customer"].to_pylist() == ["c0", "c0", "c1", "c1", "c0"]


def test_a_bad_line_of_a_trace_is_reported_and_the_others_keep_their_ids() -> None:
    portion = mooncake(MOONCAKE[0], '{"timestamp": 1}', "nonsense", "", MOONCAKE[1])
    assert [bad.number for bad in portion.bad] == [2, 3]
    assert portion.batch["id"].to_pylist() == ["1", "5"]
    text = (
        "TIMESTAMP,ContextTokens,GeneratedTokens\n"
        "2023-11-16 18:15:46.6805900,374,44\n"
        "soon,1,1\n"
        "2023-11-16 18:15:50.9951690,5\n"
        "2023-11-16 18:15:50.9951699,396,109"
    )
    portion = TRACES["azure-llm"].read(io.BytesIO(text.encode()), assign(), start=None, now=NOW)
    assert [bad.number for bad in portion.bad] == [3, 4]
    assert portion.batch["id"].to_pylist() == ["2", "5"]
    first, last = portion.batch["time"].to_pylist()
    assert (last - first).total_seconds() == pytest.approx(4.314579)  # whole microseconds: 46.680590 to 50.995169


@pytest.mark.parametrize("name", ["azure-llm", "mooncake"])
@pytest.mark.parametrize("text", ["", "id,source\n1,2\n", "{}\n"])
def test_something_else_is_not_taken_for_a_trace(name: str, text: str) -> None:
    with pytest.raises(SpendError, match="trace"):
        TRACES[name].read(io.BytesIO(text.encode()), assign(), start=None, now=NOW)


@pytest.mark.data
def test_the_azure_trace_comes_whole(shared_data: Path) -> None:
    path = shared_data / "azure_llm_conv_2023.csv.gz"
    with gzip.open(path, "rt", newline="") as file:
        rows = list(csv.DictReader(file))
    with Input(str(path)) as file:
        portion = TRACES["azure-llm"].read(file.stream, assign(), start=None, now=NOW)
    assert portion.batch.num_rows == len(rows) == 19_366
    assert portion.bad == []
    assert portion.batch["input_tokens"].to_pylist() == [int(row["ContextTokens"]) for row in rows]
    assert portion.batch["output_tokens"].to_pylist() == [int(row["GeneratedTokens"]) for row in rows]
    start = datetime.fromisoformat(rows[0]["TIMESTAMP"])
    times = portion.batch["time"].to_pylist()
    assert [time - times[0] for time in times[::1000]] == [
        datetime.fromisoformat(row["TIMESTAMP"]) - start for row in rows[::1000]
    ]
    assert times[-1] == NOW.replace(tzinfo=None)


@pytest.mark.data
def test_the_mooncake_trace_comes_whole_with_honest_cache_reads(shared_data: Path) -> None:
    path = shared_data / "mooncake_conversation.jsonl.gz"
    seen: set[int] = set()
    expected = []
    with gzip.open(path, "rt") as file:
        for request in map(json.loads, file):
            leading = 0
            for block in request["hash_ids"]:
                if block not in seen:
                    break
                leading += 1
            seen.update(request["hash_ids"])
            length = request["input_length"]
            expected.append((length, request["output_length"], min(leading * 512, length)))
    with Input(str(path)) as file:
        batch = TRACES["mooncake"].read(file.stream, assign(), start=None, now=NOW).batch
    names = ("input_tokens", "output_tokens", "cache_read_input_tokens")
    assert batch.num_rows == 12_031
    assert list(zip(*(batch[name].to_pylist() for name in names), strict=True)) == expected
    assert sum(read for *_, read in expected) == 54_098_411
