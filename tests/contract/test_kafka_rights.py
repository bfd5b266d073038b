"""The roles of `streams.kafka_rights` on Apache Kafka, by TLS and passwords: each does its work and nothing else.

The pipeline runs here with every process signed in as its own user, in Kafka and in ClickHouse, and with all logs at
their most talkative; then each user knocks at everything that is there.
"""

import json
import logging
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest
from confluent_kafka import (
    Consumer,
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)
from pydantic import SecretStr
from typer.testing import CliRunner

from clickhouse import migrate
from clickhouse.client import connect
from clickhouse.repair import repair
from streams import alerts, child, dead_letters, topics
from streams.cli import build
from streams.doctor import examine
from streams.errors import SpendError, Unreachable
from streams.grant_rights import Changes, exactly, grant
from streams.kafka import admin, client_config, wait_for_brokers
from streams.kafka_rights import ROLES, Role, wanted
from streams.secured_kafka import ADMINISTRATOR, USERS, as_user, folder, secure
from streams.settings import Settings, settings
from streams.supervisor import Stack, on_free_ports
from tests.chaos.traffic import Traffic, assert_windows_exact, until
from tests.contract import clickhouse_users
from tests.integration.alert_receiver import Receiver

pytestmark = pytest.mark.stack

TOKEN = "token-of-the-api"
HOOK = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
CHAT = "token-of-the-chat"
UNUSED = {
    name: SecretStr(f"nobody-may-see-the-{name}") for name in ("pseudonym_key", "grafana_token", "reader_password")
}
GROUPS = sorted({right.name for right in wanted() if right.kind == "group"})
NAMES = [topic.name for topic in topics.TOPICS]
DENIED = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
}
ANY_LINE = (ResourceType.ANY, None, ResourcePatternType.ANY, None, None, AclOperation.ANY, AclPermissionType.ANY)
# Makes every logger tell all it knows, whatever the process asks for.
TALKATIVE = "import logging\nlogging.Logger.setLevel = lambda self, level: setattr(self, 'level', logging.DEBUG)\n"


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory, broker: str) -> Iterator[Stack]:
    """A guarded broker with the topics and the rights of the table; its settings are those of its administrator."""
    if broker != "kafka":
        pytest.skip("it is about Apache Kafka")
    home = tmp_path_factory.mktemp("guarded")
    own = on_free_ports(Settings(state_dir=home, broker="kafka", partitions=2, api_token=SecretStr(TOKEN)))
    with Stack(secure(own), parts=("broker",)) as stack:
        assert grant(stack.settings, dry_run=True).granted == sorted(wanted())
        told = stack.run("topics", "grant").splitlines()
        assert len(told) == len(wanted()) and told[0] == "granted: spend-admin: READ group spendstream-audit"
        run(as_user(stack.settings, "spend-admin"), "topics", "create")
        yield stack


def run(settings: Settings, *arguments: str) -> str:
    with Stack(settings, parts=()) as nothing:
        return nothing.run(*arguments)


def line(user: str, topic: str, permission: AclPermissionType = AclPermissionType.ALLOW) -> AclBinding:
    operation, pattern = AclOperation.READ, ResourcePatternType.LITERAL
    return AclBinding(ResourceType.TOPIC, topic, pattern, f"User:{user}", "*", operation, permission)


def test_a_grant_takes_back_what_is_beyond_the_table_and_leaves_other_users_and_what_is_denied(kafka: Stack) -> None:
    nothing = Changes([], [])
    assert grant(kafka.settings) == nothing
    kept = [line("somebody", topics.PRICED), line("spend-gateway", topics.STATE, AclPermissionType.DENY)]
    client = admin(kafka.settings)
    for future in client.create_acls([line("spend-gateway", topics.PRICED), *kept]).values():
        future.result(10)
    beyond = Changes([], ["spend-gateway: READ topic spend.priced"])
    assert grant(kafka.settings, dry_run=True) == beyond
    assert grant(kafka.settings) == beyond
    assert grant(kafka.settings, dry_run=True) == nothing
    left = client.delete_acls([exactly(each) for each in kept])
    assert [list(future.result(10)) for future in left.values()] == [[each] for each in kept]
    with pytest.raises(SpendError, match=r"'spend-admin' may not change rights.*administrator"):
        grant(as_user(kafka.settings, "spend-admin"))


