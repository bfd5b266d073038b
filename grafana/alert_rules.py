"""Grafana's own alert rules for the health of the pipeline, beside the dashboards.

    python -m grafana.alert_rules [--check]

writes the provisioning file from the rules below and their queries (`queries/alert_<name>.sql`); with --check nothing
is written, and a file that is not current is an error (exit code 1).
`spendstream dashboards push` sends the same rules.

Who is told is the user's: rules name no contact point. Notification policies find them by the labels `product`
(spendstream) and `severity` (critical: nothing is counted any more; warning: something is amiss).
"""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import yaml

from grafana.panels import SOURCE, read_query, stable_id, target
from grafana.shows import Json

FILE = Path(__file__).parent / "provisioning" / "alerting" / "pipeline.yaml"
GROUP = "pipeline"
EVERY_SECONDS = 60
_EXPRESSIONS = {"type": "__expr__", "uid": "__expr__"}  # Grafana's own, which compares


@dataclass(frozen=True)
class AlertRule:
    """A rule. Its query gives a number a row, and text that tells the rows apart; each row above `above` fires.

    `name` is that of `queries/alert_<name>.sql`, `panel` the panel of the pipeline's page that shows it.
    `minutes`: the query's time range, back from now. `lasting`: minutes it must be so. `silent`: what no row means.
    """

    name: str
    title: str
    text: str
    mend: str
    panel: str
    severity: Literal["critical", "warning"]
    above: int = 0
    minutes: int = 15
    lasting: int = 5
    silent: Literal["OK", "Alerting"] = "OK"

    @property
    def uid(self) -> str:
        return f"spend-{self.name.replace('_', '-')}"

    def data(self) -> list[Json]:
        """The query (A) and the comparison (B), as Grafana keeps them."""
        limits = {"intervalMs": 1000, "maxDataPoints": 43200}  # Grafana fills them in where they are missing
        query = target(read_query(f"alert_{self.name}"), over_time=False) | limits
        comparison = {
            "conditions": [{"evaluator": {"params": [self.above], "type": "gt"}}],
            "datasource": _EXPRESSIONS,
            "expression": "A",
            "refId": "B",
            "type": "threshold",
        } | limits
        return [
            {
                "refId": "A",
                "relativeTimeRange": {"from": self.minutes * 60, "to": 0},
                "datasourceUid": SOURCE["uid"],
                "model": query,
            },
            {
                "refId": "B",
                "relativeTimeRange": {"from": 0, "to": 0},
                "datasourceUid": _EXPRESSIONS["uid"],
                "model": comparison,
            },
        ]

    def json(self) -> Json:
        """What the provisioning file and the HTTP API have in common."""
        return {
            "uid": self.uid,
            "title": self.title,
            "condition": "B",
            "data": self.data(),
            "noDataState": self.silent,
            "execErrState": "Error",
            "for": f"{self.lasting}m" if self.lasting else "0s",
            "annotations": {
                "summary": self.text,
                "description": self.mend,
                "__dashboardUid__": "spend-pipeline",
                "__panelId__": str(stable_id(self.panel)),
            },
            "labels": {"product": "spendstream", "severity": self.severity},
            "isPaused": False,
        }


RULES: tuple[AlertRule, ...] = (
    AlertRule(
        name="no_progress",
        title="Spend is not being counted",
        text="Partitions that stand still: {{ $values.A }}. Events wait and none was counted for 5 minutes, or no sink "
        "reports.",
        mend="spendstream doctor says which process is missing; its log says why it ended.",
        panel="pipeline_stalls",
        severity="critical",
        lasting=0,  # the query looks at five minutes by itself
    ),
    AlertRule(
        name="lag",
        title="Spend is counted late",
        text="The oldest event that is not counted yet has waited for {{ $values.A }} s.",
        mend="Start more workers and sinks, up to one a partition: spendstream doctor says which of them is behind.",
        panel="pipeline_lag_seconds",
        severity="warning",
        above=120,
    ),
    AlertRule(
        name="dead_letters",
        title="Events cannot be counted",
        text="{{ $values.A }} % of the events of the last 15 minutes became dead letters.",
        mend="spendstream dead-letters list gives the reasons; after the mend, spendstream dead-letters replay.",
        panel="pipeline_dead_letters",
        severity="warning",
        above=1,
    ),
    AlertRule(
        name="unpriced",
        title="Calls have no price",
        text="{{ $values.A }} calls of the last hour are counted, but at no cost.",
        mend="spendstream rates explain says why a model has none; spendstream rates set gives it one.",
        panel="pipeline_unpriced",
        severity="warning",
        minutes=60,
    ),
)


def provisioned() -> str:
    """The provisioning file: Grafana puts the rules into the folder of that title, and makes it where it is missing."""
    group = {
        "orgId": 1,
        "name": GROUP,
        "folder": "spendstream",
        "interval": f"{EVERY_SECONDS}s",
        "rules": [
            {key: value for key, value in each.json().items() if key != "annotations"}
            | {
                "dashboardUid": each.json()["annotations"]["__dashboardUid__"],
                "panelId": int(each.json()["annotations"]["__panelId__"]),
                "annotations": each.json()["annotations"],
            }
            for each in RULES
        ],
    }
    head = "# Written by `make dashboards` from grafana/alert_rules.py and grafana/queries/alert_*.sql.\n"
    return head + yaml.dump({"apiVersion": 1, "groups": [group]}, Dumper=_Plain, sort_keys=False, width=120)


def pushed(folder: str) -> Json:
    """The same rules as one group of a folder, by its uid, as the HTTP API takes and gives it."""
    rules = [each.json() | {"folderUID": folder, "ruleGroup": GROUP} for each in RULES]
    return {"title": GROUP, "folderUid": folder, "interval": EVERY_SECONDS, "rules": rules}


class _Plain(yaml.SafeDumper):
    """YAML that people read: queries as blocks, nothing by reference."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def _block(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Plain.add_representer(str, _block)


def main() -> int:
    """The command. Returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m grafana.alert_rules", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, say whether the file is current")
    options = parser.parse_args()
    current = FILE.is_file() and FILE.read_text(encoding="utf-8") == provisioned()
    if options.check:
        if not current:
            print(f"{FILE}: not current, run `make dashboards`", file=sys.stderr)
        return 0 if current else 1
    if not current:
        FILE.write_text(provisioned(), encoding="utf-8")
        print(FILE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
