"""The SQL twin of the priced block: what the migrations say is what the Arrow schema says."""

import re

import pyarrow as pa
import pytest

from clickhouse.migrate import RETENTION, migrations, statements
from schemas.priced import COSTS, priced_arrow
from schemas.windows import windows_arrow
from streams.settings import Settings

ONE_MACHINE = [text for each in migrations() for text in statements(each.up, Settings())]
CLUSTER = [text for each in migrations() for text in statements(each.up, Settings(clickhouse_cluster="main"))]

TYPES: dict[str, str] = {
    "string": "String",
    "int32": "Int32",
    "int64": "Int64",
    "bool": "Bool",
    "timestamp[us]": "DateTime64(6, 'UTC')",
    "timestamp[s, tz=UTC]": "DateTime('UTC')",
    "decimal128(38, 12)": "Decimal(38, 12)",
    "map<string, int64>": "Map(LowCardinality(String), Int64)",
    "map<string, string>": "Map(LowCardinality(String), String)",
}
TOKENS = [name for name in priced_arrow().names if name.endswith("_tokens") and name != "max_tokens"]


def made(kind: str, name: str, within: list[str] = ONE_MACHINE) -> str:
    found = [text for text in within if re.match(rf"CREATE {kind} IF NOT EXISTS spend\.{name}\b", text)]
    assert len(found) == 1
    return found[0]


def columns(table: str) -> dict[str, str]:
    """Names and types as the CREATE TABLE has them, without codecs; MATERIALIZED columns left out."""
    body = made("TABLE", table).split("\n(\n", 1)[1].split("\n)\n", 1)[0]
    lines = [line.strip().rstrip(",") for line in body.splitlines()]
    told = [line for line in lines if not line.startswith("INDEX ") and " MATERIALIZED " not in line]
    return {name: re.sub(r" CODEC\(.*\)$", "", kind) for name, kind in (line.split(" ", 1) for line in told)}


def selected(view: str) -> list[str]:
    """The names that a view gives, in order."""
    select = made("MATERIALIZED VIEW", view).split("SELECT", 1)[1].split("\nFROM ", 1)[0]
    return re.findall(r" AS (\w+),?$", select, flags=re.MULTILINE)


def test_usage_has_the_columns_of_a_priced_block_in_their_order() -> None:
    assert list(columns("usage")) == priced_arrow().names


@pytest.mark.parametrize("field", list(priced_arrow()), ids=lambda field: field.name)
def test_a_column_of_usage_has_the_type_of_the_blocks_column(field: pa.Field) -> None:
    kind = columns("usage")[field.name]
    while (inner := re.fullmatch(r"LowCardinality\((.*)\)", kind)) or (
        inner := re.fullmatch(r"Nullable\((.*)\)", kind)
    ):
        kind = inner[1]
    plain = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
    assert kind == TYPES[str(plain)]


@pytest.mark.parametrize("field", list(priced_arrow()), ids=lambda field: field.name)
def test_a_column_of_usage_may_be_null_where_the_blocks_may(field: pa.Field) -> None:
    assert ("Nullable(" in columns("usage")[field.name]) == field.nullable


def test_windows_has_the_columns_of_a_windows_block_in_their_order() -> None:
    assert list(columns("windows")) == windows_arrow().names


@pytest.mark.parametrize("field", list(windows_arrow()), ids=lambda field: field.name)
def test_a_column_of_windows_has_the_type_of_the_blocks_column(field: pa.Field) -> None:
    assert not field.nullable
    assert re.sub(r"^LowCardinality\((.*)\)$", r"\1", columns("windows")[field.name]) == TYPES[str(field.type)]


def test_money_has_twelve_decimals_everywhere_and_is_never_a_float() -> None:
    for table in ("usage", "usage_15m", "members_15m", "windows", "budget_status"):
        for name, kind in columns(table).items():
            assert "Float" not in kind
            if (name.startswith("cost_") and name != "cost_category") or name.endswith("_usd"):
                assert "Decimal(38, 12)" in kind


