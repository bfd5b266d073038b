"""Macros and variables expand as Grafana's ClickHouse plugin expands them; a hostile value stays a value.

Expected strings of the back end are those of pkg/macros/macros_test.go in grafana/clickhouse-datasource (its ranges,
too); those of formats follow formatRegistry.ts of grafana/scenes.
"""

import pytest

from grafana.interpolation import ALL, QueryError, Variable
from grafana.macros import TimeRange, back_end, expand

RANGE = TimeRange(1415792726123, 1447328726456)  # 2014-11-12T11:45:26.123Z to 2015-11-12T11:45:26.456Z
TWENTY_SECONDS = 20_000


def variable(name: str, *values: str, multi: bool = False, options: tuple[str, ...] | None = None) -> Variable:
    return Variable(name, values, multi, options)


def sent(sql: str, *variables: Variable) -> str:
    return expand(sql, {each.name: each for each in variables}, RANGE, TWENTY_SECONDS)


@pytest.mark.parametrize(
    ("written", "expanded"),
    [
        (
            "select * from foo where $__timeFilter(cast(sth as timestamp))",
            "select * from foo where cast(sth as timestamp) >= toDateTime(1415792726) AND "
            "cast(sth as timestamp) <= toDateTime(1447328726)",
        ),
        (
            "select * from foo where $__timeFilter(cast(sth as timestamp) )",
            "select * from foo where cast(sth as timestamp) >= toDateTime(1415792726) AND "
            "cast(sth as timestamp) <= toDateTime(1447328726)",
        ),
        (
            "select * from foo where $__timeFilter_ms(cast(sth as timestamp))",
            "select * from foo where cast(sth as timestamp) >= fromUnixTimestamp64Milli(1415792726123) AND "
            "cast(sth as timestamp) <= fromUnixTimestamp64Milli(1447328726456)",
        ),
        (
            "select * from foo where ( date >= $__fromTime ) and ( date <= $__toTime ) limit 100",
            "select * from foo where ( date >= toDateTime(1415792726) ) and ( date <= toDateTime(1447328726) ) "
            "limit 100",
        ),
        (
            "select * from foo where ( date >= $__fromTime_ms and date <= $__toTime_ms ) limit 100",
            "select * from foo where ( date >= fromUnixTimestamp64Milli(1415792726123) and "
            "date <= fromUnixTimestamp64Milli(1447328726456) ) limit 100",
        ),
        ("$__dateFilter(dateCol)", "dateCol >= toDate('2014-11-12') AND dateCol <= toDate('2015-11-12')"),
        *(
            (
                f"$__{name}(dateCol, timeCol)",
                "(dateCol >= toDate('2014-11-12') AND dateCol <= toDate('2015-11-12')) AND "
                "(timeCol >= toDateTime(1415792726) AND timeCol <= toDateTime(1447328726))",
            )
            for name in ("dateTimeFilter", "dt")
        ),
        ("$__timeFrom(ts)", "ts >= toDateTime(1415792726)"),
        ("$__timeTo(ts)", "ts <= toDateTime(1447328726)"),
        ("$__timeGroup(ts, 5m)", "toStartOfInterval(toDateTime(ts), INTERVAL 300 second)"),
        ("$__timeGroup(ts, '1h')", "toStartOfInterval(toDateTime(ts), INTERVAL 3600 second)"),
        ("$__timeGroup(ts, 1h30m)", "toStartOfInterval(toDateTime(ts), INTERVAL 5400 second)"),
        (
            "select $__timeInterval(col) from foo",
            "select toStartOfInterval(toDateTime(col), INTERVAL 20 second) from foo",
        ),
        (
            "select $__timeInterval_ms(col) from foo",
            "select toStartOfInterval(toDateTime64(col, 3), INTERVAL 20000 millisecond) from foo",
        ),
        ("INTERVAL $__interval_s second", "INTERVAL 20 second"),
        ("$__timeGroup(ts, 1m) = $__timeInterval(if(a, ')', \"b,\"))", "toStartOfInterval(toDateTime(ts), INTERVAL 60 "
         "second) = toStartOfInterval(toDateTime(if(a, ')', \"b,\")), INTERVAL 20 second)"),
        ("f($__timeFilter($__fromTime))", "f(toDateTime(1415792726) >= toDateTime(1415792726) AND "
         "toDateTime(1415792726) <= toDateTime(1447328726))"),
    ],
)  # fmt: skip
def test_a_macro_of_the_back_end_becomes(written: str, expanded: str) -> None:
    assert sent(written) == expanded


