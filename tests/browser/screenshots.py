"""Take the pictures of the documentation: `make screenshots`, or `python tests/browser/screenshots.py <folder>`."""

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser, sync_playwright
from seen import Opened, browser_path
from stage import stage

EVENTS = 60_000


@dataclass(frozen=True)
class Picture:
    name: str
    path: str
    width: int = 1280
    height: int = 900
    theme: Literal["light", "dark"] = "light"


PICTURES = (
    Picture("overview", "/d/spend-overview/"),
    Picture("overview-dark", "/d/spend-overview/", theme="dark"),
    Picture("overview-phone", "/d/spend-overview/", width=390, height=844),
    Picture("explorer", "/d/spend-explorer/"),
    Picture("member", "/d/spend-member/?var-dimension=workload&var-member=research-agent&from=now-7d&to=now"),
    Picture("budgets", "/d/spend-budgets/"),
)


def take(browser: Browser, url: str, picture: Picture, folder: Path) -> Path:
    """Write one picture into the folder; its path."""
    size = {"width": picture.width, "height": picture.height}
    context = browser.new_context(viewport=size, color_scheme=picture.theme)
    page = Opened(context.new_page(), url).open(picture.path)
    path = folder / f"{picture.name}.png"
    page.screenshot(path=path)
    context.close()
    return path


def main() -> int:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    executable = browser_path()
    if executable is None:
        print("there is no chromium: `make browser` installs it on Debian, as root", file=sys.stderr)
        return 1
    with (
        tempfile.TemporaryDirectory() as state,
        stage(Path(state), names=(), events=EVENTS) as found,
        sync_playwright() as driver,
    ):
        browser = driver.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        for picture in PICTURES:
            path = take(browser, found.url, picture, folder)
            print(f"{path}: {path.stat().st_size // 1000} kB")
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
