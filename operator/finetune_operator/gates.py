"""What a gate says about numbers that are stored already, for gates that changed after the trainer decided.

The rule is the trainer's; a test holds the two against each other. Stored numbers are rounded, so that a
verdict of the trainer's own goes before one from here.
"""

from collections.abc import Sequence

from finetune_api.evaluation import Gate
from finetune_api.status import GateResult, Metric

FROM_STORED = " (from stored numbers)"
"""Ends the message of a result that was decided here."""


def metric_name(evaluator: str, similarity: str, metric: str) -> str:
    """Name of a metric in status and Report, of the headline's dimension."""
    return f"{evaluator}_{similarity}_{metric}"


def decide(gate: Gate, measured: Metric) -> GateResult:
    """Whether the gate holds: value >= minimum, and lower end of the gain's interval > minimumGain."""
    verdicts = [*_minimum(gate, measured), *_minimum_gain(gate, measured)]
    return GateResult(
        evaluator=gate.evaluator,
        metric=gate.metric,
        passed=all(holds for holds, _ in verdicts),
        message="; ".join(text for _, text in verdicts) + FROM_STORED,
    )


def were_decided_here(results: Sequence[GateResult]) -> bool:
    return any(result.message.endswith(FROM_STORED) for result in results)


def _minimum(gate: Gate, measured: Metric) -> list[tuple[bool, str]]:
    if gate.minimum is None:
        return []
    holds = float(measured.tuned) >= float(gate.minimum)
    return [(holds, f"found {measured.tuned}, wanted at least {gate.minimum}")]


def _minimum_gain(gate: Gate, measured: Metric) -> list[tuple[bool, str]]:
    if gate.minimum_gain is None:
        return []
    low = measured.gain_low
    holds = low is not None and float(low) > float(gate.minimum_gain)
    return [(holds, f"gain of at least {low or 'nothing known'}, wanted above {gate.minimum_gain}")]