def test_the_pipeline_is_exact_with_every_process_signed_in_as_its_role_and_no_secret_is_told(
    kafka: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text(TALKATIVE)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{Path.cwd()}")
    (tmp_path / "hook").write_text(HOOK)
    receiver = Receiver({f"/refused/{CHAT}": lambda _: (403, 0.0)})
    (tmp_path / "chat").write_text(f"json://{receiver.address}/{CHAT}")
    (tmp_path / "refused").write_text(f"json://{receiver.address}/refused/{CHAT}")
    (tmp_path / "relay.yaml").write_text(
        f"""channels:
        - {{name: hook, kind: webhook, url: 'http://{receiver.address}/', secret: 'file:{tmp_path}/hook'}}
        - {{name: chat, kind: apprise, url: 'file:{tmp_path}/chat'}}
        - {{name: refused, kind: apprise, url: 'file:{tmp_path}/refused'}}"""
    )

    def signed_in(user: str, database_user: str = "nobody") -> Settings:
        more = {
            "clickhouse_user": database_user,
            "clickhouse_password": SecretStr(clickhouse_users.password(database_user)),
            "relay_file": tmp_path / "relay.yaml",
            **UNUSED,
        }
        return as_user(kafka.settings, user).model_copy(update=more)

    operator = signed_in("spend-admin", "spend_admin")
    with ExitStack() as running:
        running.callback(receiver.close)
        where = kafka.settings.clickhouse_url.rpartition(":")[2]
        script = str(Path(clickhouse_users.__file__))
        kafka.spawn("clickhouse", sys.executable, script, where, str(tmp_path / "clickhouse"))
        until(lambda: answers(f"http://127.0.0.1:{where}/ping"), "ClickHouse")
        migrate.up(connect(operator), operator, lambda: None)
        for part, user, database_user in (
            ("worker", "spend-worker", "nobody"),
            ("windows", "spend-windows", "spend_api"),
            ("sink", "spend-sink", "spend_sink"),
            ("relay", "spend-relay", "nobody"),
        ):
            running.enter_context(Stack(signed_in(user, database_user), parts=(part,)))

        budget = {"name": "All", "scope": "global", "limit_usd": "0.01"}
        assert ask(kafka.settings, budget, token="wrong") == 401
        assert ask(kafka.settings, budget, token=TOKEN) == 201
        traffic = Traffic(signed_in("spend-gateway"), records=2_000)
        traffic.publish(1_500, again=40, poison=4)
        for path in ("/", f"/{CHAT}", f"/refused/{CHAT}"):
            until(lambda path=path: receiver.at(path), f"an alert of the budget at {path}")
        report = json.loads(run(operator, "audit", "--json", "--wait", "30"))
        assert_windows_exact(report, traffic)
        dead_letters.replay(operator, [letter for letter in dead_letters.read_all(operator) if letter.value])
        told = {published.alert.document["type"] for published in alerts.read(signed_in("spend-reader"))}
        assert any(kind.startswith("spend.budget.") for kind in told)
        count = "SELECT count() FROM spend.alerts"
        until(lambda: connect(operator).command(count) == len(list(alerts.read(operator))), "alerts in ClickHouse")
        seen = [finding.found for finding in examine(operator)]
        assert not [found for found in seen if "authoriz" in found or "privileges" in found]
        secrets = [as_user(kafka.settings, user).kafka_password.get_secret_value() for user in USERS]
        secrets += [clickhouse_users.password(user) for user in clickhouse_users.grants()]
        secrets += [TOKEN, HOOK, CHAT, (folder(kafka.settings) / "broker.password").read_text()]
        secrets += [secret.get_secret_value() for secret in UNUSED.values()]
        found = {str(path): path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()}
        settings.cache_clear()
        shown = CliRunner(env=child.variables(operator)).invoke(build(["doctor"]), ["doctor", "--settings"])
        settings.cache_clear()
        found["doctor"] = shown.output.encode()

    assert not repair(operator, datetime.now(UTC), lambda *_: None).wrong  # it joins the sinks' group
    logs = {path.name: path.read_bytes() for path in kafka.settings.state_dir.glob("logs/*.log")}
    assert logs.keys() >= {"broker.log", "clickhouse.log", "worker.log", "windows.log", "sink.log", "relay.log"}
    assert b"DEBUG" in logs["worker.log"] and b"DEBUG" in logs["sink.log"] and b"refused" in logs["relay.log"]
    told_in = [name for name, text in (logs | found).items() if any(secret.encode() in text for secret in secrets)]
    assert told_in == []
    assert b"spend-admin" in found["doctor"] and b"**" in found["doctor"]


def answers(url: str) -> bool:
    try:
        return bool(urllib.request.urlopen(url, timeout=1).status == 200)
    except OSError:
        return False


def ask(settings: Settings, body: object, token: str) -> int:
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
    request = urllib.request.Request(
        f"http://127.0.0.1:{settings.worker_web_port}/api/budgets", json.dumps(body).encode(), headers
    )
    try:
        return int(urllib.request.urlopen(request).status)
    except urllib.error.HTTPError as error:
        return error.code


def test_what_it_made_is_its_owners_alone(kafka: Stack) -> None:
    home = folder(kafka.settings)
    files = [path for path in home.rglob("*") if path.is_file() and path.suffix not in (".pem", ".p12")]
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    assert {path.stat().st_mode & 0o777 for path in (home, *home.iterdir()) if path.is_dir()} == {0o700}
    assert (kafka.settings.state_dir / "kafka" / "broker" / "server.properties").stat().st_mode & 0o777 == 0o600


def test_a_role_s_folder_is_all_that_a_process_needs_to_sign_in(kafka: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPEND_SECRETS_DIR", str(folder(kafka.settings) / "spend-reader"))
    wait_for_brokers(own := Settings(kafka_bootstrap_servers=kafka.settings.kafka_bootstrap_servers))
    assert own.kafka_username == "spend-reader"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"kafka_password": SecretStr("wrong")}, r"does not let us in as 'spend-sink'.*SPEND_KAFKA_PASSWORD"),
        ({"kafka_username": "nobody"}, r"does not let us in as 'nobody'.*SPEND_KAFKA_USERNAME"),
        ({"kafka_sasl_mechanism": "PLAIN"}, r"does not let us in.*SPEND_KAFKA_SASL_MECHANISM"),
        ({"kafka_ca_file": None}, r"does not let us in.*SPEND_KAFKA_CA_FILE"),
        ({"kafka_security_protocol": "SASL_PLAINTEXT"}, r"SPEND_KAFKA_SECURITY_PROTOCOL"),
    ],
)
def test_who_signs_in_wrongly_is_refused_and_told_which_setting_it_is(
    kafka: Stack, changes: dict[str, object], told: str
) -> None:
    mistaken = as_user(kafka.settings, "spend-sink").model_copy(update=changes)
    with pytest.raises(Unreachable, match=told):
        wait_for_brokers(mistaken, 3.0)


