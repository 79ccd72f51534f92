"""Whether a gate holds: the one rule, for the trainer that measures and the operator that decides again."""

from decimal import Decimal

from finetune_api.evaluation import Gate
from finetune_api.status import GateResult


def judge(gate: Gate, *, tuned: float, gain_low: float | None) -> GateResult:
    """One gate's verdict.

    tuned: the tuned model's value; gain_low: lower end of the gain's interval, None where there is none.
    `minimum` is reached by equality; `minimumGain` must lie strictly below the interval.
    """
    verdicts = [*_minimum(gate, tuned), *_minimum_gain(gate, gain_low)]
    return GateResult(
        evaluator=gate.evaluator,
        metric=gate.metric,
        passed=all(holds for holds, _ in verdicts),
        message="; ".join(message for _, message in verdicts),
    )


def _minimum(gate: Gate, tuned: float) -> list[tuple[bool, str]]:
    if gate.minimum is None:
        return []
    holds = tuned >= float(gate.minimum)
    return [(holds, f"found {_shown(tuned, gate.minimum)}, wanted at least {gate.minimum}")]


def _minimum_gain(gate: Gate, low: float | None) -> list[tuple[bool, str]]:
    if gate.minimum_gain is None:
        return []
    if low is None:
        return [(False, f"no interval of the gain could be drawn, wanted above {gate.minimum_gain}")]
    found = f"lower end of the gain's 95% interval {_shown(low, gate.minimum_gain)}"
    return [(low > float(gate.minimum_gain), f"{found}, wanted above {gate.minimum_gain}")]


def _shown(value: float, wanted: str) -> str:
    """Four decimals, or as many as it takes to be seen on the right side of what was wanted."""
    for digits in (4, 6, 9):
        text = f"{value:.{digits}f}"
        if Decimal(text) != Decimal(wanted):
            return text
    return repr(value)
