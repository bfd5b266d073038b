"""The dashboards as they are committed: current, whole, and consistent with each other and with their queries."""

import json
import re
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

from grafana import build
from grafana.dashboards import every
from grafana.panels import QUERIES, Panel, Row, place, read_query, stable_id
from grafana.shows import Stat, Text

PROVISIONED = build.FOLDER.parents[1]
BOARDS = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(build.FOLDER.glob("*.json"))}
PANELS = [
    pytest.param(board, panel, id=f"{uid} {panel['title']}")
    for uid, board in BOARDS.items()
    for panel in board["panels"]
    if panel["type"] not in ("row", "text")
]
UIDS = {
    "spend-overview",
    "spend-explorer",
    "spend-member",
    "spend-servers",
    "spend-budgets",
    "spend-change",
    "spend-pipeline",
}


def strings(value: Any) -> Iterator[str]:
    """All texts within JSON or YAML."""
    if isinstance(value, str):
        yield value
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from strings(each)


def test_the_committed_files_are_what_the_builders_build() -> None:
    assert build.stale(build.files()) == []


def test_check_names_what_is_stale_and_building_mends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(build, "FOLDER", tmp_path)
    (tmp_path / "spend-gone.json").write_text("{}\n")
    monkeypatch.setattr("sys.argv", ["build", "--check"])
    assert build.main() == 1
    said = capsys.readouterr().err
    assert "spend-gone.json: not current" in said
    assert "spend-overview.json: not current" in said
    monkeypatch.setattr("sys.argv", ["build"])
    assert build.main() == 0
    assert {path.stem for path in tmp_path.iterdir()} == UIDS
    monkeypatch.setattr("sys.argv", ["build", "--check"])
    assert build.main() == 0


def test_the_addresses_of_the_pages_are_stable() -> None:
    assert set(BOARDS) == UIDS
    assert {board["uid"] for board in BOARDS.values()} == UIDS


@pytest.mark.parametrize(("board", "panel"), PANELS)
def test_a_panel_says_what_it_shows_in_which_unit_and_what_no_data_means(
    board: dict[str, Any], panel: dict[str, Any]
) -> None:
    defaults = panel["fieldConfig"]["defaults"]
    assert panel["title"]
    assert panel["description"].endswith(".")
    assert defaults["unit"]
    assert defaults["noValue"]


@pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)
def test_panels_have_an_id_each_and_do_not_overlap(board: dict[str, Any]) -> None:
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)
    for one, other in combinations([panel["gridPos"] for panel in board["panels"]], 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        below = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or below, (one, other)
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in board["panels"])


@pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)
def test_links_lead_to_pages_that_exist_and_set_variables_that_these_have(board: dict[str, Any]) -> None:
    for text in strings(board["panels"]):
        if found := re.match(r"/d/([\w-]+)/\?(.*)", text):
            theirs = {each["name"] for each in BOARDS[found[1]]["templating"]["list"]}
            assert set(re.findall(r"var-(\w+)=", found[2])) <= theirs, text
    assert board["links"][0]["tags"] == board["tags"] == ["spendstream"]


def test_each_query_is_sent_by_the_panel_of_its_name_and_no_other() -> None:
    for board in every():
        for part in board.parts:
            if isinstance(part, Panel) and not isinstance(part.shows, Text):
                (panel,) = [each for each in BOARDS[board.uid]["panels"] if each["id"] == stable_id(part.name)]
                assert [target["rawSql"] for target in panel["targets"]] == [read_query(part.name)]
    sent = [
        text for board in BOARDS.values() for panel in board["panels"] for text in strings(panel.get("targets", []))
    ]
    by_panels = {path.stem: sent.count(read_query(path.stem)) for path in QUERIES.glob("*.sql")}
    elsewhere = {text for board in BOARDS.values() for text in strings([board["templating"], board["annotations"]])}
    for path in (PROVISIONED / "alerting").glob("*.yaml"):
        elsewhere |= set(strings(yaml.safe_load(path.read_text(encoding="utf-8"))))
    assert {name for name, count in by_panels.items() if count == 0 and read_query(name) not in elsewhere} == set()
    assert {name for name, count in by_panels.items() if count > 1} == set()


def test_each_part_of_queries_is_in_one() -> None:
    texts = [path.read_text(encoding="utf-8") for path in QUERIES.rglob("*.sql")]
    included = {name for text in texts for name in re.findall(r"-- include (\w+)", text)}
    assert included == {path.stem for path in (QUERIES / "parts").glob("*.sql")}


@pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)
def test_what_an_address_can_set_comes_into_queries_percent_encoded(board: dict[str, Any]) -> None:
    own = {each["name"] for each in board["templating"]["list"] if not each["skipUrlSync"]}
    queries = [
        text for text in strings([board["panels"], board["templating"], board["annotations"]]) if "SELECT" in text
    ]
    formats = {found for text in queries for found in re.findall(r"\$\{(\w+)(?::(\w+))?\}", text) if found[0] in own}
    assert {how for _, how in formats} <= {"percentencode", "queryparam"}


def test_the_time_zone_is_asked_first_and_no_address_sets_it() -> None:
    for board in BOARDS.values():
        zone = board["templating"]["list"][0]
        assert (zone["name"], zone["skipUrlSync"], zone["hide"]) == ("tz", True, 2)


def test_no_file_depends_on_who_built_it() -> None:
    for board in BOARDS.values():
        assert (board["id"], board["version"], board["schemaVersion"]) == (None, 1, 42)


def panel(title: str, width: int, height: int) -> Panel:
    return Panel("overview_month", title, "It is.", "None", Stat(), width=width, height=height)


def test_panels_flow_from_left_to_right_under_headings() -> None:
    placed = place([Row("One"), panel("a", 12, 4), panel("b", 12, 4), panel("c", 8, 6), Row("Two"), panel("d", 24, 2)])
    found = [(each["title"], *(each["gridPos"][side] for side in "xywh")) for each in placed]
    assert found == [
        ("One", 0, 0, 24, 1),
        ("a", 0, 1, 12, 4),
        ("b", 12, 1, 12, 4),
        ("c", 0, 5, 8, 6),
        ("Two", 0, 11, 24, 1),
        ("d", 0, 12, 24, 2),
    ]


def test_a_line_of_panels_has_one_height_and_fits_the_grid() -> None:
    with pytest.raises(ValueError, match="b: the others on its line are 4 high"):
        place([panel("a", 12, 4), panel("b", 12, 5)])
    with pytest.raises(ValueError, match="wider than the grid"):
        place([panel("a", 25, 4)])