def test_a_client_without_tls_gets_nothing(kafka: Stack) -> None:
    plain = Settings(kafka_bootstrap_servers=kafka.settings.kafka_bootstrap_servers)
    with pytest.raises(KafkaException):
        AdminClient(client_config(plain) | {"log_level": 0}).list_topics(timeout=3)


def test_librdkafka_tells_no_password_when_it_tells_everything(kafka: Stack, caplog: pytest.LogCaptureFixture) -> None:
    own = as_user(kafka.settings, "spend-sink")
    with caplog.at_level(logging.DEBUG):
        client = AdminClient(client_config(own) | {"debug": "all", "log_level": 7})
        client.list_topics(timeout=10)
        client.poll(0.2)
    assert "SASL" in caplog.text
    assert own.kafka_password.get_secret_value() not in caplog.text


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.user)
def test_a_role_may_do_what_the_table_says_and_is_refused_everything_else(kafka: Stack, role: Role) -> None:
    own = as_user(kafka.settings, role.user)
    may = set(role.rights())

    def allowed(operation: str, kind: str = "topic") -> set[str]:
        return {right.name for right in may if (right.kind, right.operation) == (kind, operation)}

    assert written(own) == allowed("WRITE")
    assert read(own) == allowed("READ")
    client = admin(own)
    assert done(client.create_topics([NewTopic(name, 1) for name in NAMES], validate_only=True)) == allowed("CREATE")
    assert done(client.create_topics([NewTopic("spend.elsewhere", 1)], validate_only=True)) == set()
    assert done(client.delete_topics(NAMES)) == set()
    assert done(client.incremental_alter_configs([_short(name) for name in NAMES])) == set()
    with ThreadPoolExecutor(len(GROUPS)) as beside:  # joining is waiting
        joined = beside.map(lambda group: joins(own, group), GROUPS)
    assert {group for group, did in zip(GROUPS, joined, strict=True) if did} == allowed("READ", "group")
    seen = done(client.describe_topics(TopicCollection(NAMES), request_timeout=10))
    assert seen == allowed("READ") | allowed("WRITE") | allowed("DESCRIBE")
    settled = [ConfigResource(ResourceType.TOPIC, name) for name in NAMES]
    assert done(client.describe_configs(settled)) == allowed("DESCRIBE_CONFIGS")
    assert done(client.describe_configs([ConfigResource(ResourceType.BROKER, "1")])) == set()
    assert done(client.create_partitions([NewPartitions(name, 9) for name in NAMES], validate_only=True)) == set()
    emptied = client.delete_records([TopicPartition(name, 0, 1) for name in NAMES])
    assert done({tp.topic: future for tp, future in emptied.items()}) == set()
    asked = [client.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)]) for group in GROUPS]
    assert done({group: future for each in asked for group, future in each.items()}) == allowed(
        "READ", "group"
    ) | allowed("DESCRIBE", "group")
    assert done(client.delete_consumer_groups(GROUPS)) == set()
    assert client.describe_acls(AclBindingFilter(*ANY_LINE)).result(20) == []  # there are some
    assert refused(lambda: Producer(client_config(own) | {"transactional.id": "mine"}).init_transactions(20))
    assert done(client.create_acls([line(role.user, topics.PRICED)])) == set()
    assert done(client.alter_user_scram_credentials([_new_password(ADMINISTRATOR)])) == set()


