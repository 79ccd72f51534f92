"""The operator as a process on a real API server, with a trainer that only plays its part."""

import re
import time

import pytest

from finetune_api import names
from tests.operator.conftest import IMAGE, Finetunes
from tests.operator.process import NAMESPACE, Operator

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800)]  # programs may have to be built first


def test_an_applied_finetune_becomes_ready_with_its_numbers(operator: Operator, finetunes: Finetunes) -> None:
    folder = finetunes.make_claim("models")
    finetunes.apply("succeed", output_uri="pvc://models/one")
    finetunes.await_condition("Ready", "True")
    status = finetunes.status()
    assert status["phase"] == "Ready"
    assert status["observedGeneration"] == 1
    primary = status["evaluation"]["primary"]
    assert (primary["baseline"], primary["tuned"], primary["gain"]) == ("0.63", "0.72", "0.09")
    assert status["artifact"]["uri"].startswith("pvc://models/one/1-")
    assert status["lineage"]["image"] == IMAGE
    assert folder.exists()
    assert ("Normal", "Started") in finetunes.events()


def test_progress_arrives_in_status_and_in_metrics(operator: Operator, finetunes: Finetunes) -> None:
    finetunes.apply("hold")
    progress = finetunes.await_that(
        lambda: (p := finetunes.status().get("progress")) and p["percent"] >= 5 and p, "progress in status"
    )
    assert progress["totalSteps"] == 100
    assert progress["samplesPerSecond"] == "31.2"
    assert finetunes.status()["phase"] == "Training"
    labels = f'{{namespace="{finetunes.namespace}",embeddingfinetune="one"}}'
    ratio = finetunes.await_that(
        lambda: operator.metric(f"embedding_finetune_progress_ratio{labels}"), "live progress"
    )
    assert ratio >= progress["percent"] / 100
    assert operator.metric(f"embedding_finetune_training_loss{labels}")


def test_a_gate_that_fails_stalls_and_publishes_nothing(operator: Operator, finetunes: Finetunes) -> None:
    finetunes.apply("fail_the_gate")
    finetunes.await_condition("Stalled", "True")
    status = finetunes.status()
    assert status["phase"] == "GateFailed"
    assert finetunes.condition("GatePassed")["status"] == "False"
    assert finetunes.condition("Ready")["status"] == "False"
    assert "artifact" not in status
    assert status["evaluation"]["primary"]["tuned"] == "0.72"


def test_a_users_error_is_told_and_not_tried_again(operator: Operator, finetunes: Finetunes) -> None:
    finetunes.apply("find_bad_data")
    finetunes.await_condition("Stalled", "True", "InvalidData")
    failure = finetunes.status()["failure"]
    assert failure["message"] == "column 'positive' is not in the data"
    assert failure["hint"].startswith("It has query and text")
    assert finetunes.status()["run"]["attempt"] == 1
    assert ("Warning", "InvalidData") in finetunes.events()


def test_a_changed_spec_stops_the_old_job_before_the_next_run_starts(
    operator: Operator, finetunes: Finetunes
) -> None:
    finetunes.apply("hold")
    await_training(finetunes)
    changed = {**finetunes.get(), "spec": finetunes.spec("succeed", {})}
    finetunes.client.put(f"{finetunes.path}/one", changed)
    seen: set[frozenset[str]] = set()

    def is_done() -> bool:
        seen.add(frozenset(job["metadata"]["name"] for job in finetunes.children("jobs")))
        return bool(
            finetunes.condition("Ready")["status"] == "True" and finetunes.status()["run"]["number"] == 2
        )

    finetunes.await_that(is_done, "run 2 is ready")
    assert frozenset({"one-1", "one-2"}) not in seen, "two runs at a time"
    assert finetunes.status()["observedGeneration"] == 2
    assert {config["metadata"]["name"] for config in finetunes.children("configmaps")} == {"one-2"}


def test_a_missing_claim_is_named_and_the_run_starts_once_it_is_there(
    operator: Operator, finetunes: Finetunes
) -> None:
    finetunes.apply("succeed", output_uri="pvc://late/one")
    waiting = finetunes.await_condition("Reconciling", "True", "ClaimMissing")
    assert "late" in waiting["message"]
    assert finetunes.condition("Ready")["status"] == "Unknown"
    finetunes.make_claim("late")
    finetunes.await_condition("Ready", "True", seconds=120)


def test_a_run_that_waits_too_long_is_stalled(operator: Operator, finetunes: Finetunes) -> None:
    finetunes.apply("succeed", output_uri="pvc://never/one", limits_pendingSeconds=10)
    finetunes.await_condition("Stalled", "True", "ClaimMissing")
    assert finetunes.status()["phase"] == "Failed"
    finetunes.await_that(lambda: not finetunes.children("jobs"), "its Job is gone")


def test_a_quota_that_forbids_the_job_is_told_until_it_is_raised(
    operator: Operator, finetunes: Finetunes
) -> None:
    quotas = f"/api/v1/namespaces/{finetunes.namespace}/resourcequotas"
    quota = {"metadata": {"name": "none"}, "spec": {"hard": {"count/jobs.batch": "0"}}}
    finetunes.client.create(quotas, quota)
    finetunes.await_that(
        lambda: (finetunes.client.get(f"{quotas}/none") or {})["status"].get("hard"), "the quota counts"
    )
    finetunes.apply("succeed")
    waiting = finetunes.await_condition("Reconciling", "True", "QuotaExceeded")
    assert "ResourceQuota none" in waiting["message"]
    finetunes.client.delete(f"{quotas}/none")
    finetunes.await_condition("Ready", "True", seconds=120)


