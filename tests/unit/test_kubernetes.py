"""deploy/kubernetes: valid, hardened, and true to the settings, commands, ports, topics and groups that they name."""

import json
import re
from pathlib import Path
from typing import Any

import certifi
import jsonschema
import pytest
import yaml

from streams.cli import COMMANDS
from streams.kafka_rights import PRICE_GROUP, SINK_GROUP, WINDOWS_GROUP
from streams.settings import Settings, settings
from streams.topics import TOPICS

REPOSITORY = Path(__file__).parents[2]
FOLDER = REPOSITORY / "deploy" / "kubernetes"
PUBLISHED = REPOSITORY / "tests" / "contract" / "published"
SECRETS = "/run/spendstream"
STAYING = ("worker", "windows", "sink", "relay")

Document = dict[str, Any]


def documents(folder: Path) -> list[Document]:
    """What `kubectl apply -k` would send, but for what a kustomization changes in it."""
    listed = yaml.safe_load((folder / "kustomization.yaml").read_text(encoding="utf-8"))["resources"]
    assert sorted(listed) == sorted(file.name for file in folder.glob("*.yaml") if file.name != "kustomization.yaml")
    return [each for name in listed for each in yaml.safe_load_all((folder / name).read_text(encoding="utf-8"))]


def schema(name: str, kind: str) -> Document:
    found = json.loads((PUBLISHED / f"{name}.schema.json").read_text(encoding="utf-8"))
    properties = found.get("properties") or found["definitions"]["Published"]["properties"]
    return {**found, **properties[kind], "properties": {}}


def of_kind(kind: str) -> dict[str, Document]:
    return {each["metadata"]["name"].removeprefix("spendstream-"): each for each in BASE if each["kind"] == kind}


def pod(document: Document) -> Document:
    return document["spec"]["template"]["spec"]


def containers(document: Document) -> list[Document]:
    return [*pod(document).get("initContainers", []), *pod(document)["containers"]]


BASE, SCALE = documents(FOLDER), documents(FOLDER / "autoscaling")
SETTINGS = dict(re.findall(r"^(\w+)=(.*)$", (FOLDER / "settings.env").read_text(encoding="utf-8"), re.MULTILINE))
DEPLOYMENTS, JOBS = of_kind("Deployment"), of_kind("Job")
PODS = {**DEPLOYMENTS, **JOBS}


@pytest.mark.parametrize("document", BASE, ids=lambda each: f"{each['kind']}-{each['metadata']['name']}")
def test_every_manifest_is_what_kubernetes_describes(document: Document):
    jsonschema.validate(document, schema("kubernetes", document["kind"]))
    with pytest.raises(jsonschema.ValidationError, match="metadatta"):
        jsonschema.validate({**document, "metadatta": {}}, schema("kubernetes", document["kind"]))


@pytest.mark.parametrize("document", SCALE, ids=lambda each: f"{each['kind']}-{each['metadata']['name']}")
def test_the_autoscaling_is_what_keda_describes(document: Document):
    assert document["apiVersion"] == "keda.sh/v1alpha1"
    jsonschema.validate(document["spec"], schema("keda", document["kind"]))
    with pytest.raises(jsonschema.ValidationError, match="trigers"):
        jsonschema.validate({**document["spec"], "trigers": []}, schema("keda", document["kind"]))


@pytest.mark.parametrize("name", PODS)
def test_a_pod_may_do_nothing_that_it_need_not(name: str):
    of_pod = pod(PODS[name])
    assert of_pod["automountServiceAccountToken"] is of_pod["enableServiceLinks"] is False
    assert of_pod["securityContext"]["runAsNonRoot"] is True
    assert of_pod["securityContext"]["runAsUser"] == 10001  # the image's
    assert of_pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for each in containers(PODS[name]):
        context = each["securityContext"]
        assert context["readOnlyRootFilesystem"] is True
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert each["resources"]["limits"]["memory"] and each["resources"]["requests"].keys() == {"cpu", "memory"}
        assert [mount["mountPath"] for mount in each["volumeMounts"]] == [SECRETS, "/tmp"]


@pytest.mark.parametrize("name", PODS)
def test_a_container_starts_with_its_settings_and_the_files_of_its_secret(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "..data").mkdir()  # Kubernetes mounts a secret's files as links into a folder that it can exchange
    for key in ("spend_kafka_password", "spend_clickhouse_password", "ca.crt", "relay.yaml"):
        content = Path(certifi.where()).read_text(encoding="utf-8") if key == "ca.crt" else f"the {key}"
        (tmp_path / "..data" / key).write_text(content, encoding="utf-8")
        (tmp_path / key).symlink_to(Path("..data") / key)
    for each in containers(PODS[name]):
        command, *_ = each["args"]
        assert command in COMMANDS
        own = {entry["name"]: entry["value"] for entry in each["env"]}
        assert {*SETTINGS, *own} <= {f"SPEND_{setting.upper()}" for setting in Settings.model_fields}
        for variable, value in {**SETTINGS, **own}.items():
            monkeypatch.setenv(variable, value.replace(SECRETS, str(tmp_path)))
        settings.cache_clear()
        conf = settings()
        settings.cache_clear()
        assert conf.kafka_password.get_secret_value() == "the spend_kafka_password"
        assert conf.kafka_username == f"spend-{command if command in STAYING else 'admin'}"
        reads_tables = {"windows": "spend_api", "sink": "spend_sink", "topics": "spend_admin", "migrate": "spend_admin"}
        assert conf.clickhouse_user == reads_tables.get(command, "default")


