"""The preview: the provisioned dashboards in a browser, without Grafana. HTTP on this machine only, by aiohttp.

A page names panels and gives values; the SQL is made here, from the dashboard's JSON (`grafana.panel_query`), and runs
as the user who may only read. What the API answers stands in docs/decisions/0014-preview.md.
"""

import asyncio
import json
import logging
import re
from collections.abc import Awaitable, Callable
from json import JSONDecodeError
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from clickhouse.client import connect_reader
from grafana.interpolation import QueryError
from grafana.macros import TimeRange
from grafana.panel_query import find_panel, find_variable, listed_options, resolve, resolve_variable
from streams.embedded import LOOPBACK
from streams.errors import SpendError, Unreachable
from streams.settings import Settings

log = logging.getLogger("grafana.preview")

HERE = Path(__file__).parent
DASHBOARDS = HERE / "provisioning" / "dashboards" / "spend"
PAGES = HERE / "preview"

_SECONDS = 15  # a query that takes longer is ended
_ROWS = 20_000  # more would only choke the browser
_AT_ONCE = 4  # queries; the others wait
_BODY_BYTES = 256 << 10
_HEADERS = {
    "Cache-Control": "no-store",
    # ECharts sets styles on elements; nothing else comes from elsewhere or from the page's own text.
    "Content-Security-Policy": "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
_FORMAT = {
    "output_format_json_quote_64bit_integers": 1,
    "output_format_json_quote_decimals": 1,
    "date_time_output_format": "iso",  # UTC, whatever zone a column has; `_plain_times` takes T and Z away
}
_LIMITS = {"max_execution_time": _SECONDS, "max_result_rows": _ROWS, "result_overflow_mode": "throw"}
_MENDS = {
    60: "spendstream migrate up makes the tables",
    81: "spendstream migrate up makes the database",
    159: "choose a shorter range",
    241: "choose a shorter range or fewer members",
    396: "choose a shorter range or fewer members",
    497: "the reader's rights are in deploy/clickhouse/users.d/grafana.xml",
}
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class _Asked(BaseModel):
    """What both questions have in common. A value is a name or a member: bounded, and text that UTF-8 can hold."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

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


class Preview:
    """The handlers, over the dashboards of one folder and one ClickHouse."""

    def __init__(self, settings: Settings, dashboards: Path = DASHBOARDS) -> None:
        self._settings = settings
        self._folder = dashboards
        self._client: Client | None = None
        self._turn = asyncio.Semaphore(_AT_ONCE)
        self._connecting = asyncio.Lock()

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
        found = await self._ask("SELECT timezone FROM organisation", "the organisation's time zone")
        return web.json_response({"timezone": found["data"][0][0]})

    async def query(self, request: web.Request) -> web.StreamResponse:
        """The rows of a panel's target."""
        asked = _PanelAsked.model_validate(await _body(request))
        dashboard = self._find(asked.dashboard)
        sql = resolve(
            dashboard, asked.panel, asked.ref, asked.time_range, asked.variables, max_data_points=asked.points
        )
        title = find_panel(dashboard, asked.panel).get("title", "")
        found = await self._ask(sql, f"panel {asked.panel} ({title}), query {asked.ref}")
        return web.json_response({"meta": found["meta"], "data": found["data"], "rows": found["rows"], "sql": sql})

    async def variable(self, request: web.Request) -> web.StreamResponse:
        """The options of a variable: of a query's two columns the first is the value, the second the text."""
        asked = _VariableAsked.model_validate(await _body(request))
        dashboard = self._find(asked.dashboard)
        sql = resolve_variable(dashboard, asked.variable, asked.time_range, asked.variables)
        if sql is None:
            options = listed_options(find_variable(dashboard, asked.variable))
        else:
            found = await self._ask(sql, f"variable {asked.variable}")
            options = [(str(row[min(1, len(row) - 1)]), str(row[0])) for row in found["data"]]
        return web.json_response({"options": [{"text": text, "value": value} for text, value in options]})

    def _find(self, uid: str) -> dict[str, Any]:
        for path in self._folder.glob("*.json"):
            if (found := _read(path)).get("uid") == uid:
                return found
        raise web.HTTPNotFound(text=f"there is no dashboard {uid!r}")

    async def _ask(self, sql: str, what: str) -> dict[str, Any]:
        """Run a SELECT as the reader: ClickHouse's JSONCompact, times in UTC.

        Raises:
            web.HTTPException: ClickHouse refused, was too slow or does not answer; the text says what mends it.
        """
        async with self._turn:
            try:
                client = await self._reader()
                answer = await asyncio.to_thread(client.raw_query, sql, fmt="JSONCompact", settings=_FORMAT | _LIMITS)
            except Unreachable as error:
                raise web.HTTPServiceUnavailable(text=str(error)) from error
            except ClickHouseError as error:
                raise _failure(what, error) from error
        found: dict[str, Any] = json.loads(answer)
        return _plain_times(found)

    async def _reader(self) -> Client:
        async with self._connecting:
            if self._client is None:
                self._client = await asyncio.to_thread(connect_reader, self._settings, _SECONDS + 5)
            return self._client

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
        except QueryError as error:
            response = web.json_response({"error": str(error)}, status=400)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            response = web.json_response({"error": f"{where}: {first['msg']}"}, status=400)
        except SpendError as error:
            response = web.json_response({"error": str(error)}, status=500)
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


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


async def _body(request: web.Request) -> Any:
    if request.content_type != "application/json":  # what another site's form cannot send
        raise web.HTTPUnsupportedMediaType(text="send application/json")
    try:
        body = json.loads(await request.read())
        json.dumps(body, ensure_ascii=False).encode()
    except (JSONDecodeError, UnicodeError, RecursionError) as error:
        raise web.HTTPBadRequest(text="the body is not JSON in UTF-8") from error
    return body


def _failure(what: str, error: ClickHouseError) -> web.HTTPException:
    code = getattr(error, "code", None) or 0
    said = re.sub(r"\s+", " ", str(error))[:600]
    mend = _MENDS.get(code, "")
    text = f"{what}: {said}" + (f": {mend}" if mend else "")
    log.warning("%s", text)
    return web.HTTPGatewayTimeout(text=text) if code == 159 else web.HTTPBadGateway(text=text)


def _plain_times(found: dict[str, Any]) -> dict[str, Any]:
    """`2026-01-31T23:00:00Z` as `2026-01-31 23:00:00` in the columns of times."""
    times = [at for at, column in enumerate(found["meta"]) if re.match(r"(Nullable\()?DateTime", column["type"])]
    for row in found["data"]:
        for at in times:
            if row[at] is not None:
                row[at] = row[at].replace("T", " ").removesuffix("Z")
    return found


def serve(settings: Settings) -> None:
    """Serve on 127.0.0.1 until SIGTERM or SIGINT. There is no sign-in, so no setting opens it to other machines.

    Raises:
        SpendError: the port is taken.
    """
    app = Preview(settings).application()
    try:
        web.run_app(app, host="127.0.0.1", port=settings.preview_port, print=lambda *_: None, access_log=None)
    except OSError as error:
        raise SpendError(
            f"127.0.0.1:{settings.preview_port} is taken: set SPEND_PREVIEW_PORT to a free port"
        ) from error
