"""The library's loss object for a chosen loss."""

import importlib
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from finetune_api.loss_table import AT_DIMENSIONS
from finetune_api.model import Model
from finetune_api.signatures import loss_parameters
from finetune_trainer.errors import InvalidSpec
from finetune_trainer.losses.chosen import ChosenLoss
from finetune_trainer.losses.named import names_of, object_named
from finetune_trainer.models.dimensions import embedding_dimension
from finetune_trainer.models.safety import no_pickles

if TYPE_CHECKING:
    import torch

    from finetune_trainer.models.kinds import AnyModel

MODULES = {
    "Embedding": "sentence_transformer",
    "Reranker": "cross_encoder",
    "Sparse": "sparse_encoder",
    "MultiVector": "multi_vector_encoder",
}
_REGULARIZED = {"document_regularizer_weight": 3e-5, "query_regularizer_weight": 5e-5}
"""The library's own choice for a sparse model."""
_OWN_ACTIVATION = {
    "BinaryCrossEntropyLoss",
    "MultipleNegativesRankingLoss",
    "CachedMultipleNegativesRankingLoss",
}
"""Losses of a reranker that learn scores behind a sigmoid."""


def build_loss(
    model: "AnyModel",
    chosen: ChosenLoss,
    spec: Model,
    mini_batch_size: int,
    *,
    classes: int = 0,
    guide: "AnyModel | None" = None,
) -> "torch.nn.Module":
    """classes: of the label, for losses that tell them apart. Raises InvalidSpec for what a class refuses."""
    precision = next(model.parameters()).dtype
    builder = _Builder(model, spec, mini_batch_size, classes, guide)
    with _refusals(chosen), no_pickles():
        if chosen.inner is None:
            loss = builder.build(chosen.name, chosen.args)
        else:
            loss = builder.build(chosen.inner, chosen.inner_args)
            loss = builder.build(chosen.name, _wrapper_arguments(chosen), around=loss)
        if chosen.dims and chosen.name not in AT_DIMENSIONS:
            loss = builder.build("MatryoshkaLoss", {"matryoshka_dims": list(chosen.dims)}, around=loss)
    # What a loss adds of its own (a classifier, a decoder) reads the model's vectors; a guide stays as it is.
    return loss if guide is not None else loss.to(precision)


def _wrapper_arguments(chosen: ChosenLoss) -> dict[str, Any]:
    if chosen.name in AT_DIMENSIONS:
        return {"matryoshka_dims": list(chosen.dims or ()), **chosen.args}
    if "Splade" not in chosen.name:
        return chosen.args
    documents_only = chosen.args.get("use_document_regularizer_only", False)
    weights = {k: v for k, v in _REGULARIZED.items() if k.startswith("document") or not documents_only}
    return {**weights, **chosen.args}


class _Builder:
    """Fills in what follows from the run, for one model."""

    def __init__(
        self, model: "AnyModel", spec: Model, mini_batch_size: int, classes: int, guide: "AnyModel | None"
    ) -> None:
        self._model = model
        self._spec = spec
        self._mini_batch_size = mini_batch_size
        self._classes = classes
        self._guide = guide
        self._library = importlib.import_module(f"sentence_transformers.{MODULES[spec.type]}.losses")

    def build(
        self, name: str, args: Mapping[str, Any], *, around: "torch.nn.Module | None" = None
    ) -> "torch.nn.Module":
        given = {key: self._value(name, key, value) for key, value in args.items()}
        arguments = {**self._of_the_run(name), **given}
        if around is not None:
            arguments["loss"] = around
        with warnings.catch_warnings():
            # Two symmetric losses are old names; they do what they always did.
            warnings.filterwarnings("ignore", ".*Symmetric.*", category=FutureWarning)
            warnings.filterwarnings("ignore", ".*Symmetric.*", category=DeprecationWarning)
            loss: torch.nn.Module = getattr(self._library, name)(self._model, **arguments)
        return loss

    def _of_the_run(self, name: str) -> dict[str, Any]:
        """Those of the class's parameters that model and data decide."""
        known = loss_parameters(self._spec.type, name)
        found: dict[str, Any] = {}
        if "mini_batch_size" in known:
            found["mini_batch_size"] = self._mini_batch_size
        if "similarity_fct" in known:
            found |= similarity_arguments(self._spec, name)
        if "guide" in known:
            found["guide"] = self._guide
        if "num_labels" in known:
            found |= {
                "num_labels": self._classes,
                "embedding_dimension": embedding_dimension(self._model),
            }
        return found

    def _value(self, name: str, key: str, value: Any) -> Any:
        if key == "pos_weight":
            import torch

            return torch.tensor(float(value), device=self._model.device)
        if names_of(self._spec.type, name, key) and isinstance(value, str):
            return object_named(name, key, value)
        return tuple(value) if isinstance(value, list) else value


def similarity_arguments(spec: Model, loss: str) -> dict[str, Any]:
    """The function by which this loss compares, and a scale that suits it; {} where the default is right."""
    from sentence_transformers import util

    similarity = spec.similarity_name
    if similarity in {"", "maxsim"}:
        return {}
    pairwise = loss not in _OF_MATRICES
    functions = {
        "cosine": (util.cos_sim, util.pairwise_cos_sim),
        "dot": (util.dot_score, util.pairwise_dot_score),
        "euclidean": (util.euclidean_sim, util.pairwise_euclidean_sim),
        "manhattan": (util.manhattan_sim, util.pairwise_manhattan_sim),
    }
    arguments: dict[str, Any] = {"similarity_fct": functions[similarity][pairwise]}
    # Only cosines are small numbers; a scale for them would make the others larger still.
    if "scale" in loss_parameters(spec.type, loss):
        arguments["scale"] = 20.0 if similarity == "cosine" else 1.0
    return arguments


_OF_MATRICES = {
    "MultipleNegativesRankingLoss", "CachedMultipleNegativesRankingLoss",
    "MultipleNegativesSymmetricRankingLoss", "CachedMultipleNegativesSymmetricRankingLoss",
    "ContrastiveTensionLossInBatchNegatives", "GlobalOrthogonalRegularizationLoss",
    "SparseMultipleNegativesRankingLoss",
}  # fmt: skip
"""Losses that compare everything with everything; the others compare row by row."""


def set_activation(model: "AnyModel", chosen: ChosenLoss) -> None:
    """A reranker that learned scores gives them as they are: behind a sigmoid, large ones would be equal."""
    import torch

    if chosen.name not in _OWN_ACTIVATION:
        model.activation_fn = torch.nn.Identity()


@contextmanager
def _refusals(chosen: ChosenLoss) -> Iterator[None]:
    """What a class of the library refuses when it is built is something that the spec asks for."""
    try:
        yield
    except (ValueError, TypeError, AssertionError, OSError) as error:
        raise InvalidSpec(
            "LossRefused",
            f"{chosen.name} cannot be built: {str(error)[:500]}",
            "correct `loss`, or take another",
        ) from error
