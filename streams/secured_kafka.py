"""Apache Kafka on this machine that lets nobody in without a password: TLS, SCRAM and the rights of the table.

`secure` makes, once, the brokers' certificate and a user for each role under `<state_dir>/kafka-secrets`, each user in
a folder of its own that SPEND_SECRETS_DIR can name:

    kafka-secrets/ca.pem  broker.p12  broker.password  users
    kafka-secrets/spend-sink/spend_kafka_username  spend_kafka_password  spend_kafka_ca_file  ...

The brokers' own user, `kafka`, may do everything; it is who grants the others their rights. Passwords are handed to
Java in files or in its environment, where no list of processes shows them.
"""

import os
import secrets
import shutil
import subprocess
from pathlib import Path

from pydantic import SecretStr

from streams.errors import SpendError
from streams.kafka_rights import ROLES
from streams.settings import Settings

PROTOCOL, MECHANISM = "SASL_SSL", "SCRAM-SHA-512"
ADMINISTRATOR = "kafka"
USERS = (ADMINISTRATOR, *(role.user for role in ROLES))

_NAME = "CN=spendstream-kafka"  # who a broker is to the controllers, by its certificate
_DAYS = 365


def folder(settings: Settings) -> Path:
    """Where it all is; whoever can read it is Kafka's administrator."""
    return settings.state_dir.absolute() / "kafka-secrets"


def secure(settings: Settings) -> Settings:
    """Make what is missing; the settings as Kafka's administrator.

    Raises:
        SpendError: Java's keytool is missing or failed.
    """
    home = folder(settings)
    if not (home / "users").exists():
        shutil.rmtree(home, ignore_errors=True)  # half of it is none of it
        home.mkdir(parents=True, mode=0o700)
        _make_certificate(home)
        passwords = {user: secrets.token_urlsafe(24) for user in USERS}
        for user, password in passwords.items():
            for name, value in _login(home, user, password).items():
                _write(home / user / f"spend_{name}", value)
        _write(
            home / "users",
            "".join(
                f"--add-scram\n{MECHANISM}=[name={user},password={password}]\n" for user, password in passwords.items()
            ),
        )
    return as_user(settings, ADMINISTRATOR)


def as_user(settings: Settings, user: str) -> Settings:
    """The same settings, signing in as one of USERS."""
    home = folder(settings)
    password = (home / user / "spend_kafka_password").read_text(encoding="utf-8")
    return settings.model_copy(
        update={
            "kafka_security_protocol": PROTOCOL,
            "kafka_sasl_mechanism": MECHANISM,
            "kafka_ca_file": home / "ca.pem",
            "kafka_username": user,
            "kafka_password": SecretStr(password),
        }
    )


def broker_config(settings: Settings) -> dict[str, object]:
    """What a broker's properties need beside those of an open one.

    Raises:
        SpendError: the broker is to be guarded, and `secure` has not been here.
    """
    home = folder(settings)
    if settings.kafka_security_protocol != PROTOCOL or not (home / "users").exists():
        raise SpendError(
            f"SPEND_KAFKA_SECURITY_PROTOCOL={settings.kafka_security_protocol}: a broker on this machine is PLAINTEXT, "
            "or guarded as `spendstream kafka --secured` starts it"
        )
    password = (home / ADMINISTRATOR / "spend_kafka_password").read_text(encoding="utf-8")
    login = "org.apache.kafka.common.security.scram.ScramLoginModule required"
    return {
        "listener.security.protocol.map": f"CLIENT:{PROTOCOL},CONTROLLER:SSL",
        "ssl.keystore.type": "PKCS12",
        "ssl.keystore.location": home / "broker.p12",
        "ssl.keystore.password": (home / "broker.password").read_text(encoding="utf-8"),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": home / "ca.pem",
        "listener.name.controller.ssl.client.auth": "required",
        "sasl.enabled.mechanisms": MECHANISM,
        "sasl.mechanism.inter.broker.protocol": MECHANISM,
        f"listener.name.client.{MECHANISM.lower()}.sasl.jaas.config": (
            f'{login} username="{ADMINISTRATOR}" password="{password}";'
        ),
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "allow.everyone.if.no.acl.found": "false",
        "super.users": f"User:{ADMINISTRATOR};User:{_NAME}",
    }


def _login(home: Path, user: str, password: str) -> dict[str, str]:
    return {
        "kafka_security_protocol": PROTOCOL,
        "kafka_sasl_mechanism": MECHANISM,
        "kafka_ca_file": str(home / "ca.pem"),
        "kafka_username": user,
        "kafka_password": password,
    }


def _make_certificate(home: Path) -> None:
    """A key and a certificate that vouches for itself, as keytool, which comes with Java, makes them."""
    _write(home / "broker.password", secrets.token_urlsafe(24))
    store = [
        "-alias",
        "broker",
        "-keystore",
        str(home / "broker.p12"),
        "-storepass:file",
        str(home / "broker.password"),
    ]
    made = ["-genkeypair", *store, "-storetype", "PKCS12", "-keyalg", "EC", "-groupname", "secp256r1"]
    made += ["-dname", _NAME, "-validity", str(_DAYS), "-ext", "SAN=ip:127.0.0.1,dns:localhost"]
    made += ["-ext", "BC:critical=ca:true", "-ext", "KU:critical=digitalSignature,keyCertSign"]
    for arguments in (made, ["-exportcert", "-rfc", *store, "-file", str(home / "ca.pem")]):
        tool = shutil.which("keytool")
        if tool is None:
            raise SpendError("keytool is not installed: `spendstream kafka --secured` needs Java 17 or newer")
        done = subprocess.run([tool, *arguments], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise SpendError(f"keytool made no certificate: {(done.stdout + done.stderr).strip()[-500:]}")


def _write(path: Path, text: str) -> None:
    """A file that its owner alone reads."""
    path.parent.mkdir(mode=0o700, exist_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
