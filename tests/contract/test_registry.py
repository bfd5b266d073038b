"""The Schema Registry, through confluent-kafka's client.

No registry can be had from PyPI, so `_Registry` below is test code: a real HTTP server that speaks the part of the
registry's REST API which the client uses (`POST /subjects/S`, `POST /subjects/S/versions`, `GET /schemas/ids/N`), with
the registry's own status and error codes.
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import pytest

from schemas import registry
from schemas.codec import WriterSchemas, encode_event
from schemas.priced import usage_event_avsc
from schemas.registry import SUBJECT, Registry, write_prefix, writer_schemas
from schemas.wire import confluent_prefix
from streams.errors import SpendError, Unreachable
from streams.ports import free_port
from streams.settings import Settings
from streams.spend.decode import decode

pytest.importorskip("authlib", reason="the registry's client is not installed: pip install 'spendstream[registry]'")
pytestmark = pytest.mark.stack

ROW = {
    "id": "e1",
    "source": "gw",
    "time": 1_772_366_400_000_000,
    "provider": "openai",
    "request_model": "gpt-5-mini",
    "operation": "chat",
}


class _Registry(BaseHTTPRequestHandler):
    ids: ClassVar[dict[str, int]]
    asked: ClassVar[list[str]]
    refuse: ClassVar[int]  # HTTP status for every request; 0: none
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.asked.append(f"GET {self.path}")
        schema_id = int(self.path.rpartition("/")[2].partition("?")[0])
        found = [schema for schema, known in self.ids.items() if known == schema_id]
        self._answer(200, {"schema": found[0]}) if found else self._answer(
            404, {"error_code": 40403, "message": "Schema not found"}
        )

    def do_POST(self) -> None:
        self.asked.append(f"POST {self.path}")
        schema = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["schema"]
        subject = self.path.split("/")[2].partition("?")[0]
        if "versions" in self.path:
            if "incompatible" in schema:
                self._answer(409, {"error_code": 409, "message": "Schema being registered is incompatible"})
                return
            self._answer(200, {"id": self.ids.setdefault(schema, 40 + len(self.ids))})
        elif schema in self.ids:
            self._answer(200, {"subject": subject, "version": 1, "id": self.ids[schema], "schema": schema})
        else:
            self._answer(404, {"error_code": 40403, "message": "Schema not found"})

    def _answer(self, status: int, body: Any) -> None:
        if self.refuse:
            status, body = self.refuse, {"error_code": self.refuse * 100 + 1, "message": "refused"}
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/vnd.schemaregistry.v1+json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@contextmanager
def serving() -> Iterator[tuple[str, type[_Registry]]]:
    handler = type("Handler", (_Registry,), {"ids": {}, "asked": [], "refuse": 0})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", handler
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def served() -> Iterator[tuple[str, type[_Registry]]]:
    with serving() as found:
        yield found


def settings(url: str | None) -> Settings:
    return Settings(schema_registry_url=url)


def test_the_schema_is_registered_once_and_its_id_is_written(served: tuple[str, type[_Registry]]) -> None:
    url, handler = served
    prefix = write_prefix(settings(url))
    assert prefix == confluent_prefix(40)
    assert write_prefix(settings(url)) == prefix
    assert handler.ids == {usage_event_avsc(): 40}
    registrations = [line for line in handler.asked if "/versions" in line]
    assert len(registrations) == 1, "who may only read the registry can produce once somebody registered the schema"
    assert SUBJECT in registrations[0]


def test_what_is_written_with_a_registry_is_read_with_it(served: tuple[str, type[_Registry]]) -> None:
    url, handler = served
    values = [encode_event({**ROW, "id": f"e{i}"}, write_prefix(settings(url))) for i in range(3)]
    values.append(encode_event({**ROW, "id": "e3"}))  # single-object encoding is always read
    writers = writer_schemas(settings(url))
    for _ in range(2):
        assert decode(values, writers).batch.column("id").to_pylist() == ["e0", "e1", "e2", "e3"]
    assert len([line for line in handler.asked if line.startswith("GET")]) == 1, "a schema is fetched once"


def test_an_unknown_id_is_a_dead_letter_until_it_is_registered(
    served: tuple[str, type[_Registry]], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, handler = served
    writers = writer_schemas(settings(url))
    value = encode_event(ROW, confluent_prefix(40))
    for _ in range(3):
        (poison,) = decode([value], writers).poison
        assert (poison.reason, poison.detail) == (
            "unknown_schema",
            "the schema with id 40 is not in the schema registry",
        )
    assert len(handler.asked) == 1, "and is not asked for with every record"
    handler.ids[usage_event_avsc()] = 40
    monkeypatch.setattr(registry.time, "monotonic", lambda: 1e12)  # later than 30 s later
    assert decode([value], writers).poison == []


def test_a_registry_that_does_not_answer_stops_the_worker_and_condemns_no_record() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    writers = WriterSchemas(Registry(url, seconds=0.5).schema)
    with pytest.raises(Unreachable, match=rf"{url} \(SPEND_SCHEMA_REGISTRY_URL\)"):
        decode([encode_event(ROW, confluent_prefix(1))], writers)
    with pytest.raises(Unreachable, match="SPEND_SCHEMA_REGISTRY_URL"):
        Registry(url, seconds=0.5).register(usage_event_avsc())
    assert decode([encode_event(ROW)], writers).poison == [], "what needs no registry goes on"


@pytest.mark.parametrize("status", [500, 503, 401, 429])
def test_a_registry_that_refuses_condemns_no_record(served: tuple[str, type[_Registry]], status: int) -> None:
    url, handler = served
    handler.refuse = status
    with pytest.raises(Unreachable):
        decode([encode_event(ROW, confluent_prefix(1))], writer_schemas(settings(url)))


def test_a_schema_that_the_registry_does_not_take_is_an_error_of_the_person(
    served: tuple[str, type[_Registry]],
) -> None:
    url, _ = served
    with pytest.raises(SpendError, match=r"does not take spend\.usage-value: .*incompatible"):
        Registry(url).register('{"type": "record", "name": "incompatible", "fields": []}')


def test_a_password_in_the_address_is_never_shown() -> None:
    url = f"http://ann:secret@127.0.0.1:{free_port()}"
    with pytest.raises(Unreachable) as refused:
        Registry(url, seconds=0.5).schema(1)
    assert "secret" not in str(refused.value)


def test_an_address_that_is_none_names_the_setting() -> None:
    with pytest.raises(SpendError, match="SPEND_SCHEMA_REGISTRY_URL"):
        Registry("registry:8081")


def test_without_a_registry_nothing_is_asked() -> None:
    assert write_prefix(settings(None)) is None
    assert decode([encode_event(ROW)], writer_schemas(settings(None))).poison == []
