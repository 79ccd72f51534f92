"""What the chart renders, and what it refuses."""

from collections.abc import Callable
from typing import Any

import pytest
import yaml

from finetune_api import names
from finetune_operator.settings import Settings
from tests.chart.conftest import CHART, KUBE_VERSION, ROOT, HelmRefused
from tests.chart.objects import container, of_kind, the

pytestmark = pytest.mark.timeout(1800)  # helm may have to be built first
NAME = "embedding-finetune-operator"
DIGEST = "sha256:" + "0" * 64
Objects = list[dict[str, Any]]


def test_the_chart_passes_helm_lint(helm: Callable[..., str]) -> None:
    assert "0 chart(s) failed" in helm("lint", "--strict", str(CHART), "--kube-version", KUBE_VERSION)


def test_the_chart_renders_as_last_reviewed(rendered: Objects, golden: Callable[[str, str], None]) -> None:
    reviewed = [o for o in rendered if o["kind"] != "CustomResourceDefinition"]
    reviewed.sort(key=lambda o: (o["kind"], o["metadata"]["name"]))
    golden("chart/rendered.yaml", yaml.safe_dump_all(reviewed, sort_keys=True, width=110))


def test_the_charts_copy_of_the_crd_is_the_generated_one() -> None:
    copy = CHART / "files/embeddingfinetunes.yaml"
    assert copy.read_bytes() == (ROOT / "crds/embeddingfinetunes.yaml").read_bytes()


def test_the_rendered_crd_is_the_generated_one_and_is_kept(rendered: Objects) -> None:
    (crd,) = of_kind(rendered, "CustomResourceDefinition")
    metadata = crd.pop("metadata")
    wanted = yaml.safe_load((ROOT / "crds/embeddingfinetunes.yaml").read_text())
    assert metadata["name"] == wanted.pop("metadata")["name"]
    assert metadata["annotations"] == {"helm.sh/resource-policy": "keep"}
    assert crd == wanted


def test_the_crd_can_be_left_to_others_or_to_helm(render: Callable[..., Objects]) -> None:
    assert of_kind(render("crds.install=false"), "CustomResourceDefinition") == []
    (crd,) = of_kind(render("crds.keep=false"), "CustomResourceDefinition")
    assert "annotations" not in crd["metadata"]


@pytest.mark.parametrize(
    ("value", "word"),
    {
        "a misspelt value": ("replicaCount=2", "replicaCount"),
        "a misspelt part of the image": ("image.sha=abc", "sha"),
        "no replicas": ("replicas=0", "replicas"),
        "a level that does not exist": ("logLevel=LOUD", "logLevel"),
        "a digest that is none": ("image.digest=sha256:12", "digest"),
        "a pull policy that does not exist": ("trainerImage.pullPolicy=Sometimes", "pullPolicy"),
        "a variable of the operator's own": ("trainerEnvironment.FINETUNE_IMAGE=x", "FINETUNE_IMAGE"),
        "a switch that is no switch": ("metrics.perResource=sometimes", "perResource"),
        "a pull secret as in a pod": ("trainerImagePullSecrets[0].name=registry", "trainerImagePullSecrets"),
        "a limit that is no quantity": ("resources.limits.memory.size=1", "memory"),
    }.values(),
)
def test_the_schema_refuses(render: Callable[..., Objects], value: str, word: str) -> None:
    with pytest.raises(HelmRefused, match=word):
        render(value)


def test_schema_and_values_know_the_same_names() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    schema = yaml.safe_load((CHART / "values.schema.json").read_text())
    assert set(schema["properties"]) - {"global"} == set(values)


def test_every_group_of_values_begins_with_its_explanation() -> None:
    groups = (CHART / "values.yaml").read_text().split("\n\n")
    assert [g for g in groups if not g.startswith("#") and not g.splitlines()[1].startswith("  #")] == []


