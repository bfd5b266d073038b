"""The sink's web: /metrics, /health and /ready. (A worker serves the same pages on Faust's own web.)"""

import json
import threading
from collections.abc import Callable, Iterable
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

from prometheus_client import make_wsgi_app

from streams.errors import SpendError


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Scrapes are not worth a log line each."""


def serve(host: str, port: int, setting: str, is_ready: Callable[[], bool]) -> None:
    """Serve in a thread until the process ends.

    Args:
        host: the address to bind.
        port: the port to bind.
        setting: the variable that sets the port, for the error.
        is_ready: what /ready answers, 200 or 503.

    Raises:
        SpendError: the port is taken.
    """
    render = make_wsgi_app()

    def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path == "/metrics":
            return render(environ, start_response)
        bodies = {"/health": (True, "status"), "/ready": (is_ready(), "ready")}
        if path not in bodies:
            start_response("404 Not Found", [("Content-Type", "text/plain")])
            return [b"/metrics, /health, /ready\n"]
        fine, name = bodies[path]
        start_response("200 OK" if fine else "503 Service Unavailable", [("Content-Type", "application/json")])
        return [json.dumps({name: fine}).encode()]

    try:
        server = make_server(host, port, application, handler_class=_Quiet)
    except OSError as exc:
        raise SpendError(f"{host}:{port} is taken: set {setting} to a free port") from exc
    threading.Thread(target=server.serve_forever, name="web", daemon=True).start()
