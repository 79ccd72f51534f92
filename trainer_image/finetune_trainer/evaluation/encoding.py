"""Inputs become embeddings, slice by slice: no more media than a batch are decoded at once."""

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from finetune_trainer.data.inputs import Collection, Input
from finetune_trainer.errors import InvalidModel, InvalidSpec
from finetune_trainer.evaluation.vectors import Vectors, joined

if TYPE_CHECKING:
    from sentence_transformers import (
        CrossEncoder,
        MultiVectorEncoder,
        SentenceTransformer,
        SparseEncoder,
    )

    AnyEncoder = SentenceTransformer | SparseEncoder | MultiVectorEncoder
    AnyModel = AnyEncoder | CrossEncoder

TEXT_BATCHES = 64
"""Texts are encoded so many batches at a time, sorted by length inside. Media one batch: they are large."""

Role = Literal["query", "document", "any"]
Heartbeat = Callable[[int, int], None]
"""Called with (inputs encoded, inputs in all) now and then; may raise to end the evaluation."""


class Progress:
    """Counts what is done for a heartbeat."""

    def __init__(self, total: int, heartbeat: Heartbeat) -> None:
        self._total, self._heartbeat, self._done = total, heartbeat, 0

    def add(self, inputs: int) -> None:
        self._done += inputs
        self._heartbeat(min(self._done, self._total), self._total)


@dataclass(frozen=True)
class Encoder:
    """A model with the settings that base and tuned model share.

    autocast: "bf16" or "None"; similarity: "" for a reranker; max_active_dims: of a Sparse model, None as
    saved; prompts: by role, in place of the model's own.
    """

    model: Any
    batch_size: int
    autocast: str
    similarity: str
    progress: Progress
    max_active_dims: int | None = None
    prompts: tuple[tuple[Role, str], ...] = ()

    def whole(self, items: Collection, role: Role) -> Vectors:
        """All of it."""
        return joined([part for _, part in self.slices(items, role)])

    def slices(self, items: Collection, role: Role) -> Iterator[tuple[int, Vectors]]:
        """(position of the first, embeddings), float32 also where the encoding is not."""
        for start, inputs in _slices(items.inputs, self.batch_size):
            found = _by_kind(inputs, functools.partial(self._encode, role))
            if (row := found.broken()) is not None:
                raise _not_finite("the embedding of input", items.ids[start + row])
            yield start, found
            self.progress.add(len(inputs))

    def pair_scores(self, pairs: "Pairs") -> Tensor:
        """(pairs,) scores of a reranker, or (pairs, classes); float32 on the CPU."""
        found = []
        for start, inputs in _slices(pairs, self.batch_size):
            with precision(self.model, self.autocast):
                scores = self.model.predict(
                    inputs, batch_size=self.batch_size, convert_to_tensor=True, show_progress_bar=False
                )
            broken = (~scores.isfinite().reshape(len(inputs), -1).all(dim=1)).nonzero()
            if len(broken):
                raise _not_finite("the score of pair", pairs.name(start + int(broken[0])))
            found.append(scores.float().cpu())
            self.progress.add(len(inputs))
        return torch.cat(found)

    def _encode(self, role: Role, inputs: list[Input]) -> Vectors:
        method = {"query": "encode_query", "document": "encode_document", "any": "encode"}[role]
        prompt = dict(self.prompts).get(role)
        said = {} if prompt is None else {"prompt": prompt}
        # Only the encoding is in low precision: similarities in bfloat16 would tie by the hundred.
        with precision(self.model, self.autocast):
            found = getattr(self.model, method)(
                inputs, batch_size=self.batch_size, show_progress_bar=False, **self._output(), **said
            )
        return Vectors([t.float() for t in found] if isinstance(found, list) else found.float())

    def _output(self) -> dict[str, Any]:
        match model_type(self.model):
            case "Sparse":
                sparse = {"convert_to_sparse_tensor": True, "save_to_cpu": True}
                return {**sparse, "max_active_dims": self.max_active_dims}
            case "MultiVector":
                return {}
            case _:
                return {"convert_to_tensor": True}


@dataclass(frozen=True)
class Pairs(Sequence[Any]):
    """Pairs of inputs, decoded only when they are looked at. rows: (pairs, 2), places in both collections."""

    first: Collection
    second: Collection
    rows: "np.ndarray[tuple[int, ...], np.dtype[np.int64]]"

    @override
    def __len__(self) -> int:
        return len(self.rows)

    @override
    def __getitem__(self, index: Any) -> Any:
        rows = self.rows[index]
        return [[self.first.inputs[int(a)], self.second.inputs[int(b)]] for a, b in rows]

    def name(self, row: int) -> str:
        one, other = self.rows[row]
        return f"{self.first.ids[int(one)]} and {self.second.ids[int(other)]}"


def precision(model: Any, autocast: str) -> contextlib.AbstractContextManager[object]:
    """The precision of matrix products that a model is run in. autocast: "bf16" or "None"."""
    if autocast == "None":
        return contextlib.nullcontext()
    return torch.autocast(model.device.type, dtype=torch.bfloat16)


def model_type(model: object) -> str:
    """Embedding, Sparse, MultiVector or Reranker."""
    names = {base.__name__ for base in type(model).__mro__}
    kinds = {"CrossEncoder": "Reranker", "SparseEncoder": "Sparse", "MultiVectorEncoder": "MultiVector"}
    return next((kind for name, kind in kinds.items() if name in names), "Embedding")


def check_dimensions(dimensions: Sequence[int | None], vectors: Vectors) -> None:
    """Raises InvalidSpec for more dimensions than the model has."""
    asked = max((n for n in dimensions if n is not None), default=0)
    if asked > vectors.dimensions:
        raise InvalidSpec(
            "DimensionTooLarge",
            f"the model's embeddings have {vectors.dimensions} dimensions, found {asked} in the spec",
            f"keep model.truncateDim and loss.matryoshkaDims at or below {vectors.dimensions}",
        )


def _slices(inputs: Sequence[Any], batch_size: int) -> Iterator[tuple[int, list[Any]]]:
    size = batch_size
    first = inputs[0:1][0]
    if all(isinstance(part, str) for part in (first if isinstance(first, list) else [first])):
        size *= TEXT_BATCHES
    for start in range(0, len(inputs), size):
        yield start, list(inputs[start : start + size])


def _by_kind(inputs: list[Input], encode: Callable[[list[Input]], Vectors]) -> Vectors:
    """Each kind of input on its own: models with an encoder for each refuse mixed batches."""
    places: dict[object, list[int]] = {}
    for place, item in enumerate(inputs):
        places.setdefault(_kind(item), []).append(place)
    if len(places) == 1:
        return encode(inputs)
    found = joined([encode([inputs[p] for p in part]) for part in places.values()])
    order = [p for part in places.values() for p in part]
    return found.picked(sorted(range(len(order)), key=order.__getitem__))


def _kind(item: Input) -> object:
    return tuple(item) if isinstance(item, dict) else isinstance(item, str)


def _not_finite(what: str, name: str) -> InvalidModel:
    return InvalidModel(
        "EmbeddingNotFinite",
        f"{what} {name!r} has NaN or infinite values",
        "lower training.learningRate, or set training.autocast to None",
    )
