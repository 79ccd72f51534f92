"""Labels as a loss wants them: whole numbers for classes, else numbers of one precision."""

from typing import TYPE_CHECKING, Any

from finetune_trainer.errors import InvalidData
from finetune_trainer.inputs import LABEL, TrainingSet
from finetune_trainer.losses.chosen import ChosenLoss

if TYPE_CHECKING:
    import datasets


def prepare_rows(data: TrainingSet, chosen: ChosenLoss) -> "tuple[datasets.Dataset, int]":
    """The rows with labels of the type that the loss computes with, and the number of classes (0 for others).

    Raises InvalidData when all labels are the same: nothing could be learned from them.
    """
    import datasets

    if chosen.label is None:
        return data.rows.with_format(None), 0
    rows = data.rows.with_format(None)
    labels = rows[LABEL][:]
    if chosen.label in {"Binary", "Class", "Unit", "Score"} and len(set(labels)) < 2:
        raise InvalidData(
            "LabelsAllEqual",
            f"labels of train set {data.name!r} must differ, found {labels[0]!r} in all {len(labels)} rows",
            "add rows with other labels",
        )
    classes = max(labels) + 1 if chosen.label == "Class" else 0
    features = datasets.Features({LABEL: _feature(chosen.label, labels[0])})
    column = datasets.Dataset.from_dict({LABEL: labels}, features=features)
    return datasets.concatenate_datasets([rows.remove_columns(LABEL), column], axis=1), classes


def _feature(kind: str, example: Any) -> Any:
    import datasets

    if kind == "Class":
        return datasets.Value("int64")
    number = datasets.Value("float32")
    if not isinstance(example, list):
        return number
    nested = isinstance(example[0], list)
    return datasets.List(datasets.List(number) if nested else number)
