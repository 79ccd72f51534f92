"""How sparse the embeddings of a Sparse model are: what its search costs."""

from typing import Literal

import torch
from torch import Tensor

from finetune_trainer.evaluation.vectors import Vectors


class Sparsity:
    """Counts entries that are not zero, over queries and documents; nothing for dense embeddings."""

    def __init__(self) -> None:
        self._entries: dict[str, Tensor] = {}
        self._inputs = {"query": 0, "corpus": 0}

    def see(self, role: Literal["query", "corpus"], vectors: Vectors) -> None:
        if vectors.is_sparse:
            self._entries[role] = _entries(vectors) + self._entries.get(role, 0)
            self._inputs[role] += len(vectors)

    @property
    def details(self) -> dict[str, float]:
        """Mean entries of a query and of a document, and products that a pair of both takes on average."""
        if len(self._entries) < 2:
            return {}
        queries, documents = (self._entries[role] / self._inputs[role] for role in ("query", "corpus"))
        return {
            "query_active_dims": float(queries.sum()),
            "corpus_active_dims": float(documents.sum()),
            "avg_flops": float(queries @ documents),
        }


def _entries(vectors: Vectors) -> Tensor:
    """(dimensions,) inputs that are not zero there."""
    assert isinstance(vectors.data, Tensor)  # noqa: S101 - is_sparse
    entries = vectors.data.coalesce()
    columns = entries.indices()[1][entries.values() != 0]
    return torch.bincount(columns.cpu(), minlength=vectors.dimensions).double()
