"""What happens to a pod from its start to its end."""

import pytest

from tests.cluster import Cluster
from tests.cluster.waiting import eventually
from tests.cluster_tests.pods import (
    a_pod,
    await_phase,
    create,
    create_config,
    get_pod,
    logs,
    run_to_end,
    status,
)

pytestmark = pytest.mark.cluster


def test_a_job_runs_to_complete(cluster: Cluster, namespace: str) -> None:
    template = {"spec": a_pod("echo work")["spec"]}
    jobs = f"/apis/batch/v1/namespaces/{namespace}/jobs"
    cluster.client.create(jobs, {"metadata": {"name": "work"}, "spec": {"template": template}})

    def completed() -> bool:
        job = cluster.client.get(f"{jobs}/work") or {}
        return "Complete" in {each["type"] for each in job.get("status", {}).get("conditions", ())}

    eventually(completed, "the Job is Complete")


def test_exit_code_message_and_log_are_reported(cluster: Cluster, namespace: str) -> None:
    create(cluster, namespace, a_pod("echo said; echo why > /dev/termination-log; exit 7"))
    ended = await_phase(cluster, namespace, "Failed")["containerStatuses"][0]["state"]["terminated"]
    assert (ended["exitCode"], ended["reason"], ended["message"]) == (7, "Error", "why\n")
    assert logs(cluster, namespace) == "said\n"


def test_the_message_may_be_written_to_another_path(cluster: Cluster, namespace: str) -> None:
    main = {"terminationMessagePath": "/var/lib/finetune/report.json"}
    create(cluster, namespace, a_pod("echo '{}' > /var/lib/finetune/report.json", main=main))
    ended = await_phase(cluster, namespace, "Succeeded")["containerStatuses"][0]["state"]["terminated"]
    assert (ended["reason"], ended["message"]) == ("Completed", "{}\n")


def test_the_end_of_the_log_stands_in_for_a_missing_message(cluster: Cluster, namespace: str) -> None:
    main = {"terminationMessagePolicy": "FallbackToLogsOnError"}
    create(cluster, namespace, a_pod("seq 1 100; exit 1", main=main))
    ended = await_phase(cluster, namespace, "Failed")["containerStatuses"][0]["state"]["terminated"]
    assert ended["message"].split() == [str(number) for number in range(21, 101)]


def test_a_message_is_cut_at_its_limit(cluster: Cluster, namespace: str) -> None:
    create(cluster, namespace, a_pod("head -c 9000 /dev/zero | tr '\\0' x > /dev/termination-log"))
    ended = await_phase(cluster, namespace, "Succeeded")["containerStatuses"][0]["state"]["terminated"]
    assert len(ended["message"]) == 4096


def test_a_program_that_does_not_exist_is_a_start_error(cluster: Cluster, namespace: str) -> None:
    create(cluster, namespace, a_pod("", main={"command": ["no-such-program"]}))
    ended = await_phase(cluster, namespace, "Failed")["containerStatuses"][0]["state"]["terminated"]
    assert (ended["exitCode"], ended["reason"]) == (128, "StartError")
    assert "no-such-program" in ended["message"]


def test_a_running_pod_is_ready(cluster: Cluster, namespace: str) -> None:
    create(cluster, namespace, a_pod("exec sleep 60"))
    running = await_phase(cluster, namespace, "Running")
    conditions = {each["type"]: each["status"] for each in running["conditions"]}
    assert conditions["Ready"] == conditions["ContainersReady"] == conditions["PodScheduled"] == "True"
    assert running["hostIP"] == running["podIP"] == "127.0.0.1"


def test_init_containers_run_in_order_before_the_others(cluster: Cluster, namespace: str) -> None:
    mount = {"volumeMounts": [{"name": "shared", "mountPath": "/shared"}]}
    inits = [
        {"name": word, "image": "any", "command": ["sh", "-c", f"echo {word} >> /shared/order"], **mount}
        for word in ("first", "second")
    ]
    volumes = [{"name": "shared", "emptyDir": {}}]
    pod = a_pod("cat /shared/order", main=mount, initContainers=inits, volumes=volumes)
    assert run_to_end(cluster, namespace, pod) == "first\nsecond\n"


