"""Columns of a train set against the loss that the spec names for it, before any data is looked at."""

from finetune_api.data import TrainSet
from finetune_api.loss import Loss
from finetune_api.loss_defaults import WORDS
from finetune_api.loss_table import LOSSES, LossTraits
from finetune_api.refusals import Refused
from finetune_api.spec import FinetuneSpec


def check_columns(where: str, loss: Loss, train_set: TrainSet, spec: FinetuneSpec) -> None:
    """Raises Refused for columns that the named loss does not take, and a batch size that it cannot have.

    where: path of the loss in the spec. Hard negatives count with the columns that they will add.
    """
    name = loss.inner_name or loss.name
    if name is None or LOSSES[spec.model.type][name].wrapper:
        return
    traits = LOSSES[spec.model.type][name]
    _check_batch_size(traits, spec)
    columns = train_set.columns
    inputs, label = len(columns.inputs_by_name), columns.label is not None
    if spec.data.hard_negatives is not None and columns.is_unlabelled_pair:
        inputs += spec.data.hard_negatives.per_query
    if traits.pairs and columns.is_unlabelled_pair and inputs > 2:
        return
    as_list = traits.lists and inputs == 2
    low, high = traits.inputs
    columns_fit = as_list or low <= inputs <= high
    label_fits = (label or traits.label_optional) if traits.labels else not label
    if not columns_fit or not label_fits:
        raise Refused(
            "LossDoesNotFit",
            f"`{where}` is {name}, which takes {wanted_text(traits)}; train set {train_set.name!r} has"
            f" {inputs} input column{'s' if inputs > 1 else ''} and {'a' if label else 'no'} label",
            "name other columns, or another loss",
        )


def _check_batch_size(traits: LossTraits, spec: FinetuneSpec) -> None:
    size = spec.training.batch_size
    if traits.batches == "ByLabel" and (size < 4 or size % 2):
        raise Refused(
            "BatchSizeForClasses",
            f"`training.batchSize` must be even and at least 4 for losses of classes, found {size}",
            "change `training.batchSize`",
        )


def wanted_text(traits: LossTraits) -> str:
    """For people: `2 input columns and a label (0 or 1)`."""
    low, high = traits.inputs
    lists = " (or a query and a list of documents)" if traits.lists else ""
    columns = str(low) if low == high else f"{low} or more" if high > 3 else f"{low} to {high}"
    plural = "" if columns == "1" else "s"
    if not traits.labels:
        return f"{columns} input column{plural} and no label"
    label = " or ".join(WORDS[kind] for kind in traits.labels)
    optional = ", or no label" if traits.label_optional else ""
    if traits.pairs:
        optional = "), or a query, its answer and wrong ones (taken as pairs with 1 and 0"
    return f"{columns} input column{plural}{lists} and a label ({label}{optional})"
