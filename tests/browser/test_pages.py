"""Each dashboard in a real browser, over the real preview server, the embedded ClickHouse and sample traffic."""

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from playwright.sync_api import Browser, Page
from seen import Opened
from stage import HOSTILE, Stage

from grafana.build import FOLDER

pytestmark = pytest.mark.stack

DASHBOARDS: dict[str, dict[str, Any]] = {
    path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.json"))
}
# where all panels have something to show: any change is a trend, a workload asks a cache, some call had no price
CHOSEN = {
    "spend-overview": "var-floor=0",
    "spend-member": "var-dimension=workload&var-member=support-chat",
    "spend-pipeline": "from=now-7d&to=now",
}
EVERY_DASHBOARD = pytest.mark.parametrize("uid", DASHBOARDS)


def panels(uid: str) -> dict[str, dict[str, Any]]:
    """The panels of a dashboard's JSON by id, without the headings of rows."""
    return {str(each["id"]): each for each in DASHBOARDS[uid]["panels"] if each["type"] != "row"}


def states(page: Page) -> dict[str, str]:
    return page.eval_on_selector_all(
        "[data-panel-id]", "all => Object.fromEntries(all.map(each => [each.dataset.panelId, each.dataset.state]))"
    )


def overflow(page: Page) -> int:
    """By how many pixels the page is wider than its window."""
    return page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")


def figures(page: Page) -> list[str]:
    return page.locator(".stat .value").all_inner_texts()


def asked(page: Page) -> dict[str, list[str]]:
    return parse_qs(urlsplit(page.url).query, keep_blank_values=True)


def pick(page: Page, control: str, *options: str) -> None:
    page.click(f"[data-control={control}] .opener")
    for option in options:
        page.locator(f"[data-control={control}] .option").get_by_text(option, exact=True).click()
    if page.locator(f"[data-control={control}] .box").count():
        page.keyboard.press("Escape")


def first_of(page: Page, kind: str) -> str:
    return page.locator(f"[data-kind={kind}][data-state=drawn]").first.get_attribute("data-panel-id") or ""


@EVERY_DASHBOARD
def test_every_panel_is_drawn_with_data_and_fits_a_desk_and_a_telephone(uid: str, opened: Opened) -> None:
    page = opened.open(f"/d/{uid}/?{CHOSEN.get(uid, '')}")
    assert page.locator("h1").inner_text() == DASHBOARDS[uid]["title"]
    assert states(page) == dict.fromkeys(panels(uid), "drawn"), page.locator(".failure, .nothing").all_inner_texts()
    assert overflow(page) <= 0
    drawings = page.locator("[data-kind=timeseries], [data-kind=barchart], [data-kind=piechart]").all()
    assert all(drawing.locator(".chart svg path[fill], .chart svg path[stroke]").count() for drawing in drawings)
    page.set_viewport_size({"width": 390, "height": 844})
    assert overflow(page) <= 0
    widths = page.eval_on_selector_all("[data-panel-id]", "all => all.map(each => each.getBoundingClientRect().width)")
    assert min(widths) > 350


@EVERY_DASHBOARD
def test_an_empty_database_says_what_no_data_means(uid: str, opened_empty: Opened) -> None:
    page = opened_empty.open(f"/d/{uid}/")
    assert page.locator(".failure:visible").all_inner_texts() == []
    found = states(page)
    assert set(found.values()) <= {"drawn", "empty"}
    for panel, state in found.items():
        if state == "empty":
            said = page.locator(f"[data-panel-id='{panel}'] .nothing").inner_text()
            assert said == panels(uid)[panel]["fieldConfig"]["defaults"]["noValue"]
    assert "empty" in found.values()


def test_a_preset_changes_figures_and_address_and_back_brings_them_back(opened: Opened) -> None:
    page = opened.open("/d/spend-overview/")
    month = figures(page)
    pick(page, "range", "Last 7 days")
    week = figures(opened.settle())
    assert week != month
    assert (asked(page)["from"], asked(page)["to"]) == (["now-7d"], ["now"])
    assert page.locator("[data-control=range] .opener").inner_text() == "Last 7 days"
    page.go_back()
    opened.settle()
    assert page.locator("[data-control=range] .opener").inner_text() == "Last 30 days"


def test_a_custom_range_is_in_the_organisations_time_zone(opened: Opened) -> None:
    page = opened.open("/d/spend-overview/")
    page.click("[data-control=range] .opener")
    assert "Europe/Berlin" in page.locator(".custom").inner_text()
    page.fill(".custom [name=from]", "2026-07-01T00:00")
    page.fill(".custom [name=to]", "2026-07-02T12:30")
    page.click(".custom .primary")
    opened.settle()
    assert (asked(page)["from"], asked(page)["to"]) == (["1782856800000"], ["1782988200000"])  # two hours before UTC
    assert page.locator("[data-control=range] .opener").inner_text() == "1 Jul 2026 00:00 – 2 Jul 2026 12:30"


def test_a_filter_leaves_less(opened: Opened, looked_at: Stage) -> None:
    page = opened.open("/d/spend-explorer/")
    everything = page.locator("[data-panel-id]").all_inner_texts()
    pick(page, "var-provider", "anthropic")
    opened.settle()
    assert asked(page)["var-provider"] == ["anthropic"]
    assert page.locator("[data-panel-id]").all_inner_texts() != everything
    assert page.locator("[data-control=var-provider] .opener").inner_text() == "anthropic"


