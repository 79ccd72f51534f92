"""The models of mining: the one that searches, and the reranker that scores what was found."""

import functools
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from finetune_api.hard_negatives import HardNegatives
from finetune_api.model import Model
from finetune_api.model_parts import OtherModel
from finetune_api.spec import FinetuneSpec
from finetune_trainer.digests import content_digest
from finetune_trainer.errors import InvalidSpec
from finetune_trainer.evaluation.encoding import TEXT_BATCHES, model_type, precision
from finetune_trainer.models import load_model
from finetune_trainer.places import Places
from finetune_trainer.reporting.results import library_versions
from finetune_trainer.sources.fetch import fetch_model

if TYPE_CHECKING:
    import datasets

BATCH_SIZE = 32
"""Inputs encoded at a time."""

Score = Callable[[int, Sequence[int]], Sequence[float]]
"""(query, documents) -> a score for each of them."""


@dataclass(frozen=True)
class Helpers:
    """What searches and scores. identity: digest of both, with the libraries that run them."""

    encode_query: Callable[[list[Any]], Any]
    encode_document: Callable[[list[Any]], Any]
    similarity: Callable[[Any, Any], Tensor]
    cross_encoder: Any
    identity: str


def open_helpers(
    base: Any, spec: FinetuneSpec, settings: HardNegatives, places: Places, *, revision: str
) -> Helpers:
    """base, revision: the base model, which searches unless the settings name another."""
    if settings.retriever is None and spec.model.type == "Reranker":
        raise InvalidSpec(
            "NoRetriever",
            "`data.hardNegatives.retriever` must name an embedding model: a reranker cannot search",
            "set `retriever`",
        )
    described = {k: v for k, v in spec.model.to_dict().items() if k != "secretRef"}
    searcher, cross_encoder = base, None
    revisions = [revision, json.dumps(described, sort_keys=True), spec.training.autocast]
    if settings.retriever is not None:
        searcher, revision = _load(settings.retriever, "Embedding", spec, places)
        revisions.append(f"retriever {revision}")
    if settings.cross_encoder is not None:
        cross_encoder, revision = _load(settings.cross_encoder, "Reranker", spec, places)
        revisions.append(f"cross-encoder {revision}")
    precise = functools.partial(_in_precision, searcher, spec.training.autocast)
    versions = json.dumps(library_versions(), sort_keys=True)
    return Helpers(
        precise(searcher.encode_query),
        precise(searcher.encode_document),
        searcher.similarity,
        cross_encoder,
        content_digest([*revisions, versions]),
    )


def _load(other: OtherModel, kind: str, spec: FinetuneSpec, places: Places) -> tuple[Any, str]:
    model = Model.model_validate({"type": kind, **other.to_dict()})
    fetched = fetch_model(model, places)
    return load_model(fetched.path, model, seed=spec.training.seed), fetched.revision


def _in_precision(model: Any, autocast: str, encode: Callable[..., Any]) -> Callable[[list[Any]], Any]:
    """Encode as evaluation does: in the precision of the spec, to tensors."""
    # A model of many vectors gives a list of tensors of many lengths, the others one tensor.
    many = model_type(model) == "MultiVector"
    form = {"convert_to_numpy": False} if many else {"convert_to_tensor": True}

    def encoded(inputs: list[Any]) -> Any:
        with torch.no_grad():  # inference mode breaks sparse tensors
            with precision(model, autocast):
                found = encode(inputs, batch_size=BATCH_SIZE, show_progress_bar=False, **form)
            # Only the encoding is in low precision: similarities in bfloat16 would tie by the hundred.
            return [one.float() for one in found] if isinstance(found, list) else found.float()

    return encoded


def encode_blocks(
    inputs: "datasets.Dataset", encode: Callable[[list[Any]], Any]
) -> Iterator[tuple[int, Any]]:
    """(number of the first, embeddings) block by block; inputs: a table of one column."""
    (name,) = inputs.column_names
    size = BATCH_SIZE * (TEXT_BATCHES if isinstance(inputs[0][name], str) else 1)
    for start in range(0, len(inputs), size):
        yield start, encode(list(inputs[start : start + size][name]))


def rerank(
    model: Any,
    queries: "datasets.Dataset",
    documents: "datasets.Dataset",
    heartbeat: Callable[[int, int], None],
) -> Score:
    """A cross-encoder over queries and documents by number; both are tables of one column."""
    (query_name,), (document_name,) = queries.column_names, documents.column_names

    def score(query: int, numbers: Sequence[int]) -> Sequence[float]:
        heartbeat(query, len(queries))
        asked = queries[query][query_name]
        pairs = [(asked, found) for found in documents.select(list(numbers))[:][document_name]]
        values = model.predict(pairs, batch_size=BATCH_SIZE, show_progress_bar=False)
        return [float(v) for v in values]

    return score
