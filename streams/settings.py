"""Every setting, read once: from the environment (`SPEND_...`), secrets also from files of SPEND_SECRETS_DIR.

`settings()` gives the validated settings; a value that does not fit ends with one line that names the variable.
"""

import os
import re
import warnings
from functools import lru_cache
from pathlib import Path
from zoneinfo import ZoneInfo

from pydantic import DirectoryPath, Field, FilePath, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SecretsSettingsSource, SettingsConfigDict
from pydantic_settings.exceptions import SettingsError

from streams.errors import SpendError
from streams.kafka_login import KafkaLogin
from streams.spend.dimensions import DIMENSIONS


class Settings(KafkaLogin):
    """What can be set. The description of a field is its documentation: `spendstream doctor --settings` prints them."""

    model_config = SettingsConfigDict(env_prefix="SPEND_", extra="ignore", hide_input_in_errors=True)

    secrets_dir: DirectoryPath | None = Field(
        None,
        description="Folder of files that hold a setting each, such as spend_kafka_password: how Docker and Kubernetes "
        "hand over secrets. A variable of the same name goes first.",
    )
    broker: str = Field(
        "embedded",
        pattern="^(embedded|kafka)$",
        description="Broker that `up` starts: embedded (in memory) or kafka (Apache Kafka, which keeps its log).",
    )
    kafka_libs: Path = Field(
        Path.home() / ".cache" / "spendstream" / "kafka-4.2.2",
        description="Apache Kafka's jars for SPEND_BROKER=kafka: `make kafka` fetches them, or the libs folder of a "
        "Kafka that is there.",
    )
    schema_registry_url: str | None = Field(
        None, description="Confluent Schema Registry. Without one, Avro single-object encoding is written and read."
    )
    clickhouse_url: str = Field("http://127.0.0.1:8123", description="ClickHouse's HTTP interface.")
    clickhouse_user: str = Field("default", description="ClickHouse user.")
    clickhouse_password: SecretStr = Field(SecretStr(""), description="ClickHouse password.")
    clickhouse_ca_file: FilePath | None = Field(
        None, description="Certificates, PEM, that vouch for an https ClickHouse; without it, the usual ones."
    )
    clickhouse_database: str = Field("spend", description="Database of all tables.", pattern=r"^[A-Za-z_]\w*$")
    clickhouse_cluster: str | None = Field(
        None, description="Name of a ClickHouse cluster: tables are then made replicated, ON CLUSTER."
    )
    raw_retention_days: int = Field(
        400, ge=1, description="Days that ClickHouse keeps raw rows, and windows of a quarter of an hour."
    )
    rollup_retention_days: int = Field(
        3650,
        ge=1,
        description="Days that ClickHouse keeps rollups, and windows of a day; no less than raw rows.",
    )
    minute_retention_days: int = Field(3, ge=3, description="Days that ClickHouse keeps windows of a minute.")
    alert_retention_days: int = Field(3650, ge=1, description="Days that ClickHouse keeps alerts and deliveries.")
    health_retention_days: int = Field(30, ge=1, description="Days that ClickHouse keeps the sinks' health reports.")
    log_retention_days: int = Field(
        35, ge=1, description="Days that Kafka keeps events and priced blocks: what a replay and an audit can reach."
    )
    stage_retention_days: int = Field(7, ge=1, description="Days that Kafka keeps what the windows worker writes.")
    alert_log_retention_days: int = Field(30, ge=1, description="Days that Kafka keeps alerts.")
    dead_letter_retention_days: int = Field(
        30, ge=1, description="Days that Kafka keeps dead letters: records as they came, whatever is in them."
    )

    partitions: int = Field(4, ge=1, le=1024, description="Partitions of spend.usage and spend.priced.")
    replication: int = Field(
        1, ge=1, le=9, description="Replication factor of the topics; all replicas but one acknowledge a write."
    )
    block_seconds: float = Field(0.5, ge=0.0, le=60, description="How long a batch may wait for more events.")
    block_events: int = Field(50_000, ge=1, le=500_000, description="Most events in a batch, and in its block.")
    session_timeout_seconds: float = Field(6.0, ge=1, description="Kafka consumer session timeout.")
    stall_seconds: float = Field(60.0, ge=1, description="A partition with lag and no progress ends the worker after.")
    dedup_horizon: int = Field(
        10_000_000,
        ge=1,
        le=2**31 - 1,
        description="Source offsets of a partition within which a repeated (source, id) is dropped.",
    )
    poison_share: float = Field(0.5, gt=0, le=1, description="Share of undecodable records that halts the worker,")
    poison_window: int = Field(1_000, ge=1, description="measured over this many last records of a partition.")
    rates_file: Path | None = Field(None, description="Own rates, YAML.")

    minute_hours: int = Field(
        26, ge=1, le=48, description="Hours behind the watermark that minute windows are kept; a day has up to 25."
    )
    quarter_days: int = Field(
        40, ge=1, le=400, description="Days behind the watermark that quarter-hour windows are kept."
    )
    members: int = Field(
        100_000,
        ge=100,
        description="Members of a dimension with windows of their own; further ones are counted as (other).",
    )
    anomaly_members: int = Field(
        20_000, ge=0, description="Members that are watched for anomalies in one windows worker, those that spend most."
    )
    anomaly_dimensions: str = Field(
        "global,workload,customer,team,user,model",
        description="Dimensions whose members are watched for anomalies, comma separated. One cause is told once for "
        "each of them that it shows in.",
    )
    alerts_per_hour: int = Field(
        20, ge=1, description="Anomalies that may open in an hour of event time; the others wait, and are counted."
    )

    pseudonyms: str = Field(
        "", description="Fields that producers store as pseudonyms: customer, user or customer,user; none by default."
    )
    pseudonym_key: SecretStr = Field(
        SecretStr(""), description="Key of the pseudonyms, 16 bytes or more, the same for every producer."
    )

    timezone: str = Field("UTC", description="IANA time zone that decides the organisation's days and months.")
    currency: str = Field("USD", pattern="^USD$", description="Currency of all figures.")

    web_host: str = Field("127.0.0.1", description="Address that the worker's and the sink's web listen on.")
    worker_web_port: int = Field(6066, ge=1, le=65535, description="Worker: /metrics, /health, /ready, /api.")
    api_token: SecretStr = Field(
        SecretStr(""),
        description="Bearer token that changes over /api need; without one only a worker on this machine's own address "
        "(SPEND_WEB_HOST) lets budgets be changed.",
    )
    windows_web_port: int = Field(6068, ge=1, le=65535, description="Windows worker: /metrics, /health, /ready.")
    relay_web_port: int = Field(6069, ge=1, le=65535, description="Relay: /metrics, /health, /ready.")
    relay_file: Path | None = Field(None, description="Channels that the relay sends alerts to, YAML.")
    reader_user: str = Field(
        "spend_reader", description="ClickHouse user that dashboards ask with: it may only read, within limits."
    )
    reader_password: SecretStr = Field(SecretStr(""), description="Password of that user.")
    grafana_url: str | None = Field(
        None,
        description="Grafana that `spendstream dashboards` pushes to, such as https://grafana.example.com.",
    )
    grafana_token: SecretStr = Field(SecretStr(""), description="Token of a service account of that Grafana.")
    grafana_clickhouse_url: str | None = Field(
        None,
        description="ClickHouse's HTTP interface as that Grafana reaches it; without one, SPEND_CLICKHOUSE_URL.",
    )
    sink_web_port: int = Field(6067, ge=1, le=65535, description="Sink: /metrics, /health, /ready.")
    preview_port: int = Field(6080, ge=1, le=65535, description="Dashboards without Grafana, on 127.0.0.1 only.")
    state_dir: Path = Field(Path(".spend"), description="Local files: the embedded servers' data and all logs of `up`.")
    log_format: str = Field("text", pattern="^(text|json)$", description="Logs as text or as JSON lines.")

    @field_validator("rollup_retention_days")
    @classmethod
    def _outlives_raw_rows(cls, days: int, info: ValidationInfo) -> int:
        if days < info.data.get("raw_retention_days", 0):
            raise ValueError("rollups have to be kept as long as raw rows (SPEND_RAW_RETENTION_DAYS) at least")
        return days

    @field_validator("grafana_url", "grafana_clickhouse_url")
    @classmethod
    def _web_address(cls, address: str | None) -> str | None:
        if address is not None and not re.fullmatch(r"https?://[^/?#@\s]+(/[^?#\s]*)?", address):
            raise ValueError("it must look like https://host or http://host:3000, without a user")
        return address

    @field_validator("anomaly_dimensions")
    @classmethod
    def _known_dimensions(cls, names: str) -> str:
        for name in names.split(","):
            if name not in DIMENSIONS:
                raise ValueError(f"{name!r} is not one of {', '.join(DIMENSIONS)}")
        return names

    @field_validator("pseudonyms")
    @classmethod
    def _names_of_people(cls, fields: str) -> str:
        if fields and not set(fields.split(",")) <= {"customer", "user"}:
            raise ValueError("it must be customer, user or customer,user")
        return fields

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (KeyError, ValueError, OSError) as exc:
            raise ValueError("it must be an IANA time zone such as Europe/Zurich") from exc
        return name

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Where settings come from, the first that has one counts: arguments, environment, files of secrets."""
        folder = os.environ.get("SPEND_SECRETS_DIR")
        files = (SecretsSettingsSource(settings_cls, folder),) if folder and Path(folder).is_dir() else ()
        return (init_settings, env_settings, *files)


@lru_cache
def settings() -> Settings:
    """The settings of this process.

    Raises:
        SpendError: a variable has a value that does not fit; the message names it.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # a file of a secret that is passed over
            return Settings()
    except ValidationError as exc:
        first = exc.errors()[0]
        said = first["msg"].removeprefix("Value error, ")
        if not first["loc"]:  # about several settings, which it names; its input is all of them, secrets too
            raise SpendError(said) from None
        name = "SPEND_" + "_".join(str(part) for part in first["loc"]).upper()
        value = "" if "@" in str(first.get("input")) else f" (it is {first.get('input')!r})"
        raise SpendError(f"{name}: {said}{value}") from None
    except SettingsError as exc:
        raise SpendError(f"SPEND_SECRETS_DIR: {exc.__cause__ or exc}") from None


def secret(reference: str) -> str:
    """What `env:NAME` or `file:PATH` stands for, so that a file of settings needs to hold no secret.

    Raises:
        SpendError: it is neither, or there is nothing behind it; the message holds no secret.
    """
    kind, _, name = reference.partition(":")
    if kind == "env" and name:
        if not (value := os.environ.get(name, "").strip()):
            raise SpendError(f"the variable {name} is not set")
        return value
    if kind == "file" and name:
        try:
            value = Path(name).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as exc:
            raise SpendError(
                f"cannot read the file {name}: {getattr(exc, 'strerror', None) or 'it is no text'}"
            ) from exc
        if not value:
            raise SpendError(f"the file {name} is empty")
        return value
    raise SpendError("write env:NAME or file:PATH, not the secret itself")
