"""What a worker's web lets anyone do: every route that there is, asked over HTTP."""

import asyncio
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import faust
import pytest
from aiohttp import ClientSession
from aiohttp.test_utils import TestServer

from streams import topics
from streams.api import add_api
from streams.app import price_app, windows_app
from streams.embedded import answers
from streams.gathering import Batch
from streams.settings import Settings
from streams.supervisor import Stack, on_free_ports

LOOKING = {"/", "/metrics", "/health", "/ready"}
API = {"/api/budgets", "/api/budgets/{budget_id}", "/api/budget-status", "/api/allow", "/api/openapi.json"}
CHANGES = {
    ("POST", "/api/budgets"),
    ("PUT", "/api/budgets/{budget_id}"),
    ("PATCH", "/api/budgets/{budget_id}"),
    ("DELETE", "/api/budgets/{budget_id}"),
}
FAUSTS_OWN = (
    "/router/",
    "/table/",
    "/tables/",
    "/graph",
    "/stats",
    "/assignment/",
    "/performance",
    "/static/x",
    "/docs/",
)


class Idle:
    """A stage that gets no batch."""

    block_seconds, block_events, batch_bytes, stall_seconds, ready = 1.0, 1, 1, 1.0, True

    def __init__(self, topic: str) -> None:
        self.topic = self.agent = topic

    async def process(self, batch: Batch) -> None:
        raise AssertionError(batch)

    async def look_around(self) -> None:
        """There is nothing."""


def worker(settings: Settings) -> faust.App:
    app = price_app(settings, Idle(topics.USAGE))  # type: ignore[arg-type]
    add_api(app, settings, None, None)  # type: ignore[arg-type]
    return app


def windows(settings: Settings) -> faust.App:
    return windows_app(settings, Idle(topics.PRICED), Idle(topics.TOTALS))  # type: ignore[arg-type]


def routes(app: faust.App) -> Iterator[tuple[str, str]]:
    """(method, path) of each."""
    app.web.init_server()
    for route in app.web.web_app.router.routes():
        assert route.resource is not None
        yield route.method, route.resource.canonical


def statuses(app: faust.App, asked: list[tuple[str, str]], headers: dict[str, str]) -> list[int]:
    async def ask() -> list[int]:
        async with TestServer(app.web.web_app) as server, ClientSession() as session:
            found = []
            for method, path in asked:
                url = server.make_url(path.replace("{budget_id}", "some"))
                async with session.request(method, url, data=b"{}", headers=headers) as response:
                    found.append(response.status)
            return found

    return asyncio.run(ask())


def test_the_routes_are_these_and_faust_has_none_of_its_own_but_a_word_at_the_root() -> None:
    found = set(routes(worker(Settings())))
    assert {path for _, path in found} == LOOKING | API
    assert {(method, path) for method, path in found if method not in ("GET", "HEAD")} == CHANGES
    assert set(routes(windows(Settings()))) == {(method, path) for method in ("GET", "HEAD") for path in LOOKING}


@pytest.mark.stack
@pytest.mark.parametrize("app", [worker, windows], ids=["worker", "windows"])
def test_faust_shows_neither_tables_nor_agents_nor_settings(app) -> None:
    own = app(Settings())
    list(routes(own))
    assert statuses(own, [("GET", path) for path in FAUSTS_OWN], {}) == [404] * len(FAUSTS_OWN)


@pytest.mark.stack
@pytest.mark.parametrize(
    ("settings", "headers", "status"),
    [
        ({"api_token": "geheim"}, {}, 401),
        ({"api_token": "geheim"}, {"Authorization": "Bearer other"}, 401),
        ({"web_host": "0.0.0.0"}, {}, 403),
        ({}, {"Host": "evil.example"}, 403),
        ({}, {"Origin": "https://evil.example"}, 403),
    ],
)
def test_every_route_that_changes_something_wants_the_token_or_this_machine(
    settings: dict[str, str], headers: dict[str, str], status: int
) -> None:
    own = worker(Settings(**settings))  # type: ignore[arg-type]
    asked = sorted({(method, path) for method, path in routes(own) if method not in ("GET", "HEAD")})
    assert statuses(own, asked, {"Content-Type": "application/json", **headers}) == [status] * len(CHANGES)


def test_where_nothing_is_set_the_web_is_for_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("SPEND_")]:
        monkeypatch.delenv(name)
    assert Settings().web_host == "127.0.0.1"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A broker, and the settings of processes; the relay's only channel is never used."""
    folder = tmp_path_factory.mktemp("web")
    file = folder / "relay.yaml"
    file.write_text("channels: [{name: nobody, kind: apprise, url: 'json://127.0.0.1:9/'}]")
    conf = on_free_ports(Settings(state_dir=folder, relay_file=file, partitions=1))
    with Stack(conf, parts=("broker", "topics")) as running:
        yield running


def listening(pid: int) -> set[tuple[str, int]]:
    """Addresses and ports that a process listens on, as the kernel knows them; those of IPv6 as it writes them."""
    sockets = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            sockets.add(str(descriptor.readlink()))
    found = set()
    for table in (Path(f"/proc/{pid}/net/{name}") for name in ("tcp", "tcp6")):
        for line in table.read_text().splitlines()[1:] if table.exists() else ():
            _, local, _, state, *_, inode = line.split()[:10]
            if state == "0A" and f"socket:[{inode}]" in sockets:
                address, port = local.split(":")
                shown = socket.inet_ntoa(bytes.fromhex(address)[::-1]) if table.name == "tcp" else address
                found.add((shown, int(port, 16)))
    return found


@pytest.mark.stack
@pytest.mark.skipif(sys.platform != "linux", reason="/proc says who listens where")
@pytest.mark.parametrize("name", ["worker", "relay"])  # on Faust's web, and on our own, which is the sink's as well
def test_a_process_that_is_told_no_address_listens_on_this_machine_alone(stack: Stack, name: str) -> None:
    stack.spawn(name, "env", "--unset=SPEND_WEB_HOST", sys.executable, "-m", "streams.cli", name)
    port = getattr(stack.settings, f"{name}_web_port")
    give_up = time.monotonic() + 60
    while not answers(f"http://127.0.0.1:{port}/ready"):
        stack.check(name)
        assert time.monotonic() < give_up, f"{name} is not ready"
        time.sleep(0.1)
    assert listening(stack.pid(name)) == {("127.0.0.1", port)}


def test_messages_are_never_unpickled() -> None:
    for app in (worker(Settings()), windows(Settings())):
        assert (app.conf.key_serializer, app.conf.value_serializer) == ("raw", "json")
        assert list(app.tables.values()) == []
