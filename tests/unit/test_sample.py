"""The sample traffic: the same again from the same seed, as the real traces are, and with a truth that adds up."""

import importlib.util
import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from importlib import resources
from pathlib import Path
from types import ModuleType

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from pyarrow import feather

from schemas.codec import WriterSchemas, encode_batch
from streams.event_columns import EPOCH
from streams.rate_sources import read_rates_file
from streams.sample.arrivals import HOUR_US, Demand
from streams.sample.generator import Sample, generate
from streams.sample.kinds import KINDS
from streams.sample.live import LiveTraffic
from streams.sample.organisation import organisation
from streams.sample.quantiles import Table, measured
from streams.sample.spoil import SPOILS
from streams.spend.check import check
from streams.spend.decode import decode
from streams.spend.price import price
from streams.spend.rates import default_table

END = datetime(2026, 11, 20, 17, 30, tzinfo=UTC)


@pytest.fixture(scope="module")
def sample() -> Sample:
    return generate(seed=7, end=END, events=80_000)


@pytest.fixture(scope="module")
def frame(sample: Sample) -> pl.DataFrame:
    """The events that count."""
    names = [name for name in sample.events.schema.names if name not in ("quantities", "tags")]
    return pl.DataFrame(pl.from_arrow(sample.events.select(names))).filter(pl.Series(sample.spoilt < 0))


def records(sample: Sample) -> list[tuple[bytes, bytes]]:
    return [pair for keys, values in sample.encoded() for pair in zip(keys, values, strict=True)]


def distance(drawn: np.ndarray, table: Table) -> float:
    """Kolmogorov-Smirnov: the greatest difference between the shares at or below any quantile of the table."""
    below = np.searchsorted(np.sort(drawn), table.values, side="right") / len(drawn)
    under = np.searchsorted(np.sort(drawn), table.values, side="left") / len(drawn)
    return float(np.max(np.maximum(table.probabilities - below, under - table.probabilities)))


def test_the_same_seed_and_end_give_the_same_records_to_the_byte() -> None:
    first, again = (generate(seed=3, end=END, events=4_000) for _ in range(2))
    assert records(first) == records(again)
    assert first.truth == again.truth


@pytest.mark.parametrize("seed, end", [(4, END), (3, END + timedelta(microseconds=1))])
def test_another_seed_or_end_shares_no_event(seed: int, end: datetime) -> None:
    first, other = generate(seed=3, end=END, events=2_000), generate(seed=seed, end=end, events=2_000)
    assert not set(first.events["id"].to_pylist()) & set(other.events["id"].to_pylist())


def test_there_are_as_many_records_as_events_duplicates_and_dead_letters(sample: Sample) -> None:
    truth = sample.truth
    assert truth.events == 80_000
    assert truth.records == truth.events + truth.duplicates + sum(truth.dead_letters.values()) == len(records(sample))
    assert sum(truth.dead_letters.values()) == sum(truth.spoilt.values()) == int((sample.spoilt >= 0).sum())


def test_decoding_and_checking_the_records_finds_exactly_the_truth(sample: Sample) -> None:
    sent_at = (END - EPOCH) // timedelta(microseconds=1)
    reasons: Counter[str] = Counter()
    events: Counter[tuple[str, str]] = Counter()
    for _, values in sample.encoded():
        decoded = decode(values, WriterSchemas())
        keep, refused = check(decoded.batch, np.full(decoded.batch.num_rows, sent_at))
        reasons.update(found.reason for found in [*decoded.poison, *refused])
        pairs = zip(decoded.batch["source"].to_pylist(), decoded.batch["id"].to_pylist(), strict=True)
        events.update(pair for pair, kept in zip(pairs, keep, strict=True) if kept)
    assert dict(reasons) == sample.truth.dead_letters
    assert len(events) == sample.truth.events
    assert sum(events.values()) - len(events) == sample.truth.duplicates


def test_every_kind_of_event_and_of_poison_occurs(sample: Sample) -> None:
    assert [kind for kind, count in sample.truth.kinds.items() if count == 0] == []
    assert set(sample.truth.kinds) == set(KINDS)
    assert all(sample.truth.spoilt[spoil.name] >= 1 for spoil in SPOILS)
    assert sample.truth.duplicates_soon == 480  # 0.6% of 80,000
    assert sample.truth.duplicates_later == 160
    assert sample.truth.kinds["late by a day or more"] == 320
    assert sample.truth.kinds["retries"] == 480
    assert sample.truth.kinds["failed calls"] == 640


def test_a_duplicate_comes_after_the_first_and_never_beyond_the_end(sample: Sample, frame: pl.DataFrame) -> None:
    firsts: dict[int, int] = {}
    for place, row in enumerate(sample.order.tolist()):
        assert firsts.setdefault(row, place) <= place
    assert len(firsts) == sample.events.num_rows
    assert frame["emitted_at"].max() <= END.replace(tzinfo=None)  # type: ignore[operator]
    assert frame["time"].min() >= (END - timedelta(days=35)).replace(tzinfo=None)  # type: ignore[operator]
    assert (frame["start_time"] <= frame["time"]).all() and (frame["time"] <= frame["emitted_at"]).all()


