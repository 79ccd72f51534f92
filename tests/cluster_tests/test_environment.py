"""What a container finds in its environment and on its command line."""

import pytest

from tests.cluster import Cluster
from tests.cluster.waiting import eventually
from tests.cluster_tests.pods import a_pod, await_phase, create, create_config, run_to_end, status

pytestmark = pytest.mark.cluster


def test_every_kind_of_variable_arrives(cluster: Cluster, namespace: str) -> None:
    create_config(cluster, namespace, "configmaps", "settings", {"COLOUR": "green", "size": "3"})
    create_config(cluster, namespace, "secrets", "login", {"token": "s3cret"})
    env = [
        {"name": "PLAIN", "value": "a b"},
        {"name": "COMPOSED", "value": "$(PLAIN)/$(POD)/$$(PLAIN)/$(UNKNOWN)"},
        {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "LATER", "value": "$(POD)"},
        {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
        {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "TEAM", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['team']"}}},
        {"name": "SIZE", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "size"}}},
        {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "login", "key": "token"}}},
        {"name": "NONE", "valueFrom": {"secretKeyRef": {"name": "absent", "key": "x", "optional": True}}},
        {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1m"}}},
    ]
    env_from = [{"prefix": "CFG_", "configMapRef": {"name": "settings"}}]
    main = {"env": env, "envFrom": env_from, "resources": {"limits": {"cpu": "1500m"}}}
    pod = a_pod("env", main=main)
    pod["metadata"]["labels"] = {"team": "search"}
    seen = dict(line.split("=", 1) for line in run_to_end(cluster, namespace, pod).splitlines())
    expected = {
        "PLAIN": "a b",
        "COMPOSED": "a b/$(POD)/$(PLAIN)/$(UNKNOWN)",
        "POD": "pod",
        "LATER": "pod",
        "NODE": "local",
        "IP": "127.0.0.1",
        "TEAM": "search",
        "SIZE": "3",
        "TOKEN": "s3cret",
        "CPU": "1500",
        "CFG_COLOUR": "green",
        "CFG_size": "3",
        "HOSTNAME": "pod",
    }
    assert expected.items() <= seen.items()
    assert "NONE" not in seen
    assert cluster.server == f"https://{seen['KUBERNETES_SERVICE_HOST']}:{seen['KUBERNETES_SERVICE_PORT']}"


def test_nothing_of_the_hosts_environment_leaks_in(cluster: Cluster, namespace: str) -> None:
    names = {line.split("=")[0] for line in run_to_end(cluster, namespace, a_pod("env")).splitlines()}
    service = {f"KUBERNETES_SERVICE_{name}" for name in ("HOST", "PORT", "PORT_HTTPS")}
    assert names == {"PATH", "HOME", "HOSTNAME", "PWD"} | service


def test_command_and_arguments_are_expanded(cluster: Cluster, namespace: str) -> None:
    main = {
        "command": ["echo", "$(WHO)"],
        "args": ["$(WHO)s", "$$(WHO)"],
        "env": [{"name": "WHO", "value": "you"}],
    }
    assert run_to_end(cluster, namespace, a_pod("", main=main)) == "you yous $(WHO)\n"


def test_programs_of_the_virtual_environment_are_found_first(cluster: Cluster, namespace: str) -> None:
    script = 'python -c "import sys, os; print(os.path.dirname(sys.executable))"; echo ${PATH%%:*}'
    found, first = run_to_end(cluster, namespace, a_pod(script)).split()
    assert found == first


def test_a_missing_secret_is_a_configuration_error_until_it_comes(cluster: Cluster, namespace: str) -> None:
    reference = {"name": "T", "valueFrom": {"secretKeyRef": {"name": "later", "key": "t"}}}
    create(cluster, namespace, a_pod('test "$T" = now', main={"env": [reference]}))

    def waits() -> bool:
        containers = status(cluster, namespace).get("containerStatuses", [{"state": {}}])
        return str(containers[0]["state"].get("waiting", {}).get("reason")) == "CreateContainerConfigError"

    eventually(waits, "CreateContainerConfigError")
    create_config(cluster, namespace, "secrets", "later", {"t": "now"})
    await_phase(cluster, namespace, "Succeeded")
