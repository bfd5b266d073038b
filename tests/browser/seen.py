"""A page that is looked at: opened, waited for, and what it complains of."""

import shutil
from dataclasses import dataclass, field

from playwright.sync_api import Page, Request, Response

NAMES = ("chromium", "chromium-browser", "google-chrome")
SETTLED = "body:not(.busy) main.grid [data-panel-id]"


def browser_path() -> str | None:
    """Where the system's Chromium is, if it has one."""
    return next(filter(None, map(shutil.which, NAMES)), None)


@dataclass
class Opened:
    """A page and what went wrong in it; `url` is the server's address."""

    page: Page
    url: str
    complaints: list[str] = field(default_factory=list)

    def open(self, path: str) -> Page:
        """Go to a path and wait until every panel has settled."""
        self.page.goto(self.url + path)
        return self.settle()

    def settle(self) -> Page:
        """Wait until nothing is being asked any more."""
        self.page.wait_for_selector(SETTLED, state="attached")
        return self.page

    def watch(self) -> None:
        """Take down console errors, exceptions, dialogs, refused and failed requests."""
        page = self.page
        page.on("console", lambda told: self._note(f"console: {told.text}", told.type == "error"))
        page.on("pageerror", lambda error: self._note(f"exception: {error}"))
        page.on("dialog", lambda dialog: (self._note(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.on("requestfailed", self._failed)
        page.on("response", self._answered)

    def _note(self, complaint: str, is_wrong: bool = True) -> None:
        if is_wrong:
            self.complaints.append(complaint)

    def _failed(self, request: Request) -> None:
        # a page that asks anew gives up what it asked before
        self._note(f"failed: {request.url} {request.failure}", request.failure != "net::ERR_ABORTED")

    def _answered(self, response: Response) -> None:
        self._note(f"{response.status}: {response.url}: {response.text()[:300]}", response.status >= 400)
