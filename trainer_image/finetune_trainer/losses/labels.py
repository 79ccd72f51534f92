"""Labels as a loss wants them: whole numbers for classes, else numbers of one precision."""

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from finetune_trainer.data.inputs import LABEL, TrainingSet
from finetune_trainer.errors import InvalidData
from finetune_trainer.losses.chosen import ChosenLoss
from finetune_trainer.losses.shapes import is_list, label_column

if TYPE_CHECKING:
    import datasets


def prepare_rows(data: TrainingSet, chosen: ChosenLoss) -> "tuple[datasets.Dataset, int]":
    """The rows with labels of the type that the loss computes with, and the number of classes (0 for others).

    Raises InvalidData when all labels are the same: nothing could be learned from them.
    """
    import datasets

    rows = data.rows.with_format(None)
    if chosen.label is None:
        return rows, 0
    labels = label_column(data)
    if not is_list(labels) and len(labels.unique()) < 2:
        raise InvalidData(
            "LabelsAllEqual",
            f"labels of train set {data.name!r} must differ, found {labels[0].as_py()!r} in all {len(labels)}"
            " rows",
            "add rows with other labels",
        )
    classes = pc.max(labels).as_py() + 1 if chosen.label == "Class" else 0
    column = datasets.Dataset.from_dict({LABEL: labels.cast(_type(chosen.label, labels.type))})
    return datasets.concatenate_datasets([rows.remove_columns(LABEL), column], axis=1), int(classes)


def _type(kind: str, found: pa.DataType) -> pa.DataType:
    """Whole numbers for classes, single precision for the rest, in lists where there are lists."""
    if hasattr(found, "value_type"):
        return pa.list_(_type(kind, found.value_type))
    return pa.int64() if kind == "Class" else pa.float32()
