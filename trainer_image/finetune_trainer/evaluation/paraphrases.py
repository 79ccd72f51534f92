"""Paraphrases among all texts of a set. Rows are pairs: paraphrases, or with label 0 texts that are none."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Any, Literal

import numpy as np

from finetune_trainer.comparison.clusters import clusters
from finetune_trainer.data.inputs import LabelledData
from finetune_trainer.evaluation.measures import Flags, Floats, Labels, Measure, ratio
from finetune_trainer.evaluation.vectors import Vectors, joined

TOP_K = 100
MAX_PAIRS = 500_000
"""Both as in the library."""


@dataclass(frozen=True)
class Texts:
    """The different texts of a set.

    places: of each text, its (column, row); pairs: paraphrases, as two texts each, lower first; families:
    (texts,) texts that paraphrases link.
    """

    places: list[tuple[int, int]]
    pairs: set[tuple[int, int]]
    families: Labels


@dataclass(frozen=True)
class MinedPairs:
    """Paraphrases found among all texts. Units are texts.

    first, second: (pairs,) texts of the pairs found, the most similar first; scores: theirs; right: whether
    they are paraphrases; wanted: (paraphrases,) one text of each pair that is to be found; families: (texts,)
    texts linked by paraphrases. Two copies of one family are strangers, so that a pair inside a family counts
    as often as its family was drawn, and any other as often as its texts meet.
    """

    first: Labels
    second: Labels
    scores: Floats
    right: Flags
    wanted: Labels
    families: Labels
    metric: Literal["average_precision", "f1", "precision", "recall"]

    @property
    def width(self) -> int:
        return 3 * len(self.scores) + len(self.families)

    def __call__(self, weights: Floats) -> Floats:
        same = self.families[self.first] == self.families[self.second]
        pairs = weights[:, self.first] * np.where(same, 1.0, weights[:, self.second])
        taken = np.cumsum(pairs, axis=1)[:, self._ends]
        found = np.cumsum(pairs * self.right, axis=1)[:, self._ends]
        wanted = weights[:, self.wanted].sum(axis=1)
        if self.metric == "average_precision":
            gained = np.diff(found, axis=1, prepend=0.0)
            return ratio(np.einsum("ij,ij->i", gained, ratio(found, taken, 0.0)), wanted)
        return self._at_best(found, taken, wanted)

    def picked(self, units: Labels) -> "MinedPairs":
        raise NotImplementedError("paraphrases are mined among all texts")

    def _at_best(self, found: Floats, taken: Floats, wanted: Floats) -> Floats:
        f1 = ratio(2 * found, taken + wanted[:, None], 0.0)
        best = f1.argmax(axis=1)[:, None]
        hits, chosen = (np.take_along_axis(v, best, axis=1)[:, 0] for v in (found, taken))
        if self.metric == "f1":
            return np.asarray(f1.max(axis=1), dtype=np.float64)
        return ratio(hits, chosen if self.metric == "precision" else wanted, 0.0)

    @cached_property
    def _ends(self) -> Labels:
        """Places after which the score changes."""
        return np.flatnonzero(np.r_[np.diff(self.scores) != 0, True])


def texts_of(data: LabelledData) -> Texts:
    """Equal content is one text."""
    numbers: dict[str, int] = {}
    places: list[tuple[int, int]] = []
    rows: list[list[int]] = [[] for _ in range(len(data))]
    for column, items in enumerate(data.inputs):
        for row, key in enumerate(items.keys or [f"{column}-{i}" for i in items.ids]):
            if key not in numbers:
                numbers[key] = len(numbers)
                places.append((column, row))
            rows[row].append(numbers[key])
    wanted = [True] * len(data) if data.labels is None else [float(label) == 1 for label in data.labels]
    pairs = {(min(r), max(r)) for r, is_one in zip(rows, wanted, strict=True) if is_one and min(r) < max(r)}
    return Texts(places, pairs, _families(pairs, len(places)))


def _families(pairs: set[tuple[int, int]], texts: int) -> Labels:
    """Texts that share a pair, which is its name, are linked."""
    names: list[set[str]] = [set() for _ in range(texts)]
    for pair in pairs:
        for text in pair:
            names[text].add(str(pair))
    return clusters([frozenset(n) for n in names])


def mine_paraphrases(
    data: LabelledData, columns: Sequence[Vectors], args: dict[str, Any]
) -> tuple[dict[str, Measure], dict[str, float]]:
    """Search every text among all others. By cosine, as the library does."""
    from sentence_transformers.util import paraphrase_mining_embeddings

    texts = texts_of(data)
    pairs = _closed(texts) if args.get("add_transitive_closure", False) else texts.pairs
    starts = np.cumsum([0, *(len(c) for c in columns)])
    embeddings: Any = joined(columns).picked([int(starts[c]) + row for c, row in texts.places]).data
    found = paraphrase_mining_embeddings(
        embeddings, top_k=args.get("top_k", TOP_K), max_pairs=args.get("max_pairs", MAX_PAIRS)
    )
    table = np.array(found, dtype=np.float64).reshape(-1, 3)
    first, second = (table[:, n].astype(np.int64) for n in (1, 2))
    right = np.array(
        [(min(a, b), max(a, b)) in pairs for a, b in zip(first, second, strict=True)], dtype=bool
    )
    wanted = np.array([a for a, _ in sorted(pairs)], dtype=np.int64)
    names: Any = ("average_precision", "f1", "precision", "recall")
    measures: dict[str, Measure] = {
        n: MinedPairs(first, second, table[:, 0], right, wanted, texts.families, n) for n in names
    }
    return measures, {"pairs_found": float(len(table)), "paraphrases": float(len(pairs))}


def _closed(texts: Texts) -> set[tuple[int, int]]:
    """Every two texts of a family are paraphrases."""
    members: dict[int, list[int]] = {}
    for text, family in enumerate(texts.families.tolist()):
        members.setdefault(family, []).append(text)
    return {pair for family in members.values() for pair in combinations(family, 2)}
