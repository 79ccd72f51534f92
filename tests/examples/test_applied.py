"""Every example applied with kubectl: the operator runs it in the local cluster, and publishes."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from finetune_api import names
from finetune_api.status import FinetuneStatus
from tests.cluster import Cluster
from tests.cluster.claims import make_claim
from tests.cluster.waiting import eventually
from tests.examples.stage import OF_THE_STAGE, Stage
from tests.operator.process import QUICK_LEASE, install_chart, running_operator

pytestmark = [pytest.mark.cluster, pytest.mark.training, pytest.mark.slow]

AT_ONCE = 2
"""Trainers that share the cores of a small machine."""
SECONDS = 400.0


@pytest.fixture
def applied(cluster: Cluster, namespace: str, stage: Stage, tmp_path: Path) -> Iterator[str]:
    """A namespace with the stage's claims, Secrets and ConfigMaps, and an operator that knows its servers."""
    install_chart(cluster)
    for claim in ("data", "models", "datasets", "published", "hub-cache"):
        shutil.copytree(stage.root / claim, make_claim(cluster, namespace, claim), dirs_exist_ok=True)
    for kind, root in (("Secret", stage.secrets), ("ConfigMap", stage.config_maps)):
        for folder in root.iterdir():
            _apply(cluster, namespace, kind, folder)
    settings = {**QUICK_LEASE, "FINETUNE_TRAINER_ENVIRONMENT": json.dumps(dict(stage.environment))}
    with running_operator(cluster, log=tmp_path / "operator.log", settings=settings):
        yield namespace


def _apply(cluster: Cluster, namespace: str, kind: str, folder: Path) -> None:
    field = "stringData" if kind == "Secret" else "data"
    keys = {path.name: path.read_text() for path in folder.iterdir()}
    manifest: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": kind,
        "metadata": {"name": folder.name},
        field: keys,
    }
    if ".dockerconfigjson" in keys:
        manifest["type"] = "kubernetes.io/dockerconfigjson"
    cluster.kubectl("apply", "-n", namespace, "-f", "-", stdin=json.dumps(manifest))


def test_every_example_is_published_by_the_operator(cluster: Cluster, applied: str, stage: Stage) -> None:
    path = f"/apis/{names.API_VERSION}/namespaces/{applied}/{names.PLURAL}"

    def status(name: str) -> FinetuneStatus:
        found = cluster.client.get(f"{path}/{name}")
        assert found is not None
        return FinetuneStatus.model_validate(found["status"])

    def await_end(name: str) -> FinetuneStatus:
        def probe() -> FinetuneStatus | None:
            now = status(name)
            said = {c.type: c.status for c in now.conditions}
            return now if "True" in (said.get("Ready"), said.get("Stalled")) else None

        return eventually(probe, f"{name} ends", seconds=SECONDS)

    ended: dict[str, FinetuneStatus] = {}
    running: list[str] = []
    for example in OF_THE_STAGE:
        cluster.kubectl("apply", "-n", applied, "-f", "-", stdin=stage.text(example))
        running.append(_name(stage, example))
        if len(running) == AT_ONCE:
            ended[running[0]] = await_end(running.pop(0))
    ended |= {name: await_end(name) for name in running}

    failures = {name: s.failure or s.conditions for name, s in ended.items() if s.phase != "Ready"}
    assert failures == {}
    assert all(s.artifact is not None and s.evaluation is not None for s in ended.values())


def _name(stage: Stage, example: Path) -> str:
    import yaml

    name: str = yaml.safe_load(stage.text(example))["metadata"]["name"]
    return name
