"""The preview: the provisioned dashboards in a browser, without Grafana. HTTP on this machine only, by aiohttp.

A page names panels and gives values; the SQL is made here, from the dashboard's JSON (`grafana.panel_query`), and runs
as the user who may only read. What the API answers stands in docs/decisions/0014-preview.md.
"""

import json
from collections.abc import Awaitable, Callable
from json import JSONDecodeError
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from grafana.interpolation import QueryError
from grafana.macros import TimeRange
from grafana.panel_query import (
    find_panel,
    find_variable,
    listed_options,
    resolve,
    resolve_annotation,
    resolve_variable,
)
from grafana.read_rows import QueryFailed, Reader
from streams.embedded import LOOPBACK
from streams.errors import SpendError, Unreachable
from streams.settings import Settings

HERE = Path(__file__).parent
DASHBOARDS = HERE / "provisioning" / "dashboards" / "spend"
PAGES = HERE / "preview"

_BODY_BYTES = 256 << 10
_HEADERS = {
    "Cache-Control": "no-store",
    # ECharts sets styles on elements; nothing else comes from elsewhere or from the page's own text.
    "Content-Security-Policy": "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class _Asked(BaseModel):
    """What all questions have in common. A value is a name or a member: bounded, and text that UTF-8 can hold."""

    model_config = ConfigDict(extra="forbid", strict=True)

    dashboard: str = Field(max_length=100)
    start: int = Field(alias="from", ge=0, le=10**14)
    end: int = Field(alias="to", ge=0, le=10**14)
    variables: dict[str, str | list[str]] = {}

    @property
    def time_range(self) -> TimeRange:
        """The range, whichever way round it was given."""
        return TimeRange(min(self.start, self.end), max(self.start, self.end))


class _PanelAsked(_Asked):
    panel: int
    ref: str = Field(max_length=10)
    points: int = Field(1000, alias="maxDataPoints", ge=1, le=10_000)


class _VariableAsked(_Asked):
    variable: str = Field(max_length=100)


class _AnnotationAsked(_Asked):
    annotation: str = Field(max_length=100)


class Preview:
    """The handlers, over the dashboards of one folder and one ClickHouse."""

    def __init__(self, settings: Settings, dashboards: Path = DASHBOARDS) -> None:
        self._reader = Reader(settings)
        self._folder = dashboards

    def application(self, pages: Path = PAGES) -> web.Application:
        """The aiohttp application; `pages` holds index.html and what it loads."""
        index = pages / "index.html"

        async def page(_request: web.Request) -> web.StreamResponse:
            return web.FileResponse(index)

        async def front(_request: web.Request) -> web.StreamResponse:
            raise web.HTTPFound("/d/spend-overview/")

        async def ready(_request: web.Request) -> web.StreamResponse:
            return web.json_response({"ready": True})

        own = web.Application(middlewares=[self._guard], client_max_size=_BODY_BYTES)
        own.add_routes(
            [
                web.get("/", front),
                web.get("/ready", ready),
                web.get("/d/{uid}", page),
                web.get("/d/{uid}/{rest:.*}", page),
                web.get("/api/dashboards", self.dashboards),
                web.get("/api/dashboards/{uid}", self.dashboard),
                web.get("/api/timezone", self.timezone),
                web.post("/api/query", self.query),
                web.post("/api/variable", self.variable),
                web.post("/api/annotation", self.annotation),
                web.static("/static", pages),
            ]
        )
        return own

    async def dashboards(self, _request: web.Request) -> web.StreamResponse:
        """uid, title and tags of each dashboard, by title."""
        found = [_read(path) for path in self._folder.glob("*.json")]
        told = [{"uid": each["uid"], "title": each["title"], "tags": each.get("tags", [])} for each in found]
        return web.json_response(sorted(told, key=lambda each: str(each["title"])))

    async def dashboard(self, request: web.Request) -> web.StreamResponse:
        """A dashboard's JSON as provisioned."""
        return web.json_response(self._find(request.match_info["uid"]))

    async def timezone(self, _request: web.Request) -> web.StreamResponse:
        """The organisation's time zone."""
        found = await self._reader.ask("SELECT timezone FROM organisation", "the organisation's time zone")
        return web.json_response({"timezone": found["data"][0][0]})

    async def query(self, request: web.Request) -> web.StreamResponse:
        """The rows of a panel's target."""
        asked = _PanelAsked.model_validate(await _body(request))
        dashboard = self._find(asked.dashboard)
        sql = resolve(
            dashboard, asked.panel, asked.ref, asked.time_range, asked.variables, max_data_points=asked.points
        )
        title = find_panel(dashboard, asked.panel).get("title", "")
        return _rows(await self._reader.ask(sql, f"panel {asked.panel} ({title}), query {asked.ref}"), sql)

    async def annotation(self, request: web.Request) -> web.StreamResponse:
        """The rows of an annotation, as a panel's."""
        asked = _AnnotationAsked.model_validate(await _body(request))
        sql = resolve_annotation(self._find(asked.dashboard), asked.annotation, asked.time_range, asked.variables)
        return _rows(await self._reader.ask(sql, f"annotation {asked.annotation}"), sql)

    async def variable(self, request: web.Request) -> web.StreamResponse:
        """The options of a variable: of a query's two columns the first is the value, the second the text."""
        asked = _VariableAsked.model_validate(await _body(request))
        dashboard = self._find(asked.dashboard)
        sql = resolve_variable(dashboard, asked.variable, asked.time_range, asked.variables)
        if sql is None:
            options = listed_options(find_variable(dashboard, asked.variable))
        else:
            found = await self._reader.ask(sql, f"variable {asked.variable}")
            options = [(str(row[min(1, len(row) - 1)]), str(row[0])) for row in found["data"]]
        return web.json_response({"options": [{"text": text, "value": value} for text, value in options]})

    def _find(self, uid: str) -> dict[str, Any]:
        for path in self._folder.glob("*.json"):
            if (found := _read(path)).get("uid") == uid:
                return found
        raise web.HTTPNotFound(text=f"there is no dashboard {uid!r}")

    @web.middleware
    async def _guard(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        """Refuse other sites' requests, tell errors as JSON, and give each answer its headers."""
        try:
            self._check_host(request)
            response = await handler(request)
        except web.HTTPRedirection as redirect:
            redirect.headers.update(_HEADERS)
            raise
        except web.HTTPException as error:
            response = web.json_response({"error": error.text or error.reason}, status=error.status)
        except SpendError as error:
            response = web.json_response({"error": str(error)}, status=_status(error))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            response = web.json_response({"error": f"{where}: {first['msg']}"}, status=400)
        response.headers.update(_HEADERS)
        return response

    @staticmethod
    def _check_host(request: web.Request) -> None:
        # A page of another site can make its own name point here (DNS rebinding): the name it asked for gives it away.
        for header, address in (("Host", f"//{request.host}"), ("Origin", request.headers.get("Origin", ""))):
            try:
                name = urlsplit(address).hostname
            except ValueError:
                name = ""
            if name not in LOOPBACK and not (header == "Origin" and address == ""):
                raise web.HTTPForbidden(text=f"{header}: the preview answers on this machine only")


def _status(error: SpendError) -> int:
    match error:
        case QueryError():
            return 400
        case Unreachable():
            return 503
        case QueryFailed(too_slow=True):
            return 504
    return 502


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _rows(found: dict[str, Any], sql: str) -> web.Response:
    return web.json_response({"meta": found["meta"], "data": found["data"], "rows": found["rows"], "sql": sql})


async def _body(request: web.Request) -> Any:
    if request.content_type != "application/json":  # what another site's form cannot send
        raise web.HTTPUnsupportedMediaType(text="send application/json")
    try:
        body = json.loads(await request.read())
        json.dumps(body, ensure_ascii=False).encode()
    except (JSONDecodeError, UnicodeError, RecursionError) as error:
        raise web.HTTPBadRequest(text="the body is not JSON in UTF-8") from error
    return body


def serve(settings: Settings) -> None:
    """Serve on 127.0.0.1 until SIGTERM or SIGINT. There is no sign-in, so no setting opens it to other machines.

    Raises:
        SpendError: the port is taken.
    """
    app = Preview(settings).application()
    try:
        web.run_app(
            app,
            host="127.0.0.1",
            port=settings.preview_port,
            shutdown_timeout=1,  # whoever closes the stack does not wait for a query
            print=lambda *_: None,
            access_log=None,
        )
    except OSError as error:
        raise SpendError(
            f"127.0.0.1:{settings.preview_port} is taken: set SPEND_PREVIEW_PORT to a free port"
        ) from error
