"""The Schema Registry, when SPEND_SCHEMA_REGISTRY_URL names one: schemas by id, and the id to write with."""

import time
from urllib.parse import urlsplit

from schemas.codec import WriterSchemas
from schemas.priced import usage_event_avsc
from schemas.wire import confluent_prefix
from streams.errors import SpendError, Unreachable
from streams.settings import Settings

SUBJECT = "spend.usage-value"  # TopicNameStrategy: what other producers' serializers use by default

_NOT_FOUND = 404
_FORGET_UNKNOWN_SECONDS = 30.0
_MOST_UNKNOWN = 10_000


class Registry:
    """A Schema Registry through confluent-kafka's client.

    Args:
        url: the registry's address; a user and a password may stand in it.
        seconds: how long one request may take.

    Raises:
        SpendError: confluent-kafka was installed without its registry client.
    """

    def __init__(self, url: str, seconds: float = 5.0) -> None:
        try:
            from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
            from confluent_kafka.schema_registry.error import SchemaRegistryError
        except ImportError as exc:
            raise SpendError(
                "SPEND_SCHEMA_REGISTRY_URL is set, and the registry's client is not installed: "
                "pip install 'spendstream[registry]'"
            ) from exc
        self._schema, self._refusal = Schema, SchemaRegistryError
        parts = urlsplit(url)
        self.address = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"  # without the password
        try:
            self._client = SchemaRegistryClient(
                {"url": url, "timeout": seconds, "max.retries": 2, "retries.wait.ms": 200}
            )
        except (ValueError, TypeError) as exc:
            raise SpendError(f"SPEND_SCHEMA_REGISTRY_URL: {exc}") from exc
        self._unknown: dict[int, float] = {}  # id: monotonic second at which it may be asked for again

    def schema(self, schema_id: int) -> str | None:
        """The schema with this id; None when the registry has none (asked again after 30 s: it may come).

        Raises:
            Unreachable: the registry does not answer, or refuses.
        """
        now = time.monotonic()
        if self._unknown.get(schema_id, now) > now:
            return None
        try:
            return str(self._client.get_schema(schema_id).schema_str)
        except self._refusal as exc:
            if exc.http_status_code != _NOT_FOUND:
                raise self._unreachable(exc) from exc
        except Exception as exc:
            raise self._unreachable(exc) from exc
        if len(self._unknown) >= _MOST_UNKNOWN:
            self._unknown.clear()
        self._unknown[schema_id] = now + _FORGET_UNKNOWN_SECONDS
        return None

    def count(self) -> int:
        """How many subjects it has.

        Raises:
            Unreachable: it does not answer, or refuses.
        """
        try:
            return len(self._client.get_subjects())
        except Exception as exc:  # the client lets its HTTP library's errors through
            raise self._unreachable(exc) from exc

    def register(self, schema: str, subject: str = SUBJECT) -> int:
        """The id of a schema under a subject, registered if it is not there yet.

        Raises:
            SpendError: the registry does not take it: it is incompatible with the subject's schemas, or writing to the
                registry is not allowed.
            Unreachable: the registry does not answer.
        """
        wanted = self._schema(schema, "AVRO")
        try:
            try:
                found = self._client.lookup_schema(subject, wanted).schema_id
                if found is not None:
                    return found
            except self._refusal as exc:
                if exc.http_status_code != _NOT_FOUND:
                    raise
            return int(self._client.register_schema(subject, wanted))
        except self._refusal as exc:
            if exc.http_status_code >= 500:
                raise self._unreachable(exc) from exc
            raise SpendError(f"the schema registry at {self.address} does not take {subject}: {exc}") from exc
        except Exception as exc:
            raise self._unreachable(exc) from exc

    def _unreachable(self, exc: Exception) -> Unreachable:
        return Unreachable(f"the schema registry at {self.address} (SPEND_SCHEMA_REGISTRY_URL): {exc}")


def writer_schemas(settings: Settings) -> WriterSchemas:
    """The schemas that can be read: the published ones and, when a registry is configured, the registry's."""
    return WriterSchemas(Registry(settings.schema_registry_url).schema if settings.schema_registry_url else None)


def write_prefix(settings: Settings) -> bytes | None:
    """What the events that are written start with: None for single-object encoding, as the codec takes it.

    Raises:
        SpendError, Unreachable: as `Registry.register`.
    """
    if not settings.schema_registry_url:
        return None
    return confluent_prefix(Registry(settings.schema_registry_url).register(usage_event_avsc()))