def written(own: Settings) -> set[str]:
    """Topics that take a record."""
    took: set[str] = set()

    def delivered(error: KafkaError | None, message: Message) -> None:
        if error is None:
            took.add(str(message.topic()))
        else:
            assert error.code() in DENIED, error

    producer = Producer(client_config(own) | {"log_level": 0})
    for name in NAMES:
        producer.produce(name, b"knock", b"knock", partition=0, on_delivery=delivered)
    assert producer.flush(20) == 0
    return took


def read(own: Settings) -> set[str]:
    """Topics that give records, or would. All have one: the administrator has seen to it."""
    seed = Producer(client_config(as_user(own, ADMINISTRATOR)))
    for name in NAMES:
        seed.produce(name, b"knock", b"knock", partition=0)
    assert seed.flush(20) == 0
    group = first(own, "group")
    gave: set[str] = set()
    consumer = Consumer(client_config(own) | {"group.id": group, "enable.auto.commit": False, "log_level": 0})
    consumer.assign([TopicPartition(name, 0, 0) for name in NAMES])
    # of a topic that it may not even look at, librdkafka asks for no records: READ would give the look, too
    client = admin(own)  # must live until its futures are done
    refused = set(NAMES) - done(client.describe_topics(TopicCollection(NAMES), request_timeout=10))
    give_up = time.monotonic() + 20
    while gave | refused < set(NAMES) and time.monotonic() < give_up:
        for message in consumer.consume(500, 0.2):
            error = message.error()
            if error is None:
                gave.add(str(message.topic()))
            elif error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
                refused.add(str(message.topic()))
    consumer.close()
    assert gave | refused == set(NAMES) and not gave & refused
    return gave


def first(own: Settings, kind: str) -> str:
    """The name of a group or topic that the user may read; any other when there is none."""
    names = [right.name for right in sorted(wanted()) if right.kind == kind and right.operation == "READ"]
    mine = [right.name for right in sorted(wanted()) if (right.user, right.kind) == (own.kafka_username, kind)]
    return next((name for name in mine if name in names), names[0])


def joins(own: Settings, group: str) -> bool:
    """Whether the user becomes a member of a group."""
    got: list[object] = []
    config = {"group.id": group, "session.timeout.ms": 6000, "enable.auto.commit": False, "log_level": 0}
    consumer = Consumer(client_config(own) | config)
    try:
        consumer.subscribe([first(own, "topic")], on_assign=lambda _, partitions: got.append(partitions))
        give_up = time.monotonic() + 20
        while time.monotonic() < give_up:
            message = consumer.poll(0.1)
            error = message.error() if message is not None else None
            if error is not None and error.code() == KafkaError.GROUP_AUTHORIZATION_FAILED:
                return False
            if got:
                return True
        raise AssertionError(f"{group}: neither joined nor refused")
    finally:
        consumer.close()


def done(futures: dict[object, object]) -> set[str]:
    """Of these requests, the names of those that were not refused for lack of a right."""
    allowed = set()
    for of, future in futures.items():
        try:
            future.result(20)
        except KafkaException as exc:
            if exc.args[0].code() in DENIED:
                continue
            assert exc.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS, exc
        allowed.add(getattr(of, "name", str(of)))
    return allowed


def refused(ask: Callable[[], object]) -> bool:
    """Whether this is refused for lack of a right."""
    try:
        ask()
    except KafkaException as exc:
        assert exc.args[0].code() in DENIED, exc
        return True
    return False


def _short(topic: str) -> ConfigResource:
    entry = ConfigEntry("retention.ms", "1", incremental_operation=AlterConfigOpType.SET)
    return ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])


def _new_password(user: str) -> UserScramCredentialUpsertion:
    return UserScramCredentialUpsertion(user, ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096), b"mine")
