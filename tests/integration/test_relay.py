"""The relay as a process, on a real broker and against a real HTTP server: each alert once, and nobody waits for
another's target."""

import json
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import jsonschema
import pytest
from alert_receiver import Receiver
from confluent_kafka import TopicPartition
from priced_log import kill, make_topics
from standardwebhooks.webhooks import Webhook

import schemas
from streams import alerts
from streams.kafka import reader, wait_for_brokers
from streams.ports import free_port
from streams.relay.deliveries import Delivery, read_deliveries
from streams.settings import Settings
from streams.spend import alert
from streams.spend.alert import Alert, BudgetLevel, Completeness, Origin
from streams.spend.anomaly import Finding
from streams.spend.money import PICOS
from streams.supervisor import Stack, on_free_ports

pytestmark = pytest.mark.stack

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
ORIGIN = Origin("log", Completeness(AT, 1_000, 2, 0))


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    settings = Settings(state_dir=tmp_path_factory.mktemp("relay"), partitions=1)
    with Stack(on_free_ports(settings), parts=("broker",)) as stack:
        wait_for_brokers(stack.settings)
        make_topics(stack.settings)
        yield stack


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


class Relay:
    """A relay of the test's own channels, whose names begin with the test's."""

    def __init__(self, stack: Stack, receiver: Receiver, folder: Path, prefix: str) -> None:
        self.stack, self.receiver, self.prefix = stack, receiver, prefix
        self.file = folder / "relay.yaml"
        self.stack.settings = stack.settings.model_copy(update={"relay_file": self.file, "relay_web_port": free_port()})

    def write(self, *channels: dict[str, object]) -> None:
        named = [{**channel, "name": self.name(str(channel["name"]))} for channel in channels]
        self.file.write_text(json.dumps({"channels": named}))  # JSON is YAML

    def hook(self, name: str, **more: object) -> dict[str, object]:
        url = f"http://{self.receiver.address}/{name}"
        return {"name": name, "kind": "webhook", "url": url, "secret": "env:HOOK_SECRET", **more}

    def chat(self, name: str, **more: object) -> dict[str, object]:
        return {"name": name, "kind": "apprise", "url": f"json://{self.receiver.address}/{name}", **more}

    def name(self, name: str) -> str:
        return f"{self.prefix}-{name}"

    def start(self, *arguments: str) -> None:
        self.stack.spawn("relay", sys.executable, "-m", "streams.cli", "relay", *arguments)
        until(self.is_ready)

    def kill(self) -> None:
        self.stack.kill("relay")

    def is_ready(self) -> bool:
        self.stack.check()
        try:
            return urlopen(f"http://127.0.0.1:{self.stack.settings.relay_web_port}/ready").status == 200
        except URLError:
            return False

    def metrics(self) -> str:
        return urlopen(f"http://127.0.0.1:{self.stack.settings.relay_web_port}/metrics").read().decode()

    def statuses(self, name: str) -> dict[str, Delivery]:
        found = read_deliveries(self.stack.settings).deliveries.values()
        return {each.alert_id: each for each in found if each.channel == self.name(name)}

    def settled(self, name: str, *made: Alert, state: str = "delivered") -> bool:
        statuses = self.statuses(name)
        return all(each.id in statuses and statuses[each.id].state == state for each in made)

    def publish(self, *made: Alert) -> None:
        alerts.publish(self.stack.settings, made)


@pytest.fixture
def relay(
    stack: Stack,
    receiver: Receiver,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Relay]:
    monkeypatch.setenv("HOOK_SECRET", SECRET)
    yield Relay(stack, receiver, tmp_path, request.node.name.removeprefix("test_").replace("_", "-")[:40])
    kill(stack, "relay")


def until(true: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.02)


def unpriced(relay: Relay, number: int) -> Alert:
    return alert.unpriced(ORIGIN, f"{relay.prefix}-{number}", "openai", 7, AT)


def budget(relay: Relay) -> BudgetLevel:
    first, last = datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)
    return BudgetLevel(
        relay.prefix, "Acme", "customer", "acme", "month", first, last, 100, 100 * PICOS, 101 * PICOS, AT
    )


