"""Own rates as people and topics hold them: a YAML file, or one JSON document a rate on `spend.rates`."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from streams import compacted, topics
from streams.errors import SpendError
from streams.kafka import wait_for_brokers
from streams.settings import Settings
from streams.spend.rates import Rate


def read_rates_file(path: Path, said: str = "SPEND_RATES_FILE") -> list[Rate]:
    """The rates of a file: a YAML list, or a mapping with the list under `rates`. `said`: who named it, for errors.

    Raises:
        SpendError: the file cannot be read, or a rate does not fit; the message names the file, the rate and the field.
    """
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise SpendError(f"{said}: cannot read {path}: {exc.strerror}") from exc
    except (yaml.YAMLError, UnicodeDecodeError) as exc:
        raise SpendError(f"{said}: {path} is not YAML: {str(exc).splitlines()[0]}") from exc
    if isinstance(document, dict) and set(document) == {"rates"}:
        document = document["rates"]
    if document is None:
        return []
    if not isinstance(document, list):
        raise SpendError(f"{said}: {path} must hold a list of rates, one '- id: ...' each")
    return [_rate(raw, f"{said}: {path}: rate {number}") for number, raw in enumerate(document, 1)]


def parse_rate(value: bytes | str) -> Rate:
    """The rate of a JSON document, a value of `spend.rates`.

    Raises:
        SpendError: it is not JSON, or the rate does not fit; the message names the rate and the field.
    """
    try:
        raw = json.loads(value, parse_float=str)  # a price written as a number keeps its digits
    except ValueError as exc:
        raise SpendError(f"the rate is not JSON: {exc}") from exc
    return _rate(raw, "the rate")


def rate_json(rate: Rate) -> str:
    """The rate as a value of `spend.rates`: only what is set, numbers as strings."""
    return rate.model_dump_json(exclude_defaults=True, by_alias=True)


def topic_rates(settings: Settings) -> dict[str, Rate]:
    """The rates that stand on `spend.rates`, by id; a value that does not fit is an error here, not left out.

    Raises:
        SpendError: a value does not fit.
        Halt: the topic does not exist.
        Unreachable: the broker does not answer.
    """
    wait_for_brokers(settings, 3.0)
    return {rate_id: parse_rate(value) for rate_id, value in compacted.values(settings, topics.RATES, bytes).items()}


def publish_rates(settings: Settings, rates: Iterable[Rate] = (), removed: Iterable[str] = ()) -> None:
    """Put rates on `spend.rates` and take others off it; returns when the broker has them all.

    Raises:
        Unreachable: the broker did not acknowledge them.
    """
    values = {rate.id: rate_json(rate).encode() for rate in rates}
    compacted.put(settings, topics.RATES, {**values, **dict.fromkeys(removed)})


def _rate(raw: Any, where: str) -> Rate:
    name = f"{where} ({raw['id']})" if isinstance(raw, dict) and raw.get("id") else where
    try:
        return Rate.model_validate(raw)
    except ValidationError as exc:
        first = exc.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            known = ", ".join(sorted(Rate.model_fields))
            raise SpendError(f"{name}: there is no field {field!r}; the fields are {known}") from exc
        message = first["msg"].removeprefix("Value error, ")
        raise SpendError(f"{name}: {field + ': ' if field else ''}{message}") from exc
