"""The relay's decisions: which channel takes what, how it is signed, when it waits, where it begins; and its file."""

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook as Receiver
from test_alert_documents import EVERY, LEVEL, NOON, ORIGIN

from streams.errors import SpendError
from streams.planned import Planned, is_planned, parse_planned, planned_id
from streams.relay import signature
from streams.relay.channels import Chat, Limit, Only, Webhook, keys_of, read_channels, secrets_in, url_of
from streams.relay.deliveries import Delivery, Position, Remembered, expired
from streams.relay.route import PLANNED, REVISED, suppressed, takes
from streams.relay.run import begin_at
from streams.relay.storm import NoLimit, StormLimit
from streams.relay.targets import incident_key, scrubbed, target_of
from streams.relay.worker import back_off
from streams.spend import alert

KEY = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
HOOK = Webhook(name="hook", kind="webhook", url="https://example.com/x", secret="env:S")
CHAT = Chat(name="chat", kind="apprise", url="json://127.0.0.1")


class TestSignature:
    def test_the_published_example(self) -> None:
        # the test vector of the Standard Webhooks reference implementations
        made = signature.headers([KEY], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, b'{"test": 2432232314}')
        assert made["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="

    def test_a_receiver_with_the_reference_library_accepts_each_of_the_keys(self) -> None:
        keys, body = [KEY, b"x" * 32], EVERY["anomaly"]().value
        now = int(datetime.now(UTC).timestamp())
        made = signature.headers(keys, signature.webhook_id(EVERY["anomaly"]().id), now, body)
        for key in keys:
            assert Receiver(base64.b64encode(key).decode()).verify(body, made)["specversion"] == "1.0"

    @given(st.text(st.characters(exclude_categories=["Cs"]), max_size=300))
    def test_any_id_makes_a_header_and_no_two_share_one(self, name: str) -> None:
        made = signature.webhook_id(f"unpriced/{name}/opened")
        assert made.isascii() and made.isprintable() and "." not in made and " " not in made and len(made) <= 500
        assert made != signature.webhook_id(f"unpriced/{name}x/opened")


class TestRoute:
    def test_a_filter_wants_all_of_it(self) -> None:
        made = EVERY["exceeded"]()  # customer acme, major
        for only, taken in (
            (Only(), True),
            (Only(types=("spend.budget.*",)), True),
            (Only(types=("spend.anomaly.*", "spend.trend")), False),
            (Only(least_severity="major"), True),
            (Only(least_severity="critical"), False),
            (Only(dimensions=("customer",), members=("ac*",)), True),
            (Only(dimensions=("workload",)), False),
            (Only(members=("Acme",)), False),
        ):
            assert takes(HOOK.model_copy(update={"only": only}), made) == taken, only

    def test_who_heard_of_an_incident_hears_that_it_is_over(self) -> None:
        gravely = HOOK.model_copy(update={"only": Only(least_severity="major")})
        assert takes(gravely, EVERY["exceeded"]()) and takes(gravely, EVERY["resolved"]())
        assert takes(gravely, EVERY["anomaly"]()) and takes(gravely, EVERY["anomaly closed"]())

    def test_revisions_are_for_programs_unless_a_channel_wants_them(self) -> None:
        made = EVERY["exceeded revised"]()
        assert suppressed(HOOK, made, []) is None
        assert suppressed(CHAT, made, []) == REVISED
        assert suppressed(CHAT.model_copy(update={"revised": True}), made, []) is None

    def test_planned_activity_silences_anomalies_but_not_their_end_and_never_a_budget(self) -> None:
        planned = [planning(dimension="workload", member="agent"), planning(dimension="customer", member="acme")]
        assert suppressed(CHAT, EVERY["anomaly"](), planned) == PLANNED
        assert suppressed(CHAT, EVERY["anomaly updated"](), planned) == PLANNED
        assert suppressed(CHAT, EVERY["anomaly closed"](), planned) is None
        assert suppressed(CHAT, EVERY["exceeded"](), planned) is None
        assert suppressed(CHAT, EVERY["anomaly"](), [planning(dimension="workload", member="other")]) is None


def planning(**changes: Any) -> Planned:
    given_ = {
        "id": planned_id("workload", "agent", NOON),
        "dimension": "workload",
        "member": "agent",
        "from": NOON,
        "until": NOON + timedelta(hours=2),
        "reason": "archive",
        "by": "ana",
    }
    return Planned.model_validate({**given_, **changes})


class TestPlanned:
    def test_it_holds_from_its_beginning_to_before_its_end(self) -> None:
        each = planning()
        for minutes, holds in ((-1, False), (0, True), (119, True), (120, False)):
            assert is_planned([each], "workload", "agent", NOON + timedelta(minutes=minutes)) == holds
        assert parse_planned(each.json_bytes()) == each

    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            ({"dimension": "planet"}, "dimension: 'planet' is no dimension"),
            ({"until": NOON}, "until: .* is not after"),
            ({"until": "2026-12-01T00:00:00"}, "until: .*timezone"),
            ({"dimension": "global"}, "member: the dimension global"),
            ({"colour": "red"}, "colour"),
        ],
    )
    def test_what_does_not_fit_is_refused_by_name(self, changes: dict[str, Any], said: str) -> None:
        value = {**planning().model_dump(mode="json", by_alias=True), **changes}
        with pytest.raises(SpendError, match=said):
            parse_planned(json.dumps(value, default=str))