def test_a_program_gets_the_signed_document_and_people_get_title_and_text(relay: Relay, receiver: Receiver) -> None:
    named = f"json://{receiver.address}/chat?+incident={{incident}}"
    relay.write(relay.hook("hook"), relay.chat("chat") | {"url": named})
    relay.start()
    made = alert.budget_opened(ORIGIN, AT, budget(relay))
    started = time.monotonic()
    relay.publish(made)
    until(lambda: relay.settled("hook", made) and relay.settled("chat", made))
    (signed,), (said,) = receiver.at("/hook"), receiver.at("/chat")
    assert signed.at - started < 1.5
    assert Webhook(SECRET).verify(signed.body, signed.headers) == made.document
    assert signed.body == made.value
    assert signed.headers["content-type"] == "application/cloudevents+json; charset=UTF-8"
    schema = Path(schemas.__path__[0]) / "alerts" / f"{made.document['type']}.json"
    jsonschema.Draft202012Validator(json.loads(schema.read_text())).validate(signed.document)
    assert said.document["title"] == "Budget Acme (customer acme) exceeded: $101.00 of $100.00 (101.00%)"
    assert said.headers["incident"] == made.key
    assert said.document["type"] == "failure" and "The month ends at" in said.document["message"]
    assert relay.statuses("hook")[made.id].attempts == 1
    assert f'spend_relay_deliveries_total{{channel="{relay.name("hook")}",state="delivered"}} 1.0' in relay.metrics()


def test_the_record_is_bound_to_kafka_after_cloudevents(relay: Relay) -> None:
    made = unpriced(relay, 0)
    relay.publish(made)
    [offset] = [each.offset for each in alerts.read(relay.stack.settings) if each.alert.id == made.id]
    consumer = reader(relay.stack.settings)
    consumer.assign([TopicPartition("spend.alerts", 0, offset)])
    message = consumer.poll(10)
    consumer.close()
    assert message is not None and message.key() == made.key.encode() and message.value() == made.value
    assert message.headers() == [("content-type", b"application/cloudevents+json; charset=UTF-8")]


def test_a_target_that_fails_is_tried_again_under_the_same_id(relay: Relay, receiver: Receiver) -> None:
    receiver.answers["/hook"] = lambda number: (500 if number < 3 else 200, 0.0)
    relay.write(relay.hook("hook"))
    relay.start()
    made = unpriced(relay, 0)
    relay.publish(made)
    until(lambda: made.id in relay.statuses("hook"))
    pending = relay.statuses("hook")[made.id]
    assert (pending.state, pending.last_error) == ("pending", "HTTP 500")
    until(lambda: relay.settled("hook", made))
    assert len({each.webhook_id for each in receiver.at("/hook")}) == 1
    assert len(receiver.at("/hook")) == relay.statuses("hook")[made.id].attempts == 3
    times = [each.at for each in receiver.at("/hook")]
    assert 0.4 < times[1] - times[0] < 2 and 0.9 < times[2] - times[1] < 4, "1 s and 2 s, half to one and a half"


def test_targets_that_are_down_slow_or_broken_delay_nobody(relay: Relay, receiver: Receiver) -> None:
    receiver.answers |= {"/slow": lambda _: (200, 60.0), "/broken": lambda _: (500, 0.0)}
    down = f"http://127.0.0.1:{free_port()}/"
    relay.write(
        relay.hook("down") | {"url": down},
        relay.hook("slow", timeout_seconds=5),
        relay.hook("broken"),
        relay.chat("broken-chat") | {"url": f"json://{receiver.address}/broken"},
        relay.hook("good"),
    )
    relay.start()
    made = [unpriced(relay, number) for number in range(5)]
    started = time.monotonic()
    relay.publish(*made)
    until(lambda: len(receiver.at("/good")) == 5, 5)
    assert receiver.at("/good")[-1].at - started < 1.5
    until(lambda: relay.settled("good", *made))
    for name, said in (
        ("down", "Connection refused"),
        ("slow", "no answer within 5 s"),
        ("broken", "HTTP 500"),
        ("broken-chat", "500"),
    ):
        until(lambda name=name: made[0].id in relay.statuses(name))
        status = relay.statuses(name)[made[0].id]
        assert status.state == "pending" and said in str(status.last_error), name


