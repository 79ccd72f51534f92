from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune_api.evaluation import Gate
from finetune_api.gates import judge


def gate(
    minimum: str | None = None, minimum_gain: str | None = None, maximum_drop: str | None = None
) -> Gate:
    return Gate(evaluator="vdr", minimum=minimum, minimum_gain=minimum_gain, maximum_drop=maximum_drop)


@pytest.mark.parametrize(
    ("minimum", "tuned", "passed"), [("0.90", 0.9, True), ("0.90", 0.91, True), ("0.90", 0.89999, False)]
)
def test_the_tuned_value_must_be_at_least_the_minimum(minimum: str, tuned: float, passed: bool) -> None:
    assert judge(gate(minimum), "ndcg@10", tuned=tuned, gain_low=None).passed is passed


@pytest.mark.parametrize(("low", "passed"), [(0.001, True), (0.0, False), (-0.001, False)])
def test_the_interval_must_lie_strictly_above_the_minimum_gain(low: float, passed: bool) -> None:
    assert judge(gate(minimum_gain="0"), "ndcg@10", tuned=0.9, gain_low=low).passed is passed


@pytest.mark.parametrize(
    ("drop", "low", "passed"),
    [("0.01", -0.0099, True), ("0.01", -0.01, False), ("0", 0.001, True), ("0", 0.0, False)],
)
def test_the_interval_must_lie_strictly_above_the_maximum_drop(drop: str, low: float, passed: bool) -> None:
    result = judge(gate(maximum_drop=drop), "ndcg@10", tuned=0.1, gain_low=low)
    assert result.passed is passed
    assert result.message.endswith(f"wanted above {'0' if drop == '0' else '-0.01'}")


@pytest.mark.parametrize("wanted", [{"minimum_gain": "-1"}, {"maximum_drop": "1"}])
def test_without_a_baseline_no_gain_is_proved(wanted: dict[str, str]) -> None:
    result = judge(gate(**wanted), "ap", tuned=0.9, gain_low=None, has_baseline=False)
    assert not result.passed
    assert result.message == "there is no baseline to gain over, wanted above -1"


def test_a_result_names_metric_and_group() -> None:
    of_a_group = Gate(evaluator="vdr", group="de", minimum="0.5")
    result = judge(of_a_group, "recall@5", tuned=0.6, gain_low=None)
    assert (result.evaluator, result.metric, result.group) == ("vdr", "recall@5", "de")


def test_without_an_interval_no_gain_is_proved() -> None:
    result = judge(gate(minimum_gain="-1"), "ndcg@10", tuned=0.9, gain_low=None)
    assert not result.passed
    assert "no interval" in result.message


def test_a_message_has_what_was_found_and_what_was_wanted() -> None:
    result = judge(gate("0.95", "0.1"), "ndcg@10", tuned=0.9, gain_low=0.0312)
    assert result.message == (
        "found 0.9000, wanted at least 0.95; lower end of the gain's 95% interval 0.0312, wanted above 0.1"
    )


def test_a_near_miss_is_seen_in_the_message() -> None:
    assert "found 0.89999," in judge(gate("0.9"), "ndcg@10", tuned=0.89999, gain_low=None).message.replace(
        "0.899990", "0.89999"
    )


@given(
    tuned=st.floats(0, 1),
    low=st.floats(-1, 1),
    minimum=st.decimals(0, 1, places=4).map(str),
    gain=st.decimals(-1, Decimal("0.9999"), places=4).map(str),
)
def test_a_gate_passes_exactly_when_both_of_its_conditions_hold(
    tuned: float, low: float, minimum: str, gain: str
) -> None:
    result = judge(gate(minimum, gain), "ndcg@10", tuned=tuned, gain_low=low)
    assert result.passed == (tuned >= float(minimum) and low > float(gain))
    assert len(result.message) <= 160