class TestStormLimit:
    def test_a_stretch_has_room_for_so_many(self) -> None:
        limit = StormLimit(3, 600)
        for at in (100, 150, 400):
            assert limit.has_room(at)
            limit.count(at)
        assert not limit.has_room(699)
        assert limit.opens_in(500) == 200
        assert limit.has_room(700)
        limit.count(700)
        assert limit.has_room(701)

    def test_a_restart_opens_no_second_stretch(self) -> None:
        assert not StormLimit(2, 600, [1_000, 1_100]).has_room(1_200)
        assert StormLimit(2, 600, [1_000, 1_100]).has_room(1_600)
        assert StormLimit(3, 600, [1_000, 1_100]).has_room(1_200)

    def test_without_a_limit_everything_goes(self) -> None:
        limit = NoLimit()
        for _ in range(100):
            assert limit.has_room(0) and limit.opens_in(0) == 0
            limit.count(0)


@given(st.integers(1, 200), st.floats(0, 1))
def test_waiting_doubles_up_to_a_bound(attempts: int, luck: float) -> None:
    plain = min(300, 2 ** (attempts - 1))
    assert 0.5 * plain <= back_off(attempts, luck) <= 1.5 * plain


def test_where_a_channel_begins() -> None:
    def begin(position: Position | None, from_beginning: bool = False) -> int:
        return begin_at(position, "topic-1", 10, 50, from_beginning)

    assert begin(None) == 50
    assert begin(None, from_beginning=True) == 10
    assert begin(Position("c", 42, "topic-1")) == 42
    assert begin(Position("c", 42, "topic-1"), from_beginning=True) == 42
    assert begin(Position("c", 5, "topic-1")) == 10, "alerts expired"
    assert begin(Position("c", 51, "topic-1")) == 50, "the topic lost its end"
    assert begin(Position("c", 42, "topic-0")) == 10, "the topic was made anew"


def test_what_is_forgotten() -> None:
    def status(alert_id: str, days: int) -> Delivery:
        return Delivery(alert_id, "i", "a", "delivered", 1, None, NOON - timedelta(days=days))

    remembered = Remembered(
        {(each.alert_id, each.channel): each for each in (status("old", 32), status("young", 30))},
        {"a": Position("a", 1, "t"), "b": Position("b", 1, "t")},
    )
    assert expired(remembered, {"a"}, NOON) == ["old|a", "|b"]


class TestFile:
    def read(self, tmp_path: Path, text: str) -> Any:
        (tmp_path / "relay.yaml").write_text(text)
        return read_channels(tmp_path / "relay.yaml")

    def test_what_is_not_said_has_good_defaults(self, tmp_path: Path) -> None:
        hook, chat = self.read(
            tmp_path,
            "channels:\n"
            "  - {name: a, kind: webhook, url: 'https://example.com', secret: [env:NEW, file:/old]}\n"
            "  - {name: b, kind: apprise, url: env:CHAT, only: {members: ['x*']}}\n",
        )
        assert hook.limit is None and hook.revised and hook.references == ("env:NEW", "file:/old")
        assert chat.limit == Limit(alerts=20, minutes=10) and not chat.revised

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("channels: []", "channels: Tuple should have at least 1 item"),
            ("hello", "Input should be a valid dictionary"),
            ("[", "is not YAML"),
            ("channels:\n- {name: a, kind: apprise}", r"channel 1 \(a\): url: it is missing"),
            ("channels:\n- {name: a, kind: pigeon, url: x}", r"channel 1 \(a\): kind: it is webhook or apprise"),
            ("channels:\n- {name: a, url: x}", r"channel 1 \(a\): kind: it is missing"),
            ("channels:\n- {name: A b, kind: apprise, url: x}", r"channel 1 \(A b\): name: String should match"),
            (
                "channels:\n- {name: a, kind: apprise, url: x}\n- {name: b, kind: apprise, url: x, colour: red}",
                r"channel 2 \(b\): colour: there is no such field",
            ),
            (
                "channels:\n- {name: a, kind: apprise, url: x, only: {dimensions: [planet]}}",
                r"channel 1 \(a\): only.dimensions: 'planet' is no dimension",
            ),
            (
                "channels:\n- {name: a, kind: apprise, url: x, only: {least_severity: bad}}",
                r"channel 1 \(a\): only.least_severity: Input should be 'info', 'minor'",
            ),
            (
                "channels:\n- {name: a, kind: apprise, url: x, limit: {alerts: 0}}",
                r"channel 1 \(a\): limit.alerts: Input should be greater",
            ),
            (
                "channels:\n- {name: a, kind: apprise, url: x}\n- {name: a, kind: apprise, url: x}",
                "channels: name: 'a' is the name of two channels",
            ),
            ("channels:\n- just text", "channel 1: Input should be a valid dictionary"),
        ],
    )
    def test_what_does_not_fit_is_named(self, tmp_path: Path, text: str, said: str) -> None:
        with pytest.raises(SpendError, match=said) as caught:
            self.read(tmp_path, text)
        assert str(caught.value).startswith("SPEND_RELAY_FILE") and "\n" not in str(caught.value)

    def test_a_file_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(SpendError, match=r"SPEND_RELAY_FILE: cannot read .*nothing\.yaml: No such file"):
            read_channels(tmp_path / "nothing.yaml")
        with pytest.raises(SpendError, match="SPEND_RELAY_FILE is not set"):
            read_channels(None)


