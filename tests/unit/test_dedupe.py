"""The dedup index against a dict."""

import random

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.spend import dedupe
from streams.spend.dedupe import DedupIndex
from streams.spend.fingerprint import fingerprints, murmur3_x64_128


def keys_of(numbers: list[tuple[int, int]]) -> np.ndarray:
    return np.array(numbers, dtype=np.uint64).reshape(-1, 2)


def keys(*names: str) -> np.ndarray:
    return fingerprints(pa.array(["gateway"] * len(names), pa.string()), pa.array(names, pa.string()))


def offsets(*numbers: int) -> np.ndarray:
    return np.array(numbers, dtype=np.int64)


def by_dict(numbers: list[tuple[int, int]], at: list[int], horizon: int) -> list[bool]:
    """The rule, as DESIGN states it, one event at a time."""
    accepted: dict[tuple[int, int], int] = {}
    decisions = []
    for key, offset in zip(numbers, at, strict=True):
        duplicate = key in accepted and 0 < offset - accepted[key] <= horizon
        if not duplicate:
            accepted[key] = offset
        decisions.append(not duplicate)
    return decisions


def test_an_event_is_a_duplicate_up_to_the_horizon_and_not_beyond():
    index = DedupIndex(horizon=10)
    assert index.accept(keys("a"), offsets(100)).tolist() == [True]
    assert index.accept(keys("a"), offsets(110)).tolist() == [False]
    assert index.accept(keys("a"), offsets(111)).tolist() == [True]


def test_a_dropped_duplicate_does_not_lengthen_the_horizon():
    index = DedupIndex(horizon=10)
    decisions = index.accept(keys("a", "a", "a", "a"), offsets(0, 9, 11, 21))
    assert decisions.tolist() == [True, False, True, False]


def test_a_batch_wider_than_the_horizon_is_decided_in_order():
    index = DedupIndex(horizon=2)
    assert index.accept(keys(*"ababaab"), offsets(0, 1, 2, 3, 4, 5, 6)).tolist() == [
        True,  # a 0
        True,  # b 1
        False,  # a 2: two after 0
        False,  # b 3: two after 1
        True,  # a 4: four after 0
        False,  # a 5
        True,  # b 6: five after 1
    ]


def test_an_identity_is_the_source_and_the_id():
    index = DedupIndex(horizon=10)
    both = fingerprints(pa.array(["a", "ab", "a", "", "abc"]), pa.array(["bc", "c", "bc", "abc", ""]))
    assert index.accept(both, np.arange(5)).tolist() == [True, True, False, True, True]


def test_offsets_must_ascend_from_beyond_what_was_decided():
    index = DedupIndex(horizon=10)
    index.accept(keys("a", "b"), offsets(5, 7))
    assert index.newest == 7
    with pytest.raises(ValueError, match="offset 7 was decided before"):
        index.accept(keys("c"), offsets(7))
    with pytest.raises(ValueError, match="must ascend"):
        index.accept(keys("c", "d"), offsets(9, 8))
    assert index.accept(keys("a", "c"), offsets(8, 9)).tolist() == [False, True]


@pytest.mark.parametrize("horizon", [0, -1, 2**31])
def test_a_horizon_out_of_range_is_refused(horizon: int):
    with pytest.raises(ValueError, match="dedup horizon"):
        DedupIndex(horizon)


@st.composite
def histories(draw: st.DrawFn) -> tuple[int, list[tuple[int, int]], list[int], list[int]]:
    """A horizon, identities (many share a bucket, half a fingerprint or all of it), offsets with gaps, batch sizes."""
    horizon = draw(st.sampled_from([1, 2, 3, 7, 50, 400, 10_000]))
    count = draw(st.integers(1, 400))
    seed = draw(st.randoms(use_true_random=False))
    identities = draw(st.sampled_from([1, 4, 40, 4_000]))
    universe = [(seed.choice([1, 5, 1 << 40, seed.getrandbits(64)]), seed.getrandbits(64)) for _ in range(identities)]
    gap = draw(st.sampled_from([0, 3, horizon, 3 * horizon]))
    offset, at = draw(st.one_of(st.integers(-500, 0), st.integers(0, 10**12))), []  # below 0: streams/grow_log.py
    for _ in range(count):
        offset += 1 + (seed.randint(0, gap) if gap and seed.random() < 0.1 else 0)
        at.append(offset)
    cuts = draw(st.lists(st.integers(1, 150), min_size=1, max_size=20))
    return horizon, [seed.choice(universe) for _ in at], at, cuts


