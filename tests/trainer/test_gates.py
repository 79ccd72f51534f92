from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune_api.evaluation import Gate
from finetune_trainer.gates import all_passed, judge
from finetune_trainer.statistics import Interval


def interval(low: float, gain: float | None = None) -> Interval:
    gain = low + 0.02 if gain is None else gain
    return Interval(gain=gain, low=low, high=gain + 0.02, clusters=120, method="BCa")


def gate(minimum: str | None = None, minimum_gain: str | None = None) -> Gate:
    return Gate(evaluator="vdr", metric="ndcg@10", minimum=minimum, minimum_gain=minimum_gain)


@pytest.mark.parametrize(
    ("minimum", "tuned", "passed"), [("0.90", 0.9, True), ("0.90", 0.91, True), ("0.90", 0.89999, False)]
)
def test_the_tuned_value_must_be_at_least_the_minimum(minimum: str, tuned: float, passed: bool) -> None:
    assert judge(gate(minimum), tuned=tuned, interval=None).passed is passed


@pytest.mark.parametrize(("low", "passed"), [(0.001, True), (0.0, False), (-0.001, False)])
def test_the_interval_must_lie_strictly_above_the_minimum_gain(low: float, passed: bool) -> None:
    assert judge(gate(minimum_gain="0"), tuned=0.9, interval=interval(low)).passed is passed


def test_without_an_interval_no_gain_is_proved() -> None:
    result = judge(gate(minimum_gain="-1"), tuned=0.9, interval=None)
    assert not result.passed
    assert "no interval" in result.message


def test_a_message_has_what_was_found_and_what_was_wanted() -> None:
    result = judge(gate("0.95", "0.1"), tuned=0.9, interval=interval(0.0312, 0.0512))
    assert result.message == (
        "found 0.9000, wanted at least 0.95; "
        "gain 0.0512, lower end of its 95% interval 0.0312, wanted above 0.1"
    )


def test_a_near_miss_is_seen_in_the_message() -> None:
    assert "found 0.89999," in judge(gate("0.9"), tuned=0.89999, interval=None).message.replace(
        "0.899990", "0.89999"
    )


def test_all_gates_must_hold_and_none_always_do() -> None:
    good = judge(gate("0.5"), tuned=0.6, interval=None)
    bad = judge(gate("0.7"), tuned=0.6, interval=None)
    assert all_passed([good, good])
    assert not all_passed([good, bad])
    assert all_passed([])


@given(
    tuned=st.floats(0, 1),
    low=st.floats(-1, 1),
    minimum=st.decimals(0, 1, places=4).map(str),
    gain=st.decimals(-1, Decimal("0.9999"), places=4).map(str),
)
def test_a_gate_passes_exactly_when_both_of_its_conditions_hold(
    tuned: float, low: float, minimum: str, gain: str
) -> None:
    result = judge(gate(minimum, gain), tuned=tuned, interval=interval(low, low))
    assert result.passed == (tuned >= float(minimum) and low > float(gain))
    assert len(result.message) <= 160
