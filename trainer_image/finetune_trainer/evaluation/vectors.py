"""Embeddings of every kind of model, and how alike two of them are. Nothing here encodes."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Vectors:
    """Embeddings of some inputs.

    data: (inputs, dimensions) of an Embedding model, the same sparse (COO) of a Sparse model, or a list of
    (tokens, dimensions) of a MultiVector model. float32.
    """

    data: Tensor | list[Tensor]

    def __len__(self) -> int:
        return len(self.data)

    @property
    def is_sparse(self) -> bool:
        return isinstance(self.data, Tensor) and self.data.is_sparse

    @property
    def device(self) -> torch.device:
        return self.data[0].device

    @property
    def dimensions(self) -> int:
        return int(self.data[0].shape[-1])

    def at(self, dimension: int | None) -> "Vectors":
        """Cut to the first dimensions; None: as they are."""
        if dimension is None:
            return self
        assert isinstance(self.data, Tensor)  # noqa: S101 - only an Embedding model has dimensions to choose
        return Vectors(self.data[:, :dimension])

    def picked(self, rows: Sequence[int] | slice) -> "Vectors":
        """These inputs, in this order."""
        if isinstance(self.data, list):
            chosen = range(len(self))[rows] if isinstance(rows, slice) else rows
            return Vectors([self.data[row] for row in chosen])
        if isinstance(rows, slice) and not self.is_sparse:
            return Vectors(self.data[rows])
        index = torch.arange(len(self))[rows] if isinstance(rows, slice) else torch.tensor(rows)
        return Vectors(self.data.index_select(0, index.to(self.data.device)))

    def broken(self) -> int | None:
        """The first input with a value that is NaN or infinite."""
        if isinstance(self.data, list):
            flags = [not bool(tokens.isfinite().all()) for tokens in self.data]
            return flags.index(True) if True in flags else None
        if self.is_sparse:
            entries = self.data.coalesce()
            rows = entries.indices()[0][~entries.values().isfinite()]
        else:
            rows = (~self.data.isfinite().all(dim=1)).nonzero()
        return int(rows.min()) if len(rows) else None


def joined(parts: Sequence[Vectors]) -> Vectors:
    """One after the other."""
    if len(parts) == 1:
        return parts[0]
    tokens = [t for part in parts if isinstance(part.data, list) for t in part.data]
    return Vectors(tokens or torch.cat([part.data for part in parts if isinstance(part.data, Tensor)]))


def all_scores(one: Vectors, other: Vectors, similarity: str) -> Tensor:
    """(inputs of one, inputs of other) similarity of each with each, higher is more alike."""
    return _scored(_function("to_similarity_fn", similarity), one, other)


def row_scores(one: Vectors, other: Vectors, similarity: str) -> Tensor:
    """(inputs,) similarity row by row."""
    return _scored(_function("to_similarity_pairwise_fn", similarity), one, other)


def _function(kind: str, similarity: str) -> Callable[[Any, Any], Tensor]:
    from sentence_transformers.util.similarity import SimilarityFunction

    function: Callable[[Any, Any], Tensor] = getattr(SimilarityFunction, kind)(similarity)
    return function


def _scored(function: Callable[[Any, Any], Tensor], one: Vectors, other: Vectors) -> Tensor:
    if isinstance(one.data, Tensor) and isinstance(other.data, Tensor) and not other.is_sparse:
        return function(one.data, other.data.to(one.device))
    with warnings.catch_warnings():
        # Products of sparse tensors go by way of CSR, and torch says once that this is in beta.
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        return function(one.data, other.data)