def test_nothing_is_sent_twice_or_lost_however_often_it_is_killed(relay: Relay, receiver: Receiver) -> None:
    relay.write(relay.hook("hook"), relay.chat("chat", limit=None))
    relay.start()
    made = [unpriced(relay, number) for number in range(40)]
    for number in range(0, 40, 10):
        relay.publish(*made[number : number + 10])
        until(lambda number=number: len(receiver.at("/hook")) >= number + 5)
        until(lambda number=number: all(relay.settled(name, *made[: number + 10]) for name in ("hook", "chat")))
        relay.kill()  # SIGKILL
        if number == 10:
            relay.publish(unpriced(relay, 100))  # while it is away
        relay.start()
    away = unpriced(relay, 100)
    until(lambda: relay.settled("hook", away) and relay.settled("chat", away))
    time.sleep(0.5)
    assert len({each.webhook_id for each in receiver.at("/hook")}) == len(receiver.at("/hook")) == 41
    titles = [each.document["title"] for each in receiver.at("/chat")]
    assert len(set(titles)) == len(titles) == 41


def test_killed_at_any_moment_it_repeats_one_alert_a_channel_at_most(relay: Relay, receiver: Receiver) -> None:
    receiver.answers |= {"/hook": lambda _: (200, 0.03), "/chat": lambda _: (200, 0.02)}
    relay.write(relay.hook("hook"), relay.chat("chat", limit=None))
    relay.start()
    made = [unpriced(relay, number) for number in range(60)]
    kills = 4
    chance = random.Random(7)
    relay.publish(*made)
    for _ in range(kills):
        time.sleep(chance.uniform(0.05, 0.5))
        relay.kill()
        relay.start()
    until(lambda: relay.settled("hook", *made) and relay.settled("chat", *made))
    ids = [each.webhook_id for each in receiver.at("/hook")]
    titles = [each.document["title"] for each in receiver.at("/chat")]
    for got in (ids, titles):
        assert len(set(got)) == 60 and len(got) <= 60 + kills
    numbers = [int(each.document["data"]["model"].rpartition("-")[2]) for each in receiver.at("/hook")]
    assert sorted(numbers) == numbers, "in order, a repeat included"


def test_killed_between_a_delivery_and_its_status_the_repeat_bears_the_same_id(
    relay: Relay, receiver: Receiver
) -> None:
    receiver.answers["/hook"] = lambda number: (200, 20.0 if number == 1 else 0.0)
    relay.write(relay.hook("hook"))
    relay.start()
    first, second = unpriced(relay, 0), unpriced(relay, 1)
    relay.publish(first, second)
    until(lambda: len(receiver.at("/hook")) == 1)
    relay.kill()  # the receiver has it; the relay does not know
    relay.start()
    until(lambda: relay.settled("hook", first, second))
    got = [each.webhook_id for each in receiver.at("/hook")]
    assert got[0] == got[1] and len(got) == 3 and len(set(got)) == 2


def test_a_broker_that_is_away_for_a_while_makes_no_second_delivery(relay: Relay, receiver: Receiver) -> None:
    receiver.answers["/hook"] = lambda number: (200, 2.0 if number == 1 else 0.0)
    relay.write(relay.hook("hook"))
    relay.start()
    first, second = unpriced(relay, 0), unpriced(relay, 1)
    relay.publish(first)
    until(lambda: len(receiver.at("/hook")) == 1)
    relay.stack.pause("broker")
    try:
        time.sleep(6)  # the answer came, and its status cannot be written
    finally:
        relay.stack.resume("broker")
    until(lambda: relay.settled("hook", first))
    relay.publish(second)
    until(lambda: relay.settled("hook", second))
    assert len(receiver.at("/hook")) == 2


def test_a_stopped_relay_finishes_what_is_under_way(relay: Relay, receiver: Receiver) -> None:
    receiver.answers["/hook"] = lambda _: (200, 1.0)
    relay.write(relay.hook("hook"))
    relay.start()
    made = [unpriced(relay, number) for number in range(3)]
    relay.publish(*made)
    until(lambda: len(receiver.at("/hook")) == 1)
    relay.stack.stop("relay")  # SIGTERM
    assert relay.settled("hook", made[0])
    assert len(receiver.at("/hook")) == 1
    relay.start()
    until(lambda: relay.settled("hook", *made))
    assert len(receiver.at("/hook")) == 3


