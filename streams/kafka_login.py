"""Where Kafka is and how to sign in there: the part of the settings that every Kafka client is made from."""

import ssl
from typing import Self

from pydantic import Field, FilePath, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings


class KafkaLogin(BaseSettings):
    """Fields of `streams.settings.Settings`. What does not fit together is refused, not mended in silence."""

    kafka_bootstrap_servers: str = Field("127.0.0.1:9092", description="Kafka brokers, host:port, comma separated.")
    kafka_security_protocol: str = Field(
        "PLAINTEXT",
        pattern="^(PLAINTEXT|SSL|SASL_PLAINTEXT|SASL_SSL)$",
        description="How to speak to Kafka: SSL is TLS, SASL_ signs in; PLAINTEXT only where nobody else listens.",
    )
    kafka_sasl_mechanism: str = Field(
        "SCRAM-SHA-512", pattern="^(SCRAM-SHA-512|SCRAM-SHA-256|PLAIN)$", description="How to sign in with SASL_."
    )
    kafka_username: str = Field("", description="Kafka user, of a role that `spendstream topics rights` lists.")
    kafka_password: SecretStr = Field(SecretStr(""), description="Password of that user.")
    kafka_ca_file: FilePath | None = Field(
        None, description="Certificates, PEM, that vouch for the brokers; without it, those the system trusts."
    )
    kafka_certificate_file: FilePath | None = Field(
        None, description="Own certificate, PEM, for brokers that ask for one."
    )
    kafka_key_file: FilePath | None = Field(None, description="Its private key, PEM, without a pass phrase.")

    @field_validator("kafka_bootstrap_servers")
    @classmethod
    def _servers(cls, text: str) -> str:
        for server in text.split(","):
            host, _, port = server.strip().rpartition(":")
            if not host or not port.isdigit():
                raise ValueError(f"{server.strip()!r} is not host:port, such as 127.0.0.1:9092")
        return text

    @model_validator(mode="after")
    def _kafka_login(self) -> Self:
        """What belongs together is there together, so that no client goes on less guarded than was meant."""
        protocol = f"SPEND_KAFKA_SECURITY_PROTOCOL={self.kafka_security_protocol}"
        user = {"SPEND_KAFKA_USERNAME": self.kafka_username}
        user["SPEND_KAFKA_PASSWORD"] = self.kafka_password.get_secret_value()
        for name, value in user.items():
            if self.kafka_signs_in and not value:
                raise ValueError(f"{name}: {protocol} signs in and needs it")
            if value and not self.kafka_signs_in:
                raise ValueError(f"{name}: {protocol} signs nobody in, SASL_SSL does")
        if (self.kafka_certificate_file is None) != (self.kafka_key_file is None):
            raise ValueError("SPEND_KAFKA_CERTIFICATE_FILE and SPEND_KAFKA_KEY_FILE: set both or neither")
        if self.kafka_speaks_tls:
            self.kafka_tls()
        elif self.kafka_ca_file or self.kafka_key_file:
            name = "CA" if self.kafka_ca_file else "KEY"
            raise ValueError(f"SPEND_KAFKA_{name}_FILE: {protocol} does not speak TLS, SASL_SSL and SSL do")
        return self

    @property
    def kafka_signs_in(self) -> bool:
        """Whether Kafka is told a user and a password."""
        return self.kafka_security_protocol.startswith("SASL_")

    @property
    def kafka_speaks_tls(self) -> bool:
        """Whether what is said to Kafka is encrypted and the broker's certificate checked."""
        return self.kafka_security_protocol.endswith("SSL")

    def kafka_tls(self) -> ssl.SSLContext:
        """How TLS to Kafka is set up: certificate and host name are checked.

        Raises:
            ValueError: a file is not what it should be; the message names its setting.
        """
        try:
            context = ssl.create_default_context(cafile=self.kafka_ca_file)
        except OSError as exc:
            raise ValueError(f"SPEND_KAFKA_CA_FILE: {self.kafka_ca_file} holds no certificates in PEM") from exc
        if self.kafka_certificate_file and self.kafka_key_file:
            try:
                # the pass phrase is asked of no terminal: a daemon would wait for ever
                context.load_cert_chain(self.kafka_certificate_file, self.kafka_key_file, password="")
            except OSError as exc:
                raise ValueError(
                    "SPEND_KAFKA_CERTIFICATE_FILE and SPEND_KAFKA_KEY_FILE: they are no certificate and its key in PEM "
                    "without a pass phrase"
                ) from exc
        return context