@settings(max_examples=300, deadline=None)
@given(history=histories(), first_buckets=st.sampled_from([1, 2, 64]), rebuild_every=st.integers(1, 6))
def test_any_cut_and_any_rebuild_decides_as_a_dict_does(
    history: tuple[int, list[tuple[int, int]], list[int], list[int]], first_buckets: int, rebuild_every: int
):
    horizon, numbers, at, cuts = history
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dedupe, "_FIRST_BUCKETS", first_buckets)  # small tables, so that they grow and wrap
        patch.setattr(dedupe, "_FIRST_SLOTS", 4)
        patch.setattr(dedupe, "_SPLIT", 1)
        patch.setattr(dedupe, "_BULK", 7)
        index = DedupIndex(horizon)
        decisions: list[bool] = []
        for turn in range(len(at)):
            start, stop = len(decisions), len(decisions) + cuts[turn % len(cuts)]
            decisions += index.accept(keys_of(numbers[start:stop]), offsets(*at[start:stop])).tolist()
            if turn % rebuild_every == rebuild_every - 1:  # a new owner, who reads only what the horizon reaches
                rows = [r for r, yes in enumerate(decisions) if yes and at[r] > at[len(decisions) - 1] - horizon]
                rebuilt = DedupIndex(horizon)
                rebuilt.load(keys_of([numbers[r] for r in rows]), offsets(*[at[r] for r in rows]), index.newest)
                assert (len(rebuilt), rebuilt.newest) == (len(index), index.newest)
                index = rebuilt
            if len(decisions) == len(at):
                break
    assert decisions == by_dict(numbers, at, horizon)


def test_a_large_index_decides_as_a_dict_does_while_it_grows_and_wraps():
    chance = random.Random(7)
    universe = [(chance.getrandbits(64), chance.getrandbits(64)) for _ in range(60_000)]
    numbers = [chance.choice(universe) for _ in range(200_000)]
    at = list(range(200_000))
    index = DedupIndex(horizon=30_000)
    decisions: list[bool] = []
    while len(decisions) < len(at):
        some = slice(len(decisions), len(decisions) + chance.randint(1, 20_000))
        decisions += index.accept(keys_of(numbers[some]), offsets(*at[some])).tolist()
    assert decisions == by_dict(numbers, at, 30_000)


def test_memory_follows_what_was_accepted_and_stays_under_32_bytes_an_entry():
    index = DedupIndex(horizon=1_000_000)
    assert index.nbytes < 500_000
    chance = np.random.default_rng(1)
    for start in range(0, 1_000_000, 50_000):
        index.accept(chance.integers(0, 2**64, (50_000, 2), dtype=np.uint64), np.arange(start, start + 50_000))
    assert len(index) == 1_000_000
    assert index.nbytes / len(index) < 32


def test_the_fingerprint_is_murmur3():
    words = [b"", b"hello", b"The quick brown fox jumps over the lazy dog"]
    lengths = np.array([len(word) for word in words])
    data = np.frombuffer(b"".join(words) + bytes(16), dtype=np.uint8)
    hashes = murmur3_x64_128(data, np.cumsum(lengths) - lengths, lengths)
    assert [f"{high:016x}{low:016x}" for low, high in hashes.tolist()] == [
        "00000000000000000000000000000000",
        "5b1e906a48ae1d19cbd8a7b341bd9b02",
        "7a433ca9c49a9347e34bbc7bbc071b6c",
    ]


def test_a_fingerprint_never_changes_because_cache_files_hold_it():
    assert [hex(half) for half in keys("1")[0].tolist()] == ["0xb6bd6eb77df48e8a", "0xa8d7299bf44cbfc9"]


def test_a_fingerprint_does_not_depend_on_the_batch_around_it():
    names = ["", "é", "x" * 15, "x" * 16, "x" * 600, "y" * 100_000, "z"]
    together = keys(*names)
    assert len({tuple(key) for key in together.tolist()}) == len(names)
    for name, key in zip(names, together, strict=True):
        assert (keys(name)[0] == key).all()
    sliced = fingerprints(pa.array(["gateway"] * 9)[2:], pa.array(["a", "b", *names])[2:])
    assert (sliced == together).all()


def test_a_null_has_no_fingerprint():
    with pytest.raises(ValueError, match="never null"):
        fingerprints(pa.array(["gateway"]), pa.array([None], pa.string()))
