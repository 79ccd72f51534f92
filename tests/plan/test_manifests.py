"""The objects of a run, compared with files that a person has read."""

import json
from collections.abc import Callable

import pytest
import yaml

from finetune_api.run_file import RunFile
from finetune_operator.settings import Settings
from tests.api.pod_cases import POD_ACCEPTED
from tests.plan import world

Golden = Callable[[str, str], None]

FULL = world.changed(
    world.changed(
        world.SPEC,
        "model",
        {
            "uri": f"hf://owner/model@{'a' * 40}",
            "secretRef": {"name": "hub.token"},
        },
    ),
    "data.eval",
    [
        {
            "name": "unseen",
            "uri": "https://data.example/unseen.parquet",
            "secretRef": {"name": "web"},
            "columns": {"query": "query", "positive": "image"},
        },
        {
            "name": "judged",
            "queries": {"uri": "pvc://data.v2/queries", "id": "qid", "input": "text"},
            "corpus": {"uri": "pvc://published/corpus", "id": "pid", "input": "image"},
            "qrels": {
                "uri": f"hf://owner/qrels@{'b' * 40}",
                "query": "qid",
                "document": "pid",
                "secretRef": {"name": "web"},
            },
        },
        {
            "name": "stored",
            "uri": "s3://bucket/pages",
            "secretRef": {"name": "store"},
            "columns": {"query": "query", "positive": "image"},
        },
        {
            "name": "few",
            "uri": "configmap://rows.v1/few.jsonl",
            "columns": {"query": "query", "positive": "image"},
        },
    ],
)
FULL["runtime"] = {
    "cache": {"claim": "hub.cache"},
    "checkpoints": {"uri": "s3://scratch/runs", "secretRef": {"name": "scratch"}},
    "queueName": "team-a",
    "image": "registry.example/own@sha256:99",
    "gpuResourceName": "nvidia.com/mig-1g.10gb",
    "resources": {"requests": {"cpu": 4, "memory": "16Gi"}, "limits": {"cpu": 8, "memory": "32Gi"}},
    "terminationGracePeriodSeconds": 60,
}
FULL["runtime"] |= POD_ACCEPTED["a pod with everything"]["runtime"]
PLAIN = world.changed(world.changed(world.SPEC, "runtime", {"gpusPerNode": 0}), "output", None)
SPECS = {"usual": world.SPEC, "full": FULL, "plain": PLAIN}


def _made(spec: world.Object, settings: Settings = world.SETTINGS) -> tuple[world.Object, world.Object]:
    account = {"metadata": {"name": "any", "labels": {"embeddings.dev/allow-finetunes": "true"}}}
    look = world.a_look(world.a_finetune(spec, labels={"team": "a"}), service_account=account)
    config, job = world.decide(look, settings).create
    return config, job


def _pod(spec: world.Object) -> world.Object:
    pod: world.Object = _made(spec)[1]["spec"]["template"]["spec"]
    return pod


@pytest.mark.parametrize("case", SPECS)
def test_manifests_are_as_they_were_read(case: str, golden: Golden) -> None:
    golden(f"manifests/{case}.yaml", yaml.safe_dump_all(_made(SPECS[case]), sort_keys=False, width=110))


def test_the_config_map_holds_the_run_as_the_trainer_reads_it() -> None:
    config, _ = _made(FULL)
    file = RunFile.model_validate_json(config["data"]["run.json"])
    assert (file.namespace, file.name, file.uid, file.run) == ("team-a", "vdr", world.UID, 1)
    assert (file.spec.to_dict()["runtime"]["resources"], file.spec_hash) == (
        FULL["runtime"]["resources"],
        world.hash_of(FULL),
    )
    assert config["data"]["ca.crt"] == world.CA


def test_numbers_in_args_reach_the_trainer_as_numbers() -> None:
    args = {"max_steps": 200, "adam_beta1": 0.5, "tf32": True, "optim_args": "1e-2"}
    config, _ = _made(world.changed(world.SPEC, "training", {"args": args}))
    assert RunFile.model_validate_json(config["data"]["run.json"]).spec.training.args == args


def test_no_label_of_the_finetune_reaches_its_children() -> None:
    for manifest in _made(world.SPEC):
        assert "team" not in manifest["metadata"]["labels"]


def test_only_the_claim_to_publish_to_can_be_written() -> None:
    (container,) = _pod(FULL)["containers"]
    claims = {
        m["mountPath"]: m.get("readOnly", False) for m in container["volumeMounts"] if "claim" in m["name"]
    }
    assert claims == {
        "/volumes/data": True,
        "/volumes/data.v2": True,
        "/volumes/published": False,
        "/var/cache/finetune": False,
        "/mnt/own": True,
    }


def test_a_cache_on_a_claim_that_is_read_too_is_a_second_mount_of_one_volume() -> None:
    """The kubelet waits for ever for a claim that two volumes of a pod name."""
    pod = _pod(world.changed(world.SPEC, "runtime", {"cache": {"claim": "data"}}))
    (volume,) = (v for v in pod["volumes"] if v.get("persistentVolumeClaim") == {"claimName": "data"})
    mounts = [m for m in pod["containers"][0]["volumeMounts"] if m["name"] == volume["name"]]
    assert mounts == [
        {"name": volume["name"], "mountPath": "/var/cache/finetune"},
        {"name": volume["name"], "mountPath": "/volumes/data", "readOnly": True},
    ]


