"""Write the dashboards as the JSON files that Grafana is provisioned with.

    python -m grafana.build [--check]

The files are committed, so that Grafana needs no Python; with --check nothing is written, and what is not current is
named (exit code 1).
"""

import argparse
import json
import sys
from pathlib import Path

from grafana.dashboards import every

FOLDER = Path(__file__).parent / "provisioning" / "dashboards" / "spend"


def files() -> dict[Path, str]:
    """The text of each file, by its path: the same for the same sources, whoever builds it."""
    return {
        FOLDER / f"{each.uid}.json": json.dumps(each.json(), indent=2, sort_keys=True, ensure_ascii=False) + "\n"
        for each in every()
    }


def stale(built: dict[Path, str]) -> list[Path]:
    """Files that differ from what is built, are missing, or belong to no dashboard."""
    there = {path: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.json")}
    return sorted(path for path in built.keys() | there.keys() if built.get(path) != there.get(path))


def main() -> int:
    """The command. Returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m grafana.build", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, name what is not current")
    options = parser.parse_args()
    built = files()
    differing = stale(built)
    if options.check:
        for path in differing:
            print(f"{path}: not current, run `make dashboards`", file=sys.stderr)
        return 1 if differing else 0
    for path in differing:
        if path in built:
            path.write_text(built[path], encoding="utf-8")
        else:
            path.unlink()
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
