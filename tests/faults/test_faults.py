"""Whatever goes wrong, a finetune ends as it would have: each fault on the real API server."""

import pytest

from tests.faults.experiments import EXPERIMENTS
from tests.faults.laboratory import Experiment, Result

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.mark.parametrize("experiment", EXPERIMENTS, ids=lambda experiment: experiment.name)
def test_a_finetune_ends_as_without_the_fault(experiment: Experiment, result: Result) -> None:
    assert not result.problems, "\n".join(result.problems)
