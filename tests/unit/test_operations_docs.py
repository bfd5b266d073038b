"""docs/operations.md says what to do about every metric, every alert rule and everything that a process halts with."""

import ast
import re
from itertools import takewhile
from pathlib import Path

import pytest
import yaml
from prometheus_client.metrics import MetricWrapperBase
from typer.testing import CliRunner

from streams import metrics
from streams.cli import build

REPOSITORY = Path(__file__).parents[2]
TEXT = (REPOSITORY / "docs" / "operations.md").read_text(encoding="utf-8")
RULES = yaml.safe_load((REPOSITORY / "grafana" / "provisioning" / "alerting" / "pipeline.yaml").read_text())


def rows(heading: str) -> dict[str, list[str]]:
    """The other cells of a table's rows by what stands in backticks first; the table under that head."""
    lines = TEXT.splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith(f"| {heading} |")) + 2
    found = {}
    for line in lines[start:]:
        if not line.startswith("|"):
            break
        first, *rest = [cell.strip() for cell in line.strip("|").split("|")]
        found[first.strip("`")] = rest
    return found


def halts() -> dict[str, str]:
    """What each Halt says in words of its own, those of its function's variables included, by where it is made."""
    found = {}
    for folder in ("streams", "clickhouse"):
        for path in sorted((REPOSITORY / folder).rglob("*.py")):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            for function in [
                node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            ]:
                named = {
                    node.targets[0].id: words(node.value)
                    for node in ast.walk(function)
                    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
                }
                for node in ast.walk(function):
                    if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("Halt", "Hole"):
                        used = [named.get(name.id, "") for name in ast.walk(node.args[0]) if isinstance(name, ast.Name)]
                        said = " ".join([words(node.args[0]), *used])
                        if re.search("[a-z]{3} ", said):  # else it is all Kafka's, behind a topic's name
                            found[f"{path.relative_to(REPOSITORY)}:{node.lineno}"] = said
    return found


def words(node: ast.AST) -> str:
    parts = [part for part in ast.walk(node) if isinstance(part, ast.Constant) and isinstance(part.value, str)]
    return "…".join(str(part.value) for part in sorted(parts, key=lambda part: (part.lineno, part.col_offset)))


def said_of(message: str) -> list[str]:
    return [words for words in rows("a halt says") if words in message]


def test_every_metric_has_a_row() -> None:
    ours = {m._name for m in vars(metrics).values() if isinstance(m, MetricWrapperBase)}
    table = rows("metric")
    assert table.keys() == ours
    assert all(len(cells) == 2 and all(cells) for cells in table.values())


def test_every_alert_rule_has_a_heading() -> None:
    titles = [rule["title"] for group in RULES["groups"] for rule in group["rules"]]
    assert len(titles) >= 4
    for title in titles:
        assert f"\n### {title}\n" in TEXT


def test_every_alert_on_the_topic_has_a_row() -> None:
    schemas = {path.stem for path in (REPOSITORY / "schemas" / "alerts").glob("spend.*.json")}
    table = rows("alert")
    assert table.keys() == schemas
    assert all(len(cells) == 2 and all(cells) for cells in table.values())


@pytest.mark.parametrize(("where", "message"), halts().items())
def test_everything_a_process_halts_with_has_a_mend(where: str, message: str) -> None:
    assert said_of(message), f"{where}: no row of docs/operations.md has words of: {message}"


def test_no_row_is_about_what_nobody_says() -> None:
    messages = " ".join(halts().values())
    assert [words for words in rows("a halt says") if words not in messages] == []


def test_links_within_the_page_lead_somewhere() -> None:
    headings = re.findall(r"^#+ (.*)$", TEXT, re.MULTILINE)
    anchors = {re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    assert set(re.findall(r"\]\(#([^)]*)\)", TEXT)) <= anchors


def test_headings_that_the_code_names_are_there() -> None:
    headings = {heading.strip("# ") for heading in re.findall(r"^#+ .*$", TEXT, re.MULTILINE)}
    named = set()
    for folder in ("streams", "clickhouse"):
        for path in (REPOSITORY / folder).rglob("*.py"):
            named |= set(re.findall(r"([A-Z][a-z ]+) in docs/operations\.md", path.read_text(encoding="utf-8")))
    assert len(named) >= 3
    assert named <= headings


def test_files_that_it_names_are_there() -> None:
    for name in re.findall(r"`((?:tests|grafana|docs|deploy)/[\w./-]+)`", TEXT) + [
        f"docs/{name}" for name in re.findall(r"\]\(([\w/.-]+\.md)\)", TEXT)
    ]:
        assert (REPOSITORY / name).exists(), name


def test_commands_that_it_names_are_there() -> None:
    said: dict[tuple[str, ...], set[str]] = {}
    for arguments in re.findall(r"`spendstream ([^`]+)`", TEXT):
        words = tuple(takewhile(re.compile(r"[a-z][a-z-]*$").match, arguments.split()))
        said.setdefault(words, set()).update(re.findall(r"--[a-z-]+", arguments))
    assert len(said) > 15
    for words, options in sorted(said.items()):
        shown = CliRunner(env={"COLUMNS": "200"}).invoke(build(words[:1]), [*words, "--help"])
        assert shown.exit_code == 0, (words, shown.output)
        assert options <= set(re.findall(r"--[a-z-]+", shown.output)), words
