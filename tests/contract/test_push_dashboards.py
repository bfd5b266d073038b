"""`spendstream dashboards` over real HTTP, against a server that answers as Grafana's API is documented to."""

import re
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from typer.testing import CliRunner

from grafana.alert_rules import GROUP
from grafana.dashboards import every
from grafana.push import Grafana
from grafana.wanted import FOLDER
from streams.cli import dashboards as cli
from streams.errors import SpendError, Unreachable
from streams.settings import Settings, settings
from tests.contract.grafana_api import ADMIN, CLICKHOUSE, EDITOR, GrafanaApi

pytestmark = pytest.mark.stack

DOCS = Path(__file__).parents[2] / "docs" / "dashboards.md"
SOURCE = "spendstream-clickhouse"
OVERVIEW = "spend-overview"


@pytest.fixture
def api() -> Iterator[GrafanaApi]:
    with GrafanaApi() as server:
        yield server


def conf(api: GrafanaApi, token: str = "glsa_admin", **changed: object) -> Settings:
    told = {"reader_password": "s3cret-reader", "timezone": "Europe/Zurich", "clickhouse_url": "https://ch.example.com"}
    return Settings.model_validate(told | {"grafana_url": api.url, "grafana_token": token} | changed)


def push(conf: Settings, data_source: bool = True, **options: bool) -> dict[str, str]:
    """What became of each object."""
    steps = Grafana(conf).push(cli.everything(conf, data_source=data_source), **options)
    return {str(step.wanted): step.outcome for step in steps}


def diff(conf: Settings) -> dict[str, str]:
    """The change of each object that a push would write."""
    steps = Grafana(conf).compare(cli.everything(conf, data_source=True))
    return {str(step.wanted): step.change for step in steps if step.outcome != "unchanged"}


def test_the_first_push_creates_everything_and_a_second_one_writes_nothing(api: GrafanaApi):
    first = push(conf(api))
    assert set(first.values()) == {"created"}
    assert {f"dashboard {each.uid}" for each in every()} < first.keys()
    assert {"folder spendstream", f"data source {SOURCE}", f"alert rules {GROUP}"} < first.keys()
    assert api.dashboards.keys() == {each.uid for each in every()}

    written = list(api.writes)
    assert set(push(conf(api)).values()) == {"unchanged"}
    assert api.writes == written
    assert api.dashboards[OVERVIEW]["dashboard"]["version"] == 1


def test_a_diff_writes_nothing_and_names_what_a_push_then_does(api: GrafanaApi):
    announced = diff(conf(api))
    assert not api.writes
    assert announced.keys() == push(conf(api)).keys()
    assert not diff(conf(api))


def test_dashboards_lie_in_the_folder_and_have_the_organisations_time_zone(api: GrafanaApi):
    push(conf(api))
    assert {each["meta"]["folderUid"] for each in api.dashboards.values()} == {FOLDER}
    assert {each["dashboard"]["timezone"] for each in api.dashboards.values()} == {"Europe/Zurich"}
    changed = diff(conf(api, timezone="Asia/Tokyo"))
    assert changed.keys() == {f"dashboard {uid}" for uid in api.dashboards}
    assert '-    "timezone": "Europe/Zurich"' in changed[f"dashboard {OVERVIEW}"]
    assert '+    "timezone": "Asia/Tokyo"' in changed[f"dashboard {OVERVIEW}"]


def test_what_somebody_changed_in_grafana_is_shown_and_alone_put_right(api: GrafanaApi):
    push(conf(api))
    panels = api.dashboards[OVERVIEW]["dashboard"]["panels"]
    title = panels[1]["title"]
    panels[1]["title"] = "Something else"
    panels.append({"id": 999, "type": "text", "title": "A note of mine"})
    rule = api.groups[FOLDER, GROUP]["rules"][0]
    rule["for"] = "3h"

    changed = diff(conf(api))
    assert changed.keys() == {f"dashboard {OVERVIEW}", f"alert rules {GROUP}"}
    assert re.search(r'^-.*"title": "Something else"', changed[f"dashboard {OVERVIEW}"], re.MULTILINE)
    assert re.search(rf'^\+.*"title": "{re.escape(title)}"', changed[f"dashboard {OVERVIEW}"], re.MULTILINE)
    assert re.search(r'^-.*"title": "A note of mine"', changed[f"dashboard {OVERVIEW}"], re.MULTILINE)
    assert re.search(r'^-.*"for": "3h"', changed[f"alert rules {GROUP}"], re.MULTILINE)

    api.writes.clear()
    assert {name for name, outcome in push(conf(api)).items() if outcome == "updated"} == changed.keys()
    assert len(api.writes) == 2
    assert not diff(conf(api))


def test_a_renamed_folder_gets_its_name_back(api: GrafanaApi):
    push(conf(api))
    api.folders[FOLDER]["title"] = "Money"
    assert push(conf(api))["folder spendstream"] == "updated"
    assert api.folders[FOLDER]["title"] == "spendstream"


