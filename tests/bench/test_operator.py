"""The benchmark of the operator runs, and finds what does not depend on how busy the machine is."""

from pathlib import Path

import pytest

from tests.bench.operator import table
from tests.bench.scale import Times, measure

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(1800)]  # kwok may have to be built


def test_twenty_finetunes_cost_few_requests_and_nothing_once_settled(tmp_path: Path) -> None:
    row = measure(20, Times(reports=12, idle=5), tmp_path / "operator.log", print)
    print(table([row]))
    assert row["life_requests"] < 10
    assert row["server_jobs_POST"] == row["of_these_Job_create"] == row["of_these_ConfigMap_create"] == 1
    assert row["idle_status_writes"] == 0
    assert row["idle_requests"] == 0
    assert row["reports_refused"] == 0
    assert row["status_writes_per_10_seconds"] <= 2, "one a progress interval, and those at either end"
