"""The reader of a real ClickHouse (deploy/) and that of the embedded one may do the same."""

from pathlib import Path
from xml.etree import ElementTree

import pytest

from clickhouse.embedded_access import LIMITS, MOST, write_access
from streams.settings import Settings

DEPLOYED = ElementTree.parse(Path(__file__).parents[2] / "deploy" / "clickhouse" / "users.d" / "reader.xml")
PROFILE = "profiles/spend_reader"


def text(path: str) -> str | None:
    return DEPLOYED.getroot().findtext(path)


@pytest.mark.parametrize("name", sorted(LIMITS))
def test_a_limit_is_the_same(name: str) -> None:
    assert text(f"{PROFILE}/{name}") == str(LIMITS[name])
    assert text(f"{PROFILE}/constraints/{name}/max") == str(MOST[name])


def test_the_grants_are_the_same_and_reading_is_all_they_give(tmp_path: Path) -> None:
    write_access(tmp_path, "spend")
    embedded = ElementTree.parse(tmp_path / "users.xml").getroot()
    given = [each.text for each in embedded.findall("users/default/grants/query")]
    assert given == ["GRANT SELECT ON `spend`.*", "GRANT writer"]  # the role that a reader puts down
    assert [each.text for each in DEPLOYED.getroot().findall("users/spend_reader/grants/query")] == [
        "GRANT SELECT ON spend.*"
    ]


def test_the_deployed_user_is_the_settings_and_has_its_password_from_the_environment() -> None:
    user = DEPLOYED.getroot().find(f"users/{Settings().reader_user}")
    assert user is not None
    assert (user.findtext("profile"), user.findtext("quota")) == ("spend_reader", "spend_reader")
    password = user.find("password")
    assert password is not None and password.attrib == {"from_env": "SPEND_READER_PASSWORD"} and not password.text


def test_a_reader_may_choose_settings_as_the_plugin_does() -> None:
    assert text(f"{PROFILE}/readonly") == "2"
    assert MOST["max_execution_time"] >= 65  # Grafana's plugin asks for its time-out, a minute, and five seconds
