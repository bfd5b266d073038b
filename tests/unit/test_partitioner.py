"""Keys go where Kafka's own partitioner sends them."""

import pyarrow as pa
from aiokafka.partitioner import murmur2
from hypothesis import given
from hypothesis import strategies as st

from streams.partitioner import misrouted, partitions_of


@given(st.lists(st.binary(max_size=40)))
def test_a_column_of_keys_is_partitioned_as_the_java_client_does(keys: list[bytes]):
    assert partitions_of(keys, 12).tolist() == [(murmur2(key) & 0x7FFFFFFF) % 12 for key in keys]


def test_keys_that_belong_elsewhere_or_are_missing_are_counted():
    keys = [b"gateway:%d" % n for n in range(100)]
    home = [key for key, p in zip(keys, partitions_of(keys, 4), strict=True) if p == 2]
    for some, elsewhere in ((home, 0), ([*home, None], 1), (keys, 100 - len(home))):
        assert misrouted(pa.array(some, pa.binary()), 2, 4) == elsewhere
