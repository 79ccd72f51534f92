"""The loss that suits a type of model and a shape of data, for a spec that names none."""

from dataclasses import dataclass

from finetune_api.loss_table import LabelKind, ModelType

WORDS: dict[LabelKind, str] = {
    "Binary": "0 or 1",
    "Class": "whole numbers from 0 for classes",
    "Unit": "numbers from 0 to 1",
    "Score": "numbers",
    "Scores": "lists with a score for each document",
    "Margins": "by how much the first document beats each other",
    "Vector": "embeddings, all of one length",
}
"""What each kind of label holds, for people."""


@dataclass(frozen=True)
class Shape:
    """Of a train set. inputs: columns, the label not counted; label: the first of its kinds, None without."""

    inputs: int
    label: LabelKind | None = None


@dataclass(frozen=True)
class DefaultLoss:
    """name: the class; inner: that of the loss inside, if it is a wrapper."""

    name: str
    inner: str | None = None


_RANKING = {
    "Embedding": "CachedMultipleNegativesRankingLoss",
    "Reranker": "CachedMultipleNegativesRankingLoss",
    "Sparse": "SparseMultipleNegativesRankingLoss",
    "MultiVector": "CachedMultiVectorMultipleNegativesRankingLoss",
}
_SCORES = {
    "Embedding": "DistillKLDivLoss",
    "Reranker": "LambdaLoss",
    "Sparse": "SparseDistillKLDivLoss",
    "MultiVector": "MultiVectorDistillKLDivLoss",
}
_MARGINS = {
    "Embedding": "MarginMSELoss",
    "Reranker": "MarginMSELoss",
    "Sparse": "SparseMarginMSELoss",
    "MultiVector": "MultiVectorMarginMSELoss",
}


_OF_LABELS: dict[tuple[LabelKind, int], dict[str, str]] = {
    ("Binary", 1): {"Embedding": "BatchAllTripletLoss"},
    ("Class", 1): {"Embedding": "BatchAllTripletLoss"},
    ("Binary", 2): {
        "Embedding": "OnlineContrastiveLoss",
        "Sparse": "SparseCoSENTLoss",
        "Reranker": "BinaryCrossEntropyLoss",
    },
    ("Class", 2): {"Embedding": "SoftmaxLoss", "Reranker": "CrossEntropyLoss"},
    ("Unit", 2): {
        "Embedding": "CoSENTLoss",
        "Sparse": "SparseCoSENTLoss",
        "Reranker": "BinaryCrossEntropyLoss",
    },
    ("Score", 2): {"Embedding": "CoSENTLoss", "Sparse": "SparseCoSENTLoss", "Reranker": "MSELoss"},
    **{("Vector", n): {"Embedding": "MSELoss", "Sparse": "SparseMSELoss"} for n in (1, 2)},
}


def default_loss(model_type: ModelType, shape: Shape, *, csr: bool = False) -> DefaultLoss | None:
    """None when no loss suits the shape. csr: whether a sparse model is a SparseAutoEncoder."""
    name = inner_default(model_type, shape)
    if name is None or model_type != "Sparse" or name == "SparseMSELoss":
        return DefaultLoss(name) if name else None
    return DefaultLoss("CSRLoss" if csr else "CachedSpladeLoss", name)


def inner_default(model_type: ModelType, shape: Shape) -> str | None:
    """The loss alone, or inside the wrapper that a sparse model needs."""
    match shape.label, shape.inputs:
        case None, 1:
            return "ContrastiveTensionLossInBatchNegatives" if model_type == "Embedding" else None
        case None, _:
            return _RANKING[model_type]
        case "Scores", _:
            return _SCORES[model_type]
        case "Margins", _:
            return _MARGINS[model_type]
        case label, inputs:
            return _OF_LABELS.get((label, inputs), {}).get(model_type)


def possible_defaults(model_type: ModelType, inputs: int, *, label: bool) -> list[DefaultLoss]:
    """Every default for so many columns, while the values of the label are not known yet."""
    kinds: list[LabelKind | None] = [*WORDS] if label else [None]
    found = (default_loss(model_type, Shape(inputs, k), csr=csr) for k in kinds for csr in (False, True))
    return list(dict.fromkeys(d for d in found if d is not None))