@pytest.mark.parametrize("workload, trace", [("support-chat", "azure-llm"), ("code-assistant", "mooncake")])
def test_token_lengths_follow_the_real_traces(frame: pl.DataFrame, workload: str, trace: str) -> None:
    calls = frame.filter(
        (pl.col("workload") == workload)
        & (pl.col("operation") == "chat")
        & (pl.col("usage_status") == "final")
        & pl.col("error_type").is_null()
        & (pl.col("cache_outcome").fill_null("miss") != "hit")
    )
    tables = measured().traces[trace]
    assert len(calls) > 5_000
    assert distance(calls["input_tokens"].to_numpy(), tables.input_tokens) < 0.03
    assert distance(calls["output_tokens"].to_numpy(), tables.output_tokens) < 0.03


def test_cache_reads_follow_the_real_trace_in_whole_blocks(frame: pl.DataFrame) -> None:
    calls = frame.filter(
        (pl.col("workload") == "document-qa")
        & (pl.col("input_tokens") >= 1024)
        & pl.col("cache_read_input_tokens").is_not_null()
    )
    whole = (pl.col("cache_read_input_tokens") % 512 == 0) | (
        pl.col("cache_read_input_tokens") == pl.col("input_tokens")
    )
    assert calls.filter(~whole).is_empty()
    tables = measured().cache_read
    quarter = np.searchsorted(tables.bounds, calls["input_tokens"].to_numpy())
    shares = (calls["cache_read_input_tokens"] / calls["input_tokens"]).to_numpy()
    for number, table in enumerate(tables.quarters):
        expected = float(np.interp(0.5, table.probabilities, table.values))
        assert abs(float(np.median(shares[quarter == number])) - expected) < 0.09  # blocks are coarse for short prompts
    weighted = calls["cache_read_input_tokens"].to_numpy().sum() / calls["input_tokens"].to_numpy().sum()
    assert 0.33 < weighted < 0.42  # 0.374 in the trace


@pytest.mark.parametrize("workload", ["support-chat", "code-assistant"])
def test_arrival_gaps_follow_the_real_traces_within_the_season(workload: str) -> None:
    org = organisation()
    demand = Demand(org, END - timedelta(days=35), 35, sized_at=END)
    arrivals = demand.spread(np.random.default_rng(5), 80_000)
    index = [w.name for w in org.workloads].index(workload)
    times = arrivals.time[arrivals.workload == index]
    expected = np.concatenate([[0.0], np.cumsum(demand.by_hour[index])])
    reached = np.interp((times - demand.start_us) / HOUR_US, np.arange(len(expected)), expected)
    gaps = np.diff(reached)
    table = measured().traces[org.workloads[index].gaps].gap_us
    mean = np.interp(np.linspace(0, 1, 100_001), table.probabilities, table.values).mean()
    for share in (0.25, 0.5, 0.75, 0.95):
        real = float(np.interp(share, table.probabilities, table.values)) / mean
        assert abs(float(np.quantile(gaps / gaps.mean(), share)) - real) < 0.08 * max(real, 0.2)


def test_traffic_has_days_and_weeks(frame: pl.DataFrame) -> None:
    office = frame.filter(pl.col("workload") == "mail-drafts")["time"]
    weekend = (office.dt.weekday() >= 6).mean()
    by_day = (office.dt.hour().is_between(8, 16)).mean()
    assert weekend is not None and weekend < 0.08  # type: ignore[operator]  # 2 days of 7 would be 0.29
    assert by_day is not None and by_day > 0.6  # type: ignore[operator]  # 9 hours of 24 would be 0.38
    night = frame.filter(pl.col("workload") == "nightly-reports")["time"].dt.hour()
    assert ((night <= 5) | (night >= 22)).mean() > 0.9  # type: ignore[operator]


def test_everything_is_priced_but_the_model_that_nobody_knows(sample: Sample) -> None:
    own = read_rates_file(Path(str(resources.files("streams.sample").joinpath("rates.yaml"))))
    events = pl.DataFrame(pl.from_arrow(sample.events.filter(pa.array(sample.spoilt < 0))))
    priced = pl.concat([events.select("request_model"), price(events, default_table(own))], how="horizontal")
    unpriced = priced.filter(pl.col("pricing_status") != "priced")
    assert set(unpriced["request_model"]) == {"gpt-7-preview"}
    assert unpriced.height == sample.truth.kinds["unknown model"]
    assert priced["problem"].null_count() == priced.height


