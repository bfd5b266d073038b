"""The provisioned dashboards hold what Grafana 13 publishes types for: no unknown key, no value of another kind.

`published/grafana.schema.json` is made from those types. Grafana itself is kinder: it passes over a misspelt option in
silence.
"""

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from grafana.build import FOLDER
from grafana.panels import SOURCE

SCHEMA = Path(__file__).parent / "published" / "grafana.schema.json"
PAGES = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.json"))}


@cache
def schema() -> dict[str, Any]:
    found = json.loads(SCHEMA.read_text(encoding="utf-8"))
    # The types know annotations of Grafana's own store alone; of a data source the target is its query.
    found["definitions"]["AnnotationTarget"] = {"type": "object"}
    # A query's text as a person sees it: Grafana writes and reads it (QueryVariableModel of @grafana/data) untyped.
    found["definitions"]["VariableModel"]["properties"]["definition"] = {"type": "string"}
    return found


def wrong(value: object, *path: str) -> Iterator[str]:
    """What of a value does not fit the part of the schema at `path` below `Published`, as lines."""
    part = schema()["definitions"]["Published"]
    for key in path:
        part = part["properties"][key]
    validator = jsonschema.Draft7Validator({"definitions": schema()["definitions"], "allOf": [part]})
    for error in validator.iter_errors(value):
        deepest = jsonschema.exceptions.best_match([error])
        yield f"{'/'.join(str(each) for each in deepest.absolute_path)}: {deepest.message[:200]}"


def panels(page: dict[str, Any]) -> Iterator[dict[str, Any]]:
    return (panel for panel in page["panels"] if panel["type"] != "row")


def test_there_are_pages():
    assert "spend-overview" in PAGES


@pytest.mark.parametrize("uid", PAGES)
def test_a_page_is_a_dashboard(uid: str):
    assert list(wrong(PAGES[uid], "dashboard")) == []


@pytest.mark.parametrize("uid", PAGES)
def test_its_panels_have_options_of_their_kind(uid: str):
    for panel in panels(PAGES[uid]):
        assert list(wrong(panel["options"], panel["type"], "options")) == [], panel["title"]


@pytest.mark.parametrize("uid", PAGES)
def test_its_fields_have_custom_options_of_their_kind(uid: str):
    for panel in panels(PAGES[uid]):
        config = panel.get("fieldConfig", {"defaults": {}, "overrides": []})
        assert list(wrong(config["defaults"].get("custom", {}), panel["type"], "custom")) == [], panel["title"]
        for override in config["overrides"]:
            given = {each["id"]: each["value"] for each in override["properties"]}
            custom = {key.removeprefix("custom."): value for key, value in given.items() if key.startswith("custom.")}
            assert list(wrong(custom, panel["type"], "custom")) == [], (panel["title"], override["matcher"])
            given = {key: value for key, value in given.items() if not key.startswith("custom.")}
            page = {
                "schemaVersion": 42,
                "panels": [{"type": "stat", "fieldConfig": {"defaults": given, "overrides": []}}],
            }
            assert list(wrong(page, "dashboard")) == [], (panel["title"], override["matcher"])


@pytest.mark.parametrize("uid", PAGES)
def test_its_panels_fit_the_grid_and_have_ids_of_their_own(uid: str):
    page = PAGES[uid]
    assert page["uid"] == uid and len(uid) <= 40
    assert len({panel["id"] for panel in page["panels"]}) == len(page["panels"])
    for panel in page["panels"]:
        assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24
    assert {panel["datasource"]["uid"] for panel in panels(page) if panel["type"] != "text"} == {SOURCE["uid"]}


def test_a_misspelt_key_and_a_value_of_another_kind_are_found():
    page = json.loads(json.dumps(PAGES["spend-overview"]))
    page["panels"][1]["titel"] = "x"
    assert list(wrong(page, "dashboard")) != []
    assert list(wrong({"graphMode": "areas"}, "stat", "options")) != []
    assert list(wrong({"fillOpacity": "high"}, "timeseries", "custom")) != []
    assert list(wrong({"anything": 1}, "stat", "custom")) != []
