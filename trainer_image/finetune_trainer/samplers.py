"""Batches in which no content stands twice: in an in-batch loss, a second copy of a document would count as
wrong for the query that it answers.

The library's samplers decode every image to compare it; here content keys do, which the data stage has.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers.base.sampler import DefaultBatchSampler
from typing_extensions import override

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
