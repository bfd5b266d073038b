"""The provisioning files hold what Grafana reads, and no key that it would pass over in silence.

Grafana reads these files into structs and ignores what they do not name. The names below are the `yaml` tags of those
structs (grafana/grafana, pkg/services/provisioning: datasources/types.go `upsertDataSourceFromConfigV1`,
dashboards/types.go `configs`, alerting/rules_types.go `AlertRuleGroupV1`, `AlertRuleV1`, `QueryV1`), and what the
plugin takes from its settings (grafana/clickhouse-datasource, pkg/plugin/settings.go `LoadSettings`).
"""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from grafana import alert_rules
from grafana.dashboards import every
from grafana.panels import QUERIES, SOURCE
from grafana.wanted import FOLDER, data_source
from streams.settings import Settings

PROVISIONING = Path(__file__).parents[2] / "grafana" / "provisioning"
DOCS = Path(__file__).parents[2] / "docs" / "dashboards.md"

DATA_SOURCE = {
    *("orgId", "orgName", "version", "name", "type", "access", "url", "user", "database", "basicAuth", "basicAuthUser"),
    *("withCredentials", "isDefault", "correlations", "jsonData", "secureJsonData", "editable", "uid"),
}
CONNECTION = {
    *("host", "port", "protocol", "secure", "path", "username", "defaultDatabase", "tlsSkipVerify", "tlsAuth"),
    *("tlsAuthWithCACert", "dialTimeout", "queryTimeout", "customSettings", "forwardGrafanaHeaders", "enableRowLimit"),
}
PROVIDER = {
    *("name", "type", "orgId", "folder", "folderUid", "editable", "options", "disableDeletion"),
    *("updateIntervalSeconds", "allowUiUpdates"),
}
GROUP = {"orgId", "name", "folder", "interval", "rules"}
RULE = {
    *("uid", "title", "condition", "data", "dashboardUid", "panelId", "noDataState", "execErrState", "for"),
    *("keepFiringFor", "missing_series_evals_to_resolve", "annotations", "labels", "isPaused"),
    *("notification_settings", "record"),
}
QUERY = {"refId", "queryType", "relativeTimeRange", "datasourceUid", "model"}
DURATION = r"0s|[1-9]\d*[smh]"  # Prometheus' model.ParseDuration; Grafana answers in the same form


def read(path: str) -> dict[str, Any]:
    document = yaml.safe_load((PROVISIONING / path).read_text(encoding="utf-8"))
    assert document.pop("apiVersion") == 1
    return document


@pytest.fixture
def group() -> dict[str, Any]:
    document = read("alerting/pipeline.yaml")
    assert document.keys() == {"groups"}
    assert len(document["groups"]) == 1
    return document["groups"][0]


def test_the_data_source_has_keys_that_grafana_and_the_plugin_know():
    document = read("datasources/clickhouse.yaml")
    assert document.keys() == {"datasources"}
    (source,) = document["datasources"]
    assert source.keys() <= DATA_SOURCE
    assert source["jsonData"].keys() <= CONNECTION
    assert {"uid": source["uid"], "type": source["type"]} == SOURCE
    assert source["secureJsonData"] == {"password": "${SPEND_READER_PASSWORD}"}


def test_the_files_and_a_push_make_the_same_data_source():
    (source,) = read("datasources/clickhouse.yaml")["datasources"]
    pushed = data_source(Settings()).body
    assert {key: source[key] for key in pushed if key != "jsonData"} == {
        key: value for key, value in pushed.items() if key != "jsonData"
    }
    assert source["jsonData"].keys() == pushed["jsonData"].keys()
    assert source["jsonData"]["protocol"] == pushed["jsonData"]["protocol"] == "http"


def test_the_dashboards_provider_has_keys_that_grafana_knows_and_finds_the_rules_folder_by_its_title(
    group: dict[str, Any],
):
    document = read("dashboards/spendstream.yaml")
    assert document.keys() == {"providers"}
    (provider,) = document["providers"]
    assert provider.keys() <= PROVIDER
    assert provider["type"] == "file"
    assert provider["folder"] == group["folder"] == FOLDER
    assert "folderUid" not in provider  # rules come first and make the folder, with a uid of Grafana's


def test_the_rules_file_is_what_the_rules_say():
    assert alert_rules.FILE.read_text(encoding="utf-8") == alert_rules.provisioned(), "run `make dashboards`"


def test_rules_have_keys_and_values_that_grafana_knows(group: dict[str, Any]):
    assert group.keys() <= GROUP
    assert re.fullmatch(DURATION, group["interval"])
    assert len({rule["uid"] for rule in group["rules"]}) == len(group["rules"]) >= 1
    for rule in group["rules"]:
        assert rule.keys() <= RULE
        assert rule["noDataState"] in ("Alerting", "NoData", "OK", "KeepLast")
        assert rule["execErrState"] in ("Alerting", "Error", "OK", "KeepLast")
        assert re.fullmatch(DURATION, rule["for"])
        assert len(rule["uid"]) <= 40 and len(rule["title"]) <= 190
        assert all(query.keys() <= QUERY for query in rule["data"])
        assert [query["refId"] for query in rule["data"]] == ["A", "B"] and rule["condition"] == "B"


def test_nothing_of_a_rule_is_taken_for_a_variable_of_the_environment(group: dict[str, Any]):
    """Grafana puts the environment in everywhere but in a query's model, and in annotations only for `${...}`."""
    for rule in group["rules"]:
        assert not [value for value in rule["annotations"].values() if "${" in value]
        bare = {key: value for key, value in rule.items() if key not in ("data", "annotations")}
        assert "$" not in str(bare)
        assert "$" not in str([{key: value for key, value in each.items() if key != "model"} for each in rule["data"]])


def test_the_files_and_a_push_make_the_same_rules(group: dict[str, Any]):
    pushed = alert_rules.pushed(FOLDER)
    assert (pushed["title"], pushed["interval"]) == (group["name"], int(group["interval"].removesuffix("s")))
    for one, other in zip(pushed["rules"], group["rules"], strict=True):
        linked = {
            "dashboardUid": one["annotations"]["__dashboardUid__"],
            "panelId": int(one["annotations"]["__panelId__"]),
        }
        assert {key: value for key, value in one.items() if key not in ("folderUID", "ruleGroup")} | linked == other


def test_every_alert_query_has_its_rule_and_every_rule_a_panel_to_look_at():
    assert {f"alert_{rule.name}" for rule in alert_rules.RULES} == {path.stem for path in QUERIES.glob("alert_*.sql")}
    pages = {each.uid: each.json() for each in every()}
    for rule in alert_rules.RULES:
        annotations = rule.json()["annotations"]
        panels = {panel["id"] for panel in pages[annotations["__dashboardUid__"]]["panels"]}
        assert int(annotations["__panelId__"]) in panels, f"{rule.name}: no panel {rule.panel}"


def test_the_documentation_lists_the_rules():
    listed = re.findall(r"^\| (.+?) \| (critical|warning) \|", DOCS.read_text(encoding="utf-8"), re.MULTILINE)
    assert listed == [(rule.title, rule.severity) for rule in alert_rules.RULES]
