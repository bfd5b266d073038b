"""Make the .env that `docker compose up` reads: deploy/env.example with made-up passwords. It is never overwritten."""

import os
import re
import secrets
import sys
from pathlib import Path

EXAMPLE = Path(__file__).parent / "env.example"


def filled(example: str) -> str:
    """The text with 192 random bits after every `NAME=` that has no value; no character that a shell would read."""
    return re.sub(r"^(\w+)=$", lambda found: f"{found[1]}={secrets.token_urlsafe(24)}", example, flags=re.MULTILINE)


def main(path: Path) -> None:
    """Write it, readable by its owner alone.

    Raises:
        FileExistsError: it is there already.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(filled(EXAMPLE.read_text(encoding="utf-8")))
    print(f"{path}: passwords made up; Grafana's is GRAFANA_ADMIN_PASSWORD")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