def test_a_storm_is_limited_and_told_in_one_message(relay: Relay, receiver: Receiver) -> None:
    relay.write(relay.chat("chat", limit={"alerts": 3, "minutes": 4 / 60}), relay.hook("hook"))
    relay.start()
    made = [unpriced(relay, number) for number in range(20)]
    relay.publish(*made)
    until(lambda: relay.settled("hook", *made))
    assert len(receiver.at("/hook")) == 20, "a program has no limit unless the file sets one"
    until(lambda: relay.settled("chat", *made[3:], state="summarised"))
    titles = [each.document["title"] for each in receiver.at("/chat")]
    assert len(titles) == 4 and titles[-1] == "17 more alerts held back: 17 minor"
    assert relay.settled("chat", *made[:3])


def test_a_new_channel_begins_with_the_next_alert_unless_it_is_told_to_begin_at_the_first(
    relay: Relay, receiver: Receiver
) -> None:
    old, new = unpriced(relay, 0), unpriced(relay, 1)
    relay.publish(old)
    mine = {"members": [f"{relay.prefix}-*"]}
    relay.write(relay.hook("hook", only=mine))
    relay.start()
    relay.publish(new)
    until(lambda: relay.settled("hook", new))
    relay.kill()
    relay.write(relay.hook("hook", only=mine), relay.hook("late", only=mine))
    relay.start("--from-beginning")
    until(lambda: relay.settled("late", old, new))
    assert [each.document["data"]["model"] for each in receiver.at("/hook")] == [f"{relay.prefix}-1"]
    assert [each.document["id"] for each in receiver.at("/late")] == [old.id, new.id]


def test_what_a_channel_does_not_want_is_not_sent_and_what_is_held_from_it_is_told(
    relay: Relay, receiver: Receiver
) -> None:
    relay.write(
        relay.chat("chat"),
        relay.hook("hook"),
        relay.hook("grave", only={"least_severity": "critical"}),
    )
    relay.stack.run(
        *("alerts", "acknowledge", "workload", relay.prefix),
        *("--from", "2026-11-20T11:00Z", "--until", "2026-11-20T14:00Z", "--reason", "archive", "--by", "ana"),
    )
    relay.start()
    since = int((AT - timedelta(minutes=10)).timestamp())
    finding = Finding(0, "opened", "major", 300, since, since, since + 300, 10 * PICOS, 99 * PICOS, 2.0)
    planned = alert.anomaly(ORIGIN, "workload", relay.prefix, finding)
    opened = alert.budget_opened(ORIGIN, AT, budget(relay))
    revised = alert.budget_revised(ORIGIN, AT, budget(relay), 1)
    relay.publish(planned, opened, revised)
    until(lambda: relay.settled("hook", opened, revised) and relay.settled("chat", opened))
    until(lambda: relay.settled("chat", planned, revised, state="suppressed"))
    assert relay.settled("hook", planned, state="suppressed")
    assert relay.statuses("chat")[planned.id].last_error == "the member's activity is planned"
    assert relay.statuses("grave") == {}
    assert len(receiver.at("/chat")) == 1 and len(receiver.at("/hook")) == 2 and not receiver.at("/grave")


def test_a_record_that_is_no_alert_stops_nothing(relay: Relay, receiver: Receiver) -> None:
    relay.write(relay.hook("hook"))
    relay.start()
    rogue = Alert("x", {"hello": "world"})
    made = unpriced(relay, 0)
    relay.publish(rogue, made)
    until(lambda: relay.settled("hook", made))
    assert len(receiver.at("/hook")) == 1


def run(relay: Relay, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "streams.cli", *arguments]
    return subprocess.run(command, env=relay.stack.env, capture_output=True, text=True, timeout=60, check=False)


def test_check_sends_a_test_to_each_channel_and_says_what_is_wrong(relay: Relay, receiver: Receiver) -> None:
    receiver.answers["/bad"] = lambda _: (403, 0.0)
    relay.write(relay.hook("good"), relay.chat("chat"))
    fine = run(relay, "relay", "--check")
    assert fine.returncode == 0, fine.stderr
    assert fine.stdout.splitlines() == [f"{relay.name(n)}: the test was delivered" for n in ("good", "chat")]
    (got,) = receiver.at("/good")
    assert Webhook(SECRET).verify(got.body, got.headers)["type"] == "spend.relay.test"
    relay.write(relay.hook("good"), relay.hook("bad"))
    one_bad = run(relay, "relay", "--check")
    assert one_bad.returncode == 1 and f"{relay.name('bad')}: HTTP 403" in one_bad.stdout


