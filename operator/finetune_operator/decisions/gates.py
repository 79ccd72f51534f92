"""Gates that changed after the trainer decided: the same rule over the numbers that are stored.

Stored numbers are rounded, so that a verdict of the trainer's own goes before one from here.
"""

from collections.abc import Sequence

from finetune_api.evaluation import Gate
from finetune_api.gates import judge
from finetune_api.results import GateResult, Metric

FROM_STORED = " (from stored numbers)"
"""Ends the message of a result that was decided here."""


def decide(gate: Gate, metric: str, measured: Metric) -> GateResult:
    """The verdict over one stored metric."""
    low = None if measured.gain_low is None else float(measured.gain_low)
    has_baseline = measured.baseline is not None
    result = judge(gate, metric, tuned=float(measured.tuned), gain_low=low, has_baseline=has_baseline)
    return result.model_copy(update={"message": result.message + FROM_STORED})


def were_decided_here(results: Sequence[GateResult]) -> bool:
    return any(result.message.endswith(FROM_STORED) for result in results)
