"""What docs/alerts.md shows is true."""

import base64
import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from test_alert_documents import EVERY, FROZEN, validate

from streams.relay import signature
from streams.relay.channels import Webhook, _File
from streams.spend.alert_document import canonical

TEXT = (Path(__file__).parents[2] / "docs" / "alerts.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    (found,) = re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)
    return str(found)


def test_the_document_is_one() -> None:
    shown = json.loads(block("json"))
    validate(shown)
    assert canonical(shown) == EVERY["anomaly"]().value


def test_every_type_is_described() -> None:
    for entry in FROZEN:
        kind = entry["type"]
        assert (
            kind in TEXT
            or (kind.startswith("spend.anomaly") and f"`.{kind.rpartition('.')[2]}`" in TEXT)
            or (kind == "spend.relay.test")
        ), kind


def test_every_field_of_the_relays_file_is_described() -> None:
    channels = _File.model_validate(yaml.safe_load(block("yaml"))).channels
    assert [channel.name for channel in channels] == ["on-call", "team-chat"]
    for field in Webhook.model_fields:
        assert f"`{field}" in TEXT, field


def test_the_ten_lines_tell_a_genuine_request(monkeypatch: pytest.MonkeyPatch) -> None:
    program = block("python")
    assert len([line for line in program.splitlines() if line.strip()]) <= 10
    names: dict[str, Any] = {}
    exec(program, names)
    key, body = b"k" * 32, EVERY["anomaly"]().value
    secret, now = f"whsec_{base64.b64encode(key).decode()}", int(time.time())
    made = signature.headers([b"o" * 32, key], "id", now, body)
    assert names["is_genuine"](secret, made, body)
    assert not names["is_genuine"](secret, made, body + b" ")
    assert not names["is_genuine"](secret, signature.headers([b"o" * 32], "id", now, body), body)
    assert not names["is_genuine"](secret, signature.headers([key], "id", now - 301, body), body)
