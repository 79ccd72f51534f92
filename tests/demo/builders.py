"""Finetunes as the API server would give them, showing only what a test is about."""

from typing import Any

from demo.watching import Finetune, parse_finetune

PRIMARY: dict[str, Any] = {
    "name": "pages_cosine_ndcg@10",
    "dimension": 64,
    "queries": 200,
    "clusters": 200,
    "comparedTo": "Base",
    "baseline": "0.0266",
    "tuned": "0.9419",
    "gain": "0.9153",
    "gainLow": "0.8871",
    "gainHigh": "0.9362",
    "wins": 194,
    "ties": 5,
    "losses": 1,
}
GATE: dict[str, Any] = {
    "evaluator": "pages",
    "metric": "ndcg@10",
    "passed": True,
    "message": "0.9419 is at least 0.90",
}
EVALUATION: dict[str, Any] = {"primary": PRIMARY, "gates": [GATE]}
ARTIFACT: dict[str, Any] = {
    "uri": "pvc://published/visual-documents/1-0123456789ab",
    "digest": "sha256:0123",
    "run": 1,
    "report": "pvc://published/visual-documents/1-0123456789ab/report.json",
}


def resource(name: str = "visual-documents", *, generation: int = 1, **status: Any) -> dict[str, Any]:
    """A resource whose status speaks of generation 1."""
    return {
        "metadata": {"name": name, "generation": generation},
        "status": {"observedGeneration": 1, **status},
    }


def a_finetune(name: str = "visual-documents", *, generation: int = 1, **status: Any) -> Finetune:
    return parse_finetune(resource(name, generation=generation, **status))


def condition(
    kind: str, status: str = "True", *, reason: str = "Because", message: str = "so it is"
) -> dict[str, Any]:
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": "2026-01-01T00:00:00Z",
        "observedGeneration": 1,
    }


def a_ready_one(**status: Any) -> Finetune:
    return a_finetune(
        phase="Ready",
        **{"conditions": [condition("Ready")], "evaluation": EVALUATION, "artifact": ARTIFACT, **status},
    )
