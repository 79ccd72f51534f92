"""The types of evaluators: which models and metrics each has, and how a number is called in status. Pure."""

import re
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Annotated, Literal

from pydantic import StringConstraints

EvaluatorType = Literal[
    "InformationRetrieval", "NanoBEIR", "Reranking", "Triplet", "EmbeddingSimilarity", "BinaryClassification",
    "MSE", "Translation", "ParaphraseMining", "Classification", "Correlation", "Distillation",
]  # fmt: skip

METRIC_PATTERN = r"^[a-z][a-z0-9_]*(@[1-9][0-9]{0,2})?$"

MetricName = Annotated[str, StringConstraints(pattern=METRIC_PATTERN, max_length=24)]
"""A metric of the evaluator's type, rankings with their cut-off below 1000: ndcg@10, spearman, ap."""

SIMILARITIES = ("cosine", "dot", "euclidean", "manhattan", "maxsim")


@dataclass(frozen=True)
class TypeFacts:
    """What holds for one type.

    models: `model.type` that it fits; metrics: all, those that end with @ take a cut-off; headline: the one
    shown unless the spec says another; ranks: whether it measures queries that rank documents; by_similarity:
    whether the model's similarity decides, and so stands in the names.
    """

    models: tuple[str, ...]
    metrics: tuple[str, ...]
    headline: str
    ranks: bool = False
    by_similarity: bool = True


_VECTORS = ("Embedding", "Sparse")
_ENCODERS = (*_VECTORS, "MultiVector")
_RANKING = ("accuracy@", "precision@", "recall@", "ndcg@", "mrr@", "map@")
_BINARY = ("f1", "precision", "recall", "accuracy", "mcc")
_CORRELATIONS = ("spearman", "pearson")

TYPES: dict[str, TypeFacts] = {
    "InformationRetrieval": TypeFacts(_ENCODERS, _RANKING, "ndcg@10", ranks=True),
    "NanoBEIR": TypeFacts((*_ENCODERS, "Reranker"), _RANKING, "ndcg@10", ranks=True),
    "Reranking": TypeFacts((*_ENCODERS, "Reranker"), (*_RANKING, "map"), "ndcg@10", ranks=True),
    "Triplet": TypeFacts(_ENCODERS, ("accuracy",), "accuracy"),
    "EmbeddingSimilarity": TypeFacts(_VECTORS, _CORRELATIONS, "spearman"),
    "BinaryClassification": TypeFacts(_VECTORS, ("ap", *_BINARY), "ap"),
    "MSE": TypeFacts(_VECTORS, ("negative_mse",), "negative_mse", by_similarity=False),
    "Translation": TypeFacts(
        _VECTORS,
        ("mean_accuracy", "src2trg_accuracy", "trg2src_accuracy"),
        "mean_accuracy",
        by_similarity=False,
    ),
    "ParaphraseMining": TypeFacts(
        ("Embedding",),
        ("average_precision", "f1", "precision", "recall"),
        "average_precision",
        by_similarity=False,
    ),
    "Classification": TypeFacts(
        ("Reranker",),
        ("average_precision", *_BINARY, "f1_macro", "f1_micro", "f1_weighted"),
        "average_precision",
    ),
    "Correlation": TypeFacts(("Reranker",), _CORRELATIONS, "spearman"),
    "Distillation": TypeFacts(("MultiVector",), ("spearman", "negative_kl_divergence"), "spearman"),
}
"""Higher is better in every metric: what the library has as an error is here with a minus before it."""


def metric_name(
    evaluator: str, similarity: str, metric: str, *, dimension: int | None = None, group: str | None = None
) -> str:
    """`<evaluator>_<similarity>_<metric>`, the name in status and Report; a part that is "" is left out.

    dimension: only of others than the headline's; group: only of a part of the data.
    """
    stem = "_".join(part for part in (evaluator, similarity, metric) if part)
    size = "" if dimension is None else f"_dim{dimension}"
    return f"{stem}{size}" + ("" if group is None else f"[{group}]")


@dataclass(frozen=True)
class NameParts:
    """What a name in status is made of; similarity: "" without one."""

    evaluator: str
    similarity: str
    metric: str
    dimension: int | None
    group: str | None


_NAME = re.compile(
    rf"(?P<evaluator>[^_]+)_(?:(?P<similarity>{'|'.join(SIMILARITIES)})_)?(?P<metric>.+?)"
    r"(?:_dim(?P<dimension>[0-9]+))?(?:\[(?P<group>.*)\])?",
    re.DOTALL,
)


def name_parts(name: str) -> NameParts:
    """The inverse of `metric_name`. Names of evaluators have no underscore."""
    found = _NAME.fullmatch(name)
    if found is None:
        return NameParts("", "", name, None, None)
    dimension = found["dimension"]
    return NameParts(
        found["evaluator"],
        found["similarity"] or "",
        found["metric"],
        int(dimension) if dimension else None,
        found["group"],
    )


def named_similarity(type_: str, model_similarity: str) -> str:
    """The similarity in names of this evaluator's metrics; "" where the model's does not decide."""
    return model_similarity if TYPES[type_].by_similarity else ""


def has_metric(type_: str, metric: str) -> bool:
    """Whether evaluators of this type have the metric."""
    return _family(metric) in TYPES[type_].metrics


def wrong_metric(type_: str, metric: str) -> str:
    """Why the metric does not fit, in words."""
    known = TYPES[type_].metrics
    close = get_close_matches(_family(metric), known, n=1) or get_close_matches(metric, known, n=1)
    if close and close[0].endswith("@"):
        guess = f"{close[0]}{metric.partition('@')[2] or 10}"
    else:
        guess = close[0] if close else ""
    meant = f"; did you mean {guess}?" if guess else ""
    shown = ", ".join(f"{m}<k>" if m.endswith("@") else m for m in known)
    return f"{type_} has {shown}; found {metric!r}{meant}"


def _family(metric: str) -> str:
    """`ndcg@` of `ndcg@10`."""
    return metric[: metric.index("@") + 1] if "@" in metric else metric


def cel_table(column: Literal["models", "metrics"]) -> str:
    """The table as a CEL map from type to list, so that the API server knows it too."""
    rows = (f"'{t}': {list(getattr(facts, column))!r}" for t, facts in TYPES.items())
    return "{" + ", ".join(rows) + "}"


def cel_has_metric(evaluator: str, metric: str) -> str:
    """CEL for `has_metric`: two expressions over an evaluator and a metric's text."""
    family = f"({metric}.contains('@') ? {metric}.split('@')[0] + '@' : {metric})"
    return f"{family} in {cel_table('metrics')}[{evaluator}.type]"
