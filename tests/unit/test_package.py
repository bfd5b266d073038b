"""What is installed has every file that the code reads."""

import tomllib
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
DATA = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["package-data"]
SOURCES = {".md", ".py", ".pyc"}  # read by people and by Python


@pytest.mark.parametrize("package", ["streams", "schemas", "clickhouse", "grafana"])
def test_every_file_of_a_package_is_installed_with_it(package: str):
    folder = REPOSITORY / package
    files = {path for path in folder.rglob("*") if path.is_file() and path.suffix not in SOURCES}
    installed = {path for pattern in DATA[package] for path in folder.glob(pattern)}
    assert sorted(files - installed) == []
