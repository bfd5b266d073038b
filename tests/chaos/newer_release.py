"""A newer release of spendstream, made of this one's files: its event has one more nullable field, `cost_center`."""

import json
import shutil
from pathlib import Path

from schemas.wire import fingerprint

REPOSITORY = Path(__file__).parents[2]
FIELD = {"name": "cost_center", "type": ["null", "string"], "default": None, "doc": "Who pays."}


def make(folder: Path) -> str:
    """Write the release into `folder`; the script that is its `spendstream`.

    What adding a field takes, and no more: the schema as published stays under another name, the new one has an entry
    of its own, its twins in Python and ClickHouse follow.
    """
    for package in ("streams", "schemas", "clickhouse", "grafana"):
        shutil.copytree(REPOSITORY / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    schemas = folder / "schemas"
    old = schemas / "usage_event.avsc"
    frozen = json.loads((schemas / "frozen.json").read_text())
    frozen[-1]["file"] = f"usage_event_{len(frozen)}.avsc"
    shutil.copy(old, schemas / frozen[-1]["file"])
    schema = json.loads(old.read_text())
    schema["fields"].append(FIELD)
    old.write_text(json.dumps(schema))
    made = {
        "version": len(frozen) + 1,
        "file": old.name,
        "sha256": "",
        "fingerprint": fingerprint(old.read_text()).hex(),
    }
    (schemas / "frozen.json").write_text(json.dumps([*frozen, made]))
    twin = schemas / "usage_event.py"
    last = "    raw_usage: str | None = None\n"
    assert last in twin.read_text()
    twin.write_text(twin.read_text().replace(last, f"{last}    cost_center: str | None = None\n"))
    migrations = folder / "clickhouse" / "migrations"
    number = len(list(migrations.glob("*.up.sql"))) + 1
    change = "ALTER TABLE $database.usage $on_cluster {} COLUMN IF {} cost_center{};\n"
    (migrations / f"{number:04}_cost_center.up.sql").write_text(
        change.format("ADD", "NOT EXISTS", " Nullable(String) AFTER raw_usage")
    )
    (migrations / f"{number:04}_cost_center.down.sql").write_text(change.format("DROP", "EXISTS", ""))
    script = folder / "newer_spendstream.py"  # what Python runs by its path imports from beside it first
    script.write_text("from streams.cli import main\n\nmain()\n")
    return str(script)