class TestSecrets:
    def test_they_are_looked_up_where_the_file_says(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("S", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
        (tmp_path / "url").write_text("slack://a/b/c\n")
        assert keys_of(HOOK) == [KEY]
        assert url_of(CHAT.model_copy(update={"url": f"file:{tmp_path / 'url'}"})) == "slack://a/b/c"

    @pytest.mark.parametrize(
        ("build", "said"),
        [
            (lambda: keys_of(HOOK), "channel hook: secret: the variable S is not set"),
            (
                lambda: keys_of(HOOK.model_copy(update={"secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"})),
                "channel hook: secret: write env:NAME or file:PATH, not the secret itself",
            ),
            (
                lambda: url_of(CHAT.model_copy(update={"url": "file:/nowhere/at/all"})),
                "channel chat: url: cannot read the file /nowhere/at/all: No such file or directory",
            ),
            (
                lambda: url_of(HOOK.model_copy(update={"url": "ftp://x"})),
                "channel hook: url: a webhook's address begins with https:// or http://",
            ),
            (
                lambda: target_of(CHAT.model_copy(update={"url": "pigeon://secret-token"})),
                "channel chat: url: apprise does not take it (its service is 'pigeon')",
            ),
        ],
    )
    def test_what_is_missing_is_named_and_no_secret_is_shown(self, build: Callable[[], Any], said: str) -> None:
        with pytest.raises(SpendError) as caught:
            build()
        assert str(caught.value).startswith(said)
        assert "MfKQ" not in str(caught.value) and "secret-token" not in str(caught.value)

    def test_a_bad_secret_is_not_shown(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("S", "whsec_tooshort")
        with pytest.raises(SpendError, match="channel hook: secret: it is no Standard Webhooks secret") as caught:
            keys_of(HOOK)
        assert "tooshort" not in str(caught.value)

    @pytest.mark.parametrize(
        "address",
        [
            "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#general",
            "https://user:passw0rd@example.com/hooks/Abcdef123456?token=s3cret-token",
            "mailtos://someone:longpassword@mail.example.com",
        ],
    )
    def test_errors_are_scrubbed(self, address: str) -> None:
        tokens = ("TIiajkdnlazkcOXrIdevi7FQ", "T1JJ3T3L2", "passw0rd", "Abcdef123456", "s3cret-token", "longpassword")
        inside = [token for token in tokens if token in address]
        assert inside
        said = scrubbed(f"failed:\n {address} {' '.join(inside)} and {address!r}", secrets_in([address]))
        assert "\n" not in said and not [token for token in inside if token in said]


def test_the_second_opening_of_a_level_is_another_alert() -> None:
    first, second = alert.budget_opened(ORIGIN, NOON, LEVEL), alert.budget_opened(ORIGIN, NOON, LEVEL, again=1)
    assert first.key == second.key and first.id != second.id
    assert signature.webhook_id(first.id) != signature.webhook_id(second.id)
    assert alert.budget_opened(ORIGIN, NOON, replace(LEVEL, spent=LEVEL.spent + 1)).id == first.id


def test_an_incident_is_named_in_an_address_within_255_characters() -> None:
    assert incident_key("budget/acme/a&b=c/2026-11-01/80") == "budget%2Facme%2Fa%26b%3Dc%2F2026-11-01%2F80"
    long = incident_key("anomaly/user/" + "ü" * 300)
    assert len(long) == 64 and long != incident_key("anomaly/user/" + "ü" * 301)
