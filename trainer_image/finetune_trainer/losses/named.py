"""Arguments that are objects in Python, by the names that a spec gives them."""

from collections.abc import Callable
from typing import Any

_DISTANCES = {"cosine": "COSINE_DISTANCE", "euclidean": "EUCLIDEAN", "manhattan": "MANHATTAN"}
_SCHEMES = (
    "NoWeightingScheme",
    "NDCGLoss1Scheme",
    "NDCGLoss2Scheme",
    "LambdaRankScheme",
    "NDCGLoss2PPScheme",
)

NAMED: dict[str, dict[str, tuple[str, ...]]] = {
    "Embedding": {
        **{f"Batch{kind}TripletLoss.distance_metric": ("cosine", "euclidean")
           for kind in ("All", "Hard", "HardSoftMargin", "SemiHard")},
        "ContrastiveLoss.distance_metric": tuple(_DISTANCES),
        "OnlineContrastiveLoss.distance_metric": tuple(_DISTANCES),
        "TripletLoss.distance_metric": tuple(_DISTANCES),
    },
    "Reranker": {"LambdaLoss.weighting_scheme": _SCHEMES, "*.activation_fn": ("Identity", "Sigmoid")},
    "Sparse": {"SparseTripletLoss.distance_metric": tuple(_DISTANCES)},
    "MultiVector": {},
}  # fmt: skip
"""Model type -> "loss.parameter" ("*": of every loss) -> names."""


def names_of(model_type: str, loss: str, parameter: str) -> tuple[str, ...]:
    """The names that this parameter takes; none: it takes no object by name."""
    named = NAMED[model_type]
    return named.get(f"{loss}.{parameter}") or named.get(f"*.{parameter}", ())


def object_named(loss: str, parameter: str, name: str) -> Any:
    """The library's object of this name."""
    match parameter:
        case "distance_metric":
            return _distance(loss, name)
        case "weighting_scheme":
            from sentence_transformers.cross_encoder import losses

            return getattr(losses, name)()
        case _:
            import torch

            return getattr(torch.nn, name)()


def _distance(loss: str, name: str) -> Callable[..., Any]:
    from sentence_transformers.sentence_transformer import losses

    found: Callable[..., Any]
    if loss.startswith("Batch"):
        found = getattr(losses.BatchHardTripletLossDistanceFunction, f"{name}_distance")
    elif "Triplet" in loss:
        found = getattr(losses.TripletDistanceMetric, name.upper())
    else:
        found = getattr(losses.SiameseDistanceMetric, _DISTANCES[name])
    return found
