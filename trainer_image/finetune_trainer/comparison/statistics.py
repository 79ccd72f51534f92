"""How far the gain can be trusted: a paired bootstrap over clusters of units, BCa.

Queries that share a relevant document, or rows that share content, are not independent: a model that learns a
document gains on all of them. So clusters are drawn, not units, each stratum (a data set of NanoBEIR) with as
many as it has; and the metric is computed anew on each draw, thresholds and ranks included. The interval
covers the choice of units, not the training seed.

Sources: Efron, "Better Bootstrap Confidence Intervals", JASA 82 (1987), for BCa; Sakai, "Evaluating
Evaluation Metrics based on the Bootstrap", SIGIR 2006, for its use on retrieval metrics; Field and Welsh,
"Bootstrapping clustered data", JRSS B 69 (2007), for drawing clusters.
Coverage of the 95 % interval in 2,000 simulations with skewed gains of which 4 queries of a cluster correlate
by 0.7: 0.93 with 75 clusters, 0.88 with 30; drawing single queries covers 0.77 and 0.74.
Of metrics that are no mean, in 600 simulations with skewed labels and 30, 75, 150 clusters of 4 rows:
Spearman's correlation 0.96, 0.93, 0.94; average precision 0.92, 0.91, 0.93; F1 at its best threshold 0.91,
0.94, 0.93.
One interval of 2,000 rows takes 1 s (a mean) to 5 s (F1, Spearman) of one busy core.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from finetune_trainer.evaluation.measures import Floats, Labels, Measure, value_of

DRAWS = 10_000
"""Fewer only where that many would take minutes; each interval says how many it has."""
SEED = 20_070_607
"""Fixed: the same scores always give the same interval."""
CONFIDENCE = 0.95
LOW_POWER = 100
"""Below so many clusters an interval is wide and its ends uncertain."""
TIE = 1e-9
"""Scores of a unit this close are one."""
_FEWEST_DRAWS = 1_000
_FEWEST_FOLDS = 200
_MOST_WORK = 2**29
"""Numbers that all draws of one interval may take: some 10 s of one core."""
_MAX_NUMBERS = 2**17
"""Numbers held at a time."""
_MOST_UNDEFINED = 0.1
"""Share of the draws that may leave the metric undefined; with more there is no interval."""

Shares = Floats | None


@dataclass(frozen=True)
class Interval:
    """The gain and the ends of its 95 % interval.

    method: BCa; Percentile where BCa is not defined (every draw on one side); Degenerate where all draws are
    equal and low = high says only that nothing varied.
    """

    gain: float
    low: float
    high: float
    clusters: int
    draws: int
    method: Literal["BCa", "Percentile", "Degenerate"]


@dataclass(frozen=True)
class Comparison:
    """Queries or rows that the tuned model answers better, as well, and worse."""

    wins: int
    ties: int
    losses: int


def compare(base: Floats, tuned: Floats) -> Comparison:
    """Count wins, ties and losses. base, tuned: (units,), same order; NaN counts as a tie."""
    gains = tuned - base
    wins, losses = int((gains > TIE).sum()), int((gains < -TIE).sum())
    return Comparison(wins, len(gains) - wins - losses, losses)


def gain_interval(
    base: Measure,
    tuned: Measure,
    labels: Labels,
    *,
    strata: Labels | None = None,
    draws: int | None = None,
    seed: int = SEED,
) -> Interval | None:
    """95 % interval of the gain; None where there is nothing to draw, or most draws are undefined.

    base, tuned: the same metric over the same units; labels: (units,) from `clusters`; strata: (units,), each
    cluster inside one; every stratum needs two clusters to vary. draws: as many as fit, unless given.
    """
    paired = _Paired(base, tuned, labels, _strata_of_clusters(labels, strata))
    if paired.is_fixed:
        return None
    gain = value_of(tuned, len(labels)) - value_of(base, len(labels))
    drawn = np.concatenate(list(paired.draw(draws or _affordable(paired.width), seed)))
    defined = drawn[np.isfinite(drawn)]
    if len(defined) < (1 - _MOST_UNDEFINED) * len(drawn):
        return None
    facts = (paired.clusters, len(defined))
    if np.ptp(defined) <= TIE:
        return Interval(gain, gain, gain, *facts, "Degenerate")
    tails = np.array([(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    shares = _bca_shares(tails, defined, gain, paired.deviations())
    low, high = np.quantile(defined, tails if shares is None else shares)
    return Interval(gain, float(low), float(high), *facts, "BCa" if shares is not None else "Percentile")


def _affordable(width: int) -> int:
    return int(np.clip(_MOST_WORK // width, _FEWEST_DRAWS, DRAWS))


def _strata_of_clusters(labels: Labels, strata: Labels | None) -> Labels:
    """(clusters,) stratum of every cluster."""
    found = np.zeros(int(labels.max()) + 1, dtype=np.int64)
    if strata is not None:
        found[labels] = strata
    return found


@dataclass(frozen=True)
class _Paired:
    """The gain as a function of how often each cluster counts. strata: (clusters,)."""

    base: Measure
    tuned: Measure
    labels: Labels
    strata: Labels

    @property
    def clusters(self) -> int:
        return len(self.strata)

    @property
    def width(self) -> int:
        return self.base.width + self.tuned.width + len(self.labels) + self.clusters

    @property
    def is_fixed(self) -> bool:
        """Whether every draw would be the data themselves."""
        return bool((np.bincount(self.strata) < 2).all())

    def gains(self, counts: Floats) -> Floats:
        """(draws, clusters) -> (draws,)."""
        weights = counts[:, self.labels]
        return self.tuned(weights) - self.base(weights)

    def draw(self, draws: int, seed: int) -> Iterator[Floats]:
        random = np.random.default_rng(seed)
        step = max(1, _MAX_NUMBERS // max(len(self.labels), self.width // 4))
        for first in range(0, draws, step):
            yield self.gains(self._drawn_counts(random, min(step, draws - first)))

    def _drawn_counts(self, random: np.random.Generator, draws: int) -> Floats:
        counts = np.zeros((draws, self.clusters))
        for stratum in np.unique(self.strata):
            members = np.flatnonzero(self.strata == stratum)
            taken = random.integers(len(members), size=(draws, len(members)))
            taken += len(members) * np.arange(draws)[:, None]
            found = np.bincount(taken.ravel(), minlength=draws * len(members))
            counts[:, members] = found.reshape(draws, len(members))
        return counts

    def deviations(self) -> Floats:
        """What leaving out each cluster does, inside its stratum; above a size, each fold of clusters."""
        folds = min(self.clusters, max(_FEWEST_FOLDS, _MOST_WORK // (8 * self.width)))
        fold_of = np.arange(self.clusters) * folds // self.clusters
        step = max(1, _MAX_NUMBERS // max(len(self.labels), self.width // 4))
        left_out = [
            self.gains((fold_of != np.arange(first, min(first + step, folds))[:, None]).astype(np.float64))
            for first in range(0, folds, step)
        ]
        found = np.concatenate(left_out)
        strata = self.strata[np.searchsorted(fold_of, np.arange(folds))]
        return np.concatenate([np.mean(part) - part for part in (found[strata == s] for s in set(strata))])


def _bca_shares(tails: Floats, drawn: Floats, gain: float, deviations: Floats) -> Shares:
    """Shares of the drawn distribution that are the interval's ends; None where they are not defined."""
    from scipy.special import ndtr, ndtri

    below = ((drawn < gain).mean() + (drawn <= gain).mean()) / 2
    bias = ndtri(below)
    spread = float((deviations**2).sum())
    if not np.isfinite(bias) or not np.isfinite(spread) or spread == 0:
        return None
    acceleration = float((deviations**3).sum()) / (6 * spread**1.5)
    shifted = bias + ndtri(tails)
    room = 1 - acceleration * shifted
    if (room <= 0).any():
        return None
    return np.asarray(ndtr(bias + shifted / room), dtype=np.float64)
