"""What `runtime.pod` and the administrator add to the pod, and what neither can change."""

from typing import Any

import pytest

from finetune_api.pod_settings import PodSettings
from finetune_api.pod_variables import is_reserved_variable
from finetune_operator.decisions.pod_additions import literal
from finetune_operator.settings import Settings
from tests.api.pod_cases import FREE_VARIABLES, HOSTILE_VALUES
from tests.cluster.node.environment import expand
from tests.plan import world


def _template(settings: Settings = world.SETTINGS, **runtime: Any) -> world.Object:
    spec = world.changed(world.SPEC, "runtime", runtime)
    _, job = world.decide(world.a_look(world.a_finetune(spec)), settings).create
    template: world.Object = job["spec"]["template"]
    return template


def _env(settings: Settings = world.SETTINGS, **runtime: Any) -> dict[str, Any]:
    (container,) = _template(settings, **runtime)["spec"]["containers"]
    names = [e["name"] for e in container["env"]]
    assert len(set(names)) == len(names), "every name once: of two the later one would win"
    return {e["name"]: e.get("value", e.get("valueFrom")) for e in container["env"]}


def _volumes(**runtime: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Volumes by name and mounts by path."""
    pod = _template(**runtime)["spec"]
    mounts = pod["containers"][0]["volumeMounts"]
    return {v["name"]: v for v in pod["volumes"]}, {m["mountPath"]: m for m in mounts}


@pytest.mark.parametrize("value", HOSTILE_VALUES, ids=repr)
def test_a_value_arrives_as_it_was_written(value: str) -> None:
    told = _env(pod={"env": [{"name": "A", "value": value}]})["A"]
    assert expand(told, {"KUBEFLOW_TRAINER_SERVER_TOKEN": "/token", "A": "expanded"}) == value


def test_a_value_that_is_not_escaped_would_be_replaced() -> None:
    assert expand("$(A) $$", {"A": "expanded"}) == "expanded $"
    assert literal("$(A) $$") == "$$(A) $$$$"


def test_an_image_is_recorded_as_it_was_written() -> None:
    assert _env(image="registry/$(HOME)")["FINETUNE_IMAGE"] == "registry/$$(HOME)"


def test_a_finetunes_variable_goes_before_the_administrators() -> None:
    settings = Settings(
        namespace="o", trainer_image="t", trainer_environment={"HF_ENDPOINT": "https://hub", "A": "a"}
    )
    told = _env(settings, pod={"env": [{"name": "HF_ENDPOINT", "value": "https://mirror"}]})
    assert (told["HF_ENDPOINT"], told["A"]) == ("https://mirror", "a")


def test_the_count_of_threads_can_be_set() -> None:
    limits = {"limits": {"cpu": 4}}
    told = _env(resources=limits, pod={"env": [{"name": "OMP_NUM_THREADS", "value": "2"}]})
    assert told["OMP_NUM_THREADS"] == "2"


def test_every_other_variable_of_the_operator_is_kept_from_finetunes() -> None:
    assert [name for name in _env() if not is_reserved_variable(name)] == []
    assert [name for name in FREE_VARIABLES if is_reserved_variable(name)] == []


def test_a_variable_of_a_secret_is_left_to_the_kubelet() -> None:
    source = {"secretKeyRef": {"name": "wandb", "key": "token"}}
    assert _env(pod={"env": [{"name": "WANDB_API_KEY", "valueFrom": source}]})["WANDB_API_KEY"] == source


def test_a_volume_never_takes_the_name_of_one_of_ours() -> None:
    own, _ = _volumes()
    extra = [{"name": name, "mountPath": f"/mnt/{name}", "emptyDir": {}} for name in own]
    volumes, mounts = _volumes(pod={"volumes": extra})
    assert set(volumes) == {*own, *(f"user-{name}" for name in own)}
    assert {f"/mnt/{name}" for name in own} <= set(mounts)


def test_a_claim_that_is_used_in_every_way_is_one_volume() -> None:
    extra = [
        {"name": "again", "mountPath": "/mnt/again", "persistentVolumeClaim": {"claimName": "data"}},
        {
            "name": "once-more", "mountPath": "/mnt/more", "persistentVolumeClaim": {"claimName": "data"},
            "readOnly": True,
        },
    ]  # fmt: skip
    volumes, mounts = _volumes(pod={"volumes": extra}, cache={"claim": "data"}, checkpoints={"claim": "data"})
    (name,) = (n for n, v in volumes.items() if v.get("persistentVolumeClaim") == {"claimName": "data"})
    assert {path: m.get("readOnly", False) for path, m in mounts.items() if m["name"] == name} == {
        "/volumes/data": True,
        "/var/cache/finetune": False,
        "/var/run/finetune/checkpoints": False,
        "/mnt/again": False,
        "/mnt/more": True,
    }


def test_a_secrets_files_are_for_the_trainer_alone() -> None:
    extra = [{"name": "keys", "mountPath": "/mnt/keys", "secret": {"secretName": "keys"}}]
    volumes, _ = _volumes(pod={"volumes": extra})
    assert volumes["user-keys"]["secret"] == {"secretName": "keys", "defaultMode": 0o440}


def test_labels_and_annotations_are_the_pods_and_ours_stay() -> None:
    pod = {"labels": {"team": "search"}, "annotations": {"example.com/note": "a"}}
    metadata = _template(pod=pod)["metadata"]
    assert metadata["annotations"] == {"example.com/note": "a"}
    assert metadata["labels"] == {"team": "search", **_template()["metadata"]["labels"]}


def test_pull_secrets_of_both_are_told_once() -> None:
    settings = Settings(namespace="o", trainer_image="t", trainer_image_pull_secrets="registry, mirror")
    secrets = [{"name": "own"}, {"name": "mirror"}]
    pod = _template(settings, pod={"imagePullSecrets": secrets})["spec"]
    assert [s["name"] for s in pod["imagePullSecrets"]] == ["registry", "mirror", "own"]


def test_a_pod_of_which_nothing_is_said_has_nothing_of_it() -> None:
    assert "annotations" not in _template()["metadata"]
    said = set(_template()["spec"])
    assert not said & {"affinity", "tolerations", "nodeSelector", "serviceAccountName", "imagePullSecrets"}


def test_every_setting_reaches_the_manifest() -> None:
    """A field that nobody reads would be a promise that is not kept."""
    manifest = str(_template(**_everything()))
    for field in PodSettings.model_fields:
        assert f"mark-{field.replace('_', '-')}" in manifest, field


def _everything() -> dict[str, Any]:
    term = {"labelSelector": {"matchLabels": {"a": "mark-affinity"}}, "topologyKey": "zone"}
    spread = {
        "maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"a": "mark-topology-spread-constraints"}},
    }  # fmt: skip
    return {
        "pod": {
            "nodeSelector": {"a": "mark-node-selector"},
            "tolerations": [{"key": "a", "value": "mark-tolerations"}],
            "affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}},
            "topologySpreadConstraints": [spread],
            "priorityClassName": "mark-priority-class-name",
            "runtimeClassName": "mark-runtime-class-name",
            "imagePullSecrets": [{"name": "mark-image-pull-secrets"}],
            "env": [{"name": "A", "value": "mark-env"}],
            "volumes": [{"name": "a", "mountPath": "/mnt/mark-volumes", "emptyDir": {}}],
            "labels": {"a": "mark-labels"},
            "annotations": {"a": "mark-annotations"},
        }
    }
