"""The HTTP API of the worker: budgets, their status, and whether a call may be made. On Faust's own web.

Reads are answered from memory (`streams.budgets_feed`), changes go to `spend.budgets` and are answered when this
worker's own memory has them. Errors are JSON: {"error": a line, "errors": [{"field", "message"}, ...]}.
"""

import asyncio
import functools
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import faust
from faust.types.web import Response
from faust.web import Request, View

from streams.api_access import JSON, Denied, require_change
from streams.budgets import Duplicate, Refused, Unknown, change_budget, create_budget, read_json, remove_budget
from streams.budgets_feed import BudgetsFeed, StatusFeed
from streams.errors import SpendError
from streams.openapi import document
from streams.settings import Settings
from streams.spend.allow import allow
from streams.spend.budget import Budget
from streams.spend.budget_status import as_read
from streams.spend.dimensions import COLUMNS, TAG
from streams.validation import Complaint

log = logging.getLogger("spendstream.api")

_SEEN_SECONDS = 2.0  # a change that this worker has not read back by then is answered all the same

Handler = Callable[..., Awaitable[Response]]


class Api:
    """What the pages share: the settings, what is followed, and one change at a time."""

    def __init__(self, settings: Settings, budgets: BudgetsFeed, statuses: StatusFeed) -> None:
        self.settings, self.budgets, self.statuses = settings, budgets, statuses
        self._one_change = asyncio.Lock()

    async def change(self, request: Any, act: Callable[[], Budget], gone: bool = False) -> Budget:
        """Change a budget in a thread, and wait until it is seen."""
        async with self._one_change:
            budget = await asyncio.to_thread(act)
        seen = None if gone else budget
        for _ in range(int(_SEEN_SECONDS / 0.01)):
            if self.budgets.budgets.get(budget.id) == seen:
                break
            await asyncio.sleep(0.01)
        log.info("%s %s", request.method, request.path)
        return budget

    async def body(self, request: Any) -> Mapping[str, Any]:
        """The JSON object that a change brings."""
        require_change(self.settings, request.headers, body=True)
        said = read_json(await request.read())
        if not isinstance(said, dict):
            raise Refused([Complaint("", "the body must be a JSON object such as {...} with the budget's fields")])
        return said


def add_api(app: faust.App, settings: Settings, budgets: BudgetsFeed, statuses: StatusFeed) -> None:
    """Add the pages under /api to the app's web."""
    api = Api(settings, budgets, statuses)
    zone = ZoneInfo(settings.timezone)

    @app.page("/api/budgets")
    class Budgets(View):
        """All budgets; create one."""

        @_answering
        async def get(self, request: Request) -> Response:
            return _json(self, [budget.model_dump(mode="json") for budget in budgets.budgets.values()])

        @_answering
        async def post(self, request: Request) -> Response:
            said = await api.body(request)
            now = datetime.now(UTC)
            made = await api.change(request, lambda: create_budget(settings, said, now))
            return _json(self, made.model_dump(mode="json"), 201, {"Location": f"/api/budgets/{made.id}"})

    @app.page("/api/budgets/{budget_id}")
    class OneBudget(View):
        """One budget: show, change, delete."""

        @_answering
        async def get(self, request: Request, budget_id: str) -> Response:
            if (budget := budgets.budgets.get(budget_id)) is None:
                raise Unknown(f"there is no budget {budget_id!r}")
            return _json(self, budget.model_dump(mode="json"))

        @_answering
        async def put(self, request: Request, budget_id: str) -> Response:
            said = await api.body(request)
            made = await api.change(request, lambda: change_budget(settings, budget_id, said, whole=True))
            return _json(self, made.model_dump(mode="json"))

        @_answering
        async def patch(self, request: Request, budget_id: str) -> Response:
            said = await api.body(request)
            made = await api.change(request, lambda: change_budget(settings, budget_id, said))
            return _json(self, made.model_dump(mode="json"))

        @_answering
        async def delete(self, request: Request, budget_id: str) -> Response:
            require_change(settings, request.headers, body=False)
            await api.change(request, lambda: remove_budget(settings, budget_id), gone=True)
            return self.bytes(b"", status=204)

    @app.page("/api/budget-status")
    async def budget_status(web: View, request: Request) -> Response:
        now, known = datetime.now(UTC), budgets.budgets
        found = [
            as_read(status, known[status.budget_id], now, zone).model_dump(mode="json")
            for status in statuses.all().values()
            if status.budget_id in known
        ]
        return _json(web, found)

    @app.page("/api/allow")
    @_answering
    async def may_call(web: View, request: Request) -> Response:
        verdict = allow(statuses.get, budgets.index, _call(request.query), datetime.now(UTC))
        return web.bytes(verdict.model_dump_json().encode(), content_type=JSON, headers=_FRESH)

    @app.page("/api/openapi.json")
    async def openapi(web: View, request: Request) -> Response:
        return _json(web, document())


_FRESH = {"Cache-Control": "no-store"}


def _call(query: Any) -> dict[str, str | list[str]]:
    """The call that the query of /api/allow describes.

    Raises:
        Refused: it names something that is no dimension, one twice, or a tag that is none.
    """
    call: dict[str, str | list[str]] = {}
    wrong: list[Complaint] = []
    for name in dict.fromkeys(query):
        values = query.getall(name)
        if name == TAG:
            wrong += [
                Complaint(TAG, f"{value!r} is not a tag such as env=prod") for value in values if "=" not in value
            ]
            call[TAG] = values
        elif name not in COLUMNS:
            wrong.append(Complaint(name, f"there is no such dimension; there are {', '.join(COLUMNS)} and {TAG}"))
        elif len(values) > 1:
            wrong.append(Complaint(name, "a call has one of them"))
        else:
            call[name] = values[0]
    if wrong:
        raise Refused(wrong)
    return call


def _answering(handler: Handler) -> Handler:
    """Errors as JSON with the status of their kind."""

    @functools.wraps(handler)
    async def answer(view: View, request: Request, **path: str) -> Response:
        try:
            return await handler(view, request, **path)
        except Denied as exc:
            headers = {"WWW-Authenticate": "Bearer"} if exc.status == 401 else {}
            return _json(view, {"error": exc.message, "errors": []}, exc.status, headers)
        except Refused as exc:
            errors = [{"field": each.field, "message": each.message} for each in exc.found]
            return _json(view, {"error": str(exc), "errors": errors}, 409 if isinstance(exc, Duplicate) else 422)
        except Unknown as exc:
            return _json(view, {"error": str(exc), "errors": []}, 404)
        except SpendError as exc:
            log.error("%s", exc)
            return _json(view, {"error": str(exc), "errors": []}, 503)

    return answer


def _json(view: View, body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    text = json.dumps(body, ensure_ascii=False).encode()
    return view.bytes(text, content_type=JSON, status=status, headers={**_FRESH, **(headers or {})})
