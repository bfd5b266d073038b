"""The files of the preview page: whole, small, and without what could run a member's name as markup."""

import hashlib
import json
import re
from pathlib import Path

import pytest

PREVIEW = Path(__file__).parents[2] / "grafana" / "preview"
OWN = sorted(path for path in PREVIEW.rglob("*.*") if "vendor" not in path.parts)
MODULES = [path for path in OWN if path.suffix == ".js"]
EXPORT = re.compile(r"export (?:async )?(?:function|const) (\w+)")
each_file = pytest.mark.parametrize("path", OWN, ids=lambda path: str(path.relative_to(PREVIEW)))
each_module = pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PREVIEW)))


def test_the_vendored_charts_are_those_that_their_version_says() -> None:
    told = json.loads((PREVIEW / "vendor" / "package.json").read_text(encoding="utf-8"))
    for name, digest in told["sha256"].items():
        assert hashlib.sha256((PREVIEW / "vendor" / name).read_bytes()).hexdigest() == digest
    version = told["dependencies"]["echarts"]
    assert f"echarts@{version}" in (PREVIEW / "vendor" / "README.md").read_text(encoding="utf-8")
    assert f'"{version}"' in (PREVIEW / "vendor" / "echarts.esm.min.js").read_text(encoding="utf-8")
    assert "Apache License" in (PREVIEW / "vendor" / "LICENSE").read_text(encoding="utf-8")


@each_file
def test_a_file_has_one_job_and_less_than_250_lines(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) < 250


@each_module
def test_nothing_turns_text_into_markup_or_code(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    forbidden = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|\beval\(|new Function|srcdoc"
    assert re.findall(forbidden, text) == []


@each_file
def test_nothing_is_loaded_from_elsewhere(path: Path) -> None:
    addresses = set(re.findall(r"https?://[\w./-]+", path.read_text(encoding="utf-8")))
    assert addresses <= {"http://www.w3.org/2000/svg"}


@each_module
def test_what_a_module_imports_is_there(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for names, source in re.findall(r"import (.+?) from \"([^\"]+)\"", text, re.DOTALL):
        target = (path.parent / source).resolve()
        assert target.is_file(), source
        if names.startswith("{"):
            exported = set(
                re.findall(r"export (?:async )?(?:function|const) (\w+)", target.read_text(encoding="utf-8"))
            )
            wanted = {name.split(" as ")[0].strip() for name in names.strip("{} \n").split(",") if name.strip()}
            assert wanted <= exported


@each_module
def test_every_export_is_used(path: Path) -> None:
    others = "\n".join(each.read_text(encoding="utf-8") for each in MODULES if each != path)
    for name in EXPORT.findall(path.read_text(encoding="utf-8")):
        assert re.search(rf"\b{name}\b", others), name
