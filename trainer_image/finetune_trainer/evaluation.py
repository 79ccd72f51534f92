"""Fourth and sixth stage: how well a model retrieves, on one eval set, at every asked dimension.

Each input is encoded once, at the full dimension; smaller (Matryoshka) dimensions are slices of it, which is
what `truncate_dim` does for users of the model. Base and tuned model go through here with the same arguments.
Nothing here compares them.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from finetune_api.evaluation import Evaluator
from finetune_trainer.errors import InvalidModel, InvalidSpec
from finetune_trainer.inputs import Collection, EvaluationData, Input, RetrievalData
from finetune_trainer.retrieval_metrics import Floats, compute_metrics, cut_off
from finetune_trainer.search import Best, search_chunk

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

TOP_DOCUMENTS = 10
"""Documents kept for examples, for each query."""
TEXT_BATCHES = 64
"""Texts are encoded so many batches at a time, sorted by length inside. Images one batch: they are large."""

Precision = Callable[[], contextlib.AbstractContextManager[object]]
Heartbeat = Callable[[int, int], None]
"""Called with (inputs encoded, inputs in all) now and then; may raise to end the evaluation."""


@dataclass(frozen=True)
class Scores:
    """One evaluator at one dimension. per_query: metric -> (queries,) in the order of the data's queries."""

    evaluator: str
    dimension: int
    per_query: dict[str, Floats]

    def mean(self, metric: str) -> float:
        return float(self.per_query[metric].mean())


@dataclass(frozen=True)
class EvaluatorResult:
    """What one evaluator says of one model.

    headline: the dimension that gates read. top_documents: query id -> ids of the best documents at that
    dimension, best first.
    """

    by_dimension: dict[int, Scores]
    headline: int
    top_documents: dict[str, tuple[str, ...]]

    @property
    def scores(self) -> Scores:
        """At the headline dimension."""
        return self.by_dimension[self.headline]


def evaluate(
    model: "SentenceTransformer",
    data: EvaluationData,
    evaluator: Evaluator,
    *,
    metrics: Sequence[str],
    dimensions: Sequence[int],
    similarity: str,
    autocast: str,
    heartbeat: Heartbeat = lambda _done, _all: None,
) -> EvaluatorResult:
    """Search the corpus for every query and see where the relevant documents rank.

    dimensions: the headline first. autocast: "bf16" or "None".
    Raises InvalidModel when embeddings are not finite, InvalidSpec for more dimensions than the model has.
    """
    assert isinstance(data, RetrievalData)  # noqa: S101 - by the evaluator's type
    total = len(data.queries.ids) + len(data.corpus.ids)
    depth = max(TOP_DOCUMENTS, *map(cut_off, metrics))
    best: dict[int, Best] = {}
    with torch.inference_mode():
        encoded = _encode(model.encode_query, data.queries, evaluator.batch_size, _precision(model, autocast))
        queries = torch.cat([embeddings for _, embeddings in encoded])
        _check_dimensions(dimensions, queries)
        ranks = _id_ranks(data.corpus.ids).to(queries.device)
        chunks = _encode(
            model.encode_document, data.corpus, evaluator.batch_size, _precision(model, autocast)
        )
        for start, documents in chunks:
            heartbeat(len(queries) + start, total)
            for n in dimensions:
                best[n] = search_chunk(
                    _comparable(queries, n, similarity), _comparable(documents, n, similarity),
                    start=start, ranks=ranks, k=depth, before=best.get(n),
                )  # fmt: skip
    heartbeat(total, total)
    return _result(data, evaluator.name, best, metrics=metrics, headline=dimensions[0])


def _precision(model: "SentenceTransformer", autocast: str) -> Precision:
    if autocast == "None":
        return contextlib.nullcontext
    return functools.partial(torch.autocast, model.device.type, dtype=torch.bfloat16)


def _check_dimensions(dimensions: Sequence[int], embeddings: Tensor) -> None:
    full = embeddings.shape[1]
    if (asked := max(dimensions)) > full:
        raise InvalidSpec(
            "DimensionTooLarge",
            f"the model's embeddings have {full} dimensions, found {asked} in the spec",
            f"keep model.truncateDim and loss.matryoshkaDims at or below {full}",
        )


def _encode(
    encode: Callable[..., Tensor], collection: Collection, batch_size: int, precision: Precision
) -> Iterator[tuple[int, Tensor]]:
    """(position, float32 embeddings) slice by slice: no more images than a batch are decoded at once."""
    size = batch_size
    if isinstance(_first(collection), str):
        size *= TEXT_BATCHES
    for start in range(0, len(collection.ids), size):
        inputs = list(collection.inputs[start : start + size])
        # Only the encoding is in low precision: similarities in bfloat16 would tie by the hundred.
        with precision():
            embeddings = encode(
                inputs, batch_size=batch_size, convert_to_tensor=True, show_progress_bar=False
            )
        yield start, _finite(embeddings.float(), collection, start)


def _first(collection: Collection) -> Input:
    return collection.inputs[0]


def _finite(embeddings: Tensor, collection: Collection, start: int) -> Tensor:
    broken = (~embeddings.isfinite().all(dim=1)).nonzero()
    if len(broken):
        raise InvalidModel(
            "EmbeddingNotFinite",
            f"the embedding of input {collection.ids[start + int(broken[0])]!r} has NaN or infinite values",
            "lower training.learningRate, or set training.autocast to None",
        )
    return embeddings


def _comparable(embeddings: Tensor, dimension: int, similarity: str) -> Tensor:
    """Embeddings whose dot product is the similarity."""
    part = embeddings[:, :dimension]
    return torch.nn.functional.normalize(part, dim=1) if similarity == "cosine" else part


def _id_ranks(ids: Sequence[str]) -> Tensor:
    """Place of every id in their ascending order."""
    ranks = torch.empty(len(ids), dtype=torch.long)
    ranks[torch.tensor(sorted(range(len(ids)), key=ids.__getitem__))] = torch.arange(len(ids))
    return ranks


def _result(
    data: RetrievalData, evaluator: str, best: dict[int, Best], *, metrics: Sequence[str], headline: int
) -> EvaluatorResult:
    relevant = np.array([len(data.relevant[q]) for q in data.queries.ids])
    found = {n: _documents(data, b) for n, b in best.items()}
    by_dimension = {
        n: Scores(evaluator, n, compute_metrics(metrics, _hits(data, documents), relevant))
        for n, documents in found.items()
    }
    top = zip(data.queries.ids, found[headline], strict=True)
    return EvaluatorResult(by_dimension, headline, {q: tuple(d[:TOP_DOCUMENTS]) for q, d in top})


def _documents(data: RetrievalData, best: Best) -> list[list[str]]:
    return [[data.corpus.ids[p] for p in row] for row in best.positions.tolist()]


def _hits(data: RetrievalData, documents: list[list[str]]) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
    """(queries, ranks): whether the document there is relevant."""
    rows = zip(data.queries.ids, documents, strict=True)
    return np.array([[d in data.relevant[q] for d in found] for q, found in rows], dtype=np.bool_)
