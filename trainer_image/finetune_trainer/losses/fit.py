"""Whether a chosen loss can be computed with the model."""

from finetune_trainer.data.inputs import TrainingSet
from finetune_trainer.errors import InvalidData, InvalidSpec
from finetune_trainer.losses.chosen import ChosenLoss, ModelFacts
from finetune_trainer.losses.shapes import label_column


def check_model(chosen: ChosenLoss, facts: ModelFacts, data: TrainingSet, where: str) -> None:
    """Raises InvalidSpec for a loss that cannot be computed with this model, InvalidData for labels that it
    cannot learn. where: the loss's path in the spec.
    """
    _check_kind(chosen, facts, where)
    _check_dimensions(chosen, facts, where)
    if facts.type == "Reranker":
        _check_outputs(chosen, facts, data, where)
    if chosen.label == "Vector":
        _check_vectors(chosen, facts, data)


def _check_kind(chosen: ChosenLoss, facts: ModelFacts, where: str) -> None:
    mini_batches = chosen.args.get("use_mini_batched_version", True)
    if facts.static and chosen.cached and mini_batches:
        raise InvalidSpec(
            "CachedLossOnStatic",
            f"`{where}.name` must be a loss that is not cached for a model with static embeddings, whose"
            f" batches cannot be cut; found {chosen.name}",
            f"take {chosen.name.removeprefix('Cached')}" if "Cached" in chosen.name else "take another loss",
        )
    if chosen.name == "CSRLoss" and not facts.csr:
        raise InvalidSpec(
            "LossDoesNotFitModel",
            f"`{where}.name` is CSRLoss, which needs a model with a SparseAutoEncoder; this one has none",
            "take SpladeLoss or CachedSpladeLoss",
        )


def _check_dimensions(chosen: ChosenLoss, facts: ModelFacts, where: str) -> None:
    if facts.width and chosen.dims and chosen.dims[0] > facts.width:
        raise InvalidSpec(
            "DimensionTooLarge",
            f"`{where}.matryoshkaDims` must be at most the model's {facts.width} dimensions, found"
            f" {chosen.dims[0]}",
            f"take {facts.width} or less",
        )
    if chosen.dims and not chosen.traits.sliceable:
        raise InvalidSpec(
            "LossDoesNotFitModel",
            f"`{where}.matryoshkaDims` must be left out: {chosen.innermost} needs the whole vector",
            "leave it out, or take another loss",
        )


def _check_outputs(chosen: ChosenLoss, facts: ModelFacts, data: TrainingSet, where: str) -> None:
    if facts.outputs > 1 and chosen.name != "CrossEntropyLoss":
        raise InvalidSpec(
            "LossDoesNotFitModel",
            f"`{where}.name` must be CrossEntropyLoss for a reranker with {facts.outputs} classes, found"
            f" {chosen.name}",
            "take CrossEntropyLoss, or a model with one score",
        )
    if chosen.name != "CrossEntropyLoss":
        return
    classes = int(label_column(data).to_numpy(zero_copy_only=False).max()) + 1
    if classes > facts.outputs:
        raise InvalidSpec(
            "LossDoesNotFitModel",
            f"CrossEntropyLoss needs a reranker with a score for each class: the labels of train set"
            f" {data.name!r} go to {classes - 1}, the model gives {facts.outputs}",
            f"set `model.head` to a Classifier with labels: {classes}, or take another loss",
        )


def _check_vectors(chosen: ChosenLoss, facts: ModelFacts, data: TrainingSet) -> None:
    first = label_column(data)[0].as_py()
    nested = isinstance(first[0], list)
    length, wanted = len(first[0] if nested else first), chosen.args.get("projection_dim") or facts.width
    if wanted and length != wanted:
        raise InvalidData(
            "VectorLength",
            f"labels of train set {data.name!r} must be embeddings of {wanted} dimensions, as the model's,"
            f" found {length}",
            f"set `projection_dim` in the arguments of the loss to {length}",
        )
    if nested and len(first) != len(data.input_columns):
        raise InvalidData(
            "VectorLength",
            f"labels of train set {data.name!r} must hold one embedding for each of the"
            f" {len(data.input_columns)} input columns, found {len(first)}",
            "correct the label column",
        )
