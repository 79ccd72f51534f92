"""Everything that is no ranking: rows with a label, triplets, translations, paraphrases.

Each column is encoded once and sliced for smaller dimensions. The values are those of the library's evaluator
of the same name.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from finetune_api.evaluation import Evaluator
from finetune_trainer.data.inputs import LabelledData
from finetune_trainer.evaluation.encoding import Encoder, Role, check_dimensions
from finetune_trainer.evaluation.measures import (
    Classes,
    Correlation,
    Decisions,
    Divergence,
    Floats,
    Mean,
    Measure,
)
from finetune_trainer.evaluation.paraphrases import mine_paraphrases
from finetune_trainer.evaluation.scores import EvaluatorResult, Scores
from finetune_trainer.evaluation.units import unit_count
from finetune_trainer.evaluation.vectors import Vectors, all_scores, row_scores

MAX_SCORES = 2**26
"""Similarities held at a time."""

Measures = dict[str, Measure]
Details = dict[str, float]


@dataclass(frozen=True)
class Task:
    """One evaluator over one set."""

    encoder: Encoder
    data: LabelledData
    args: dict[str, Any]

    @property
    def labels(self) -> Floats:
        return np.array(self.data.labels, dtype=np.float64)


def measure_rows(task: Task, evaluator: Evaluator, *, dimensions: Sequence[int | None]) -> EvaluatorResult:
    """By embeddings. dimensions: the headline first."""
    roles = _ROLES.get(evaluator.type, ("any",))
    columns = [_column(task, n, roles[min(n, len(roles) - 1)]) for n in range(len(task.data.inputs))]
    check_dimensions(dimensions, columns[0])
    units = unit_count(task.data, evaluator)
    by_dimension: dict[int | None, Scores] = {}
    for n in dimensions:
        measures, details = _BY_EMBEDDINGS[evaluator.type](task, [column.at(n) for column in columns])
        by_dimension[n] = Scores(evaluator.name, n, units, measures, details)
    return EvaluatorResult(by_dimension, dimensions[0])


def _column(task: Task, number: int, role: Role) -> Vectors:
    return task.encoder.whole(task.data.inputs[number], role)


_ROLES: dict[str, tuple[Role, ...]] = {
    "Triplet": ("query", "document"),
    "Distillation": ("query", "document"),
}
"""Roles of the columns, the last one for all that follow; else they have none."""


def _triplet(task: Task, columns: list[Vectors]) -> tuple[Measures, Details]:
    """A row with several negatives counts by the share that it beats."""
    anchor, positive, *negatives = columns
    similarity, margin = task.encoder.similarity, float(task.args.get("margin", 0))
    best = row_scores(anchor, positive, similarity)
    beaten = [best > row_scores(anchor, n, similarity) + margin for n in negatives]
    return {"accuracy": Mean(_floats(torch.stack(beaten).double().mean(dim=0)))}, {}


def _similarity(task: Task, columns: list[Vectors]) -> tuple[Measures, Details]:
    predicted = _floats(row_scores(columns[0], columns[1], task.encoder.similarity))
    return correlations(predicted, task.labels), {}


def correlations(predicted: Floats, labels: Floats) -> Measures:
    return {
        "spearman": Correlation(predicted, labels, of_ranks=True),
        "pearson": Correlation(predicted, labels, of_ranks=False),
    }


def _binary(task: Task, columns: list[Vectors]) -> tuple[Measures, Details]:
    scores = _floats(row_scores(columns[0], columns[1], task.encoder.similarity))
    return decisions(scores, task.labels, "ap")


def decisions(scores: Floats, labels: Floats, precision: str) -> tuple[Measures, Details]:
    """precision: the name that average precision has."""
    names: Any = (precision, "f1", "precision", "recall", "accuracy", "mcc")
    return {n: Decisions(scores, labels, n) for n in names}, _thresholds(scores, labels)


def _thresholds(scores: Floats, labels: Floats) -> Details:
    from sentence_transformers.sentence_transformer.evaluation import (
        BinaryClassificationEvaluator as Library,
    )

    as_encoded: Any = scores.astype(np.float32)
    accuracy: Any = Library.find_best_acc_and_threshold(as_encoded, labels, True)
    f1: Any = Library.find_best_f1_and_threshold(as_encoded, labels, True)
    return {"accuracy_threshold": float(accuracy[-1]), "f1_threshold": float(f1[-1])}


def _mse(task: Task, columns: list[Vectors]) -> tuple[Measures, Details]:
    """Labels are a teacher's embeddings, cut as the model's own are; times 100, as in the library."""
    (column,) = columns
    assert isinstance(column.data, Tensor)  # noqa: S101 - MultiVector models have no MSE
    found = column.data.to_dense().double().cpu().numpy()
    teacher = np.array(task.data.labels, dtype=np.float64)[:, : found.shape[1]]
    return {"negative_mse": Mean(-100 * ((teacher - found) ** 2).mean(axis=1))}, {}


def _translation(task: Task, columns: list[Vectors]) -> tuple[Measures, Details]:
    """Whether the most similar text of the other language says what the right one says. By cosine."""
    sources, targets = (items.keys or items.ids for items in task.data.inputs)
    to_target = _finds_its_own(columns[0], columns[1], targets)
    to_source = _finds_its_own(columns[1], columns[0], sources)
    both = {"src2trg_accuracy": to_target, "trg2src_accuracy": to_source}
    mean = Mean((to_target + to_source) / 2)
    return {"mean_accuracy": mean, **{name: Mean(values) for name, values in both.items()}}, {}


def _finds_its_own(one: Vectors, other: Vectors, contents: Sequence[str]) -> Floats:
    step = max(1, MAX_SCORES // len(other))
    best: list[int] = []
    for first in range(0, len(one), step):
        scores = all_scores(one.picked(slice(first, first + step)), other, "cosine")
        best += scores.argmax(dim=1).tolist()
    return np.array([contents[b] == contents[n] for n, b in enumerate(best)], dtype=np.float64)


def _paraphrases(task: Task, columns: list[Vectors]) -> tuple[Measures, Details]:
    return mine_paraphrases(task.data, columns, task.args)


def _distillation(task: Task, columns: list[Vectors]) -> tuple[Measures, Details]:
    """Agreement with a teacher's scores: of one document a row over all rows, or of several within each."""
    query, *documents = columns
    found = np.stack([_floats(row_scores(query, d, task.encoder.similarity)) for d in documents], axis=1)
    teacher = np.array(task.data.labels, dtype=np.float64).reshape(len(found), -1)
    common = task.args.get("temperature", 1.0)
    of_student = float(task.args.get("student_temperature", common))
    of_teacher = float(task.args.get("teacher_temperature", common))
    if len(documents) == 1:
        divergence = Divergence(teacher[:, 0] / of_teacher, found[:, 0] / of_student, of_student**2)
        spearman = Correlation(found[:, 0], teacher[:, 0], of_ranks=True)
        return {"spearman": spearman, "negative_kl_divergence": divergence}, {}
    apart = _row_divergences(teacher / of_teacher, found / of_student) * of_student**2
    return {"spearman": Mean(_row_spearman(teacher, found)), "negative_kl_divergence": Mean(-apart)}, {}