def test_a_job_of_somebody_else_is_left_alone(operator: Operator, finetunes: Finetunes) -> None:
    container = {"name": "other", "image": "any", "command": ["true"]}
    template = {"spec": {"restartPolicy": "Never", "containers": [container]}}
    jobs = f"/apis/batch/v1/namespaces/{finetunes.namespace}/jobs"
    theirs = finetunes.client.create(jobs, {"metadata": {"name": "one-1"}, "spec": {"template": template}})
    finetunes.apply("succeed")
    finetunes.await_condition("Stalled", "True", "NameTaken")
    there = finetunes.client.get(f"{jobs}/one-1")
    assert there is not None
    assert there["metadata"]["uid"] == theirs["metadata"]["uid"]
    assert "ownerReferences" not in there["metadata"]


def test_deleting_leaves_nothing_behind(operator: Operator, finetunes: Finetunes) -> None:
    finetunes.apply("hold")
    await_training(finetunes)
    assert "embeddingfinetune=" in series_of(operator, finetunes)
    finetunes.delete()
    await_nothing_left(finetunes)
    finetunes.await_that(lambda: not series_of(operator, finetunes), "its series vanish")


def test_deleting_while_the_operator_is_down_leaves_nothing_behind(
    operator: Operator, finetunes: Finetunes
) -> None:
    finetunes.apply("hold")
    await_training(finetunes)
    operator.kill()
    finetunes.delete()
    await_nothing_left(finetunes)
    operator.start()
    operator.await_leading()
    assert not series_of(operator, finetunes)


def test_a_restart_in_the_middle_changes_nothing_in_the_end(operator: Operator, finetunes: Finetunes) -> None:
    folder = finetunes.make_claim("models")
    finetunes.apply("wait_for_a_file", output_uri="pvc://models/one")
    finetunes.await_that(lambda: finetunes.status().get("progress"), "progress")
    operator.kill()
    (folder / "go").touch()
    finetunes.await_that(
        lambda: [p for p in finetunes.children("pods") if p["status"]["phase"] == "Succeeded"],
        "the pod's end",
    )
    operator.start()
    finetunes.await_condition("Ready", "True")
    status = finetunes.status()
    assert (status["run"]["number"], status["run"]["attempt"]) == (1, 1)
    assert status["artifact"]["run"] == 1
    assert len(finetunes.children("jobs")) == 1


def test_a_termination_signal_ends_the_operator_in_time(operator: Operator, finetunes: Finetunes) -> None:
    finetunes.apply("hold")
    finetunes.await_condition("Reconciling", "True", "Running")
    began = time.monotonic()
    assert operator.stop() == 0
    assert time.monotonic() - began < 10
    lease = finetunes.client.get(
        f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/embedding-finetune-operator"
    )
    assert lease is not None
    assert not lease["spec"].get("holderIdentity"), "the lease was not handed back"


def test_nothing_is_written_when_nothing_changes(operator: Operator, finetunes: Finetunes) -> None:
    finetunes.apply("succeed")
    finetunes.await_condition("Ready", "True")
    finetunes.await_that(
        lambda: operator.metric("embedding_finetune_operator_queue_depth") == 0, "a quiet queue"
    )
    before = finetunes.get()["metadata"]["resourceVersion"]
    annotated = {"metadata": {"annotations": {"example.com/touched": "yes"}}}
    touched = finetunes.client.patch(f"{finetunes.path}/one", annotated)
    assert touched["metadata"]["resourceVersion"] != before
    operator.stop()
    operator.start()
    operator.await_leading()
    finetunes.await_that(lambda: series_of(operator, finetunes), "it is seen again")
    assert finetunes.get()["metadata"]["resourceVersion"] == touched["metadata"]["resourceVersion"]


def test_kopf_leaves_no_trace(operator: Operator, finetunes: Finetunes) -> None:
    finetunes.apply("succeed")
    finetunes.await_condition("Ready", "True")
    metadata = finetunes.get()["metadata"]
    assert "finalizers" not in metadata
    assert "annotations" not in metadata
    managers = {entry["manager"] for entry in metadata["managedFields"]}
    assert not any("kopf" in manager.lower() for manager in managers)
    assert names.MANAGED_BY in managers


def test_every_call_is_one_that_the_role_allows(operator: Operator, finetunes: Finetunes) -> None:
    finetunes.apply("succeed")
    finetunes.await_condition("Ready", "True")
    assert operator.metric(
        'embedding_finetune_operator_api_requests_total{code="201",kind="Job",verb="create"}'
    )
    assert 'code="401"' not in operator.metrics()
    # A namespace that goes away refuses with 403 too; only the authorizer speaks of verbs and resources.
    denied = re.findall(r"cannot \w+ resource[^,]*", operator.log.read_text())
    assert not denied, denied


def series_of(operator: Operator, finetunes: Finetunes) -> str:
    """The series of each of this namespace's finetunes; counters of the whole namespace stay."""
    of = f'namespace="{finetunes.namespace}",embeddingfinetune='
    return "\n".join(line for line in operator.metrics().splitlines() if of in line)


def await_training(finetunes: Finetunes) -> None:
    """Until then the interpreter of the trainer is not ready for signals: as process 1 it ignores them."""
    finetunes.await_that(lambda: finetunes.status().get("progress"), "progress")


def await_nothing_left(finetunes: Finetunes) -> None:
    """The garbage collector looks every 30 s for kinds that are new in the cluster."""
    finetunes.await_that(
        lambda: not any(finetunes.children(kind) for kind in ("jobs", "pods", "configmaps")),
        "all is gone",
        seconds=120,
    )
    assert finetunes.client.get(f"{finetunes.path}/one") is None
