"""The pure modules of the preview, run in the browser that they are written for."""

from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from playwright.sync_api import Browser, Page
from stage import Stage

pytestmark = pytest.mark.stack

NOW = datetime(2026, 11, 27, 14, 5, 11, tzinfo=UTC)


@pytest.fixture(scope="module")
def page(browser: Browser, looked_at: Stage) -> Any:
    found = browser.new_context(timezone_id="Asia/Tokyo").new_page()
    found.goto(looked_at.url + "/static/index.html")
    yield found
    found.context.close()


def call(page: Page, module: str, name: str, *arguments: Any) -> Any:
    return page.evaluate(
        "async ([path, name, given]) => (await import(path))[name](...given)",
        [f"/static/{module}.js", name, list(arguments)],
    )


def millis(zone: str, *parts: int) -> int:
    return int(datetime(*parts, tzinfo=ZoneInfo(zone)).timestamp() * 1000)  # type: ignore[misc,arg-type]


@pytest.mark.parametrize(
    ("expression", "zone", "start"),
    [
        ("now/d", "Europe/Berlin", (2026, 11, 27)),
        ("now/w", "Europe/Berlin", (2026, 11, 23)),  # a Monday
        ("now/M", "Asia/Kathmandu", (2026, 11, 1)),
        ("now/Q", "America/St_Johns", (2026, 10, 1)),
        ("now/y", "UTC", (2026, 1, 1)),
        ("now-1M/M", "Europe/Berlin", (2026, 10, 1)),
        ("now-30d", "Europe/Berlin", (2026, 10, 28, 15, 5, 11)),
        ("now-40d/d", "Europe/Berlin", (2026, 10, 18)),  # in summer time
        ("now-1h", "Europe/Berlin", (2026, 11, 27, 14, 5, 11)),
    ],
)
def test_relative_times_are_those_of_the_zone(page: Page, expression: str, zone: str, start: tuple[int, ...]) -> None:
    range_ = {"from": expression, "to": "now"}
    found = call(page, "time_range", "resolveRange", range_, int(NOW.timestamp() * 1000), zone)
    assert found["from"] == millis(zone, *start)


def test_the_end_of_a_rounded_range_is_the_end_of_its_unit(page: Page) -> None:
    range_ = {"from": "now-1w/w", "to": "now-1w/w"}
    found = call(page, "time_range", "resolveRange", range_, int(NOW.timestamp() * 1000), "Europe/Berlin")
    zone = "Europe/Berlin"
    assert (found["from"], found["to"]) == (millis(zone, 2026, 11, 16), millis(zone, 2026, 11, 23) - 1)


@pytest.mark.parametrize(
    ("value", "how", "text"),
    [
        ("2602.091234567890", {"unit": "currencyUSD"}, "$2,602.09"),
        ("0.000012345678", {"unit": "currencyUSD"}, "$0.000012"),
        (1e-05, {"unit": "currencyUSD"}, "$0.000010"),
        ("0", {"unit": "currencyUSD"}, "$0.00"),
        ("-1234.5", {"unit": "currencyUSD", "decimals": 2}, "-$1,234.50"),
        ("-0.001", {"unit": "currencyUSD", "decimals": 2}, "$0.00"),
        ("99999999999999999999.995", {"unit": "currencyUSD"}, "$100,000,000,000,000,000,000.00"),
        ("9007199254740993", {"unit": "locale"}, "9,007,199,254,740,993"),
        ("777825327", {"unit": "short"}, "778\u2009Mil"),
        (999, {"unit": "short"}, "999"),
        (0.1234, {"unit": "percentunit"}, "12.3%"),
        (86.98, {"unit": "percent", "decimals": 2}, "86.98%"),
        (90, {"unit": "s"}, "1.5\u2009min"),
        (1500, {"unit": "ms"}, "1.5\u2009s"),
        (1795788311000, {"unit": "dateTimeAsIso"}, "2026-11-27 15:05:11"),
        (12, {"unit": "suffix: tokens"}, "12 tokens"),
    ],
)
def test_figures_read_as_people_write_them(page: Page, value: Any, how: dict[str, Any], text: str) -> None:
    assert call(page, "format", "format", value, {**how, "zone": "Europe/Berlin"}) == text


