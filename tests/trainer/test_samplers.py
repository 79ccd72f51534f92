import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from finetune_trainer.samplers import ContentBatchSampler

Keys = list[tuple[int, int]]
tables = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=1, max_size=60)


def sampler(rows: Keys, batch_size: int, *, seed: int = 1, epochs: int = 3) -> ContentBatchSampler:
    keys: NDArray[np.bytes_] = np.array([[f"{cell:032}" for cell in row] for row in rows], dtype="S32")
    return ContentBatchSampler(
        range(len(rows)), keys=keys, epochs=epochs, batch_size=batch_size, drop_last=True, seed=seed
    )


@given(tables, st.integers(2, 8), st.integers(0, 5))
def test_no_batch_repeats_content_and_no_row_comes_twice_in_an_epoch(
    rows: Keys, batch_size: int, seed: int
) -> None:
    batches = sampler(rows, batch_size, seed=seed)
    for epoch in range(3):
        batches.set_epoch(epoch)
        drawn = list(batches)
        assert len(drawn) == len(batches)
        seen = [row for batch in drawn for row in batch]
        assert len(seen) == len(set(seen))
        for batch in drawn:
            assert len(batch) == batch_size
            contents = [cell for row in batch for cell in set(rows[row])]
            assert len(contents) == len(set(contents))


@given(tables, st.integers(2, 8))
def test_the_same_seed_draws_the_same_batches(rows: Keys, batch_size: int) -> None:
    assert list(sampler(rows, batch_size)) == list(sampler(rows, batch_size))


DISTINCT: Keys = [(2 * i, 2 * i + 1) for i in range(50)]


def test_rows_without_repeats_fill_every_batch_that_they_can() -> None:
    batches = sampler(DISTINCT, 8)
    assert len(batches) == len(list(batches)) == 6


def test_every_epoch_and_every_seed_has_an_order_of_its_own() -> None:
    batches = sampler(DISTINCT, 8)
    first = list(batches)
    batches.set_epoch(1)
    assert list(batches) != first != list(sampler(DISTINCT, 8, seed=2))


def test_a_row_that_waits_comes_in_a_later_batch() -> None:
    rows = [(1, 100), (1, 101)] + [(200 + i, 300 + i) for i in range(22)]
    for seed in range(20):
        batches = list(sampler(rows, 12, seed=seed))
        # Whoever is drawn second waits; only when both come late is no full batch left for it.
        assert len(batches) == 2 or not {0, 1} <= {row for batch in batches for row in batch}
    assert any(len(list(sampler(rows, 12, seed=seed))) == 2 for seed in range(20))


def test_a_positive_that_is_anothers_query_counts_as_repeated() -> None:
    assert len(sampler([(1, 2), (2, 3)], 2)) == 0


@pytest.mark.parametrize("count", [0, 7])
def test_too_few_rows_make_no_batch(count: int) -> None:
    assert len(sampler([(1, 2)] * max(count, 1), 8)) == 0
