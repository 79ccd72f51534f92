"""Which loss a train set gets: the spec's, or what suits the model and the data; and whether it fits them."""

from collections.abc import Sequence

from finetune_api.arguments import check_loss_arguments
from finetune_api.loss import Loss
from finetune_api.loss_columns import wanted_text
from finetune_api.loss_defaults import DefaultLoss, default_loss, inner_default
from finetune_api.loss_table import LOSSES, OVER_LAYERS, LabelKind, LossTraits, inner_names
from finetune_api.spec import FinetuneSpec
from finetune_trainer.data.inputs import TrainingSet
from finetune_trainer.errors import InvalidData, InvalidSpec
from finetune_trainer.losses.chosen import ChosenLoss, ModelFacts
from finetune_trainer.losses.fit import check_model
from finetune_trainer.losses.shapes import found_text, has_lists, label_kinds, shape_of
from finetune_trainer.training.checks import refusals_as_invalid


def choose_loss(data: TrainingSet, facts: ModelFacts, spec: FinetuneSpec) -> ChosenLoss:
    """Raises InvalidData when data and loss do not fit, InvalidSpec when loss and model do not."""
    chosen = choose_by_data(data, facts, spec)
    check_model(chosen, facts, data, _place(data))
    return chosen


def _place(data: TrainingSet) -> str:
    """Path of the set's loss in the spec."""
    return f"data.train[{data.name}].loss" if data.loss else "loss"


def choose_by_data(data: TrainingSet, facts: ModelFacts, spec: FinetuneSpec) -> ChosenLoss:
    """The same while the model is not loaded: of the facts, only the type has to be known."""
    loss = data.loss or spec.loss
    kinds = label_kinds(data)
    names = _names(data, loss, facts, kinds)
    traits = LOSSES[facts.type][names.inner or names.name]
    chosen = ChosenLoss(
        data=data.name,
        name=names.name,
        inner=names.inner,
        traits=traits,
        label=_check_data(data, names.inner or names.name, traits, kinds),
        lists_columns=traits.lists and not has_lists(data),
        args=dict(loss.args),
        inner_args=dict(loss.inner.args) if loss.inner else {},
        dims=tuple(loss.matryoshka_dims) if loss.matryoshka_dims else None,
        guide=loss.guide,
        note=_note(data, loss, names, kinds),
    )
    with refusals_as_invalid():
        check_loss_arguments(f"{_place(data)}.args", chosen.args, facts.type, chosen.name)
    return chosen


def _names(data: TrainingSet, loss: Loss, facts: ModelFacts, kinds: Sequence[LabelKind]) -> DefaultLoss:
    if loss.name is None:
        return _default(data, facts, kinds)
    if not LOSSES[facts.type][loss.name].wrapper or loss.inner is not None:
        return DefaultLoss(loss.name, loss.inner.name if loss.inner else None)
    inner = inner_default(facts.type, shape_of(data, kinds))
    if inner is None or inner not in inner_names(facts.type):
        raise _no_default(data, kinds, "loss.inner.name")
    cuts = facts.static or loss.name in OVER_LAYERS
    return DefaultLoss(loss.name, inner.removeprefix("Cached") if cuts else inner)


def _default(data: TrainingSet, facts: ModelFacts, kinds: Sequence[LabelKind]) -> DefaultLoss:
    shape = shape_of(data, kinds)
    found = default_loss(facts.type, shape, csr=facts.csr)
    if (
        facts.type == "Reranker"
        and found is not None
        and shape.inputs == 2
        and shape.label in {"Binary", "Class"}
    ):
        found = DefaultLoss(_of_outputs(shape.label, facts.outputs))
    if found is None:
        raise _no_default(data, kinds, "loss.name")
    return DefaultLoss(found.name.removeprefix("Cached"), found.inner) if facts.static else found


def _of_outputs(label: LabelKind | None, outputs: int) -> str:
    """A reranker with one score cannot tell classes; one with several has nothing else to learn."""
    if outputs > 1:
        return "CrossEntropyLoss"
    return "BinaryCrossEntropyLoss" if label == "Binary" else "MSELoss"


def _no_default(data: TrainingSet, kinds: Sequence[LabelKind], field_name: str) -> InvalidSpec:
    return InvalidSpec(
        "NoDefaultLoss",
        f"no loss suits train set {data.name!r} by itself: {found_text(data, kinds)}",
        f"set `{field_name}`",
    )


def _check_data(
    data: TrainingSet, name: str, traits: LossTraits, kinds: Sequence[LabelKind]
) -> LabelKind | None:
    """How the label is read. Raises InvalidData unless columns and label fit the loss."""
    label = next((kind for kind in kinds if kind in traits.labels), None)
    optional = traits.label_optional and not has_lists(data)
    missing = bool(traits.labels) and label is None and (bool(kinds) or not optional)
    if not _columns_fit(data, traits) or missing or (kinds and not traits.labels):
        raise InvalidData(
            "LossDoesNotFit",
            f"{name} takes {wanted_text(traits)}; train set {data.name!r} has {found_text(data, kinds)}",
            "name other columns, or another loss",
        )
    return label


def _columns_fit(data: TrainingSet, traits: LossTraits) -> bool:
    """A list of documents stands for two columns or more, and only some losses take one."""
    low, high = traits.inputs
    if has_lists(data):
        return traits.lists
    return low <= len(data.input_columns) <= high


def _note(data: TrainingSet, loss: Loss, names: DefaultLoss, kinds: Sequence[LabelKind]) -> str:
    if loss.name is not None and (loss.inner is not None or names.inner is None):
        return ""
    what = names.inner if loss.name is not None else names.name
    over = f" over {names.inner}" if loss.name is None and names.inner else ""
    return (
        f"loss of train set {data.name!r}: {what}{over} by default, because it has {found_text(data, kinds)}"
    )