@given(st.lists(st.decimals(-(10**20), 10**20, places=12), min_size=1, max_size=5))
def test_decimals_are_added_and_rounded_to_the_last_digit(page: Page, amounts: list[Decimal]) -> None:
    told = [f"{amount:f}" for amount in amounts]
    added, rounded = page.evaluate(
        """async (told) => {
            const { add, round } = await import("/static/decimal.js");
            const total = told.reduce(add);
            return [total, round(total, 2)];
        }""",
        told,
    )
    with localcontext(prec=60):
        total = sum(amounts, Decimal(0))
        assert Decimal(added) == total
        assert Decimal(rounded) == total.quantize(Decimal("0.01"), ROUND_HALF_EVEN)


@pytest.mark.parametrize(
    ("url", "safe"),
    [
        ("/d/spend-member/?var-member=a%20b", "/d/spend-member/?var-member=a%20b"),
        ("https://grafana.example.com/x", "https://grafana.example.com/x"),
        ("http://elsewhere.example.com/", None),
        ("//elsewhere.example.com/", None),
        ("javascript:alert(1)", None),
        (" java\nscript:alert(1)", None),
        ("data:text/html,<script>alert(1)</script>", None),
    ],
)
def test_links_lead_to_this_server_or_to_https(page: Page, url: str, safe: str | None) -> None:
    assert call(page, "links", "safeAddress", url) == safe


def test_a_data_link_carries_value_row_range_and_variables(page: Page) -> None:
    url = (
        '/d/x/?var-member=${__data.fields["The name"]:percentencode}&v=${__value.raw:percentencode}'
        "&t=${__value.text:percentencode}&${__url_time_range}&${__all_variables}&d=${dimension}"
    )
    found = page.evaluate(
        """async (url) => {
            const { linksOf } = await import("/static/links.js");
            const { pageLookup } = await import("/static/interpolate.js");
            const variables = [{ name: "dimension", values: ["team"], texts: ["Team"] },
                { name: "provider", values: ["a&b", "c"], texts: ["a&b", "c"] },
                { name: "tz", hide: 2, values: ["UTC"], texts: ["UTC"] }];
            const name = { name: "The name", kind: "string", values: ["x", "'&?#/é"], config: { custom: {} } };
            const cost = { name: "Cost", kind: "number", values: ["1", "2.5"], labels: {},
                config: { unit: "currencyUSD", links: [{ title: "Open", url }], custom: {} } };
            const lookup = pageLookup(variables, { from: "now-7d", to: "now", range: {} });
            const cell = { field: cost, value: "2.5", row: 1, fields: [name, cost] };
            return linksOf(cell, { lookup, zone: "UTC" })[0].href;
        }""",
        url,
    )
    assert found == (
        "/d/x/?var-member=%27%26%3F%23%2F%C3%A9&v=2.5&t=%242.50&from=now-7d&to=now"
        "&var-dimension=team&var-provider=a%26b&var-provider=c&d=team"
    )


def test_markdown_is_drawn_and_markup_stays_text(page: Page) -> None:
    text = "# A\n\nb **c** `d` <img src=x onerror=alert(1)> [e](/f) [g](javascript:h)\n\n- i\n- j\n\n```\n<k>\n```"
    found = page.evaluate(
        """async (text) => {
            const { markdown } = await import("/static/markdown.js");
            const box = document.createElement("div");
            box.append(...markdown(text));
            return { tags: [...box.querySelectorAll("*")].map((each) => each.localName), text: box.textContent };
        }""",
        text,
    )
    assert found["tags"] == ["h3", "p", "strong", "code", "a", "ul", "li", "li", "pre", "code"]
    assert "<img src=x onerror=alert(1)>" in found["text"] and "[g](javascript:h)" in found["text"]
