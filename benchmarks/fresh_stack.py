"""A stack of a benchmark's own: on free ports, empty, gone afterwards."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from streams.settings import Settings
from streams.supervisor import SERVERS, Stack, on_free_ports


@contextmanager
def fresh_stack(tell: Callable[[str], None], *processes: str, **settings: object) -> Iterator[Stack]:
    """Broker, database, topics and tables, and `processes` of the pipeline; with `settings` other than the defaults."""
    with tempfile.TemporaryDirectory(prefix="spendstream-bench-") as folder:
        conf = on_free_ports(Settings(state_dir=Path(folder), **settings))  # type: ignore[arg-type]
        with Stack(conf, parts=(*SERVERS, "topics", "migrate", *processes), tell=tell) as stack:
            yield stack