def _row_divergences(teacher: Floats, student: Floats) -> Floats:
    from scipy.special import log_softmax

    log_teacher, log_student = log_softmax(teacher, axis=1), log_softmax(student, axis=1)
    apart: Floats = (np.exp(log_teacher) * (log_teacher - log_student)).sum(axis=1)
    return apart


def _row_spearman(teacher: Floats, student: Floats) -> Floats:
    """NaN, which does not count, for rows whose scores are all equal."""
    from scipy.stats import rankdata

    ranks = [rankdata(scores, axis=1) for scores in (teacher, student)]
    one, other = (r - r.mean(axis=1, keepdims=True) for r in ranks)
    spread = np.sqrt((one**2).sum(axis=1) * (other**2).sum(axis=1))
    found: Floats = np.full(len(spread), np.nan)
    np.divide((one * other).sum(axis=1), spread, out=found, where=spread > 0)
    return found


_BY_EMBEDDINGS: dict[str, Callable[[Task, list[Vectors]], tuple[Measures, Details]]] = {
    "Triplet": _triplet,
    "EmbeddingSimilarity": _similarity,
    "BinaryClassification": _binary,
    "MSE": _mse,
    "Translation": _translation,
    "ParaphraseMining": _paraphrases,
    "Distillation": _distillation,
}


def _floats(values: Tensor) -> Floats:
    return np.asarray(values.double().cpu().numpy(), dtype=np.float64)


def classes(scores: Floats, labels: Floats) -> tuple[Measures, Details]:
    """scores: (rows, classes)."""
    names: Any = ("f1_macro", "f1_micro", "f1_weighted")
    chosen, true = scores.argmax(axis=1), labels.astype(np.int64)
    return {n: Classes(chosen, true, n) for n in names}, {}
