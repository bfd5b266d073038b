"""A Schema Registry of one call, for tests that are about who reads schemas: GET /schemas/ids/N."""

import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Registry:
    """Where it listens, and its schemas by id."""

    url: str
    schemas: dict[int, str] = field(default_factory=dict)


@contextmanager
def serving_registry(schemas: Mapping[int, str]) -> Iterator[Registry]:
    """A registry on a free port of this machine."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = re.match(r"/schemas/ids/(\d+)", self.path)
            schema = registry.schemas.get(int(asked[1])) if asked else None
            told = {"schema": schema} if schema else {"error_code": 40403, "message": "Schema not found"}
            body = json.dumps(told).encode()
            self.send_response(200 if schema else 404)
            self.send_header("Content-Type", "application/vnd.schemaregistry.v1+json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    registry = Registry(f"http://127.0.0.1:{server.server_port}", dict(schemas))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield registry
    finally:
        server.shutdown()
        server.server_close()