def test_every_variable_is_a_setting_of_the_operator(rendered: Objects) -> None:
    told = {e["name"].removeprefix("FINETUNE_").lower() for e in container(rendered)["env"]}
    required = {name for name, field in Settings.model_fields.items() if field.is_required()}
    assert required <= told <= set(Settings.model_fields)


def test_variables_of_trainers_reach_the_operator_as_json(render: Callable[..., Objects]) -> None:
    objects = render("trainerEnvironment.HF_ENDPOINT=https://hub.example.com")
    (told,) = [e["value"] for e in container(objects)["env"] if e["name"] == "FINETUNE_TRAINER_ENVIRONMENT"]
    assert told == '{"HF_ENDPOINT":"https://hub.example.com"}'


def test_pull_secrets_of_trainers_reach_the_operator_by_name(render: Callable[..., Objects]) -> None:
    objects = render("trainerImagePullSecrets={registry,mirror}")
    told = {e["name"]: e.get("value") for e in container(objects)["env"]}
    assert told["FINETUNE_TRAINER_IMAGE_PULL_SECRETS"] == "registry,mirror"


def test_code_of_models_is_run_only_where_the_chart_says_so(render: Callable[..., Objects]) -> None:
    for values, expected in [((), "false"), (("allowRemoteCode=true",), "true")]:
        env = {e["name"]: e.get("value") for e in container(render(*values))["env"]}
        assert env["FINETUNE_ALLOW_REMOTE_CODE"] == expected


def test_series_of_each_finetune_can_be_left_out(render: Callable[..., Objects]) -> None:
    for values, expected in [((), "true"), (("metrics.perResource=false",), "false")]:
        env = {e["name"]: e.get("value") for e in container(render(*values))["env"]}
        assert env["FINETUNE_METRICS_PER_RESOURCE"] == expected


def test_a_digest_wins_over_a_tag(render: Callable[..., Objects]) -> None:
    objects = render("image.digest=" + DIGEST, "image.tag=edge", "trainerImage.tag=edge")
    assert container(objects)["image"] == f"{NAME}@{DIGEST}"
    told = {e["name"]: e.get("value") for e in container(objects)["env"]}
    assert told["FINETUNE_TRAINER_IMAGE"] == "embedding-finetune-trainer:edge"


def test_the_pod_is_hardened(rendered: Objects) -> None:
    (deployment,) = of_kind(rendered, "Deployment")
    pod = deployment["spec"]["template"]["spec"]
    assert pod["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    assert container(rendered)["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_trainers_report_to_the_pod_that_leads(rendered: Objects) -> None:
    reports = the(rendered, "Service", f"{NAME}-reports")
    (deployment,) = of_kind(rendered, "Deployment")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert reports["spec"]["selector"] == {
        **deployment["spec"]["selector"]["matchLabels"],
        names.LABEL_LEADER: "true",
    }
    assert names.LABEL_LEADER not in labels, "nobody leads before the Lease is held"
    told = {e["name"]: e.get("value") for e in container(rendered)["env"]}
    port = reports["spec"]["ports"][0]["port"]
    assert told["FINETUNE_REPORT_URL"] == f"https://{NAME}-reports.embedding-finetune-system.svc:{port}"


def test_ports_and_probes_point_at_each_other(rendered: Objects) -> None:
    ports = {p["name"] for p in container(rendered)["ports"]}
    targets = {p["targetPort"] for s in of_kind(rendered, "Service") for p in s["spec"]["ports"]}
    probes = {container(rendered)[p]["httpGet"]["port"] for p in ("livenessProbe", "readinessProbe")}
    assert targets == ports
    assert probes <= ports


@pytest.mark.parametrize("release", ["finetune", "123", "a" * 53])
def test_every_name_fits_whatever_the_release_is_called(render: Callable[..., Objects], release: str) -> None:
    for item in render(release=release):
        assert len(item["metadata"]["name"]) <= 63
        assert all(isinstance(v, str) and len(v) <= 63 for v in item["metadata"].get("labels", {}).values())
