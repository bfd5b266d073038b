"""Pure logic stays apart from I/O, and the environment has one reader."""

import ast
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
PURE = [
    *sorted((REPOSITORY / "streams" / "spend").glob("*.py")),
    REPOSITORY / "streams" / "blocks.py",
    *(REPOSITORY / "grafana" / f"{name}.py" for name in ("interpolation", "macros", "panel_query")),
]
IMPURE = {
    "aiohttp", "aiokafka", "asyncio", "chdb", "clickhouse", "clickhouse_connect", "confluent_kafka", "faust", "http",
    "os", "random", "requests", "socket", "subprocess", "threading", "time", "urllib",
}  # fmt: skip
CLOCKS = {"now", "utcnow", "today"}


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def project_file(module: str) -> Path | None:
    path = REPOSITORY / (module.replace(".", "/") + ".py")
    return path if path.is_file() else None


def reachable(path: Path, seen: set[Path]) -> set[str]:
    """Everything that a file imports, through the project's own modules too."""
    if path in seen:
        return set()
    seen.add(path)
    found = imports(path)
    return found.union(*(reachable(file, seen) for module in found if (file := project_file(module))))


@pytest.mark.parametrize("path", PURE, ids=lambda path: path.stem)
def test_pure_modules_reach_no_server_clock_or_environment(path: Path):
    reached = {module for module in reachable(path, set()) if not module.startswith("urllib.parse")}  # text only
    assert not {module for module in reached if module.split(".")[0] in IMPURE}
    calls = [node.attr for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)]
    assert not CLOCKS & set(calls)


def test_only_the_settings_read_the_environment():
    readers = {
        path.relative_to(REPOSITORY).as_posix()
        for folder in ("streams", "schemas", "clickhouse", "grafana")
        for path in (REPOSITORY / folder).rglob("*.py")
        if "environ" in path.read_text(encoding="utf-8").replace("environment", "") or "getenv" in path.read_text()
    }
    # a child process inherits the rest of the environment; chDB takes its time zone from it
    assert readers <= {"streams/settings.py", "streams/child.py", "clickhouse/embedded_server.py", "streams/web.py"}


def test_nothing_that_is_read_is_run():
    loads_code = {"pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
    runs = {"eval", "exec", "os.system", "yaml.load", "yaml.full_load", "yaml.unsafe_load"}
    found = []
    for folder in ("streams", "schemas", "clickhouse", "grafana"):
        for path in (REPOSITORY / folder).rglob("*.py"):
            found += [(path, module) for module in imports(path) if module.split(".")[0] in loads_code]
            calls = [each for each in ast.walk(ast.parse(path.read_text())) if isinstance(each, ast.Call)]
            found += [(path, ast.unparse(call.func)) for call in calls if ast.unparse(call.func) in runs]
            # of numpy, subprocess and Faust: each may be told to unpickle, or to ask a shell
            words = {"allow_pickle", "shell", "key_serializer", "value_serializer", "serializer"}
            found += [(path, word.arg) for call in calls for word in call.keywords if word.arg in words]
    assert found == []


def test_the_command_line_offers_every_command_file():
    from streams.cli import COMMANDS

    files = {path.stem for path in (REPOSITORY / "streams" / "cli").glob("*.py")} - {"__init__", "__main__"}
    assert {name.replace("-", "_") for name in COMMANDS} == files