def test_a_failed_init_container_fails_the_pod(cluster: Cluster, namespace: str) -> None:
    init = {"name": "init", "image": "any", "command": ["false"]}
    create(cluster, namespace, a_pod("echo never", initContainers=[init]))
    ended = await_phase(cluster, namespace, "Failed")
    assert "waiting" in ended["containerStatuses"][0]["state"]


def test_on_failure_starts_again_and_keeps_the_previous_log(cluster: Cluster, namespace: str) -> None:
    volumes = [{"name": "memory", "emptyDir": {}}]
    mount = {"volumeMounts": [{"name": "memory", "mountPath": "/memory"}]}
    script = "test -e /memory/been && echo again && exit 0; touch /memory/been; echo once; exit 1"
    create(cluster, namespace, a_pod(script, restartPolicy="OnFailure", main=mount, volumes=volumes))
    ended = await_phase(cluster, namespace, "Succeeded")["containerStatuses"][0]
    assert ended["restartCount"] == 1
    assert ended["lastState"]["terminated"]["exitCode"] == 1
    assert logs(cluster, namespace) == "again\n"
    assert logs(cluster, namespace, previous="true") == "once\n"


def test_logs_are_followed_to_the_end(cluster: Cluster, namespace: str) -> None:
    create(cluster, namespace, a_pod("for i in 1 2 3 4; do echo $i; sleep 0.1; done"))
    eventually(lambda: status(cluster, namespace)["phase"] != "Pending", "the pod starts")
    assert cluster.kubectl("logs", "-f", "-n", namespace, "pod").split() == ["1", "2", "3", "4"]
    assert cluster.kubectl("logs", "--tail=1", "-n", namespace, "pod") == "4\n"


def test_an_image_that_cannot_be_pulled_keeps_the_pod_waiting(cluster: Cluster, namespace: str) -> None:
    create(cluster, namespace, a_pod("true", main={"image": "registry.invalid/does-not-exist:1"}))

    def reason() -> str:
        containers = status(cluster, namespace).get("containerStatuses", [{"state": {}}])
        return str(containers[0]["state"].get("waiting", {}).get("reason"))

    eventually(lambda: reason() == "ErrImagePull", "the pull fails")
    eventually(lambda: reason() == "ImagePullBackOff", "the pull backs off")


def test_a_missing_config_map_is_told_and_waited_for(cluster: Cluster, namespace: str) -> None:
    volumes = [{"name": "late", "configMap": {"name": "late"}}]
    main = {"volumeMounts": [{"name": "late", "mountPath": "/late"}]}
    create(cluster, namespace, a_pod("cat /late/key", volumes=volumes, main=main))

    def told() -> bool:
        events = cluster.client.list(f"/api/v1/namespaces/{namespace}/events")["items"]
        return any(
            each["reason"] == "FailedMount" and '"late" not found' in each["message"] for each in events
        )

    eventually(told, "a FailedMount event")
    assert status(cluster, namespace)["phase"] == "Pending"
    create_config(cluster, namespace, "configmaps", "late", {"key": "here"})
    await_phase(cluster, namespace, "Succeeded")
    assert logs(cluster, namespace) == "here"


def test_a_pod_whose_claim_is_missing_is_not_scheduled(cluster: Cluster, namespace: str) -> None:
    volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": "nowhere"}}]
    create(cluster, namespace, a_pod("true", volumes=volumes))

    def refused() -> bool:
        conditions = (get_pod(cluster, namespace) or {})["status"].get("conditions", ())
        return any(
            'persistentvolumeclaim "nowhere" not found' in each.get("message", "") for each in conditions
        )

    eventually(refused, "the scheduler's refusal")