def test_users_of_clickhouse_are_those_that_it_can_be_given():
    files = (REPOSITORY / "deploy" / "clickhouse" / "users.d").glob("*.xml")
    known = {re.search(r"<users>\s*<(\w+)>", file.read_text(encoding="utf-8"))[1] for file in files}
    named = {
        entry["value"]
        for each in PODS.values()
        for container in containers(each)
        for entry in container["env"]
        if entry["name"] == "SPEND_CLICKHOUSE_USER"
    }
    assert named == known - {Settings().reader_user}


@pytest.mark.parametrize("name", STAYING)
def test_a_process_is_asked_where_it_answers_and_given_time(name: str):
    [container] = containers(DEPLOYMENTS[name])
    field = Settings.model_fields[f"{name}_web_port"]
    assert container["ports"] == [{"name": "web", "containerPort": field.default}]
    annotations = DEPLOYMENTS[name]["spec"]["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/port"] == str(field.default)
    paths = {probe: container[f"{probe}Probe"]["httpGet"]["path"] for probe in ("startup", "liveness", "readiness")}
    assert paths == {"startup": "/health", "liveness": "/health", "readiness": "/ready"}
    assert all(path in field.description for path in (*paths.values(), annotations["prometheus.io/path"]))
    # a takeover reads many blocks: who is busy with one is neither killed nor out of the service
    alive, ready = container["livenessProbe"], container["readinessProbe"]
    assert alive["periodSeconds"] * alive["failureThreshold"] > 2 * Settings().stall_seconds
    assert ready["periodSeconds"] * ready["failureThreshold"] > 2 * Settings().session_timeout_seconds


def test_what_is_to_go_on_while_a_machine_is_emptied_does():
    disruptions = of_kind("PodDisruptionBudget")
    assert disruptions.keys() == DEPLOYMENTS.keys() - {"relay"}
    for name, each in DEPLOYMENTS.items():
        labels = each["spec"]["template"]["metadata"]["labels"]
        assert each["spec"]["selector"]["matchLabels"] == labels
        if name == "relay":
            assert (each["spec"]["replicas"], each["spec"]["strategy"]["type"]) == (1, "Recreate")  # one, never two
            continue
        assert each["spec"]["replicas"] >= 2
        assert disruptions[name]["spec"] == {"maxUnavailable": 1, "selector": {"matchLabels": labels}}
        [spread] = pod(each)["topologySpreadConstraints"]
        assert spread["labelSelector"]["matchLabels"] == labels


def test_nobody_is_reached_from_everywhere():
    policies = of_kind("NetworkPolicy")
    assert policies["spendstream"]["spec"]["policyTypes"] == ["Ingress", "Egress"]
    for each in PODS.values():
        labels = each["spec"]["template"]["metadata"]["labels"]
        assert policies["spendstream"]["spec"]["podSelector"]["matchLabels"].items() <= labels.items()
    assert all(rule["from"] for each in policies.values() for rule in each["spec"].get("ingress", []))
    ports = [Settings.model_fields[f"{name}_web_port"].default for name in STAYING]
    [metrics] = policies["spendstream"]["spec"]["ingress"]
    assert metrics["ports"] == [{"port": min(ports), "endPort": max(ports)}]


def test_lag_is_that_of_a_group_that_reads_the_topic_and_nobody_is_beyond_the_partitions():
    groups = {"worker": PRICE_GROUP, "windows": WINDOWS_GROUP, "sink": SINK_GROUP}
    scaled = {each["spec"]["scaleTargetRef"]["name"]: each["spec"] for each in SCALE if each["kind"] == "ScaledObject"}
    assert scaled.keys() == {f"spendstream-{name}" for name in groups}
    [login] = [each for each in SCALE if each["kind"] == "TriggerAuthentication"]
    for name, group in groups.items():
        spec = scaled[f"spendstream-{name}"]
        assert spec["maxReplicaCount"] == int(SETTINGS["SPEND_PARTITIONS"])
        assert spec["minReplicaCount"] == DEPLOYMENTS[name]["spec"]["replicas"]
        for trigger in spec["triggers"]:
            told = trigger["metadata"]
            assert told["consumerGroup"] == group
            assert told["topic"] in {topic.name for topic in TOPICS if topic.partitions is None}
            assert told["bootstrapServers"] == SETTINGS["SPEND_KAFKA_BOOTSTRAP_SERVERS"]
            assert trigger["authenticationRef"]["name"] == login["metadata"]["name"]


def test_the_version_is_that_of_compose_and_secrets_are_made_by_whoever_deploys():
    compose = (REPOSITORY / "docker-compose.yml").read_text(encoding="utf-8")
    images = {container["image"] for each in PODS.values() for container in containers(each)}
    [image] = images
    assert f"image: {image}\n" in compose
    [tag] = yaml.safe_load((FOLDER / "kustomization.yaml").read_text(encoding="utf-8"))["images"]
    assert image == f"{tag['name']}:{tag['newTag']}"
    assert not of_kind("Secret")
    named = {pod(each)["volumes"][0]["secret"]["secretName"] for each in PODS.values()}
    told = (REPOSITORY / "docs" / "deploy.md").read_text(encoding="utf-8")
    assert named == {f"spendstream-{name}" for name in (*STAYING, "admin")}
    assert [name for name in named if f"`{name}`" not in told] == []