def test_a_step_is_never_shorter_than_a_second_or_a_millisecond() -> None:
    assert back_end("$__interval_s", RANGE, 999) == "1"
    assert back_end("$__timeInterval(t)", RANGE, 1) == "toStartOfInterval(toDateTime(t), INTERVAL 1 second)"
    assert (
        back_end("$__timeInterval_ms(t)", RANGE, 0) == "toStartOfInterval(toDateTime64(t, 3), INTERVAL 1 millisecond)"
    )


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("$__timeFilter()", r"macro \$__timeFilter needs 1 arguments, not 0"),
        ("$__dateTimeFilter(a)", r"macro \$__dateTimeFilter needs 2 arguments, not 1"),
        ("$__timeGroup(ts, 1d)", r"'1d' is no period"),  # Go's durations end with hours
        ("$__timeGroup(ts, not-a-duration)", "'not-a-duration' is no period"),
        ("$__timeFilter(a", r"macro \$__timeFilter: its parenthesis is not closed"),
        ("$__unixEpochFilter(a)", r"unknown macro \$__unixEpochFilter: there are .*timeFilter"),
        ("$nothing", r"unknown variable \$nothing: the dashboard has member"),
        ("${__fromTime}", r"unknown variable \$\{__fromTime\}"),
        ("${member.text}", "asks for a field"),
        ("$__conditionalAll(a = 1)", "needs two arguments"),
        ("$__conditionalAll(a = 1, member)", "needs two arguments"),
        ("$__conditionalAll(a = 1, $nothing)", r"unknown variable \$nothing"),
        ("$__conditionalAll(a = (1, $member)", "parenthesis is not closed"),
    ],
)
def test_what_cannot_be_expanded_is_named(written: str, said: str) -> None:
    with pytest.raises(QueryError, match=said):
        sent(written, variable("member", "1"))


FILTER = "$__conditionalAll(provider IN (${provider:singlequote}), $provider)"


@pytest.mark.parametrize(
    ("values", "condition"),
    [
        (("openai",), "provider IN ('openai')"),
        (("openai", "anthropic"), "provider IN ('openai','anthropic')"),
        ((ALL,), "1=1"),
        ((), "1=1"),
        (("",), "1=1"),  # the plugin takes a lone empty value for All
        (("", "openai"), "provider IN ('','openai')"),
    ],
)
def test_a_condition_is_left_out_for_all(values: tuple[str, ...], condition: str) -> None:
    assert sent(f"WHERE {FILTER} AND a", variable("provider", *values, multi=True)) == f"WHERE {condition} AND a"


def test_conditions_may_hold_each_other_and_parentheses() -> None:
    inner = "$__conditionalAll(b IN ($b), ${b})"
    written = f"WHERE $__conditionalAll((a IN ($a) OR (c = 1 AND {inner})), $a) AND {inner}"
    assert sent(written, variable("a", "x", multi=True), variable("b", ALL, multi=True)) == (
        "WHERE (a IN ('x') OR (c = 1 AND 1=1)) AND 1=1"
    )


@pytest.mark.parametrize(
    ("written", "values", "text"),
    [
        ("${v:singlequote}", ("a", "b'c"), r"'a','b\'c'"),
        ("[[v:singlequote]]", ("a",), "'a'"),
        ("${v:sqlstring}", ("a", "b'c", 'd"e'), r"""'a','b''c','d\"e'"""),
        ("'${v:csv}'", ("a", "b"), "'a,b'"),
        ("'${v:percentencode}'", ("a b", "c'd"), "'%7Ba%20b%2Cc%27d%7D'"),
        ("'${v:queryparam}'", ("a b", "c&d"), "'var-v=a%20b&var-v=c%26d'"),
        ("$v", ("a", "b"), "'a','b'"),
        ("[[v]]", ("a",), "'a'"),
        ("$v", ("it's",), r"'it\'s'"),  # the plugin's own default leaves the quote as it is, and the query broken
    ],
)
def test_many_values_in_a_format(written: str, values: tuple[str, ...], text: str) -> None:
    assert sent(written, variable("v", *values, multi=True)) == text


