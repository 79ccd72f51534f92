"""What draws batches: without repeated content, by class, or just in a new order every epoch.

In an in-batch loss, a second copy of a document would count as wrong for the query that it answers. The
library's samplers decode every image to compare it; here content keys do, which the data stage has.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers.base.sampler import DefaultBatchSampler, GroupByLabelBatchSampler
from torch.utils.data import RandomSampler
from typing_extensions import override

from finetune_trainer.errors import InvalidData, InvalidSpec

_EPOCHS_COUNTED = 32
"""Epochs looked at for the length that all share; they differ by a batch where contents repeat a lot."""


class ContentBatchSampler(DefaultBatchSampler):
    """Full batches without repeated content, every row at most once in an epoch.

    Rows that do not fit into a batch wait for the next one; those left when no full batch can be made are
    left out of the epoch, others in the next. Batches are always full: a smaller one has fewer negatives.
    """

    def __init__(self, dataset: Any, *, keys: NDArray[np.bytes_], epochs: int, **arguments: Any) -> None:
        """keys: (rows, columns); epochs: how many will be drawn, so that all have the same length."""
        super().__init__(dataset, **arguments)
        codes: NDArray[np.intp] = np.unique(keys, return_inverse=True)[1].reshape(keys.shape)
        self._content = [frozenset(codes[row].tolist()) for row in range(len(codes))]
        repeats = len(np.unique(codes)) < codes.size
        counted = min(epochs, _EPOCHS_COUNTED) if repeats else 1
        lengths = (sum(1 for _ in self._draw(epoch)) for epoch in range(counted))
        self._length = min(lengths)

    @override
    def __len__(self) -> int:
        return self._length

    @override
    def __iter__(self) -> Iterator[list[int]]:
        for number, batch in enumerate(self._draw(self.epoch)):
            if number == self._length:
                return
            yield batch

    def _draw(self, epoch: int) -> Iterator[list[int]]:
        order = torch.randperm(len(self._content), generator=torch.Generator().manual_seed(self.seed + epoch))
        fresh = iter(order.tolist())
        waiting: list[int] = []
        while True:
            batch, waiting = self._fill(waiting, fresh)
            if len(batch) < self.batch_size:
                return
            yield batch

    def _fill(self, waiting: list[int], fresh: Iterator[int]) -> tuple[list[int], list[int]]:
        """A batch from the rows that wait and then from fresh ones, and the rows that wait now."""
        batch: list[int] = []
        seen: set[int] = set()
        still_waiting: list[int] = []
        position = 0
        while len(batch) < self.batch_size:
            if position < len(waiting):
                row = waiting[position]
                position += 1
            elif (row := next(fresh, -1)) < 0:
                break
            if seen.isdisjoint(self._content[row]):
                seen |= self._content[row]
                batch.append(row)
            else:
                still_waiting.append(row)
        return batch, still_waiting + waiting[position:]


class PlainBatchSampler(DefaultBatchSampler):
    """Full batches in an order of their own every epoch, for losses whose rows do not see each other."""

    def __init__(self, dataset: Any, *, generator: torch.Generator, **arguments: Any) -> None:
        self._order = generator
        super().__init__(RandomSampler(dataset, generator=generator), generator=generator, **arguments)

    @override
    def __iter__(self) -> Iterator[list[int]]:
        self._order.manual_seed(self.seed + self.epoch)
        yield from super().__iter__()


class LabelBatchSampler(GroupByLabelBatchSampler):
    """Full batches of at least two classes, two rows or more of each, for losses that look for triplets.

    Raises InvalidSpec for an odd batch size or one below 4, InvalidData without two classes of two rows.
    """

    def __init__(self, dataset: Any, *, batch_size: int, **arguments: Any) -> None:
        if batch_size < 4 or batch_size % 2:
            raise InvalidSpec(
                "BatchSizeForClasses",
                f"`training.batchSize` must be even and at least 4 for losses of classes, found {batch_size}",
                "change `training.batchSize`",
            )
        try:
            super().__init__(dataset, batch_size=batch_size, **arguments)
        except ValueError as error:
            raise InvalidData(
                "TooFewClasses",
                "the train set must have at least two classes with two rows or more each",
                "add rows of other classes, or take another loss",
            ) from error
