"""Finetunes as metrics are to show them, and what /metrics says of them."""

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import count
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from finetune_api.status import Progress
from finetune_operator.decisions.observed import LiveProgress
from finetune_operator.memory import Key, Memory
from finetune_operator.metrics import OperatorMetrics

STATUS: dict[str, Any] = {
    "observedGeneration": 1,
    "phase": "Training",
    "conditions": [
        {
            "type": type_, "status": "Unknown", "reason": reason, "lastTransitionTime": "",
            "observedGeneration": 1,
        }
        for type_, reason in (("Ready", "Running"), ("GatePassed", "NotDecided"))
    ],
    "run": {"number": 1, "specHash": "v1:0", "job": "one-1", "startTime": "2026-01-01T00:00:00Z"},
    "progress": {"percent": 40, "loss": "0.5"},
    "evaluation": {
        "primary": {
            "name": "dev_cosine_ndcg@10", "baseline": "0.63", "tuned": "0.72", "comparedTo": "Base",
            "gain": "0.09", "gainLow": "0.05", "gainHigh": "0.13", "clusters": 200,
        }
    },
}  # fmt: skip
RUN = STATUS["run"]
PRIMARY: dict[str, Any] = STATUS["evaluation"]["primary"]
KEY = Key("team", "one")
OF = {"namespace": "team", "embeddingfinetune": "one"}
ON_PRIMARY = {**OF, "evaluator": "dev", "metric": "ndcg@10"}
THEN = datetime(2026, 1, 1, 1, tzinfo=UTC)
LIVE = LiveProgress("Training", Progress(percent=55), THEN, "pod", THEN)
versions = count(1)


def a_finetune(uid: str = "u1", name: str = "one", **status: Any) -> dict[str, Any]:
    return {
        "metadata": {
            "namespace": "team", "name": name, "uid": uid, "resourceVersion": str(next(versions)),
            "creationTimestamp": "2025-12-31T23:59:00Z",
        },
        "spec": {
            "model": {"uri": "hf://owner/model@0", "type": "Sparse"},
            "loss": {"name": "SomeLoss"},
            "runtime": {"gpusPerNode": 1, "gpuResourceName": "amd.com/gpu"},
        },
        "status": {**STATUS, **status},
    }  # fmt: skip


class Scrape:
    """/metrics of an operator that knows these finetunes."""

    def __init__(self, *finetunes: dict[str, Any], per_resource: bool = True) -> None:
        self.memory = Memory()
        for finetune in finetunes:
            self.memory.observe(finetune)
        self.metrics = OperatorMetrics(self.memory, lambda: 7, per_resource=per_resource)

    def samples(self) -> Iterator[tuple[str, dict[str, str], float]]:
        for family in text_string_to_metric_families(b"".join(self.metrics.render()).decode()):
            yield from ((s.name, s.labels, s.value) for s in family.samples)

    def value(self, name: str, **labels: str) -> float | None:
        wanted = (f"embedding_finetune_{name}", labels)
        return next((value for name, found, value in self.samples() if (name, found) == wanted), None)

    def of(self, name: str = "one") -> list[tuple[str, dict[str, str]]]:
        """The series of that finetune."""
        return [(n, labels) for n, labels, _ in self.samples() if labels.get("embeddingfinetune") == name]

    def labels(self, name: str) -> list[dict[str, str]]:
        """Of the series of that metric, beyond those that name the finetune."""
        found = [labels for n, labels, _ in self.samples() if n == f"embedding_finetune_{name}"]
        return [{k: v for k, v in labels.items() if k not in OF} for labels in found]