@pytest.mark.parametrize(
    ("written", "value", "text"),
    [
        ("${v:singlequote}", "it's", r"'it\'s'"),
        ("${v:sqlstring}", "it's", "'it''s'"),
        ("'${v}'", "Europe/Berlin", "'Europe/Berlin'"),
        ("'before $v after'", "it's", r"'before it\'s after'"),
        ("'${v:percentencode}'", "a/b c'd(e)*!", "'a%2Fb%20c%27d%28e%29%2A%21'"),
        ("LIMIT $v", "20", "LIMIT 20"),
        ("'it''s ${v:csv}', \"a\\\"${v}\"", "7", "'it''s 7', \"a\\\"7\""),
    ],
)
def test_one_value_in_a_format(written: str, value: str, text: str) -> None:
    assert sent(written, variable("v", value)) == text


def test_all_of_listed_options_is_every_one_of_them() -> None:
    listed = variable("v", ALL, multi=True, options=("day", "week"))
    assert sent("IN (${v:singlequote})", listed) == "IN ('day','week')"
    with pytest.raises(QueryError, match=r"variable v: All stands for .* write \$__conditionalAll"):
        sent("IN (${v:singlequote})", variable("v", ALL, multi=True))


def test_a_listed_option_may_stand_bare_and_nothing_else_may() -> None:
    assert sent("SELECT $v", variable("v", "workload", options=("workload", "team"))) == "SELECT workload"
    for value in ("raw_usage", "workload FROM system.one --", "1;", "", "١"):
        with pytest.raises(QueryError, match=r"variable v: .* would be read as SQL"):
            sent("SELECT $v", variable("v", value, options=("workload", "team")))
        with pytest.raises(QueryError, match=r"variable v: .* would be read as SQL"):
            sent("SELECT `$v`", variable("v", value))


@pytest.mark.parametrize("how", ["raw", "regex", "pipe", "json", "doublequote", "lucene", "date", "nonsense"])
def test_a_format_that_has_no_place_in_a_query_is_refused(how: str) -> None:
    with pytest.raises(QueryError, match=f"variable v: the format '{how}'"):
        sent(f"SELECT ${{v:{how}}}", variable("v", "1"))


def test_quotes_around_a_format_that_brings_its_own_are_refused() -> None:
    with pytest.raises(QueryError, match="brings its own quotes"):
        sent("'${v:singlequote}'", variable("v", "a"))


HOSTILE = ["'; DROP TABLE --", "\\", "\\' OR 1=1 --", "$__dateFilter(x)", "$__timeFilter(", "${other}", "$other", "$v",
           "$__conditionalAll(1, $v)", "\0" + "0\0", "a,b", ")", "/* */", "-- ", "\n", "🧾" * 3, "x" * 300]  # fmt: skip


@pytest.mark.parametrize("value", HOSTILE)
def test_a_hostile_value_stays_one_string(value: str) -> None:
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    doubled = value.replace("\\", "\\\\").replace("'", "''")
    other = variable("other", "secret")
    assert sent("f(${v:singlequote})", variable("v", value), other) == f"f('{escaped}')"
    assert sent("f('${v}')", variable("v", value), other) == f"f('{escaped}')"
    assert sent("f(${v:sqlstring})", variable("v", value), other) == f"f('{doubled}')"
    assert sent("f($v)", variable("v", value, multi=True), other) == f"f('{escaped}')"
    assert sent("$__timeFrom(g(${v:singlequote}))", variable("v", value), other) == (
        f"g('{escaped}') >= toDateTime(1415792726)"
    )


def test_comments_are_taken_out_first_so_no_value_can_end_one() -> None:
    written = "-- for $nobody's $__unknown\nSELECT '--', \"/*\" /* ${v} */ FROM t # ${v}\nWHERE a --"
    assert sent(written, variable("v", "\n; DROP")) == " \nSELECT '--', \"/*\"   FROM t  \nWHERE a  "


def test_without_filters_of_a_viewers_own_their_setting_is_empty() -> None:
    assert sent("SELECT 1 SETTINGS $__adHocFilters('usage')") == "SELECT 1 SETTINGS additional_table_filters={}"
