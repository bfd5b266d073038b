"""What a stream needs, by what its events cost: the arithmetic behind the sizing table of docs/operations.md."""

import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

from benchmarks.sizing import PROCESSES, SERVERS, SHARE, Cost, Measured, size, table

# An event: 20 µs of a price worker, 30 of a windows worker, 2 of a sink, 15 of ClickHouse, 5 of Kafka.
COSTS = {
    "worker": Cost(20, 0.01),
    "windows": Cost(30, 0.02),
    "sink": Cost(2, 0.005),
    "clickhouse": Cost(15, 0.03),
    "broker": Cost(5, 0.01),
}
MEASURED = Measured(COSTS, kafka_bytes=800, row_bytes=100)

costs = st.builds(Cost, st.floats(0.1, 60), st.floats(0, 0.1))
measurements = st.builds(
    Measured,
    st.fixed_dictionaries({name: costs for name in (*PROCESSES, *SERVERS)}),
    kafka_bytes=st.just(800.0),
    row_bytes=st.just(100.0),
)


def test_a_small_stream_needs_one_of_each():
    found = size(1_000, MEASURED)
    assert found.partitions == 4
    assert set(found.counts.values()) == {1}  # the dearest, a windows worker: 0.03 + 4 × 0.02 cores of 0.6


def test_a_large_stream_is_shared_out_so_that_each_has_two_fifths_to_spare():
    found = size(50_000, MEASURED)
    assert found.counts["windows"] == 3  # 1.5 + 8 × 0.02 = 1.66 cores, 0.6 each
    assert found.counts["worker"] == 2  # 1.0 + 8 × 0.01 = 1.08
    assert found.counts["sink"] == 1  # 0.1 + 8 × 0.005 = 0.14
    assert found.counts["clickhouse"] == 2  # 0.75 + 8 × 0.03 = 0.99
    assert found.counts["broker"] == 1  # 0.25 + 8 × 0.01 = 0.33
    assert found.partitions == 8  # two for each of three windows workers


def test_bytes_are_those_of_one_copy():
    found = size(50_000, MEASURED)
    assert found.kafka_mb_a_second == pytest.approx(40)  # 50,000 × 800 bytes
    assert found.clickhouse_gb_a_day == pytest.approx(432)  # 50,000 × 86,400 × 100 bytes


@given(measurements, st.integers(1, 500_000))
def test_no_process_is_planned_beyond_its_share_and_each_kind_may_double(measured: Measured, rate: int):
    try:
        found = size(rate, measured)
    except ValueError:  # no size
        reject()
    for name, count in found.counts.items():
        assert measured.costs[name].cores(rate, found.partitions) / count <= SHARE + 1e-9
    assert all(2 * found.counts[name] <= found.partitions for name in PROCESSES)


def test_partitions_that_cost_more_than_their_work_have_no_size():
    idle = Cost(10, SHARE)
    with pytest.raises(ValueError, match="need more than 1024 partitions"):
        size(1_000, Measured({**COSTS, "windows": idle}, 800, 100))


def test_the_table_is_markdown_with_a_line_a_rate():
    lines = table(MEASURED).splitlines()
    assert lines[0].startswith("| events/s | partitions | price workers | windows workers | sinks | ClickHouse cores |")
    assert lines[5] == "| 50,000 | 8 | 2 | 3 | 1 | 2 | 1 | 40.0 MB/s | 432 GB a day |"
    assert len({line.count("|") for line in lines}) == 1
