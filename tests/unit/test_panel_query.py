"""From a dashboard's JSON and what a person chose to the SQL that Grafana would send."""

from typing import Any

import pytest

from grafana.interpolation import QueryError
from grafana.macros import TimeRange
from grafana.panel_query import interval, listed_options, resolve, resolve_annotation, resolve_variable

DAY = 86_400_000
LAST_MONTH = TimeRange(1_700_000_000_000, 1_700_000_000_000 + 30 * DAY)


def dashboard(sql: str, *variables: dict[str, Any], **panel: Any) -> dict[str, Any]:
    target = {"refId": "A", "rawSql": sql}
    inside = {"id": 7, "title": "Spend", "targets": [target], **panel}
    return {
        "uid": "spend-test",
        "panels": [{"id": 1, "type": "row", "panels": [inside]}],
        "templating": {"list": list(variables)},
        "annotations": {"list": [{"name": "Anomalies", "target": target}]},
    }


def variable(name: str, kind: str = "query", **more: Any) -> dict[str, Any]:
    return {"name": name, "type": kind, **more}


def sent(made: dict[str, Any], points: int = 1000, **chosen: str | list[str]) -> str:
    return resolve(made, 7, "A", LAST_MONTH, chosen, max_data_points=points)


@pytest.mark.parametrize(
    ("length_ms", "points", "step"),
    [
        (DAY, 1000, "1m"), (7 * DAY, 1000, "10m"), (30 * DAY, 1000, "30m"), (30 * DAY, 30, "1d"), (30 * DAY, 60, "12h"),
        (365 * DAY, 1000, "6h"), (5 * 365 * DAY, 500, "1d"), (5 * 365 * DAY, 100, "7d"), (60_000, 1000, "50ms"),
        (3_600_000, 1440, "2s"), (1, 1000, "1ms"), (0, 1, "1ms"), (10 * 365 * DAY, 1, "1y"),
    ],
)  # fmt: skip
def test_a_step_is_rounded_as_grafana_rounds_it(length_ms: int, points: int, step: str) -> None:
    """By hand from roundInterval: 86,400,000 ms / 1000 points is 86.4 s, below 1.5 min, so a minute; and so on."""
    made = dashboard("'$__interval'")
    span = TimeRange(0, length_ms)
    assert resolve(made, 7, "A", span, {}, max_data_points=points) == f"'{step}'"


def test_a_panels_least_interval_and_its_own_points_count() -> None:
    assert sent(dashboard("$__interval_s", interval="1h")) == "3600"
    assert sent(dashboard("$__interval_s", interval=">1m")) == "1800"
    assert sent(dashboard("$__interval_s", maxDataPoints=30)) == "86400"
    with pytest.raises(QueryError, match="'often' is no interval"):
        interval(LAST_MONTH, 100, "often")


def test_grafanas_own_variables_are_there() -> None:
    written = "$__from $__to $__interval_ms $__range_s $__range_ms '$__range' ${__from:date:seconds} '${__to:date}'"
    assert sent(dashboard(written)) == (
        "1700000000000 1702592000000 1800000 2592000 2592000000 '2592000s' 1700000000 '2023-12-14T22:13:20.000Z'"
    )


def test_what_was_not_chosen_is_as_the_dashboard_was_saved() -> None:
    made = dashboard(
        "${provider:singlequote} ${dimension:singlequote} ${start:singlequote}",
        variable("provider", multi=True, current={"value": ["openai", "google"]}),
        variable("dimension", "custom", query="Workload : workload, Team : team", current={"value": "team"}),
        variable("start", "constant", query="first"),
    )
    assert sent(made) == "'openai','google' 'team' 'first'"
    assert sent(made, provider=["x"], dimension="nobody's", start="ignored", stranger="z") == r"'x' 'nobody\'s' 'first'"


def test_a_variable_that_was_never_set_is_named() -> None:
    with pytest.raises(QueryError, match=r"panel 7 \(Spend\), query A: unknown variable \$tz"):
        sent(dashboard("'$tz'", variable("tz")))


def test_one_value_where_only_one_is_taken() -> None:
    made = dashboard("${member:singlequote}", variable("member"))
    assert sent(made, member=["x"]) == "'x'"
    with pytest.raises(QueryError, match="variable member takes one value, not 2"):
        sent(made, member=["x", "y"])


def test_all_among_others_is_all() -> None:
    made = dashboard("$__conditionalAll(p IN ($p), $p)", variable("p", multi=True))
    assert sent(made, p=["openai", "$__all"]) == "1=1"


@pytest.mark.parametrize(
    ("panel", "ref", "said"),
    [(99, "A", "'spend-test' has no panel 99"), (7, "B", r"panel 7 \(Spend\) has no query 'B'"), (1, "A", "panel 1")],
)
def test_a_panel_or_a_query_that_is_not_there_is_named(panel: int, ref: str, said: str) -> None:
    with pytest.raises(QueryError, match=said):
        resolve(dashboard("SELECT 1"), panel, ref, LAST_MONTH, {}, max_data_points=100)


def test_a_variables_query_may_name_the_others_and_not_itself() -> None:
    query = {"rawSql": "SELECT DISTINCT $dimension FROM usage_15m WHERE $__timeFilter(time)"}
    made = dashboard("", variable("dimension", "custom", query="workload,team"), variable("member", query=query))
    assert resolve_variable(made, "member", TimeRange(0, 5_000), {"dimension": "team", "member": "x"}) == (
        "SELECT DISTINCT team FROM usage_15m WHERE time >= toDateTime(0) AND time <= toDateTime(5)"
    )
    made["templating"]["list"][1]["query"] = "SELECT '$member'"
    with pytest.raises(QueryError, match=r"variable member: unknown variable \$member"):
        resolve_variable(made, "member", LAST_MONTH, {"member": "x"})
    assert resolve_variable(made, "dimension", LAST_MONTH, {}) is None
    with pytest.raises(QueryError, match="no variable 'nobody'"):
        resolve_variable(made, "nobody", LAST_MONTH, {})


def test_listed_options_have_texts_and_values() -> None:
    made = variable("dimension", "custom", query="Cost centre : team, workload,a\\, b : c\\,d")
    assert listed_options(made) == [("Cost centre", "team"), ("workload", "workload"), ("a, b", "c,d")]


def test_an_annotation_has_a_query_too() -> None:
    made = dashboard("SELECT time FROM alerts WHERE $__timeFrom(time)")
    assert resolve_annotation(made, "Anomalies", TimeRange(3_000, 5_000), {}) == (
        "SELECT time FROM alerts WHERE time >= toDateTime(3)"
    )
    with pytest.raises(QueryError, match="no annotation 'Deploys'"):
        resolve_annotation(made, "Deploys", LAST_MONTH, {})


def test_a_kind_of_variable_that_nobody_expands_is_refused() -> None:
    with pytest.raises(QueryError, match="variable filters: its type 'adhoc' is not known here"):
        sent(dashboard("SELECT 1", variable("filters", "adhoc")))
