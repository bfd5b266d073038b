"""A server that answers as Grafana's HTTP API is documented to, for what `spendstream dashboards` asks it.

Grafana itself cannot be installed from a package registry. Paths, status codes, bodies and permissions are those of its
"HTTP API reference" (folder.md, dashboard.md, data_source.md, alerting_provisioning.md of Grafana 13, and the swagger
definitions of ngalert's provisioning API); what it says when it refuses is as Grafana 13 says it.
"""

import json
import threading
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

Json = dict[str, Any]
ADMIN = frozenset(
    {
        *("folders:read", "folders:create", "folders:write"),
        *("dashboards:read", "dashboards:create", "dashboards:write"),
        *("datasources:read", "datasources:create", "datasources:write", "datasources:query"),
        *("alert.rules:read", "alert.rules:create", "alert.rules:write", "alert.rules:delete"),
        "alert.provisioning.provenance:write",
    }
)
EDITOR = ADMIN - {"datasources:read", "datasources:create", "datasources:write"}
CLICKHOUSE = "grafana-clickhouse-datasource"


class Refused(Exception):
    def __init__(self, status: int, message: str, **more: object) -> None:
        super().__init__(message)
        self.status, self.body = status, {"message": message, **more}


@dataclass
class GrafanaApi:
    """Its state, and what was written to it. Use as a context manager."""

    prefix: str = ""
    version: str = "13.2.3"
    tokens: dict[str, frozenset[str]] = field(default_factory=lambda: {"glsa_admin": ADMIN})
    plugins: list[str] = field(default_factory=lambda: ["timeseries", CLICKHOUSE])
    folders: dict[str, Json] = field(default_factory=dict)
    sources: dict[str, Json] = field(default_factory=dict)
    secrets: dict[str, Json] = field(default_factory=dict)
    dashboards: dict[str, Json] = field(default_factory=dict)
    groups: dict[tuple[str, str], Json] = field(default_factory=dict)
    from_files: set[str] = field(default_factory=set)  # uids that were provisioned from files
    writes: list[tuple[str, str]] = field(default_factory=list)

    def __enter__(self) -> "GrafanaApi":
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}{self.prefix}"

    def answer(self, method: str, path: str, token: str, body: Json) -> tuple[int, Any]:
        if not path.startswith(f"{self.prefix}/api/"):
            raise Refused(404, "Not found")
        path = path.removeprefix(f"{self.prefix}/api")
        if (method, path) == ("GET", "/health"):
            return 200, {"database": "ok", "version": self.version, "commit": "0123abc"}
        if token not in self.tokens:
            raise Refused(401, "Invalid API key", messageId="api-key.invalid", statusCode=401)
        may = self.tokens[token]
        parts = [unquote(part) for part in path.strip("/").split("/")]
        match method, parts:
            case "GET", ["plugins"]:  # who may not make data sources sees only what Grafana brings itself
                return 200, [{"id": each} for each in self.plugins if each != CLICKHOUSE or "datasources:create" in may]
            case "GET", ["folders", uid]:
                _need(may, "folders:read")
                return 200, self._found(self.folders, uid, "folder not found")
            case "POST", ["folders"]:
                _need(may, "folders:create")
                return 200, self._save_folder(body)
            case "PUT", ["folders", uid]:
                _need(may, "folders:write")
                self._found(self.folders, uid, "folder not found")
                return 200, self._save_folder(body | {"uid": uid})
            case "GET", ["datasources", "uid", uid]:
                _need(may, "datasources:read")
                return 200, self._found(self.sources, uid, "Data source not found")
            case "POST", ["datasources"]:
                _need(may, "datasources:create")
                return 200, self._save_source(body, "Datasource added")
            case "PUT", ["datasources", "uid", uid]:
                _need(may, "datasources:write")
                if uid in self.from_files:
                    raise Refused(403, "Cannot update read-only data source")
                return 200, self._save_source(body | {"uid": uid}, "Datasource updated")
            case "GET", ["dashboards", "uid", uid]:
                _need(may, "dashboards:read")
                return 200, self._found(self.dashboards, uid, "Dashboard not found")
            case "POST", ["dashboards", "db"]:
                return 200, self._save_dashboard(may, body)
            case "GET", ["v1", "provisioning", "folder", folder, "rule-groups", group]:
                _need(may, "alert.rules:read")
                return 200, self._found(self.groups, (folder, group), "rule group not found")
            case "PUT", ["v1", "provisioning", "folder", folder, "rule-groups", group]:
                for action in ("alert.rules:create", "alert.rules:write", "alert.rules:delete"):
                    _need(may, action)
                _need(may, "alert.provisioning.provenance:write")
                _need(may, "datasources:query")
                return 200, self._save_group(folder, group, body)
        raise Refused(404, "Not found")

    def _found(self, kept: dict[Any, Json], key: object, otherwise: str) -> Json:
        if key not in kept:
            raise Refused(404, otherwise)
        return deepcopy(kept[key])

    def _save_folder(self, body: Json) -> Json:
        there = self.folders.get(body["uid"], {"version": 0, "id": len(self.folders) + 1})
        kept = {"uid": body["uid"], "title": body["title"], "url": f"/dashboards/f/{body['uid']}", "hasAcl": False}
        self.folders[body["uid"]] = kept | {"id": there["id"], "version": there["version"] + 1, "createdBy": "sa-push"}
        return self.folders[body["uid"]]

    def _save_source(self, body: Json, message: str) -> Json:
        secret = body.pop("secureJsonData", {})
        uid = body["uid"]
        self.secrets[uid] = self.secrets.get(uid, {}) | secret
        self.sources[uid] = {
            **{"id": 7, "orgId": 1, "typeLogoUrl": "", "password": "", "user": "", "database": "", "url": ""},
            **{"basicAuth": False, "withCredentials": False, "isDefault": False, "readOnly": uid in self.from_files},
            **body,
            "secureJsonFields": {key: True for key in self.secrets[uid]},
            "version": self.sources.get(uid, {"version": 0})["version"] + 1,
        }
        return {"datasource": self.sources[uid], "id": 7, "message": message, "name": body["name"]}

    def _save_dashboard(self, may: frozenset[str], body: Json) -> Json:
        uid = body["dashboard"]["uid"]
        _need(may, "dashboards:write" if uid in self.dashboards else "dashboards:create")
        if uid in self.from_files:
            raise Refused(400, "Cannot save provisioned dashboard")
        if body["folderUid"] not in self.folders:
            raise Refused(400, "folder not found")
        if uid in self.dashboards and not body["overwrite"]:
            raise Refused(412, "The dashboard has been changed by someone else", status="version-mismatch")
        there = self.dashboards.get(uid)
        version = there["dashboard"]["version"] + 1 if there else 1
        saved = body["dashboard"] | {"id": 40 + len(self.dashboards), "version": version}
        meta = {
            "folderUid": body["folderUid"],
            "folderId": 1,
            "slug": uid,
            "url": f"/d/{uid}/{uid}",
            "version": version,
        }
        self.dashboards[uid] = {"dashboard": saved, "meta": meta | {"provisioned": False, "canSave": True}}
        return {"id": saved["id"], "uid": uid, "url": meta["url"], "status": "success", "version": version, "slug": uid}

    def _save_group(self, folder: str, group: str, body: Json) -> Json:
        if (folder, group) not in self.groups and folder not in self.folders:
            raise Refused(403, "folder not found")
        rules = [
            {
                **{"id": number, "orgID": 1, "updated": "2026-11-27T12:00:00Z", "provenance": "api"},
                **{"notification_settings": None, "record": None, "keep_firing_for": "0s"},
                **rule,
                "data": [{"queryType": "", **query} for query in rule["data"]],
            }
            for number, rule in enumerate(body["rules"], 1)
        ]
        self.groups[folder, group] = body | {"rules": rules}
        return self.groups[folder, group]


def _need(may: frozenset[str], action: str) -> None:
    if action not in may:
        said = f"You'll need additional permissions to perform this action. Permissions needed: {action}"
        raise Refused(403, said, accessErrorId="ACE0123456789", title="Access denied")


def _handler(api: GrafanaApi) -> Callable[..., BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            text = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            token = self.headers.get("Authorization", "").removeprefix("Bearer ")
            path = urlsplit(self.path).path
            try:
                status, answer = api.answer(self.command, path, token, json.loads(text or b"{}"))
                if self.command != "GET":
                    api.writes.append((self.command, path))
            except Refused as refused:
                status, answer = refused.status, refused.body
            body = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json; charset=UTF-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PUT = _serve

        def log_message(self, format: str, *args: object) -> None:
            """The tests look at `writes`."""

    return Handler
