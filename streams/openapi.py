"""The OpenAPI 3.1 document of the worker's /api, made from the models that validate and answer."""

from functools import lru_cache
from importlib.metadata import version
from typing import Any

from pydantic import BaseModel, Field
from pydantic.json_schema import models_json_schema

from streams.spend.allow import Verdict
from streams.spend.budget import Budget, Terms
from streams.spend.budget_status import BudgetStatus
from streams.spend.dimensions import COLUMNS, TAG


class FieldError(BaseModel):
    """What is wrong with one field."""

    field: str = Field(description="'' where it is about the whole body.")
    message: str


class Failure(BaseModel):
    """Why a request was not done."""

    error: str = Field(description="One line for people.")
    errors: list[FieldError]


_REFUSALS = {
    "401": "The bearer token is missing or wrong.",
    "403": "Not from here: SPEND_API_TOKEN is needed, or a page of another origin asked.",
    "409": "There is a budget of that name.",
    "415": "The body is not application/json.",
    "422": "A field does not fit; the answer names it.",
    "503": "Kafka does not answer.",
}


@lru_cache
def document() -> dict[str, Any]:
    """The document; not to be changed."""
    _, schemas = models_json_schema(
        [
            (Terms, "validation"),
            (Budget, "serialization"),
            (BudgetStatus, "serialization"),
            (Verdict, "serialization"),
            (Failure, "serialization"),
        ],
        ref_template="#/components/schemas/{model}",
    )
    components = schemas["$defs"]
    # a change may leave out what stays as it is
    components["Changes"] = {**components["Terms"], "required": [], "description": "Fields of a budget to change."}
    by_id = {"name": "budget_id", "in": "path", "required": True, "schema": {"type": "string"}}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "spendstream",
            "version": version("spendstream"),
            "description": "Budgets of AI spend. Money is US dollars as strings, instants are RFC 3339 in UTC.",
        },
        "paths": {
            "/api/budgets": {
                "get": _operation("listBudgets", "All budgets", _list("Budget")),
                "post": _change("createBudget", "Create a budget", "Terms", 201),
            },
            "/api/budgets/{budget_id}": {
                "parameters": [by_id],
                "get": _operation("showBudget", "One budget", _ref("Budget"), "404"),
                "put": _change("replaceBudget", "Change a budget: all of its fields", "Terms", 200, "404"),
                "patch": _change("changeBudget", "Change a budget: the fields that are given", "Changes", 200, "404"),
                "delete": _change("deleteBudget", "Delete a budget", None, 204, "404"),
            },
            "/api/budget-status": {
                "get": _operation("budgetStatus", "How each budget stands", _list("BudgetStatus")),
            },
            "/api/allow": {
                "get": {
                    **_operation("allow", "May this call be made?", _ref("Verdict"), "422"),
                    "parameters": [_dimension(name) for name in COLUMNS]
                    + [{**_dimension(TAG), "schema": {"type": "array", "items": {"type": "string"}}, "explode": True}],
                },
            },
            "/api/openapi.json": {"get": _operation("openapi", "This document", {"type": "object"})},
        },
        "components": {
            "schemas": components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "description": "SPEND_API_TOKEN"}},
        },
    }


def _operation(name: str, summary: str, schema: dict[str, Any], *refusals: str, status: int = 200) -> dict[str, Any]:
    answers = {str(status): {"description": "Done.", "content": {"application/json": {"schema": schema}}}}
    return {"operationId": name, "summary": summary, "responses": answers | _refused(*refusals)}


def _change(name: str, summary: str, body: str | None, status: int, *refusals: str) -> dict[str, Any]:
    also = ("409", "415", "422") if body else ()
    operation = _operation(name, summary, _ref("Budget"), "401", "403", *refusals, *also, "503", status=status)
    if body:
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": _ref(body)}}}
    else:
        operation["responses"]["204"].pop("content")
    return {**operation, "security": [{}, {"token": []}]}


def _refused(*statuses: str) -> dict[str, Any]:
    content = {"application/json": {"schema": _ref("Failure")}}
    return {
        status: {"description": _REFUSALS.get(status, "There is no such budget."), "content": content}
        for status in statuses
    }


def _dimension(name: str) -> dict[str, Any]:
    said = "key=value, once for each tag" if name == TAG else f"The {name} of the call"
    return {"name": name, "in": "query", "description": said, "schema": {"type": "string"}}


def _list(model: str) -> dict[str, Any]:
    return {"type": "array", "items": _ref(model)}


def _ref(model: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{model}"}
