"""What a Grafana should hold, and what counts as a difference."""

import pytest

from grafana.wanted import Wanted, dashboards, data_source, difference
from streams.errors import SpendError
from streams.settings import Settings


def page(**more: object) -> Wanted:
    return Wanted("dashboard", "p", {"dashboard": {"title": "A page", "panels": [{"id": 1}], **more}, "meta": {}})


def found(**more: object) -> dict[str, object]:
    return {"dashboard": {"title": "A page", "panels": [{"id": 1}], **more}, "meta": {"slug": "a-page", "version": 3}}


def test_what_grafana_adds_is_no_difference():
    assert difference(page(), found(id=17, version=3, iteration=1764, fiscalYearStartMonth=0)) == ""


def test_what_is_added_inside_an_object_of_a_list_is_none_either():
    assert difference(page(), found(panels=[{"id": 1, "pluginVersion": "13.2.3"}])) == ""


def test_another_value_is_a_difference_and_reads_as_one():
    assert difference(page(), found(title="Mine")).splitlines() == [
        "--- Grafana: dashboard p",
        "+++ here: dashboard p",
        "@@ -6,5 +6,5 @@",
        "       }",
        "     ],",
        '-    "title": "Mine"',
        '+    "title": "A page"',
        "   },",
        '   "meta": {}',
    ]


@pytest.mark.parametrize("panels", [[], [{"id": 1}, {"id": 2}], [{"id": 2}], [{}]])
def test_a_list_counts_as_a_whole(panels: list[object]):
    assert difference(page(), found(panels=panels)) != ""


def test_a_missing_key_is_a_difference():
    assert '+    "refresh": "1m",' in difference(page(refresh="1m"), found()).splitlines()


def test_false_zero_and_null_are_three_things():
    assert difference(page(liveNow=False), found(liveNow=0)) != ""
    assert difference(page(liveNow=False), found(liveNow=None)) != ""


def test_what_is_not_there_is_all_new():
    lines = difference(page(), None).splitlines()
    assert all(line[0] in "+-@" for line in lines)
    assert sum(line.startswith("-") for line in lines) == 1  # the head


def test_names_of_any_language_are_shown_as_they_are():
    assert '+    "title": "Kosten für 日本 😀"' in difference(page(title="Kosten für 日本 😀"), found()).splitlines()


def test_a_dashboard_is_wanted_without_what_counts_its_saves_and_in_the_organisations_zone():
    (wanted,) = dashboards([{"uid": "p", "id": None, "version": 1, "title": "A page", "timezone": ""}], "Asia/Tokyo")
    assert wanted.body == {
        "dashboard": {"uid": "p", "title": "A page", "timezone": "Asia/Tokyo"},
        "meta": {"folderUid": "spendstream"},
    }


@pytest.mark.parametrize(
    ("url", "host", "port", "secure", "path"),
    [
        ("http://clickhouse:8123", "clickhouse", 8123, False, None),
        ("http://clickhouse", "clickhouse", 8123, False, None),
        ("https://ch.example.com", "ch.example.com", 8443, True, None),
        ("https://example.com:443/clickhouse/", "example.com", 443, True, "clickhouse"),
        ("http://[::1]:8123", "::1", 8123, False, None),
    ],
)
def test_the_address_of_clickhouse_in_the_plugins_parts(url: str, host: str, port: int, secure: bool, path: str | None):
    connection = data_source(Settings(grafana_clickhouse_url=url)).body["jsonData"]
    assert (connection["host"], connection["port"], connection["secure"]) == (host, port, secure)
    assert connection.get("path") == path


@pytest.mark.parametrize("url", ["clickhouse:8123", "http://", "http://clickhouse:port", "http://clickhouse:99999"])
def test_an_address_that_is_none_names_its_setting(url: str):
    with pytest.raises(SpendError, match="SPEND_CLICKHOUSE_URL must look like"):
        data_source(Settings(clickhouse_url=url))
