"""Settings of Kafka's security, and secrets from files: what does not fit is refused, by its name."""

import re
import ssl
from pathlib import Path

import pytest
import trustme
from confluent_kafka import Producer
from cryptography.hazmat.primitives import serialization
from faust import SASLCredentials

from streams.app import _credentials
from streams.errors import SpendError
from streams.kafka import client_config
from streams.settings import settings

SECRET = "dont-show-this"
SASL = {"KAFKA_SECURITY_PROTOCOL": "SASL_SSL", "KAFKA_USERNAME": "spend-sink", "KAFKA_PASSWORD": SECRET}


@pytest.fixture(autouse=True)
def _read_anew():
    settings.cache_clear()
    yield
    settings.cache_clear()


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ca.pem, certificate.pem and key.pem."""
    folder = tmp_path_factory.mktemp("pem")
    authority = trustme.CA()
    issued = authority.issue_cert("spend-sink")
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    issued.cert_chain_pems[0].write_to_path(str(folder / "certificate.pem"))
    issued.private_key_pem.write_to_path(str(folder / "key.pem"))
    return folder


def refused(monkeypatch: pytest.MonkeyPatch, **variables: str) -> str:
    for name, value in variables.items():
        monkeypatch.setenv(f"SPEND_{name}", value)
    with pytest.raises(SpendError) as caught:
        settings()
    assert SECRET not in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"KAFKA_USERNAME": ""}, "SPEND_KAFKA_USERNAME: .*SASL_SSL signs in and needs it"),
        ({"KAFKA_PASSWORD": ""}, "SPEND_KAFKA_PASSWORD: .*SASL_SSL signs in and needs it"),
        ({"KAFKA_SECURITY_PROTOCOL": "SSL"}, "SPEND_KAFKA_USERNAME: .*SSL signs nobody in"),
        ({"KAFKA_SECURITY_PROTOCOL": "PLAINTEXT", "KAFKA_USERNAME": ""}, "SPEND_KAFKA_PASSWORD: .*signs nobody in"),
        ({"KAFKA_SECURITY_PROTOCOL": "TLS"}, "SPEND_KAFKA_SECURITY_PROTOCOL: .*SASL_SSL.*it is 'TLS'"),
        ({"KAFKA_SASL_MECHANISM": "GSSAPI"}, "SPEND_KAFKA_SASL_MECHANISM: .*SCRAM-SHA-512"),
        ({"KAFKA_CA_FILE": "/no/such.pem"}, "SPEND_KAFKA_CA_FILE: .*/no/such.pem"),
        ({"KAFKA_CA_FILE": __file__}, "SPEND_KAFKA_CA_FILE: .*no certificates in PEM"),
        ({"KAFKA_CA_FILE": __file__, "KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT"}, "SPEND_KAFKA_CA_FILE: .*not speak"),
        ({"KAFKA_KEY_FILE": __file__}, "SPEND_KAFKA_CERTIFICATE_FILE and SPEND_KAFKA_KEY_FILE: set both"),
        ({"KAFKA_KEY_FILE": __file__, "KAFKA_CERTIFICATE_FILE": __file__}, "SPEND_KAFKA_KEY_FILE: .*no certificate"),
        ({"SECRETS_DIR": "/no/such"}, "SPEND_SECRETS_DIR: .*/no/such"),
        ({"CLICKHOUSE_CA_FILE": "/no/such.pem"}, "SPEND_CLICKHOUSE_CA_FILE: .*/no/such.pem"),
    ],
)
def test_what_does_not_fit_together_is_refused_by_name_and_without_the_secret(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, str], named: str
) -> None:
    assert re.search(named, refused(monkeypatch, **(SASL | changes)))


def test_a_key_with_a_pass_phrase_is_refused_and_nobody_is_asked_for_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, pem: Path
) -> None:
    key = serialization.load_pem_private_key((pem / "key.pem").read_bytes(), None)
    locked = tmp_path / "locked.pem"
    locked.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"phrase"),
        )
    )
    files = {"KAFKA_CERTIFICATE_FILE": str(pem / "certificate.pem"), "KAFKA_KEY_FILE": str(locked)}
    assert "without a pass phrase" in refused(monkeypatch, **SASL, **files)


def test_both_kafka_clients_are_told_the_same(monkeypatch: pytest.MonkeyPatch, pem: Path) -> None:
    files = {"CA": "ca.pem", "CERTIFICATE": "certificate.pem", "KEY": "key.pem"}
    variables = SASL | {f"KAFKA_{name}_FILE": str(pem / file) for name, file in files.items()}
    for name, value in variables.items():
        monkeypatch.setenv(f"SPEND_{name}", value)
    config = client_config(settings())
    Producer(config)  # librdkafka reads the files, and refuses what it does not know
    assert (config["security.protocol"], config["sasl.mechanism"]) == ("SASL_SSL", "SCRAM-SHA-512")
    assert (config["sasl.username"], config["sasl.password"]) == ("spend-sink", SECRET)
    faust = _credentials(settings())
    assert isinstance(faust, SASLCredentials) and faust.ssl_context is not None
    assert (faust.protocol.value, faust.mechanism.value) == ("SASL_SSL", "SCRAM-SHA-512")
    assert (faust.username, faust.password) == ("spend-sink", SECRET)
    assert faust.ssl_context.verify_mode is ssl.CERT_REQUIRED and faust.ssl_context.check_hostname


def test_a_secret_comes_from_its_file_unless_a_variable_has_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # as Kubernetes mounts it: the files are links to a folder that is changed as a whole
    (tmp_path / "..2026").mkdir()
    (tmp_path / "..data").symlink_to("..2026")
    for name, value in {"spend_clickhouse_password": "geheim\n", "spend_api_token": "token\n"}.items():
        (tmp_path / "..2026" / name).write_text(value)
        (tmp_path / name).symlink_to(Path("..data", name))
    monkeypatch.setenv("SPEND_SECRETS_DIR", str(tmp_path))
    monkeypatch.setenv("SPEND_API_TOKEN", "of the environment")
    assert settings().clickhouse_password.get_secret_value() == "geheim"
    assert settings().api_token.get_secret_value() == "of the environment"


def test_a_secret_that_is_passed_over_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    inside = tmp_path / "secrets"
    inside.mkdir()
    (tmp_path / "elsewhere").write_text(SECRET)
    (inside / "spend_api_token").symlink_to(tmp_path / "elsewhere")
    assert "resolves outside" in refused(monkeypatch, SECRETS_DIR=str(inside))
