"""What a gate says about stored numbers: one rule for the trainer and for gates that change afterwards."""

from finetune_api.evaluation import Gate
from finetune_api.status import GateResult, Metric

MAX_MESSAGE = 160


def metric_name(evaluator: str, similarity: str, metric: str) -> str:
    """Name of a metric in status and Report, of the headline's dimension."""
    return f"{evaluator}_{similarity}_{metric}"


def decide(gate: Gate, measured: Metric) -> GateResult:
    """Whether the gate holds: value >= minimum, and lower end of the gain's interval > minimumGain.

    It reads the numbers as they are stored, so that deciding again gives the same answer.
    """
    wanted, found = [], []
    passed = True
    if gate.minimum is not None:
        passed = float(measured.tuned) >= float(gate.minimum)
        found.append(measured.tuned)
        wanted.append(f"at least {gate.minimum}")
    if gate.minimum_gain is not None:
        low = measured.gain_low
        passed = passed and low is not None and float(low) > float(gate.minimum_gain)
        found.append(f"gain at least {low or 'unknown'}")
        wanted.append(f"gain above {gate.minimum_gain}")
    message = f"{gate.evaluator} {gate.metric}: found {', '.join(found)}, wanted {', '.join(wanted)}"
    return GateResult(
        evaluator=gate.evaluator, metric=gate.metric, passed=passed, message=message[:MAX_MESSAGE]
    )
