"""The benchmark of metrics runs, and finds what does not depend on how busy the machine is."""

import pytest

from finetune_operator.metrics.finetunes import MAX_SERIES
from tests.bench.metrics import measure
from tests.bench.operator import table


@pytest.mark.slow
def test_a_scrape_of_1200_finetunes_is_whole_and_is_sent_small() -> None:
    row = measure(1200, seconds=3)
    print(table([row]))
    assert 20 < row["series"] / 1200 <= MAX_SERIES
    assert row["prometheus_samples"] >= row["series"]
    assert row["megabytes_sent"] < row["megabytes"] / 10