def test_no_secret_is_said_anywhere(relay: Relay, receiver: Receiver) -> None:
    receiver.answers["/t0ken-in-the-path"] = lambda _: (500, 0.0)
    relay.write(relay.chat("chat") | {"url": f"json://user:passw0rd@{receiver.address}/t0ken-in-the-path"})
    checked = run(relay, "relay", "--check")
    relay.start()
    made = unpriced(relay, 0)
    relay.publish(made)
    until(lambda: made.id in relay.statuses("chat"))
    said = checked.stdout + checked.stderr + relay.stack.log("relay").read_text()
    said += str(relay.statuses("chat")[made.id])
    assert "500" in said
    assert not [secret for secret in ("passw0rd", "t0ken-in-the-path", SECRET) if secret in said]


@pytest.mark.parametrize(
    ("channel", "said"),
    [
        ({"name": "a", "kind": "webhook", "url": "http://x"}, "channel 1 (bad-a): secret: it is missing"),
        ({"name": "a", "kind": "apprise", "url": "env:NOT_SET_AT_ALL"}, "channel bad-a: url: the variable NOT_SET_AT"),
        (
            {"name": "a", "kind": "apprise", "url": "x", "limits": 3},
            "channel 1 (bad-a): limits: there is no such field",
        ),
    ],
)
def test_a_file_that_does_not_fit_ends_it_with_the_fields_name(
    relay: Relay, channel: dict[str, object], said: str
) -> None:
    relay.prefix = "bad"
    relay.write(channel)
    ended = run(relay, "relay")
    assert ended.returncode == 2
    assert said in ended.stderr and ended.stderr.count("\n") == 1


def test_a_person_follows_lists_and_looks_at_alerts(relay: Relay, receiver: Receiver) -> None:
    relay.write(relay.hook("hook"))
    relay.start()
    opened = alert.budget_opened(ORIGIN, AT, budget(relay))
    resolved = alert.budget_resolved(ORIGIN, AT, budget(relay))
    relay.publish(opened, unpriced(relay, 0), resolved)
    until(lambda: relay.settled("hook", opened, resolved))
    listed = json.loads(relay.stack.run("alerts", "list", "--json"))
    (mine,) = [each for each in listed if each["incident"] == opened.key]
    assert mine["changes"] == [opened.id, resolved.id] and not mine["open"]
    assert mine["latest"] == resolved.document
    assert opened.key not in json.dumps(json.loads(relay.stack.run("alerts", "list", "--open", "--json")))
    assert "Budget Acme" in relay.stack.run("alerts", "list")
    shown = relay.stack.run("alerts", "show", opened.key)
    assert f"{relay.name('hook')}: delivered" in shown and "the month ended at" in shown
    tail = relay.stack.run("alerts", "tail", "--no-follow", "--json", "-n", "3")
    assert [json.loads(line)["id"] for line in tail.splitlines()] == [opened.id, unpriced(relay, 0).id, resolved.id]
    assert "has no price" in relay.stack.run("alerts", "tail", "--no-follow")


def test_planned_activity_can_be_acknowledged_and_withdrawn(relay: Relay) -> None:
    said = relay.stack.run("alerts", "acknowledge", "customer", "acme", "--until", "3d", "--reason", "migration")
    listed = json.loads(relay.stack.run("alerts", "planned", "--json"))
    (mine,) = [each for each in listed if each["reason"] == "migration"]
    assert mine["id"] in said and (mine["dimension"], mine["member"]) == ("customer", "acme")
    assert "migration" in relay.stack.run("alerts", "planned")
    relay.stack.run("alerts", "withdraw", mine["id"])
    assert mine["id"] not in relay.stack.run("alerts", "planned", "--json")
    refused = run(relay, "alerts", "acknowledge", "planet", "x", "--until", "3d", "--reason", "y")
    assert refused.returncode == 2 and "dimension: 'planet' is no dimension" in refused.stderr
    late = run(relay, "alerts", "acknowledge", "customer", "x", "--until", "2020-01-01", "--reason", "y")
    assert late.returncode == 2 and "until" in late.stderr
