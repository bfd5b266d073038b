"""One stage and one browser for the tests of a module; what a page complains of fails the test that opened it.

They are gone when the module is done: while it runs, Playwright has an event loop in this thread.
"""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Playwright, sync_playwright
from seen import Opened, browser_path
from stage import Stage, stage


@pytest.fixture(scope="module")
def looked_at(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with stage(tmp_path_factory.mktemp("stage")) as found:
        yield found


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A database with tables and nothing in them."""
    with stage(tmp_path_factory.mktemp("empty"), events=0) as found:
        yield found


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as found:
        yield found


@pytest.fixture(scope="module")
def browser(playwright: Playwright) -> Iterator[Browser]:
    path = browser_path()
    if path is None:
        pytest.skip("there is no chromium: `make browser` installs it on Debian, as root")
    found = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
    yield found
    found.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    found = browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme="light", timezone_id="Asia/Tokyo")
    found.set_default_timeout(60_000)  # the machine may be busy; a page that hangs still fails
    yield found
    found.close()


@pytest.fixture
def opened(looked_at: Stage, context: BrowserContext) -> Iterator[Opened]:
    """A page over the sample that must not complain of anything by the test's end."""
    found = Opened(context.new_page(), looked_at.url)
    found.watch()
    yield found
    assert found.complaints == []


@pytest.fixture
def opened_empty(empty: Stage, context: BrowserContext) -> Iterator[Opened]:
    """The same over a database with tables and nothing in them."""
    found = Opened(context.new_page(), empty.url)
    found.watch()
    yield found
    assert found.complaints == []
