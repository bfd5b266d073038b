"""Servers, models and services: figures worked out by hand, over the embedded ClickHouse."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from asked_pages import Answer, Engine, Page, engine
from priced_rows import Row, row

pytestmark = pytest.mark.stack

KOLKATA = ZoneInfo("Asia/Kolkata")
END = datetime(2026, 5, 10, 14, tzinfo=KOLKATA)
START = END - timedelta(days=7)
HOSTILE = ["'; DROP TABLE --", "\\", "🖥️", "y" * 300]


@pytest.fixture(scope="module")
def clickhouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with engine(tmp_path_factory.mktemp("servers")) as started:
        yield started


def calls(*told: tuple[str | None, dict[str, Any]]) -> list[Row]:
    """A call for each amount of dollars (None: without a price), an hour before the range's end."""
    at = END - timedelta(hours=1)
    return [row(n, at, None if cost is None else Decimal(cost), **columns) for n, (cost, columns) in enumerate(told)]


def listed(answer: Answer, *columns: str) -> list[tuple[Any, ...]]:
    return [tuple(each[name] for name in columns) for each in answer]


SERVERS = calls(
    *((str(n), {"server": f"s{n:02}", "service": f"svc-{n % 3}", "input_tokens": n}) for n in range(1, 26)),
    ("0.5", {"output_tokens": 9}),
    (None, {"server": "s25", "service": "svc-1", "provider": "anthropic"}),
    (None, {"server": "dark"}),
)
WHOLE = Decimal(sum(range(1, 26))) + Decimal("0.5")


def test_twenty_servers_and_what_names_none_have_cost_and_calls(clickhouse: Engine) -> None:
    page = Page("spend-servers", clickhouse.database("servers", SERVERS))
    found = page.ask("servers_servers", START, END)
    assert listed(found, "Server", "Cost", "Calls", "Tokens", "Unpriced") == [
        ("s25", Decimal(25), 2, 25, 1),
        *((f"s{n:02}", Decimal(n), 1, n, 0) for n in range(24, 5, -1)),
        ("(unattributed)", Decimal("0.5"), 1, 9, 0),
    ]
    assert found[0]["Share"] == pytest.approx(25 / WHOLE, abs=Decimal("1e-11"))
    bars = listed(page.ask("servers_server_costs", START, END), "Server", "Cost")
    assert bars == [(f"s{n:02}", Decimal(n)) for n in range(25, 5, -1)]


def test_filters_leave_what_bears_them(clickhouse: Engine) -> None:
    page = Page("spend-servers", clickhouse.database("servers", SERVERS))
    found = page.ask("servers_servers", START, END, provider=["anthropic", "nobody"])
    assert listed(found, "Server", "Cost", "Calls") == [("s25", None, 1), ("(unattributed)", 0, 0)]
    assert page.ask("servers_servers", START, END, team=["') OR 1=1 --"]) == []
    assert len(page.ask("servers_servers", START, END, team=["(unattributed)"])) == 21


def test_services_have_cost_and_calls(clickhouse: Engine) -> None:
    page = Page("spend-servers", clickhouse.database("servers", SERVERS))
    assert listed(page.ask("servers_services", START, END), "Service", "Cost", "Calls", "Unpriced") == [
        ("svc-1", Decimal(1 + 4 + 7 + 10 + 13 + 16 + 19 + 22 + 25), 10, 1),
        ("svc-0", Decimal(3 + 6 + 9 + 12 + 15 + 18 + 21 + 24), 8, 0),
        ("svc-2", Decimal(2 + 5 + 8 + 11 + 14 + 17 + 20 + 23), 8, 0),
        ("(unattributed)", Decimal("0.5"), 2, 1),
    ]
    assert sum(each["Cost"] for each in page.ask("servers_service_costs", START, END)) == WHOLE


def test_fifteen_pairs_of_provider_and_model_have_cost_and_calls(clickhouse: Engine) -> None:
    made = calls(
        *((str(n), {"provider": f"p{n % 2}", "model": f"m{n:02}"}) for n in range(1, 18)),
        ("100", {"provider": "p0", "model": "m01"}),
        (None, {"provider": "p0", "model": "m01"}),
    )
    page = Page("spend-servers", clickhouse.database("models", made))
    found = page.ask("servers_models", START, END)
    assert listed(found, "Provider", "Model", "Cost", "Calls", "Unpriced") == [
        ("p0", "m01", Decimal(100), 2, 1),
        *((f"p{n % 2}", f"m{n:02}", Decimal(n), 1, 0) for n in range(17, 3, -1)),
    ]
    assert found[0]["Share"] == pytest.approx(Decimal(100) / (100 + sum(range(1, 18))), abs=Decimal("1e-11"))
    bars = listed(page.ask("servers_model_costs", START, END), "Provider / model", "Cost")
    assert bars[:2] == [("p0 / m01", 100), ("p1 / m17", 17)]
    assert len(bars) == 15


def test_ten_servers_have_a_name_over_time_and_the_rest_is_one(clickhouse: Engine) -> None:
    page = Page("spend-servers", clickhouse.database("servers", SERVERS, KOLKATA.key))
    found = page.ask("servers_over_time", START, END, tz=KOLKATA.key)
    midnight = END.replace(hour=0).astimezone(UTC).replace(tzinfo=None)
    assert {each["time"] for each in found} == {midnight}
    assert {each["name"]: each["cost"] for each in found} == {
        **{f"s{n}": Decimal(n) for n in range(16, 26)},
        "(others)": Decimal(sum(range(1, 16))) + Decimal("0.5"),
    }


def test_names_may_be_anything(clickhouse: Engine) -> None:
    made = calls(*(("1", {"server": name, "service": name, "gateway": name}) for name in HOSTILE))
    page = Page("spend-servers", clickhouse.database("hostile", made))
    for panel, column in (("servers_servers", "Server"), ("servers_services", "Service")):
        assert {each[column] for each in page.ask(panel, START, END)} == {*HOSTILE, "(unattributed)"}
    for name in HOSTILE:
        found = page.ask("servers_servers", START, END, gateway=[name])
        assert listed(found, "Server", "Calls") == [(name, 1), ("(unattributed)", 0)]


def test_an_empty_database_leaves_the_page_whole_and_one_call_is_on_every_panel(clickhouse: Engine) -> None:
    empty = Page("spend-servers", clickhouse.database("nothing", []))
    one = Page("spend-servers", clickhouse.database("one", calls(("1", {"server": "s", "service": "svc"}))))
    for panel in empty.panels:
        assert empty.ask_panel(panel["id"], START, END) == [], panel["title"]
        found = one.ask_panel(panel["id"], END - timedelta(days=5 * 365), END)
        assert found, panel["title"]
        assert {each["matcher"]["options"] for each in panel["fieldConfig"]["overrides"]} <= set(found[0])
