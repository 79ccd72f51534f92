"""Gates decided from stored numbers: the trainer's rule, to the digits that are stored."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune_api.evaluation import Gate
from finetune_api.status import Metric
from finetune_operator.gates import decide, were_decided_here
from finetune_trainer.gates import judge
from finetune_trainer.statistics import Interval

UNIT = st.integers(0, 10_000).map(lambda n: n / 10_000)
GAIN = st.integers(-10_000, 9_999).map(lambda n: n / 10_000)


@given(
    tuned=UNIT,
    low=st.none() | GAIN,
    wanted=st.tuples(UNIT, GAIN),
    which=st.sampled_from([(1, 0), (0, 1), (1, 1)]),
)
def test_trainer_and_operator_decide_alike(
    tuned: float, low: float | None, wanted: tuple[float, float], which: tuple[int, int]
) -> None:
    minimum, minimum_gain = (f"{w:.4f}" if asked else None for w, asked in zip(wanted, which, strict=True))
    gate = Gate(evaluator="pages", minimum=minimum, minimum_gain=minimum_gain)
    stored = Metric(name="x", tuned=f"{tuned:.4f}", gain_low=None if low is None else f"{low:.4f}")
    interval = None if low is None else Interval(gain=low, low=low, high=low, clusters=200, method="BCa")
    assert decide(gate, stored).passed == judge(gate, tuned=tuned, interval=interval).passed


@pytest.mark.parametrize(
    ("gate", "low", "message"),
    [
        ({"minimum": "0.9"}, "0.1", "found 0.85, wanted at least 0.9"),
        ({"minimum_gain": "0"}, "0.1", "gain of at least 0.1, wanted above 0"),
        (
            {"minimum": "0.8", "minimum_gain": "0"},
            None,
            "found 0.85, wanted at least 0.8; gain of at least nothing known, wanted above 0",
        ),
    ],
)
def test_a_result_says_what_was_found_and_what_was_wanted(
    gate: dict[str, str], low: str | None, message: str
) -> None:
    result = decide(Gate(evaluator="pages", **gate), Metric(name="x", tuned="0.85", gain_low=low))
    assert result.message == f"{message} (from stored numbers)"
    assert were_decided_here([result])
