"""A channel's thread against a target and a delivery log in memory: order, retries, giving up, storms, stopping."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from test_alert_documents import NOON, ORIGIN

from streams.errors import Unreachable
from streams.relay import worker as module
from streams.relay.channels import Chat, Limit
from streams.relay.deliveries import Delivery
from streams.relay.targets import Outcome
from streams.relay.worker import ChannelWorker, Job
from streams.spend import alert
from streams.spend.alert_document import Alert

OK = Outcome(True)
BAD = Outcome(False, "HTTP 500")


class Memory:
    """A target and a delivery log."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.statuses: list[Delivery] = []
        self.answers: Callable[[Alert], Outcome] = lambda _: OK

    def send(self, made: Alert) -> Outcome:
        self.sent.append(made.id)
        return self.answers(made)

    def settle(self, delivery: Delivery, *, wait: bool) -> None:
        self.statuses.append(delivery)

    def latest(self) -> dict[str, str]:
        return {each.alert_id: each.state for each in self.statuses}


@pytest.fixture
def memory() -> Memory:
    return Memory()


@pytest.fixture
def start(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., ChannelWorker]]:
    monkeypatch.setattr(module, "back_off", lambda attempts, luck: 0.01)
    stopped, started = threading.Event(), []

    def begin(**changes: Any) -> ChannelWorker:
        channel = Chat(name="chat", kind="apprise", url="json://x").model_copy(update={"limit": None, **changes})
        thread = ChannelWorker(channel, memory, memory, stopped)  # type: ignore[arg-type]
        started.append(thread)
        thread.start()
        return thread

    yield begin
    stopped.set()
    for thread in started:
        thread.join(2)
        assert not thread.is_alive(), "it stops at once, whatever it waits for"


def made(number: int) -> Alert:
    return alert.unpriced(ORIGIN, f"m{number}", "openai", 1, NOON)


def offer(thread: ChannelWorker, *numbers: int) -> list[str]:
    for number in numbers:
        thread.offer(Job(number, made(number), 0.0))
    return [made(number).id for number in numbers]


def until(true: Callable[[], bool], seconds: float = 5) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.005)


def test_alerts_are_sent_in_order_and_tried_again(memory: Memory, start: Callable[..., ChannelWorker]) -> None:
    memory.answers = lambda each: BAD if "m1" in each.id and memory.sent.count(each.id) < 3 else OK
    thread = start()
    first, second, third = offer(thread, 0, 1, 2)
    until(lambda: len(memory.latest()) == 3 and set(memory.latest().values()) == {"delivered"})
    assert memory.sent == [first, second, second, second, third]
    told = [(each.state, each.attempts, each.last_error) for each in memory.statuses if each.alert_id == second]
    assert told == [("pending", 1, "HTTP 500"), ("pending", 2, "HTTP 500"), ("delivered", 3, None)]


def test_what_is_gone_is_not_tried_again(memory: Memory, start: Callable[..., ChannelWorker]) -> None:
    memory.answers = lambda _: Outcome(False, "HTTP 410", final=True)
    offer(start(), 0)
    until(lambda: list(memory.latest().values()) == ["failed"])
    assert len(memory.sent) == 1


def test_it_gives_up_and_goes_on(memory: Memory, start: Callable[..., ChannelWorker]) -> None:
    memory.answers = lambda each: BAD if "m0" in each.id else OK
    bad, good = offer(start(give_up_minutes=0.1 / 60), 0, 1)
    until(lambda: memory.latest() == {bad: "failed", good: "delivered"})
    assert memory.sent.count(bad) > 1


def test_a_storm_is_told_in_one_message(memory: Memory, start: Callable[..., ChannelWorker]) -> None:
    thread = start(limit=Limit(alerts=3, minutes=0.5 / 60))
    ids = offer(thread, *range(20))
    until(lambda: len(memory.sent) == 3)
    until(lambda: list(memory.latest().values()).count("pending") == 17)
    assert thread.settled_before(20) == 3
    until(lambda: list(memory.latest().values()).count("summarised") == 17)
    assert memory.sent == [*ids[:3], f"summary/chat/{ids[3]}"]
    until(lambda: thread.settled_before(20) == 20)
    offer(thread, 20, 21, 22)  # the summary was the first message of the stretch
    until(lambda: len(memory.sent) == 6)
    time.sleep(0.05)
    assert len(memory.sent) == 6


def test_a_summary_that_does_not_get_through_is_tried_again(
    memory: Memory, start: Callable[..., ChannelWorker]
) -> None:
    memory.answers = lambda each: BAD if each.id.startswith("summary") and memory.sent.count(each.id) < 3 else OK
    thread = start(limit=Limit(alerts=1, minutes=0.2 / 60))
    ids = offer(thread, 0, 1, 2)
    until(lambda: [memory.latest().get(each) for each in ids] == ["delivered", "summarised", "summarised"])
    assert memory.sent.count(f"summary/chat/{ids[1]}") == 3


def test_a_status_that_cannot_be_written_ends_the_channel(
    memory: Memory, start: Callable[..., ChannelWorker], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(delivery: Delivery, *, wait: bool) -> None:
        raise Unreachable("spend.deliveries: no")

    monkeypatch.setattr(memory, "settle", refuse)
    thread = start()
    offer(thread, 0, 1)
    until(lambda: thread.error is not None)
    assert isinstance(thread.error, Unreachable)
    assert len(memory.sent) == 1, "or the second would be sent without anybody knowing"