def test_clickhouse_counts_the_same_kinds_as_the_generator(sample: Sample, tmp_path: Path) -> None:
    chdb = pytest.importorskip("chdb", reason="the embedded ClickHouse is not installed")
    feather.write_feather(
        pa.table(sample.events.filter(pa.array(sample.spoilt < 0))),
        tmp_path / "events.arrow",
        compression="uncompressed",
    )
    counts = ", ".join(f"countIf({condition})" for condition in KINDS.values())
    said = chdb.query(f"SELECT {counts} FROM file('{tmp_path}/events.arrow', 'Arrow') FORMAT JSONCompactEachRow")
    assert [int(count) for count in json.loads(said.bytes())] == list(sample.truth.kinds.values())


def test_customers_grow_and_shrink_as_they_are_said_to(frame: pl.DataFrame) -> None:
    week = pl.col("time").dt.truncate("1d").sub(pl.lit((END - timedelta(days=35)).date())).dt.total_days() // 7
    calls = frame.group_by("customer", week.alias("week")).len().sort("week")

    def growth(customer: str) -> float:
        counts = calls.filter(pl.col("customer") == customer)["len"].to_list()
        return sum(counts[3:5]) / sum(counts[:2])

    assert growth("Driftwood Travel") < 1
    assert growth("Islay Robotics") > 1.15
    demand = Demand(organisation(), END - timedelta(days=35), 35, sized_at=END)
    islay, driftwood = (list(organisation().customers).index(name) for name in ("Islay Robotics", "Driftwood Travel"))
    in_thirty_days = demand.by_customer[0, 30] / demand.by_customer[0, 0]
    assert in_thirty_days[islay] == pytest.approx(2.10)  # +110%
    assert in_thirty_days[driftwood] == pytest.approx(0.75)


def test_the_organisation_is_as_large_as_it_is_said_to_be(frame: pl.DataFrame) -> None:
    assert frame["workload"].drop_nulls().n_unique() == 12
    assert frame["customer"].drop_nulls().n_unique() == 60
    assert frame["team"].drop_nulls().n_unique() == 8
    assert frame["provider"].n_unique() >= 9
    assert frame["gateway"].drop_nulls().n_unique() == 2


def test_a_retry_names_the_failed_call_that_it_repeats(frame: pl.DataFrame) -> None:
    again = frame.filter(pl.col("attempt") == 2).join(frame, left_on="retry_of", right_on="id", suffix="_of_first")
    assert again.height == 480
    assert again["error_type_of_first"].null_count() == 0
    assert (again["request_model"] == again["request_model_of_first"]).all()
    assert (again["time"] > again["time_of_first"]).all()
    assert (again["output_tokens_of_first"] == 0).all()


def test_each_source_numbers_its_events_without_a_gap(sample: Sample) -> None:
    numbers = pl.DataFrame(pl.from_arrow(sample.events.select(["source", "source_seq"])))
    for _, of_source in numbers.group_by("source"):
        assert of_source["source_seq"].to_list() == list(range(of_source.height))


def test_live_traffic_happens_between_two_looks_at_the_clock() -> None:
    traffic = LiveTraffic(seed=1, now=END)
    later = END + timedelta(seconds=1)
    first, second = traffic.events(END, later, 300), traffic.events(later, later + timedelta(seconds=1), 200)
    assert first.num_rows == 300 and len(encode_batch(first)) == 300
    times = pl.Series(pl.from_arrow(first["time"]))
    assert times.min() >= END.replace(tzinfo=None) and times.max() <= later.replace(tzinfo=None)  # type: ignore[operator]
    numbers = pl.concat(
        [pl.DataFrame(pl.from_arrow(b.select(["source", "source_seq", "id"]))) for b in (first, second)]
    )
    assert numbers["id"].n_unique() == 500
    assert numbers.select("source", "source_seq").is_unique().all()


def test_live_traffic_goes_on_for_months() -> None:
    traffic = LiveTraffic(seed=1, now=END)
    for day in range(0, 60, 7):
        now = END + timedelta(days=day)
        assert traffic.events(now, now + timedelta(seconds=1), 50)["workload"].null_count < 10


def test_the_tables_name_their_sources() -> None:
    said = json.loads(resources.files("streams.sample").joinpath("quantiles.json").read_text(encoding="utf-8"))
    assert "CC-BY 4.0" in said["azure-llm"]["source"] and "Apache-2.0" in said["mooncake"]["source"]


@pytest.mark.data
def test_the_tables_are_what_the_traces_measure(shared_data: Path) -> None:
    written = json.loads(resources.files("streams.sample").joinpath("quantiles.json").read_text(encoding="utf-8"))
    assert measure_traces().measure(shared_data) == written


def measure_traces() -> ModuleType:
    path = Path(__file__).parents[2] / "benchmarks" / "measure_traces.py"
    spec = importlib.util.spec_from_file_location("measure_traces", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