def test_the_data_source_reaches_clickhouse_as_the_reader(api: GrafanaApi):
    push(
        conf(api, grafana_clickhouse_url="http://clickhouse:8123/ch", clickhouse_database="money", reader_user="looks")
    )
    assert api.sources[SOURCE]["type"] == CLICKHOUSE
    assert api.sources[SOURCE]["jsonData"] == {
        "host": "clickhouse",
        "port": 8123,
        "secure": False,
        "protocol": "http",
        "path": "ch",
        "username": "looks",
        "defaultDatabase": "money",
    }
    push(conf(api))
    assert api.sources[SOURCE]["jsonData"]["host"] == "ch.example.com"
    assert (api.sources[SOURCE]["jsonData"]["port"], api.sources[SOURCE]["jsonData"]["secure"]) == (8443, True)


def test_the_password_is_sent_when_there_is_none_and_when_it_shall_be_renewed(api: GrafanaApi):
    push(conf(api, reader_password=""))
    assert not api.secrets[SOURCE]
    assert diff(conf(api)) == {f"data source {SOURCE}": "+ password"}
    assert push(conf(api))[f"data source {SOURCE}"] == "updated"
    assert api.secrets[SOURCE] == {"password": "s3cret-reader"}

    push(conf(api, reader_password="another"))
    assert api.secrets[SOURCE] == {"password": "s3cret-reader"}
    assert push(conf(api, reader_password="another"), renew_password=True)[f"data source {SOURCE}"] == "updated"
    assert api.secrets[SOURCE] == {"password": "another"}


def test_an_editors_token_is_enough_where_an_administrator_made_the_data_source(api: GrafanaApi):
    api.tokens["glsa_editor"] = EDITOR
    with pytest.raises(SpendError, match=r"read data source .* lacks datasources:read"):
        push(conf(api, "glsa_editor"))
    outcomes = push(conf(api, "glsa_editor"), data_source=False)
    assert f"data source {SOURCE}" not in outcomes and SOURCE not in api.sources
    assert outcomes[f"dashboard {OVERVIEW}"] == "created"
    assert set(push(conf(api, "glsa_editor"), data_source=False).values()) == {"unchanged"}


def test_the_documentation_lists_the_least_rights(api: GrafanaApi):
    section = DOCS.read_text(encoding="utf-8").partition("## Push")[2].partition("\n## ")[0]
    listed = set(re.findall(r"`((?:alert|dashboards|datasources|folders)[a-z.]*:[a-z]+)`", section))
    assert listed == ADMIN
    api.tokens["glsa_listed"] = frozenset(listed)
    push(conf(api, "glsa_listed"))
    api.folders[FOLDER]["title"] = "Money"
    api.sources[SOURCE]["jsonData"]["username"] = "admin"
    api.dashboards[OVERVIEW]["dashboard"]["title"] = "Overview of money"
    assert len([outcome for outcome in push(conf(api, "glsa_listed")).values() if outcome == "updated"]) == 3


@pytest.mark.parametrize("action", sorted(ADMIN))
def test_a_missing_permission_is_named(api: GrafanaApi, action: str):
    if action.endswith(":write") and not action.startswith("alert"):  # of what is there already
        push(conf(api))
        api.folders[FOLDER]["title"] = "Money"
        api.sources[SOURCE]["jsonData"]["username"] = "admin"
        api.dashboards[OVERVIEW]["dashboard"]["title"] = "Overview of money"
    api.tokens["glsa_less"] = ADMIN - {action}
    # without datasources:create Grafana does not even show the plugin
    with pytest.raises(SpendError, match=f"lacks {action}[,;]") as error:
        push(conf(api, "glsa_less"))
    assert "docs/dashboards.md" in str(error.value)


def test_a_token_that_grafana_does_not_know_is_said_to_be_that(api: GrafanaApi):
    with pytest.raises(SpendError, match=r"does not know the token \(401\): set SPEND_GRAFANA_TOKEN") as error:
        push(conf(api, "glsa_wrong"))
    assert "glsa_wrong" not in str(error.value)


def test_a_grafana_without_the_plugin_is_told_how_to_get_it(api: GrafanaApi):
    api.plugins.remove(CLICKHOUSE)
    with pytest.raises(SpendError, match=r"no plugin grafana-clickhouse-datasource .* install 4\.20\.0"):
        push(conf(api))
    assert not api.sources


def test_what_came_from_provisioning_files_is_left_to_them(api: GrafanaApi):
    push(conf(api))
    api.from_files = {OVERVIEW, SOURCE}
    api.dashboards[OVERVIEW]["dashboard"]["title"] = "Overview of money"
    with pytest.raises(SpendError, match=f"got dashboard {OVERVIEW} from provisioning files"):
        push(conf(api))
    api.sources[SOURCE]["jsonData"]["username"] = "admin"
    with pytest.raises(SpendError, match=f"got data source {SOURCE} from provisioning files"):
        push(conf(api))


