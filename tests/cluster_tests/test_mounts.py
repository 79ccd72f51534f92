"""What a container finds in its file system."""

import base64
import json
from pathlib import Path

import pytest

from tests.cluster import Cluster
from tests.cluster.client import Dict
from tests.cluster.waiting import eventually
from tests.cluster_tests.pods import a_pod, await_phase, create, create_config, get_pod, logs, run_to_end

pytestmark = pytest.mark.cluster


def test_every_kind_of_volume_is_at_its_path(cluster: Cluster, namespace: str) -> None:
    create_config(cluster, namespace, "configmaps", "settings", {"a.yaml": "A", "b": "B"})
    create_config(cluster, namespace, "secrets", "login", {"password": "P"})
    items = [{"key": "a.yaml", "path": "deep/a.yaml"}]
    label = {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}
    sources = [
        {"configMap": {"name": "settings", "items": [{"key": "b", "path": "b"}]}},
        {"secret": {"name": "login"}},
        {"downwardAPI": {"items": [label]}},
        {"configMap": {"name": "absent", "optional": True}},
    ]
    volumes: dict[str, Dict] = {
        "/etc/finetune/config": {"configMap": {"name": "settings"}},
        "/opt/picked": {"configMap": {"name": "settings", "items": items}},
        "/var/run/login": {"secret": {"secretName": "login", "defaultMode": 0o400}},
        "/made/up/projected": {"projected": {"sources": sources}},
        "/dev/shm": {"emptyDir": {"medium": "Memory"}},
        "/tmp/inner": {"emptyDir": {}},
    }
    names = {path: path.strip("/").replace("/", "-") for path in volumes}
    mounts = [{"name": names[path], "mountPath": path} for path in volumes]
    mounts.append({"name": "etc-finetune-config", "mountPath": "/etc/finetune/one.yaml", "subPath": "a.yaml"})
    script = """
        cat /etc/finetune/config/a.yaml /etc/finetune/config/b /opt/picked/deep/a.yaml /var/run/login/password
        cat /made/up/projected/b /made/up/projected/password /etc/finetune/one.yaml; echo
        cat /made/up/projected/labels; echo; stat -L -c %a /var/run/login/password
        echo x > /dev/shm/x && echo x > /tmp/inner/x && echo writable
        touch /etc/finetune/config/new 2>/dev/null || echo read-only
        touch /usr/new 2>/dev/null || echo host is read-only
        touch /etc/new
    """
    pod = a_pod(
        script,
        main={"volumeMounts": mounts},
        volumes=[{"name": names[path], **volume} for path, volume in volumes.items()],
    )
    pod["metadata"]["labels"] = {"team": "search"}
    expected = ["ABAPBPA", 'team="search"', "400", "writable", "read-only", "host is read-only"]
    assert run_to_end(cluster, namespace, pod).splitlines() == expected
    assert not any(
        Path(path).exists() for path in ("/etc/finetune", "/etc/new", "/opt/picked", "/made", "/run/login")
    )


def test_a_changed_config_map_reaches_the_running_pod(cluster: Cluster, namespace: str) -> None:
    create_config(cluster, namespace, "configmaps", "settings", {"key": "old"})
    volumes = [{"name": "settings", "configMap": {"name": "settings"}}]
    main = {"volumeMounts": [{"name": "settings", "mountPath": "/settings"}]}
    script = "cat /settings/key; until grep -q new /settings/key; do sleep 0.1; done"
    create(cluster, namespace, a_pod(script, volumes=volumes, main=main))
    await_phase(cluster, namespace, "Running")
    eventually(lambda: logs(cluster, namespace) == "old", "the old value was read")
    cluster.client.patch(f"/api/v1/namespaces/{namespace}/configmaps/settings", {"data": {"key": "new"}})
    await_phase(cluster, namespace, "Succeeded")


