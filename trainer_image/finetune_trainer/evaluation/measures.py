"""Metrics as functions of how often each unit (query, row, text) counts.

A bootstrap draws units with replacement; a unit drawn twice counts twice. Every metric here takes such counts
for many draws at once, and is exactly the metric of the table with its rows repeated: with all counts 1 it is
the value that the library's evaluator and scikit-learn give. Nothing here draws.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]
Flags = NDArray[np.bool_]

BinaryMetric = Literal["ap", "average_precision", "f1", "precision", "recall", "accuracy", "mcc"]
ClassMetric = Literal["f1_macro", "f1_micro", "f1_weighted"]


class Measure(Protocol):
    """One metric of one model."""

    @property
    def width(self) -> int:
        """Numbers that one draw takes: what the cost goes by."""
        ...

    def __call__(self, weights: Floats) -> Floats:
        """(draws, units) counts -> (draws,) values; NaN where a draw leaves the metric undefined."""
        ...

    def picked(self, units: Labels) -> "Measure":
        """The same metric of these units alone."""
        ...


def value_of(measure: Measure, units: int) -> float:
    """The metric of the data as they are."""
    return float(measure(np.ones((1, units)))[0])


@dataclass(frozen=True)
class Mean:
    """The mean over units; with strata (one a unit), the mean of the strata's means.

    values: (units,); a unit that is NaN does not count.
    """

    values: Floats
    strata: Labels | None = None

    @property
    def width(self) -> int:
        return len(self.values)

    def __call__(self, weights: Floats) -> Floats:
        if self.strata is None:
            return self._mean(weights, slice(None))
        means = [self._mean(weights, self.strata == s) for s in np.unique(self.strata)]
        return np.asarray(np.mean(means, axis=0), dtype=np.float64)

    def picked(self, units: Labels) -> "Mean":
        return Mean(self.values[units], None if self.strata is None else self.strata[units])

    def _mean(self, weights: Floats, units: slice | Flags) -> Floats:
        values, weights = self.values[units], weights[:, units]
        counts = np.isfinite(values)
        return ratio(weights @ np.where(counts, values, 0.0), weights @ counts.astype(np.float64))


@dataclass(frozen=True)
class Correlation:
    """Pearson's correlation of predicted values with labels, or of their ranks (Spearman's).

    Constant predictions say nothing: 0. Constant labels leave it undefined.
    """

    predicted: Floats
    labels: Floats
    of_ranks: bool

    @property
    def width(self) -> int:
        return 4 * len(self.labels) if self.of_ranks else 2 * len(self.labels)

    def __call__(self, weights: Floats) -> Floats:
        if self.of_ranks:
            predicted = _weighted_ranks(self._predicted_ties, weights)
            labels = _weighted_ranks(self._label_ties, weights)
        else:
            predicted = np.broadcast_to(self.predicted, weights.shape)
            labels = np.broadcast_to(self.labels, weights.shape)
        return _pearson(weights, predicted, labels)

    def picked(self, units: Labels) -> "Correlation":
        return Correlation(self.predicted[units], self.labels[units], self.of_ranks)

    @cached_property
    def _predicted_ties(self) -> "_Ties":
        return _Ties.of(self.predicted)

    @cached_property
    def _label_ties(self) -> "_Ties":
        return _Ties.of(self.labels)


@dataclass(frozen=True)
class _Ties:
    """Values in ascending order. order: (units,); first, last: of each place, ends of its equal values."""

    order: Labels
    first: Labels
    last: Labels

    @classmethod
    def of(cls, values: Floats) -> "_Ties":
        order = np.argsort(values, kind="stable")
        starts = np.flatnonzero(np.r_[True, np.diff(values[order]) != 0])
        ends = np.r_[starts[1:], len(values)] - 1
        sizes = ends - starts + 1
        return cls(order, np.repeat(starts, sizes), np.repeat(ends, sizes))


def _weighted_ranks(ties: _Ties, weights: Floats) -> Floats:
    """Average ranks as if every unit stood there as often as its weight says."""
    ordered = weights[:, ties.order]
    up_to = np.cumsum(ordered, axis=1)
    before = up_to[:, ties.first] - ordered[:, ties.first]
    ranks = np.empty_like(up_to)
    ranks[:, ties.order] = (before + up_to[:, ties.last] + 1) / 2
    return ranks


def _pearson(weights: Floats, one: Floats, other: Floats) -> Floats:
    total = weights.sum(axis=1, keepdims=True)
    one = one - np.einsum("ij,ij->i", weights, one)[:, None] / total
    other = other - np.einsum("ij,ij->i", weights, other)[:, None] / total
    weighted = weights * one
    covariance = np.einsum("ij,ij->i", weighted, other)
    spread_one = np.einsum("ij,ij->i", weighted, one)
    spread_other = np.einsum("ij,ij,ij->i", weights, other, other)
    constant = spread_one <= 1e-12 * total[:, 0]
    found = ratio(covariance, np.sqrt(spread_one * spread_other))
    return np.where(constant & (spread_other > 0), 0.0, found)


@dataclass(frozen=True)
class Decisions:
    """Pairs that belong together (label 1) or do not (0), told apart by a threshold on their scores.

    F1 and accuracy are those of the best threshold, chosen anew on every draw; precision, recall and mcc are
    those at the best threshold of F1. Average precision needs none.
    """

    scores: Floats
    labels: Floats
    metric: BinaryMetric

    @property
    def width(self) -> int:
        return 2 * len(self.labels)

    def __call__(self, weights: Floats) -> Floats:
        ordered = weights[:, self._ties.order[::-1]]
        taken = np.cumsum(ordered, axis=1)[:, self._ends]
        found = np.cumsum(ordered * self.labels[self._ties.order[::-1]], axis=1)[:, self._ends]
        return _BINARY[self.metric](found, taken)

    def picked(self, units: Labels) -> "Decisions":
        return Decisions(self.scores[units], self.labels[units], self.metric)

    @cached_property
    def _ties(self) -> _Ties:
        return _Ties.of(self.scores)

    @cached_property
    def _ends(self) -> Labels:
        """Places in descending order of scores after which a threshold can be."""
        return np.asarray(len(self.scores) - 1 - np.unique(self._ties.first)[::-1], dtype=np.int64)


def _average_precision(found: Floats, taken: Floats) -> Floats:
    """found: positives, taken: all pairs above each threshold, (draws, thresholds)."""
    gained = np.diff(found, axis=1, prepend=0.0)
    return ratio(np.einsum("ij,ij->i", gained, ratio(found, taken, 0.0)), found[:, -1])


def _best_f1(found: Floats, taken: Floats) -> tuple[Floats, Floats, Floats]:
    """The best F1 with what is found and taken at its threshold."""
    f1 = ratio(2 * found, taken + found[:, -1:], 0.0)
    best = f1.argmax(axis=1)[:, None]
    at_best = [np.take_along_axis(values, best, axis=1)[:, 0] for values in (f1, found, taken)]
    return at_best[0], at_best[1], at_best[2]


def _f1(found: Floats, taken: Floats) -> Floats:
    return np.where(found[:, -1] > 0, _best_f1(found, taken)[0], np.nan)


def _precision(found: Floats, taken: Floats) -> Floats:
    _, hits, chosen = _best_f1(found, taken)
    return ratio(hits, chosen)


def _recall(found: Floats, taken: Floats) -> Floats:
    return ratio(_best_f1(found, taken)[1], found[:, -1])


def _accuracy(found: Floats, taken: Floats) -> Floats:
    positives, total = found[:, -1], taken[:, -1]
    right = 2 * found - taken + (total - positives)[:, None]
    return ratio(np.maximum(right.max(axis=1), total - positives), total)


def _mcc(found: Floats, taken: Floats) -> Floats:
    _, hits, chosen = _best_f1(found, taken)
    positives, total = found[:, -1], taken[:, -1]
    wrong = chosen - hits
    covariance = hits * (total - positives - wrong) - wrong * (positives - hits)
    spread = np.sqrt(chosen * positives * (total - positives) * (total - chosen))
    defined = (positives > 0) & (positives < total)
    return np.where(defined, ratio(covariance, spread, 0.0), np.nan)


_BINARY = {
    "ap": _average_precision,
    "average_precision": _average_precision,
    "f1": _f1,
    "precision": _precision,
    "recall": _recall,
    "accuracy": _accuracy,
    "mcc": _mcc,
}


@dataclass(frozen=True)
class Classes:
    """F1 of the chosen class over classes: their mean, over all decisions, or weighted by their frequency."""

    chosen: Labels
    labels: Labels
    metric: ClassMetric

    @property
    def width(self) -> int:
        return len(self.labels)

    def __call__(self, weights: Floats) -> Floats:
        classes = np.union1d(self.chosen, self.labels)
        chosen = (self.chosen[:, None] == classes).astype(np.float64)
        true = (self.labels[:, None] == classes).astype(np.float64)
        right, sizes = weights @ (chosen * true), weights @ true
        f1 = ratio(2 * right, weights @ chosen + sizes)
        total = weights.sum(axis=1)
        if self.metric == "f1_micro":
            return ratio(right.sum(axis=1), total)
        if self.metric == "f1_macro":
            return np.asarray(np.nanmean(f1, axis=1), dtype=np.float64)
        return ratio(np.nansum(f1 * sizes, axis=1), total)

    def picked(self, units: Labels) -> "Classes":
        return Classes(self.chosen[units], self.labels[units], self.metric)


@dataclass(frozen=True)
class Divergence:
    """Minus the Kullback-Leibler divergence between teacher and student over all rows, as one distribution.

    teacher, student: (rows,) scores, already divided by their temperatures; scale: what the result is
    multiplied with.
    """

    teacher: Floats
    student: Floats
    scale: float

    @property
    def width(self) -> int:
        return len(self.teacher)

    def __call__(self, weights: Floats) -> Floats:
        teacher, student = self.teacher - self.teacher.max(), self.student - self.student.max()
        masses = np.exp(teacher)
        of_teacher, of_student = weights @ masses, weights @ np.exp(student)
        apart = ratio(weights @ (masses * (teacher - student)), of_teacher)
        found: Floats = -self.scale * (apart - np.log(of_teacher) + np.log(of_student))
        return found

    def picked(self, units: Labels) -> "Divergence":
        return Divergence(self.teacher[units], self.student[units], self.scale)


def ratio(above: Floats, below: Floats, undefined: float = np.nan) -> Floats:
    """Above / below; `undefined` where below is 0."""
    result: Floats = np.full(np.broadcast_shapes(above.shape, below.shape), undefined)
    np.divide(above, below, out=result, where=below != 0)
    return result
