"""What is kept of objects in memory."""

import copy
import json
from typing import Any

from finetune_operator.trimming import trimmed

LAST_APPLIED = {"kubectl.kubernetes.io/last-applied-configuration": "{}"}


def a_pod() -> dict[str, Any]:
    container = {"name": "trainer", "image": "trainer:1", "env": [{"name": "A", "value": "b"}]}
    spec = {"nodeName": "one", "volumes": [{"name": "cache"}], "containers": [container]}
    metadata = {"name": "one-1-abc", "managedFields": [{"subresource": "status"}]}
    return {"kind": "Pod", "metadata": metadata, "spec": spec, "status": {"phase": "Running"}}


def test_of_a_pod_is_kept_what_is_decided_by() -> None:
    kept = trimmed(a_pod())
    assert kept["spec"] == {"nodeName": "one", "containers": [{"name": "trainer", "image": "trainer:1"}]}
    assert (kept["metadata"], kept["status"]) == ({"name": "one-1-abc"}, {"phase": "Running"})


def test_of_a_job_the_template_is_not_kept() -> None:
    job = {"kind": "Job", "metadata": {}, "spec": {"suspend": True, "template": {"spec": {}}}}
    assert trimmed(job)["spec"] == {"suspend": True}


def test_of_a_finetune_the_spec_is_kept_and_what_kubectl_noted_is_not() -> None:
    written = {"subresource": "status", "time": "2026-01-01T00:00:00Z"}
    managed = [{**written, "manager": "operator", "fieldsV1": {}}, {"manager": "kubectl", "fieldsV1": {}}]
    metadata = {"managedFields": managed, "annotations": {**LAST_APPLIED, "team": "search"}}
    spec: dict[str, Any] = {"runtime": {"pod": {"tolerations": [], "volumes": []}}}
    kept = trimmed({"kind": "EmbeddingFinetune", "metadata": metadata, "spec": spec})
    assert kept["spec"] == spec
    assert kept["metadata"]["managedFields"] == [written]
    assert kept["metadata"]["annotations"] == {"team": "search"}


def test_the_object_itself_stays_as_it_is() -> None:
    pod = a_pod()
    before = copy.deepcopy(pod)
    trimmed(pod)
    assert pod == before


def test_thousands_share_their_words() -> None:
    one, other = (trimmed(json.loads(json.dumps(a_pod()))) for _ in range(2))
    assert all(mine is theirs for mine, theirs in zip(one, other, strict=True))
    assert one["status"]["phase"] is other["status"]["phase"]
