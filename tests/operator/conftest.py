"""One cluster and one operator for the tests that need them; everything else is built by hand."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from finetune_api import names
from tests.api.specs import a_finetune, a_spec
from tests.cluster import Cluster, Settings, local_cluster
from tests.cluster.claims import make_claim
from tests.cluster.pytest_plugin import namespace
from tests.cluster.waiting import eventually
from tests.operator.process import QUICK_LEASE, Operator, install_chart, running_operator

__all__ = ["namespace"]

FAKE_BIN = Path(__file__).parent / "bin"
QUICK = {"FINETUNE_PROGRESS_INTERVAL_SECONDS": "1", "FINETUNE_POD_START_GRACE_SECONDS": "1", **QUICK_LEASE}


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A cluster whose `finetune-trainer` is the fake one."""
    path = os.pathsep.join((str(FAKE_BIN), str(Path(sys.executable).parent)))
    with local_cluster(Settings(path=path)) as cluster:
        install_chart(cluster)
        yield cluster


@pytest.fixture(scope="session")
def the_operator(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    log = tmp_path_factory.mktemp("operator") / "operator.log"
    with running_operator(cluster, log=log, settings=QUICK) as operator:
        yield operator
        problems = [
            line for line in log.read_text().splitlines() if "Traceback" in line or "broke down" in line
        ]
        assert not problems, f"{log} tells of errors nobody foresaw: {problems[0]}"


@pytest.fixture
def operator(the_operator: Operator) -> Operator:
    """It runs and leads, whatever the test before did to it."""
    the_operator.start()
    the_operator.await_leading()
    return the_operator


IMAGE = "trainer-that-plays"


class Finetunes:
    """Finetunes of one namespace, as kubectl would handle them."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self.cluster = cluster
        self.client = cluster.client
        self.namespace = namespace
        self.path = f"/apis/{names.API_VERSION}/namespaces/{namespace}/{names.PLURAL}"

    def apply(self, play: str, name: str = "one", **changes: Any) -> dict[str, Any]:
        """Create one that plays that part; `changes` as for `a_spec`, with _ for the dots."""
        return self.client.create(self.path, a_finetune(self.spec(play, changes), name))

    def spec(self, play: str, changes: dict[str, Any]) -> dict[str, Any]:
        """Without GPU and volumes; `output` brings one. The image is its own: only it knows its arguments."""
        base: dict[str, Any] = {
            "training.args": {"play": play},
            "runtime.gpusPerNode": 0,
            "runtime.image": IMAGE,
        }
        for path in ("data.train.0", "data.eval.0"):
            base[f"{path}.uri"] = "https://example.com/pairs.csv"
        spec = a_spec({**base, **{key.replace("_", "."): value for key, value in changes.items()}})
        spec["data"]["eval"] = spec["data"]["eval"][:1]
        spec["evaluation"] = {
            "evaluators": [{"name": "dev", "data": "dev"}],
            "primary": {"evaluator": "dev"},
            "gates": [{"evaluator": "dev", "minimum": "0.5"}],
        }
        if "output" not in changes and "output_uri" not in changes:
            spec.pop("output")
        return spec

    def get(self, name: str = "one") -> dict[str, Any]:
        found = self.client.get(f"{self.path}/{name}")
        assert found is not None, f"finetune {name} is gone"
        return found

    def status(self, name: str = "one") -> dict[str, Any]:
        return dict(self.get(name)["status"])

    def condition(self, type_: str, name: str = "one") -> dict[str, Any]:
        """The condition, or an empty one."""
        found = self.status(name).get("conditions", [])
        return next((dict(c) for c in found if c["type"] == type_), {"status": None, "reason": None})

    def await_condition(
        self, type_: str, status: str, reason: str | None = None, *, name: str = "one", seconds: float = 60
    ) -> dict[str, Any]:
        """The condition once it has that status and reason."""

        def probe() -> dict[str, Any] | None:
            found = self.condition(type_, name)
            return found if found["status"] == status and reason in {None, found["reason"]} else None

        try:
            return eventually(probe, f"{type_}={status} {reason or ''}", seconds=seconds)
        except TimeoutError as error:
            raise AssertionError(f"{error}; status is {self.status(name)}") from None

    def await_that(self, probe: Callable[[], Any], what: str, *, seconds: float = 60) -> Any:
        return eventually(probe, what, seconds=seconds)

    def children(self, kind: str) -> list[dict[str, Any]]:
        """What the operator made here: `jobs`, `pods` or `configmaps`."""
        prefix = "/apis/batch/v1" if kind == "jobs" else "/api/v1"
        found = self.client.list(
            f"{prefix}/namespaces/{self.namespace}/{kind}", labelSelector=names.LABEL_FINETUNE
        )
        return list(found["items"])

    def events(self) -> list[tuple[str, str]]:
        """Type and reason of the Events about finetunes, oldest first."""
        found = self.client.list(
            f"/api/v1/namespaces/{self.namespace}/events", fieldSelector=f"involvedObject.kind={names.KIND}"
        )["items"]
        return [
            (e["type"], e["reason"])
            for e in sorted(found, key=lambda e: int(e["metadata"]["resourceVersion"]))
        ]

    def make_claim(self, name: str) -> Path:
        """A claim and the folder of its files."""
        return make_claim(self.cluster, self.namespace, name)

    def delete(self, name: str = "one") -> None:
        self.client.delete(f"{self.path}/{name}")


@pytest.fixture
def finetunes(cluster: Cluster, namespace: str) -> Finetunes:
    return Finetunes(cluster, namespace)
