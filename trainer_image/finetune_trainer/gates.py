"""Seventh stage: does the tuned model reach what the spec asks for? Pure: numbers in, verdicts out."""

from collections.abc import Sequence
from decimal import Decimal

from finetune_api.evaluation import Gate
from finetune_api.status import GateResult
from finetune_trainer.statistics import Interval


def judge(gate: Gate, *, tuned: float, interval: Interval | None) -> GateResult:
    """One gate's verdict. tuned: the tuned model's mean; interval: of the gain, None where there is none.

    `minimum` is reached by equality; `minimumGain` must lie strictly below the interval.
    """
    verdicts = [*_minimum(gate, tuned), *_minimum_gain(gate, interval)]
    return GateResult(
        evaluator=gate.evaluator,
        metric=gate.metric,
        passed=all(holds for holds, _ in verdicts),
        message="; ".join(message for _, message in verdicts),
    )


def all_passed(results: Sequence[GateResult]) -> bool:
    return all(result.passed for result in results)


def _minimum(gate: Gate, tuned: float) -> list[tuple[bool, str]]:
    if gate.minimum is None:
        return []
    holds = tuned >= float(gate.minimum)
    return [(holds, f"found {_shown(tuned, gate.minimum)}, wanted at least {gate.minimum}")]


def _minimum_gain(gate: Gate, interval: Interval | None) -> list[tuple[bool, str]]:
    if gate.minimum_gain is None:
        return []
    if interval is None:
        return [(False, f"no interval of the gain could be drawn, wanted above {gate.minimum_gain}")]
    holds = interval.low > float(gate.minimum_gain)
    low = _shown(interval.low, gate.minimum_gain)
    found = f"gain {interval.gain:.4f}, lower end of its 95% interval {low}"
    return [(holds, f"{found}, wanted above {gate.minimum_gain}")]


def _shown(value: float, wanted: str) -> str:
    """Four decimals, or as many as it takes to be seen on the right side of what was wanted."""
    for digits in (4, 6, 9):
        text = f"{value:.{digits}f}"
        if Decimal(text) != Decimal(wanted):
            return text
    return repr(value)
