"""What docs/security.md says of roles is what `spendstream topics grant` does."""

from pathlib import Path

from streams import topics
from streams.kafka_rights import READERS, ROLES, wanted

DOC = Path(__file__).parents[2] / "docs" / "security.md"
ALL = tuple(topic.name for topic in topics.TOPICS)


def listed(names: tuple[str, ...]) -> str:
    return "all" if names == ALL else ", ".join(f"`{name.removeprefix('spend.')}`" for name in names)


def test_the_table_of_roles_is_the_one_in_code() -> None:
    rows = ["| user | for | reads `spend.` | writes `spend.` | groups |", "| --- | --- | --- | --- | --- |"]
    for role in ROLES:
        groups = ", ".join(f"`{name}`" for name in role.groups if name != READERS)
        what = f"{role.what}; makes topics" if role.creates else role.what
        what += f"; sees how far {', '.join(f'`{name}`' for name in role.watches)} are" if role.watches else ""
        rows.append(f"| `{role.user}` | {what} | {listed(role.reads)} | {listed(role.writes)} | {groups} |")
    table = DOC.read_text().partition("<!-- roles -->\n")[2].partition("<!-- /roles -->")[0]
    assert table.splitlines() == [" ".join(row.split()) for row in rows]


def test_the_gateway_writes_events_and_nothing_else_and_who_deletes_is_in_no_role() -> None:
    of_gateway = [(right.name, right.operation) for right in wanted() if right.user == "spend-gateway"]
    assert of_gateway == [(topics.USAGE, "WRITE")]
    assert {right.operation for right in wanted()} == {"READ", "WRITE", "CREATE", "DESCRIBE", "DESCRIBE_CONFIGS"}
    others = {right.user for right in wanted() if right.operation not in ("READ", "WRITE", "DESCRIBE")}
    assert others == {"spend-admin"}
    assert {right.user for right in wanted() if right.operation == "DESCRIBE"} == {"spend-autoscaler"}
    assert {right.operation for right in wanted() if right.user == "spend-autoscaler"} == {"DESCRIBE"}
