"""What a finetune says of its pod, in pods that run, in a namespace that is restricted."""

import json
from typing import Any

import pytest

from finetune_api import names
from tests.api.pod_cases import HOSTILE_VALUES
from tests.operator.conftest import Finetunes
from tests.operator.process import Operator

pytestmark = pytest.mark.cluster
RESTRICTED = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}


@pytest.fixture
def restricted(finetunes: Finetunes) -> Finetunes:
    finetunes.client.patch(f"/api/v1/namespaces/{finetunes.namespace}", RESTRICTED)
    return finetunes


def _make_account(finetunes: Finetunes, name: str, **labels: str) -> None:
    path = f"/api/v1/namespaces/{finetunes.namespace}/serviceaccounts"
    finetunes.client.create(path, {"metadata": {"name": name, "labels": labels}})


def _the_pod(finetunes: Finetunes) -> dict[str, Any]:
    (pod,) = finetunes.children("pods")
    return pod


def test_a_pod_runs_as_an_account_that_allows_it_without_its_token(
    operator: Operator, restricted: Finetunes
) -> None:
    _make_account(restricted, "reader", **{names.LABEL_ALLOW_FINETUNES: "true"})
    restricted.apply("succeed", **{"runtime.serviceAccountName": "reader"})
    restricted.await_condition("Ready", "True")
    pod = _the_pod(restricted)["spec"]
    assert (pod["serviceAccountName"], pod["automountServiceAccountToken"]) == ("reader", False)
    sources = [s for v in pod["volumes"] for s in v.get("projected", {}).get("sources", [])]
    tokens = [s["serviceAccountToken"]["audience"] for s in sources if "serviceAccountToken" in s]
    assert tokens == ["embeddings.dev/reports"], "a token for the API server is in the pod"


def test_an_account_that_does_not_allow_it_is_told_and_gets_no_job(
    operator: Operator, restricted: Finetunes
) -> None:
    _make_account(restricted, "strong")
    restricted.apply("succeed", **{"runtime.serviceAccountName": "strong"})
    told = restricted.await_condition("Reconciling", "True", "ServiceAccountNotAllowed", seconds=10)
    assert "kubectl" in told["message"]
    restricted.apply("succeed", "two", **{"runtime.serviceAccountName": "absent"})
    restricted.await_condition("Reconciling", "True", "ServiceAccountMissing", name="two", seconds=10)
    assert restricted.children("jobs") == []


def test_variables_and_volumes_arrive_as_they_were_written(operator: Operator, restricted: Finetunes) -> None:
    text = "".join(HOSTILE_VALUES)
    site = {"metadata": {"name": "site"}, "data": {"mark": "from a ConfigMap"}}
    restricted.client.create(f"/api/v1/namespaces/{restricted.namespace}/configmaps", site)
    volume = {"name": "extra", "mountPath": "/mnt/extra", "configMap": {"name": "site"}}
    pod = {"env": [{"name": "MARK", "value": text}], "volumes": [volume], "labels": {"team": "search"}}
    restricted.apply("tell_what_is_there", runtime_pod=pod)
    restricted.await_condition("Stalled", "True", "Told")
    assert json.loads(restricted.status()["failure"]["message"]) == [text, "from a ConfigMap"]
    assert _the_pod(restricted)["metadata"]["labels"]["team"] == "search"


def test_a_pod_that_finds_no_node_is_made_again_as_soon_as_the_spec_is_corrected(
    operator: Operator, restricted: Finetunes
) -> None:
    restricted.apply("succeed", runtime_pod={"nodeSelector": {"gpu": "h1000"}})
    restricted.await_condition("Reconciling", "True", "Unschedulable", seconds=20)
    restricted.client.patch(f"{restricted.path}/one", {"spec": {"runtime": {"pod": {"nodeSelector": None}}}})
    restricted.await_condition("Ready", "True")
    assert restricted.status()["run"]["number"] == 1
    assert ("Normal", "SettingsChanged") in restricted.events()
