import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from finetune_trainer.errors import InvalidData, InvalidSpec
from finetune_trainer.training.samplers import ContentBatchSampler, LabelBatchSampler, PlainBatchSampler
from tests.trainer.train_sets import train_set

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


# The others


def plain(rows: int, batch_size: int, *, seed: int = 1) -> PlainBatchSampler:
    return PlainBatchSampler(
        range(rows), batch_size=batch_size, drop_last=True, seed=seed, generator=torch.Generator()
    )


@given(st.integers(1, 60), st.integers(2, 8), st.integers(0, 5))
def test_plain_batches_are_full_and_have_every_row_once(rows: int, batch_size: int, seed: int) -> None:
    drawn = list(plain(rows, batch_size, seed=seed))
    assert [len(batch) for batch in drawn] == [batch_size] * (rows // batch_size)
    seen = [row for batch in drawn for row in batch]
    assert len(seen) == len(set(seen))
    assert drawn == list(plain(rows, batch_size, seed=seed))


def test_plain_batches_have_an_order_of_their_own_every_epoch() -> None:
    batches = plain(40, 8)
    first = list(batches)
    batches.set_epoch(1)
    assert list(batches) != first
    batches.set_epoch(0)
    assert list(batches) == first


def by_label(labels: list[int], batch_size: int) -> LabelBatchSampler:
    data = train_set(input_0=[str(n) for n in range(len(labels))], label=labels).rows
    return LabelBatchSampler(
        data,
        batch_size=batch_size,
        drop_last=True,
        valid_label_columns=["label"],
        generator=torch.Generator(),
    )


def test_batches_by_label_have_two_rows_of_each_class_at_least() -> None:
    labels = [n % 3 for n in range(30)]
    for batch in by_label(labels, 6):
        classes = [labels[row] for row in batch]
        assert len(set(classes)) > 1
        assert all(classes.count(c) > 1 for c in classes)


@pytest.mark.parametrize("batch_size", [2, 7])
def test_batches_by_label_need_an_even_size_of_four_or_more(batch_size: int) -> None:
    with pytest.raises(InvalidSpec) as raised:
        by_label([0, 0, 1, 1], batch_size)
    assert raised.value.reason == "BatchSizeForClasses"


@pytest.mark.parametrize("labels", [[0] * 8, [0] * 7 + [1]])
def test_batches_by_label_need_two_classes_of_two_rows(labels: list[int]) -> None:
    with pytest.raises(InvalidData) as raised:
        by_label(labels, 4)
    assert raised.value.reason == "TooFewClasses"