def test_a_push_that_was_cut_short_goes_on_where_it_was(api: GrafanaApi):
    api.tokens["glsa_less"] = ADMIN - {"alert.rules:create"}
    with pytest.raises(SpendError, match="alert rules"):
        push(conf(api, "glsa_less"))
    outcomes = push(conf(api))
    assert outcomes.pop(f"alert rules {GROUP}") == "created"
    assert set(outcomes.values()) == {"unchanged"}


def test_a_grafana_under_a_path_is_found():
    with GrafanaApi(prefix="/tools/grafana") as api:
        assert set(push(conf(api, grafana_url=f"{api.url}/")).values()) == {"created"}


def test_an_old_grafana_is_refused():
    with GrafanaApi(version="11.6.0") as api, pytest.raises(SpendError, match=r"is 11\.6\.0: 12 or later"):
        push(conf(api))


def test_nothing_is_asked_without_an_address_and_a_token(api: GrafanaApi):
    with pytest.raises(SpendError, match="SPEND_GRAFANA_URL is not set"):
        push(conf(api, grafana_url=None))
    with pytest.raises(SpendError, match="SPEND_GRAFANA_TOKEN is not set"):
        push(conf(api, ""))


@pytest.mark.parametrize("address", ["grafana:3000", "http://", "http://admin:s3cret@grafana:3000", "ftp://grafana"])
def test_an_address_that_is_none_is_refused_without_showing_what_is_in_it(
    address: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("SPEND_GRAFANA_URL", address)
    settings.cache_clear()
    with pytest.raises(SpendError, match="SPEND_GRAFANA_URL: it must look like https://host") as error:
        settings()
    assert "s3cret" not in str(error.value)


def test_where_nothing_listens_it_is_said_so(api: GrafanaApi):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(Unreachable, match=f"the Grafana at {address} does not answer"):
        push(conf(api, grafana_url=address))


@pytest.mark.parametrize(
    ("status", "headers", "body", "error", "said"),
    [
        (200, {"Content-Type": "text/html"}, b"<html>Sign in</html>", SpendError, "is not Grafana"),
        (200, {"Content-Type": "application/json"}, b"not json", SpendError, "is not Grafana"),
        (200, {"Content-Type": "application/json"}, b'{"status": "ok"}', SpendError, "is not Grafana"),
        (404, {"Content-Type": "text/html"}, b"<html>nothing</html>", SpendError, "is not Grafana"),
        (
            301,
            {"Location": "https://grafana.example.com/api/health"},
            b"",
            SpendError,
            "sends on to https://grafana.ex",
        ),
        (502, {"Content-Type": "text/html"}, b"Bad gateway", Unreachable, r"cannot say how it is \(502\): Bad gateway"),
        (403, {"Content-Type": "text/html"}, b"Forbidden", SpendError, "lacks a permission"),
    ],
)
def test_what_is_no_grafana_is_told_apart(
    status: int, headers: dict[str, str], body: bytes, error: type[SpendError], said: str
):
    class Other(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Nobody reads it."""

    with HTTPServer(("127.0.0.1", 0), Other) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        address = f"http://127.0.0.1:{server.server_address[1]}"
        with pytest.raises(SpendError, match=said) as raised:
            Grafana(Settings.model_validate({"grafana_url": address, "grafana_token": "glsa_x"}))
        server.shutdown()
    assert type(raised.value) is error


def test_the_commands_say_what_they_did(api: GrafanaApi, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SPEND_GRAFANA_URL", api.url)
    monkeypatch.setenv("SPEND_GRAFANA_TOKEN", "glsa_admin")
    monkeypatch.setenv("SPEND_READER_PASSWORD", "s3cret-reader")
    settings.cache_clear()
    run = CliRunner().invoke
    try:
        listed = run(cli.app, ["list"])
        assert OVERVIEW in listed.output and not api.writes
        before = run(cli.app, ["diff"])
        assert (before.exit_code, "would be created" in before.output) == (1, True)
        pushed = run(cli.app, ["push"])
        assert f"dashboard {OVERVIEW}: created" in pushed.output and "changed\n" in pushed.output
        assert run(cli.app, ["push"]).output.endswith("nothing to change\n")
        after = run(cli.app, ["diff"])
        assert (after.exit_code, "are as they should be" in after.output) == (0, True)
        api.dashboards[OVERVIEW]["dashboard"]["title"] = "Overview of money"
        shown = run(cli.app, ["diff", "--no-data-source"])
        assert shown.exit_code == 1 and "Overview of money" in shown.output
        told = "".join(each.output for each in (listed, before, pushed, after, shown))
        assert "s3cret-reader" not in told and "glsa_admin" not in told
    finally:
        settings.cache_clear()