def test_a_row_of_a_table_leads_to_that_members_page(opened: Opened) -> None:
    page = opened.open("/d/spend-overview/?from=now-14d&to=now")
    link = page.locator("[data-kind=table] td a[href*='/d/spend-member/']").first
    member = link.inner_text()
    link.click()
    page.wait_for_url("**/d/spend-member/**")
    opened.settle()
    assert (asked(page)["from"], asked(page)["to"]) == (["now-14d"], ["now"])
    assert asked(page)["var-member"] == [member]
    assert page.locator("[data-control=var-member] .opener").inner_text() == member
    assert "error" not in states(page).values()


@pytest.mark.parametrize("member", HOSTILE, ids=lambda member: member[:12])
def test_a_hostile_member_stays_text_on_its_page(member: str, opened: Opened, looked_at: Stage) -> None:
    page = opened.open(f"/d/spend-member/?{urlencode({'var-dimension': 'workload', 'var-member': member})}")
    assert page.locator("[data-control=var-member] .opener").inner_text() == member
    assert "error" not in states(page).values(), page.locator(".failure").all_inner_texts()
    assert page.locator("main img, main script").count() == 0
    assert overflow(page) <= 0
    calls = looked_at.client.query(
        "SELECT count() FROM spend.usage WHERE workload = {member:String}", parameters={"member": member}
    )
    assert calls.first_row[0] > 0


def test_hostile_members_stay_text_in_tables_and_drawings(opened: Opened) -> None:
    page = opened.open("/d/spend-explorer/?var-group_by=workload")
    cells = page.locator("[data-kind=table] td").all_inner_texts()
    assert set(HOSTILE) <= set(cells)
    assert page.locator("main img, main script").count() == 0
    assert page.locator("a[href^='javascript']").count() == 0


def test_a_heading_sorts_its_table(opened: Opened) -> None:
    page = opened.open("/d/spend-explorer/")
    table = page.locator(f"[data-panel-id='{first_of(page, 'table')}']")
    heading = table.locator("th").first
    heading.locator("button").click()
    assert heading.get_attribute("aria-sort") == "ascending"
    first = table.locator("tbody tr td:first-child").all_inner_texts()
    heading.locator("button").click()
    assert table.locator("tbody tr td:first-child").all_inner_texts() == first[::-1]


def test_light_and_dark_follow_the_system_until_somebody_chooses(opened: Opened) -> None:
    ground: Callable[[Page], str] = lambda page: page.evaluate("getComputedStyle(document.body).backgroundColor")  # noqa: E731
    page = opened.open("/d/spend-overview/")
    light = ground(page)
    page.emulate_media(color_scheme="dark")
    page.wait_for_selector("html[data-theme=dark]")
    assert ground(page) != light
    page.click("[data-control=theme]")
    assert ground(page) == light
    opened.open("/d/spend-overview/")
    assert ground(page) == light


def test_what_a_panel_means_is_told_on_a_tap(opened: Opened) -> None:
    page = opened.open("/d/spend-overview/")
    panel = page.locator("[data-panel-id]").first
    about = panel.locator(".about")
    assert not about.is_visible()
    panel.locator(".info").click()
    assert about.is_visible()


def test_the_page_says_that_it_is_a_preview(opened: Opened) -> None:
    page = opened.open("/d/spend-overview/")
    assert "Preview: for the whole of it open these dashboards in Grafana" in page.locator(".banner").inner_text()


def test_the_menu_keeps_the_range(opened: Opened) -> None:
    page = opened.open("/d/spend-overview/?from=now-7d&to=now")
    links = page.locator(".pages a")
    assert links.count() == len(DASHBOARDS)
    links.get_by_text(DASHBOARDS["spend-explorer"]["title"], exact=True).click()
    page.wait_for_url("**/d/spend-explorer/**")
    opened.settle()
    assert asked(page)["from"] == ["now-7d"]


def test_an_error_is_told_in_its_panel_and_the_others_are_drawn(browser: Browser, looked_at: Stage) -> None:
    context = browser.new_context()
    page = context.new_page()
    broken = next(iter(panels("spend-overview")))

    def refuse(route: Any) -> None:
        if str(route.request.post_data_json["panel"]) == broken:
            route.fulfill(status=502, json={"error": "the query was <b>refused</b>"})
        else:
            route.continue_()

    page.route("**/api/query", refuse)
    Opened(page, looked_at.url).open(f"/d/spend-overview/?{CHOSEN['spend-overview']}")
    found = states(page)
    assert found.pop(broken) == "error"
    assert page.locator(f"[data-panel-id='{broken}'] .failure").inner_text() == "the query was <b>refused</b>"
    assert set(found.values()) == {"drawn"}
    context.close()


def test_a_range_that_is_none_is_told(browser: Browser, looked_at: Stage) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.goto(looked_at.url + "/d/spend-overview/?from=yesterday&to=now")
    page.wait_for_selector(".page-failure:visible")
    assert page.locator(".page-failure").inner_text() == "not a time: yesterday"
    context.close()