@pytest.mark.parametrize("table", ["usage_15m", "members_15m"])
def test_a_view_gives_every_column_of_its_table(table: str) -> None:
    assert selected(f"{table}_view") == list(columns(table))


def test_the_rollup_adds_up_every_token_count_and_every_cost() -> None:
    rollup = columns("usage_15m")
    for name in (*TOKENS, *COSTS):
        assert rollup[name].startswith("SimpleAggregateFunction(sum, ")


@pytest.mark.parametrize("table", ["usage_15m", "members_15m"])
def test_a_rollups_key_is_all_of_its_columns_that_are_not_sums(table: str) -> None:
    key = re.search(r"\nORDER BY \((.*?)\)\nTTL", made("TABLE", table), flags=re.DOTALL)
    assert key is not None
    keys = {part.strip() for part in key[1].split(",")} - {"toDate(time)"}
    assert keys == {name for name, kind in columns(table).items() if "SimpleAggregateFunction" not in kind}


@pytest.mark.parametrize("table", ["usage", "usage_15m", "members_15m"])
def test_every_table_under_a_token_remembers_a_hundred_thousand(table: str) -> None:
    assert "non_replicated_deduplication_window = 100000" in made("TABLE", table)
    replicated = made("TABLE", table, CLUSTER)
    assert "replicated_deduplication_window = 100000" in replicated
    assert "replicated_deduplication_window_seconds = 3024000" in replicated  # 35 days


@pytest.mark.parametrize("table", sorted(RETENTION))
def test_retention_is_what_the_settings_say(table: str) -> None:
    [kept] = statements(RETENTION[table], Settings())
    assert f"\nTTL {kept}\n" in made("TABLE", table)


@pytest.mark.parametrize("table", ["windows", "alerts", "budgets", "budget_status", "deliveries", "planned"])
def test_of_a_copied_record_the_newest_version_counts(table: str) -> None:
    version = r"version, removed" if "removed" in columns(table) else r"version"
    assert re.search(rf"^ENGINE = ReplacingMergeTree\({version}\)$", made("TABLE", table), flags=re.MULTILINE)
    assert "fsync_after_insert = 1" in made("TABLE", table)


def test_on_a_cluster_every_table_is_replicated_and_every_statement_says_on_cluster() -> None:
    assert all("ON CLUSTER `main`" in text for text in CLUSTER)
    engines = [engine for text in CLUSTER for engine in re.findall(r"^ENGINE = (\w+)", text, flags=re.MULTILINE)]
    assert len(engines) == 11
    assert all(engine.startswith("Replicated") for engine in engines)


def test_every_statement_can_be_repeated() -> None:
    downs = [text for each in migrations() for text in statements(each.down, Settings())]
    makes = ("CREATE TABLE IF NOT EXISTS", "CREATE MATERIALIZED VIEW IF NOT EX", "CREATE OR REPLACE VIEW")
    sets = "MODIFY SETTING"
    assert all(text.startswith(makes) or changes(text, "ADD COLUMN IF NOT EXISTS", sets) for text in ONE_MACHINE)
    drops = ("DROP TABLE IF EXISTS", "DROP VIEW IF EXISTS")
    assert all(text.startswith(drops) or changes(text, "DROP COLUMN IF EXISTS", sets) for text in downs)


def changes(text: str, *how: str) -> bool:
    """Whether a statement changes a table in these ways and in no other."""
    head, *parts = re.split(r"\s*[,\n]\s*", text)
    return re.fullmatch(r"ALTER TABLE spend\.\w+", head) is not None and all(part.startswith(how) for part in parts)


def test_the_organisation_has_the_time_zone_of_the_settings() -> None:
    organisation = next(each for each in migrations() if each.name == "organisation")
    assert statements(organisation.up, Settings(timezone="Europe/Zurich")) == [
        "CREATE OR REPLACE VIEW spend.organisation AS\nSELECT 'Europe/Zurich' AS timezone"
    ]


def test_a_view_that_holds_no_rows_needs_no_sink_to_be_finished() -> None:
    assert [each.name for each in migrations() if each.touches_views] == ["rollups"]
