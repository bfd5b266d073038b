"""The windows worker: its steps, its state, and how soon a budget speaks; each on a stack of its own."""

from collections.abc import Callable, Iterator

from benchmarks import alert_latency, windows_state
from benchmarks.figures import Section
from benchmarks.fresh_stack import fresh_stack

Tell = Callable[[str], None]


def measure(tell: Tell) -> Iterator[Section]:
    """What needs a broker; yields sections as they are done.

    Raises:
        SpendError: a process ended, or nothing moves.
    """
    with fresh_stack(tell) as stack:
        yield windows_state.measure(stack, tell)
    with fresh_stack(tell, "worker", "windows") as stack:
        tell("10,000 budgets at 5,000 events a second")
        yield alert_latency.many_budgets(stack)
    with fresh_stack(tell, "worker", "windows") as stack:
        tell("20 budgets at 1,000 events a second")
        yield alert_latency.few_budgets(stack)
