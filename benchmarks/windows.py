"""The windows worker: its steps, its state, and how soon a budget speaks; each on a stack of its own."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks import alert_latency, windows_state
from benchmarks.figures import Section
from streams.settings import Settings
from streams.supervisor import SERVERS, Stack, on_free_ports

Tell = Callable[[str], None]


def measure(tell: Tell) -> Iterator[Section]:
    """What needs a broker; yields sections as they are done.

    Raises:
        SpendError: a process ended, or nothing moves.
    """
    with _stack(tell) as stack:
        yield windows_state.measure(stack, tell)
    with _stack(tell, "worker", "windows") as stack:
        tell("10,000 budgets at 5,000 events a second")
        yield alert_latency.many_budgets(stack)
    with _stack(tell, "worker", "windows") as stack:
        tell("20 budgets at 1,000 events a second")
        yield alert_latency.few_budgets(stack)


@contextmanager
def _stack(tell: Tell, *processes: str) -> Iterator[Stack]:
    with tempfile.TemporaryDirectory(prefix="spendstream-bench-") as folder:
        settings = on_free_ports(Settings(state_dir=Path(folder)))
        with Stack(settings, parts=(*SERVERS, "topics", "migrate", *processes), tell=tell) as stack:
            yield stack
