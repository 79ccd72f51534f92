"""Whether a gate holds: the one rule, for the trainer that measures and the operator that decides again."""

from decimal import Decimal

from finetune_api.evaluation import Gate
from finetune_api.results import GateResult


def judge(
    gate: Gate, metric: str, *, tuned: float, gain_low: float | None, has_baseline: bool = True
) -> GateResult:
    """One gate's verdict.

    metric: what the gate reads; tuned: the tuned model's value; gain_low: lower end of the gain's interval,
    None where there is none. `minimum` is reached by equality; `minimumGain`, or minus `maximumDrop`, must
    lie strictly below the interval.
    """
    verdicts = [*_minimum(gate, tuned), *_gain(gate, gain_low, has_baseline=has_baseline)]
    return GateResult(
        evaluator=gate.evaluator,
        metric=metric,
        group=gate.group,
        passed=all(holds for holds, _ in verdicts),
        message="; ".join(message for _, message in verdicts),
    )


def _minimum(gate: Gate, tuned: float) -> list[tuple[bool, str]]:
    if gate.minimum is None:
        return []
    holds = tuned >= float(gate.minimum)
    return [(holds, f"found {_shown(tuned, gate.minimum)}, wanted at least {gate.minimum}")]


def _gain(gate: Gate, low: float | None, *, has_baseline: bool) -> list[tuple[bool, str]]:
    wanted = _least_gain(gate)
    if wanted is None:
        return []
    if not has_baseline:
        return [(False, f"there is no baseline to gain over, wanted above {wanted}")]
    if low is None:
        return [(False, f"no interval of the gain could be drawn, wanted above {wanted}")]
    found = f"lower end of the gain's 95% interval {_shown(low, wanted)}"
    return [(low > float(wanted), f"{found}, wanted above {wanted}")]


def _least_gain(gate: Gate) -> str | None:
    """What the interval must lie above, as a decimal."""
    if gate.maximum_drop is None:
        return gate.minimum_gain
    drop = gate.maximum_drop
    return drop if Decimal(drop) == 0 else f"-{drop}"


def _shown(value: float, wanted: str) -> str:
    """Four decimals, or as many as it takes to be seen on the right side of what was wanted."""
    for digits in (4, 6, 9):
        text = f"{value:.{digits}f}"
        if Decimal(text) != Decimal(wanted):
            return text
    return repr(value)