def test_a_claim_is_shared_by_two_pods_and_goes_with_its_claim(cluster: Cluster, namespace: str) -> None:
    claims = f"/api/v1/namespaces/{namespace}/persistentvolumeclaims"
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    cluster.client.create(claims, {"metadata": {"name": "shared"}, "spec": spec})
    volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": "shared"}}]
    write = {"volumeMounts": [{"name": "data", "mountPath": "/data", "subPath": "runs/1"}]}
    read = {"volumeMounts": [{"name": "data", "mountPath": "/mnt/all", "readOnly": True}]}
    run_to_end(cluster, namespace, a_pod("echo model > /data/m", name="writer", volumes=volumes, main=write))
    script = "cat /mnt/all/runs/1/m; touch /mnt/all/x 2>/dev/null || echo read-only"
    log = run_to_end(cluster, namespace, a_pod(script, name="reader", volumes=volumes, main=read))
    assert log == "model\nread-only\n"
    folder = cluster.volumes_dir / namespace / "shared"
    assert (folder / "runs/1/m").read_text() == "model\n"
    for name in ("writer", "reader"):
        cluster.client.delete(f"/api/v1/namespaces/{namespace}/pods/{name}")
    cluster.client.delete(f"{claims}/shared")
    eventually(lambda: not folder.exists(), "the folder is removed")


def test_a_restarted_container_finds_a_fresh_tmp(cluster: Cluster, namespace: str) -> None:
    volumes = [{"name": "memory", "emptyDir": {}}]
    main = {"volumeMounts": [{"name": "memory", "mountPath": "/memory"}]}
    script = (
        "test -e /memory/been && exec test ! -e /tmp/left-over; touch /memory/been /tmp/left-over; exit 1"
    )
    pod = a_pod(script, restartPolicy="OnFailure", volumes=volumes, main=main)
    assert run_to_end(cluster, namespace, pod) == ""


def test_a_projected_token_is_accepted_for_its_audience_and_names_its_pod(
    cluster: Cluster, namespace: str
) -> None:
    token = {"audience": "reports", "expirationSeconds": 600, "path": "token"}
    volumes = [{"name": "token", "projected": {"sources": [{"serviceAccountToken": token}]}}]
    main = {"volumeMounts": [{"name": "token", "mountPath": "/var/run/secrets/reports"}]}
    pod = a_pod("cat /var/run/secrets/reports/token; exec sleep 60", volumes=volumes, main=main)
    pod["spec"]["automountServiceAccountToken"] = False
    create(cluster, namespace, pod)
    await_phase(cluster, namespace, "Running")
    text = eventually(lambda: logs(cluster, namespace), "the token is printed")

    def review(audience: str) -> dict[str, object]:
        body = {"kind": "TokenReview", "apiVersion": "authentication.k8s.io/v1"}
        spec = {"token": text, "audiences": [audience]}
        answer = cluster.client.create("/apis/authentication.k8s.io/v1/tokenreviews", {**body, "spec": spec})
        result: dict[str, object] = answer["status"]
        return result

    accepted = review("reports")
    assert accepted["authenticated"] is True
    assert accepted["audiences"] == ["reports"]
    user = accepted["user"]
    assert isinstance(user, dict)
    uid = (get_pod(cluster, namespace) or {})["metadata"]["uid"]
    assert user["username"] == f"system:serviceaccount:{namespace}:default"
    assert user["extra"]["authentication.kubernetes.io/pod-uid"] == [uid]
    assert not review("somebody-else").get("authenticated")


def test_the_automounted_token_lets_a_pod_speak_to_the_api_server(cluster: Cluster, namespace: str) -> None:
    script = """
        cd /var/run/secrets/kubernetes.io/serviceaccount
        python - <<END
import os, ssl, urllib.request
url = "https://{KUBERNETES_SERVICE_HOST}:{KUBERNETES_SERVICE_PORT}/version".format(**os.environ)
request = urllib.request.Request(url, headers={"Authorization": "Bearer " + open("token").read()})
context = ssl.create_default_context(cafile="ca.crt")
print(urllib.request.urlopen(request, context=context, timeout=10).status, open("namespace").read())
END
    """
    assert run_to_end(cluster, namespace, a_pod(script)) == f"200 {namespace}\n"


def test_a_kubeconfig_for_a_service_account_acts_as_it(cluster: Cluster, namespace: str) -> None:
    path = cluster.kubeconfig_for(namespace, "default")
    config = json.loads(path.read_text())
    claims = config["users"][0]["user"]["token"].split(".")[1]
    subject = json.loads(base64.urlsafe_b64decode(claims + "==="))["sub"]
    assert subject == f"system:serviceaccount:{namespace}:default"
    who = cluster.kubectl(
        "--kubeconfig", str(path), "auth", "whoami", "-o", "jsonpath={.status.userInfo.username}"
    )
    assert who == subject
