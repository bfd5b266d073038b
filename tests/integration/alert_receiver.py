"""A real HTTP server that takes alerts, and misbehaves as a test wants."""

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Got:
    """One request. `at`: monotonic seconds of its arrival."""

    path: str
    headers: dict[str, str]
    body: bytes
    at: float

    @property
    def document(self) -> Any:
        return json.loads(self.body)

    @property
    def webhook_id(self) -> str:
        return self.headers["webhook-id"]


Answer = Callable[[int], tuple[int, float]]
"""From the number of the path's request, from 1, to the status to answer with and the seconds to wait before."""


@dataclass
class Receiver:
    """What came, by path; `answers` says how a path answers, 200 at once where it says nothing."""

    answers: dict[str, Answer] = field(default_factory=dict)
    got: list[Got] = field(default_factory=list)

    def __post_init__(self) -> None:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                receiver.got.append(Got(self.path, headers, body, time.monotonic()))
                status, seconds = receiver.answers.get(self.path, lambda _: (200, 0.0))(len(receiver.at(self.path)))
                time.sleep(seconds)
                try:
                    self.send_response(status)
                    self.send_header("content-length", "0")
                    self.end_headers()
                except OSError:
                    self.close_connection = True  # the sender is gone

            def log_message(self, format: str, *args: Any) -> None:
                """A test looks at `got`."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._server.server_address[1]}"

    def at(self, path: str) -> list[Got]:
        return [each for each in self.got if each.path == path]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
