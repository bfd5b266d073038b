"""What a Grafana should hold of spendstream, and how what it holds differs. Pure.

Everything is in the shape in which Grafana answers, so that the two can be laid side by side: `GET /api/folders/:uid`,
`/api/datasources/uid/:uid`, `/api/dashboards/uid/:uid`, `/api/v1/provisioning/folder/:uid/rule-groups/:group`.
"""

import difflib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from grafana.panels import SOURCE
from grafana.shows import Json
from streams.errors import SpendError
from streams.settings import Settings

FOLDER = "spendstream"
Kind = Literal["folder", "data source", "dashboard", "alert rules"]
_GRAFANAS_OWN = ("id", "version", "iteration")  # of a dashboard; they count its saves


@dataclass(frozen=True)
class Wanted:
    """One object. `name` is its uid, of a rule group its title; `body` as Grafana answers, less what is Grafana's."""

    kind: Kind
    name: str
    body: Json

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


def folder() -> Wanted:
    """The folder of the dashboards and the alert rules."""
    return Wanted("folder", FOLDER, {"uid": FOLDER, "title": FOLDER})


def data_source(conf: Settings) -> Wanted:
    """ClickHouse as Grafana reaches it, asked as the reader. The password is no part of it: Grafana never shows one.

    Raises:
        SpendError: the address has no host, or its port is no number.
    """
    setting = "SPEND_GRAFANA_CLICKHOUSE_URL" if conf.grafana_clickhouse_url else "SPEND_CLICKHOUSE_URL"
    url = urlsplit(conf.grafana_clickhouse_url or conf.clickhouse_url)
    try:
        port = url.port
    except ValueError:
        port = 0
    if url.scheme not in ("http", "https") or not url.hostname or port == 0:
        raise SpendError(f"{setting} must look like http://host:8123")
    secure = url.scheme == "https"
    connection: Json = {
        "host": url.hostname,
        "port": port or (8443 if secure else 8123),
        "secure": secure,
        "protocol": "http",
        "username": conf.reader_user,
        "defaultDatabase": conf.clickhouse_database,
    }
    if path := url.path.strip("/"):
        connection["path"] = path
    return Wanted(
        "data source",
        SOURCE["uid"],
        {"uid": SOURCE["uid"], "name": FOLDER, "type": SOURCE["type"], "access": "proxy", "jsonData": connection},
    )


def dashboards(built: Iterable[Json], zone: str) -> list[Wanted]:
    """The dashboards in the folder, with the organisation's time zone: another Grafana's default may be anything."""
    return [
        Wanted(
            "dashboard",
            each["uid"],
            {
                "dashboard": {
                    **{key: value for key, value in each.items() if key not in _GRAFANAS_OWN},
                    "timezone": zone,
                },
                "meta": {"folderUid": FOLDER},
            },
        )
        for each in built
    ]


def alert_rules(group: Json) -> Wanted:
    """The one group of alert rules, as `grafana.alert_rules.pushed` gives it."""
    return Wanted("alert rules", group["title"], group)


def difference(wanted: Wanted, found: Json | None) -> str:
    """What a push would change, as a unified diff of JSON; '' where nothing would.

    What only Grafana has, at any depth, is left out: versions, times, who saved it, defaults it fills in. A list counts
    as a whole, so a panel, a rule or an override that somebody added does show.
    """
    there = "" if found is None else _text(_shared(found, wanted.body))
    return "\n".join(
        difflib.unified_diff(
            there.splitlines(),
            _text(wanted.body).splitlines(),
            f"Grafana: {wanted}",
            f"here: {wanted}",
            lineterm="",
            n=2,
        )
    )


def _shared(found: object, wanted: object) -> object:
    """What is found, less the keys of objects that are not wanted."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        return {key: _shared(value, wanted[key]) for key, value in found.items() if key in wanted}
    if isinstance(found, list) and isinstance(wanted, list):
        paired = [_shared(each, other) for each, other in zip(found, wanted, strict=False)]
        return [*paired, *found[len(paired) :]]
    return found


def _text(value: object) -> str:
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False)