def test_checkpoints_are_written_to_a_claim_that_may_have_other_mounts() -> None:
    runtime = {"checkpoints": {"claim": "data"}, "cache": {"claim": "data"}}
    pod = _pod(world.changed(world.SPEC, "runtime", runtime))
    (volume,) = (v for v in pod["volumes"] if v.get("persistentVolumeClaim") == {"claimName": "data"})
    mounts = [m for m in pod["containers"][0]["volumeMounts"] if m["name"] == volume["name"]]
    assert {m["mountPath"]: m.get("readOnly", False) for m in mounts} == {
        "/volumes/data": True,
        "/var/cache/finetune": False,
        "/var/run/finetune/checkpoints": False,
    }


def test_the_secret_of_checkpoints_in_a_bucket_is_mounted_and_no_volume_for_them() -> None:
    pod = _pod(FULL)
    assert "scratch" in {v.get("secret", {}).get("secretName") for v in pod["volumes"]}
    paths = {m["mountPath"] for m in pod["containers"][0]["volumeMounts"]}
    assert "/var/run/finetune/secrets/scratch" in paths
    assert "/var/run/finetune/checkpoints" not in paths


def test_a_queue_is_told_by_a_label_of_the_job_alone() -> None:
    _, job = _made(world.changed(world.SPEC, "runtime", {"queueName": "team-a"}))
    _, other = _made(world.SPEC)
    assert job["metadata"]["labels"].pop("kueue.x-k8s.io/queue-name") == "team-a"
    job["metadata"]["annotations"] = other["metadata"]["annotations"]
    assert job == other


def test_requests_that_follow_from_limits_are_written_out() -> None:
    """A queue counts what a Job asks for before any pod has the defaults of the API server."""
    runtime = {"resources": {"requests": {"cpu": 2}, "limits": {"cpu": 4, "memory": "8Gi"}}}
    (container,) = _pod(world.changed(world.SPEC, "runtime", runtime))["containers"]
    assert container["resources"]["requests"] == {"cpu": 2, "memory": "8Gi", "nvidia.com/gpu": 1}


def test_every_volume_is_mounted_once_and_every_mount_has_a_volume() -> None:
    pod = _pod(FULL)
    names = [volume["name"] for volume in pod["volumes"]]
    mounts = pod["containers"][0]["volumeMounts"]
    assert sorted(names) == sorted({mount["name"] for mount in mounts})
    assert len({mount["mountPath"] for mount in mounts}) == len(mounts)


def test_the_pod_fits_pod_security_restricted() -> None:
    pod = _pod(FULL)
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    allowed = {"configMap", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
    assert {key for volume in pod["volumes"] for key in volume if key != "name"} == allowed


def test_the_report_url_is_that_of_this_finetune() -> None:
    settings = Settings(namespace="o", trainer_image="t", report_url="https://reports.example:1/")
    (container,) = _made(world.SPEC, settings)[1]["spec"]["template"]["spec"]["containers"]
    env = {e["name"]: e["value"] for e in container["env"]}
    assert env["KUBEFLOW_TRAINER_SERVER_URL"] == (
        "https://reports.example:1/apis/embeddings.dev/v1alpha1/namespaces/team-a/embeddingfinetunes/vdr/status"
    )


def test_the_administrators_variables_reach_the_trainer() -> None:
    settings = Settings(namespace="o", trainer_image="t", trainer_environment={"HF_ENDPOINT": "https://hub"})
    (container,) = _made(world.SPEC, settings)[1]["spec"]["template"]["spec"]["containers"]
    assert {"name": "HF_ENDPOINT", "value": "https://hub"} in container["env"]


@pytest.mark.parametrize("allowed", [False, True])
def test_only_the_administrator_lets_code_of_a_model_run(allowed: bool) -> None:
    settings = Settings(namespace="o", trainer_image="t", allow_remote_code=allowed)
    (config_map, _job) = _made(world.SPEC, settings)
    assert json.loads(config_map["data"]["run.json"]).get("allowRemoteCode", False) is allowed


def test_every_encoder_has_its_claim_and_its_secret() -> None:
    encoders = [
        {"route": "query", "task": "query", "uri": "pvc://encoders/query"},
        {
            "route": "document", "task": "document", "uri": f"hf://owner/model@{'a' * 40}",
            "secretRef": {"name": "hub"},
        },
    ]  # fmt: skip
    volumes = _pod(world.changed(world.SPEC, "model", {"encoders": encoders}))["volumes"]
    assert "encoders" in {v.get("persistentVolumeClaim", {}).get("claimName") for v in volumes}
    assert "hub" in {v.get("secret", {}).get("secretName") for v in volumes}


def test_a_gpu_of_the_user_s_own_resources_does_not_double_the_count() -> None:
    runtime = {"gpusPerNode": 1, "resources": {"limits": {"nvidia.com/gpu": 4}}}
    (container,) = _pod(world.changed(world.SPEC, "runtime", runtime))["containers"]
    assert container["resources"] == {"requests": {"nvidia.com/gpu": 1}, "limits": {"nvidia.com/gpu": 1}}


STATUSES: dict[str, Callable[[], world.Object]] = {
    "starting": world.started,
    "published": lambda: world.concluded(world.a_report()),
    "gate-failed": lambda: world.concluded(world.a_report("GateFailed")),
    "failed": lambda: world.concluded(world.a_report("Failed")),
}


@pytest.mark.parametrize("case", STATUSES)
def test_statuses_are_as_they_were_read(case: str, golden: Golden) -> None:
    golden(f"statuses/{case}.yaml", yaml.safe_dump(STATUSES[case]()["status"], sort_keys=False, width=110))
