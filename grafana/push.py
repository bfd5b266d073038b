"""Bring a running Grafana to what is wanted, over its HTTP API with grafana-client.

One object after the other is read, compared (grafana/wanted.py) and written only where it differs, so that a second
push changes nothing.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote, urlsplit

import requests
from grafana_client import GrafanaApi
from grafana_client.client import GrafanaClientError, GrafanaException, GrafanaUnauthorizedError

from grafana.panels import PLUGIN, SOURCE
from grafana.shows import Json
from grafana.wanted import Wanted, difference
from streams.errors import SpendError, Unreachable
from streams.settings import Settings

OLDEST = 12  # what this is written for is 13; before 11.6 a rule group takes no new rules with uids of their own
SECONDS = 30  # for one answer


@dataclass(frozen=True)
class Step:
    """What became, or would become, of one object. `change` is a unified diff, '' where there is none."""

    wanted: Wanted
    outcome: Literal["created", "updated", "unchanged"]
    change: str


class Grafana:
    """A running Grafana, as the token may use it."""

    def __init__(self, conf: Settings) -> None:
        """Find out whether it is one.

        Raises:
            SpendError: the address or the token is not set, what answers is no Grafana, or one that is too old.
            Unreachable: nothing answers.
        """
        if conf.grafana_url is None:
            raise SpendError("SPEND_GRAFANA_URL is not set: it is the address of the Grafana, such as http://host:3000")
        if not conf.grafana_token.get_secret_value():
            raise SpendError(
                f"SPEND_GRAFANA_TOKEN is not set: in {conf.grafana_url} make a service account and a token for it, "
                "see docs/dashboards.md"
            )
        self._address = conf.grafana_url.rstrip("/")
        url = urlsplit(self._address)
        prefix = url.path.strip("/")
        self._api = GrafanaApi(
            auth=conf.grafana_token.get_secret_value(),
            protocol=url.scheme,
            host=url.netloc,
            url_path_prefix=f"{prefix}/" if prefix else "",
            timeout=SECONDS,
            user_agent="spendstream",
        )
        self._api.client.s.max_redirects = 0  # on its way to another address a POST would become a GET
        self._password = conf.reader_password.get_secret_value()
        with self._errors("say how it is"):
            try:
                health = self._api.client.GET("/health")
            except GrafanaClientError as exc:
                if exc.status_code not in (400, 404, 405):
                    raise
                health = None
        if not isinstance(health, dict) or "database" not in health:
            raise SpendError(self._no_grafana())
        version = str(health.get("version", ""))  # some hide it
        major = version.partition(".")[0]
        if major.isdigit() and int(major) < OLDEST:
            raise SpendError(f"the Grafana at {self._address} is {version}: {OLDEST} or later is needed")

    def compare(self, wanted: Iterable[Wanted]) -> Iterator[Step]:
        """What `push` would do; nothing is written."""
        no_folder = False
        for each in wanted:
            if no_folder and each.kind == "alert rules":  # asked for those of no folder, Grafana says 403 to some
                yield Step(each, "created", difference(each, None))
                continue
            step, found = self._compare(each)
            no_folder |= each.kind == "folder" and found is None
            yield step

    def push(self, wanted: Iterable[Wanted], *, renew_password: bool = False) -> Iterator[Step]:
        """Write what differs, in the order given: a folder before what lies in it.

        Args:
            wanted: the objects.
            renew_password: send the data source's password again; Grafana never shows it, so it cannot be compared.

        Raises:
            SpendError: Grafana refuses; what was written before stays, and pushing again goes on from there.
            Unreachable: it does not answer any more.
        """
        for each in wanted:
            step, found = self._compare(each)
            if step.change or (renew_password and each.kind == "data source"):
                with self._errors(f"write {each}"):
                    self._writers[each.kind](each, found)
                step = Step(each, "created" if found is None else "updated", step.change)
            yield step

    def _compare(self, wanted: Wanted) -> tuple[Step, Json | None]:
        with self._errors(f"read {wanted}"):
            try:
                found: Json | None = self._readers[wanted.kind](wanted)
            except GrafanaClientError as exc:
                if exc.status_code != 404:
                    raise
                found = None
        change = difference(wanted, found)
        if wanted.kind == "data source" and not change and self._password and not _has_password(found):
            change = "+ password"
        outcome: Literal["created", "updated", "unchanged"] = (
            "created" if found is None else "updated" if change else "unchanged"
        )
        return Step(wanted, outcome, change), found

    @property
    def _readers(self) -> dict[str, Callable[[Wanted], Json]]:
        api = self._api
        return {
            "folder": lambda each: api.folder.get_folder(each.name),
            "data source": lambda each: api.datasource.get_datasource_by_uid(each.name),
            "dashboard": lambda each: api.dashboard.get_dashboard(each.name),
            "alert rules": lambda each: api.alertingprovisioning.get_rule_group(
                each.body["folderUid"], quote(each.name, safe="")
            ),
        }

    @property
    def _writers(self) -> dict[str, Callable[[Wanted, Json | None], object]]:
        return {
            "folder": self._write_folder,
            "data source": self._write_data_source,
            "dashboard": self._write_dashboard,
            "alert rules": self._write_rules,
        }

    def _write_folder(self, wanted: Wanted, found: Json | None) -> object:
        if found is None:
            return self._api.folder.create_folder(wanted.body["title"], uid=wanted.name)
        return self._api.folder.update_folder(wanted.name, title=wanted.body["title"], overwrite=True)

    def _write_data_source(self, wanted: Wanted, found: Json | None) -> object:
        body = wanted.body | ({"secureJsonData": {"password": self._password}} if self._password else {})
        if found is not None:
            return self._api.datasource.update_datasource_by_uid(wanted.name, body)
        if all(plugin["id"] != SOURCE["type"] for plugin in self._api.plugin.list()):
            raise SpendError(
                f"the Grafana at {self._address} has no plugin {SOURCE['type']} that the token may see: "
                f"install {PLUGIN} or a later one of its line (Administration, Plugins); where it is installed, the "
                "token lacks datasources:create, see docs/dashboards.md"
            )
        return self._api.datasource.create_datasource(body)

    def _write_dashboard(self, wanted: Wanted, _found: Json | None) -> object:
        return self._api.dashboard.update_dashboard(
            {
                "dashboard": wanted.body["dashboard"] | {"id": None},  # the uid says which
                "folderUid": wanted.body["meta"]["folderUid"],
                "overwrite": True,
                "message": "spendstream dashboards push",
            }
        )

    def _write_rules(self, wanted: Wanted, _found: Json | None) -> object:
        return self._api.alertingprovisioning.update_rule_group(
            wanted.body["folderUid"], quote(wanted.name, safe=""), wanted.body
        )

    @contextmanager
    def _errors(self, doing: str) -> Iterator[None]:
        """Grafana's refusals as one line that says what mends them."""
        place = f"the Grafana at {self._address}"
        try:
            yield
        except GrafanaUnauthorizedError as exc:
            raise SpendError(
                f"{place} does not know the token (401): set SPEND_GRAFANA_TOKEN to one that has not expired"
            ) from exc
        except GrafanaException as exc:
            said = _said(exc)
            if exc.status_code >= 500:
                raise Unreachable(f"{place} cannot {doing} ({exc.status_code}): {said}") from exc
            if "provisioned" in said or "read-only" in said:
                raise SpendError(
                    f"{place} got {doing.partition(' ')[2]} from provisioning files and lets nothing else change it: "
                    f"take the files away, or change those ({said})"
                ) from exc
            if exc.status_code == 403:
                lacks = re.search(r"Permissions needed: (.*)", said)
                raise SpendError(
                    f"{place} does not let the token {doing} (403): its service account lacks "
                    f"{lacks[1] if lacks else 'a permission'}; docs/dashboards.md lists what is needed"
                ) from exc
            raise SpendError(f"{place} does not {doing} ({exc.status_code}): {said}") from exc
        except requests.JSONDecodeError as exc:
            raise SpendError(self._no_grafana()) from exc
        except requests.TooManyRedirects as exc:
            to = exc.response.headers.get("Location", "elsewhere") if exc.response is not None else "elsewhere"
            raise SpendError(
                f"{self._address} sends on to {to}: set SPEND_GRAFANA_URL to Grafana's own address"
            ) from exc
        except requests.RequestException as exc:
            raise Unreachable(
                f"{place} does not answer ({type(exc).__name__}): start it, or set SPEND_GRAFANA_URL"
            ) from exc

    def _no_grafana(self) -> str:
        return f"what answers at {self._address} is not Grafana: set SPEND_GRAFANA_URL"


def _has_password(found: Json | None) -> bool:
    return found is not None and bool(found.get("secureJsonFields", {}).get("password"))


def _said(exc: GrafanaException) -> str:
    """The message of an error's JSON, or the beginning of what came instead."""
    answer = exc.response
    text = answer.get("message", "") if isinstance(answer, dict) else answer
    return " ".join(str(text).split())[:300]
