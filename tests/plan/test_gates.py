"""Gates decided from stored numbers."""

import pytest

from finetune_api.evaluation import Gate
from finetune_api.results import Metric
from finetune_operator.decisions.gates import decide, were_decided_here


@pytest.mark.parametrize(
    ("gate", "low", "message"),
    [
        ({"minimum": "0.9"}, "0.1", "found 0.8500, wanted at least 0.9"),
        ({"minimum_gain": "0"}, "0.1", "lower end of the gain's 95% interval 0.1000, wanted above 0"),
        (
            {"minimum": "0.8", "minimum_gain": "0"},
            None,
            "found 0.8500, wanted at least 0.8; no interval of the gain could be drawn, wanted above 0",
        ),
    ],
)
def test_a_result_says_what_was_found_and_what_was_wanted(
    gate: dict[str, str], low: str | None, message: str
) -> None:
    result = decide(
        Gate(evaluator="pages", **gate),
        "ndcg@10",
        Metric(name="x", baseline="0.8", tuned="0.85", gain_low=low),
    )
    assert result.metric == "ndcg@10"
    assert result.message == f"{message} (from stored numbers)"
    assert were_decided_here([result])
