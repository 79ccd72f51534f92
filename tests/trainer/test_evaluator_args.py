"""Arguments that evaluators take are the library's own, by name and default; every other one has a reason."""

import inspect
from typing import Any

import pytest
from sentence_transformers.cross_encoder import evaluation as of_rerankers
from sentence_transformers.multi_vector_encoder import evaluation as of_multi_vectors
from sentence_transformers.sentence_transformer import evaluation as of_embeddings
from sentence_transformers.sparse_encoder import evaluation as of_sparse

from finetune_api.evaluator_args import taken_arguments, wrong_argument
from finetune_api.evaluator_types import TYPES

PLACES = {
    "Embedding": (of_embeddings, ""),
    "Sparse": (of_sparse, "Sparse"),
    "MultiVector": (of_multi_vectors, "MultiVector"),
    "Reranker": (of_rerankers, "CrossEncoder"),
}
EVERY = [(type_, model) for type_, facts in TYPES.items() for model in facts.models]
DATA = {
    "queries", "corpus", "relevant_docs", "samples", "anchors", "positives", "negatives", "sentences1",
    "sentences2", "scores", "labels", "source_sentences", "target_sentences", "sentences_map",
    "duplicates_list", "duplicates_dict", "sentence_pairs", "documents",
}  # fmt: skip
"""What comes from the eval set."""
OLD = {"self", "kwargs", "args", "main_distance_function", "mrr_at_k"}
"""Deprecated ones, and Python's."""


def arguments_of(type_: str, model: str) -> set[str]:
    """Of the library's class and, where it hands on, of those it stands on."""
    module, prefix = PLACES[model]
    cls: Any = getattr(module, f"{prefix}{type_}Evaluator")
    names: set[str] = set()
    for base in cls.__mro__:
        if base.__module__.startswith("sentence_transformers") and "__init__" in vars(base):
            names |= set(inspect.signature(base.__init__).parameters)
    return names


@pytest.mark.parametrize(("type_", "model"), EVERY)
def test_what_is_taken_is_an_argument_of_the_librarys_class(type_: str, model: str) -> None:
    assert set(taken_arguments(type_, model)) <= arguments_of(type_, model)


@pytest.mark.parametrize(("type_", "model"), EVERY)
def test_what_is_not_taken_says_why(type_: str, model: str) -> None:
    for name in arguments_of(type_, model) - set(taken_arguments(type_, model)) - DATA - OLD:
        said = wrong_argument(type_, model, {name: 1}) or ""
        assert "it is no argument" not in said, f"{type_} of {model}: {name}"
