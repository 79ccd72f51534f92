"""What each loss of the library is for: the kind of model, the shape of its data, and how batches are drawn.

Names alone do not tell: MSELoss is one class for an embedding model and another one for a reranker.
"""

from dataclasses import dataclass
from typing import Literal

ModelType = Literal["Embedding", "Reranker", "Sparse", "MultiVector"]

LabelKind = Literal["Binary", "Class", "Unit", "Score", "Scores", "Margins", "Vector"]
"""Of the label column: 0 or 1; a whole number for a class; a number from 0 to 1; any number; a list with a
score for each document; by how much the first document beats each other, a list or for one other a number;
a teacher's embedding. A column may be of several kinds: 0 and 1 are classes and numbers too."""
Batches = Literal["Plain", "Unique", "ByLabel"]
"""Unique: no content twice in a batch, since each row's documents are negatives of the others.
ByLabel: several classes in a batch, several rows of each."""

MANY = 33
"""Columns at most: a query, and 32 documents."""


@dataclass(frozen=True)
class LossTraits:
    """One loss of one kind of model.

    inputs: fewest and most input columns, the label not counted. labels: kinds of label that it takes; empty:
    none. label_optional: it takes rows without label too. cached: encodes the batch in mini-batches, twice.
    wrapper: it stands around an inner loss. alone: it can stand without a wrapper. sliceable: can be taken at
    fewer dimensions (Matryoshka). lists: wants the documents of a row as a list. pairs: a row of query,
    positive and negatives is taken apart into pairs, labelled 1 and 0.
    """

    inputs: tuple[int, int]
    labels: tuple[LabelKind, ...] = ()
    label_optional: bool = False
    batches: Batches = "Plain"
    cached: bool = False
    wrapper: bool = False
    alone: bool = True
    sliceable: bool = True
    lists: bool = False
    pairs: bool = False


def _wrapper(*, cached: bool = False) -> LossTraits:
    return LossTraits((1, MANY), wrapper=True, cached=cached)


_RANKING = LossTraits((2, MANY), batches="Unique")
_CACHED_RANKING = LossTraits((2, MANY), batches="Unique", cached=True)
_BY_CLASS = LossTraits((1, 1), ("Class",), batches="ByLabel")
_SIMILARITY = LossTraits((2, 2), ("Score",))
_YES_OR_NO = LossTraits((2, 2), ("Binary",))
_TRIPLET = LossTraits((3, 3))
_TEACHER_SCORES = LossTraits((3, MANY), ("Scores", "Margins"))
_TEACHER_RANKS = LossTraits((3, MANY), ("Scores",))
_TEACHER_VECTORS = LossTraits((1, MANY), ("Vector",))
_LISTS = LossTraits((3, MANY), ("Scores",), label_optional=True, lists=True)


def _inner(traits: LossTraits) -> LossTraits:
    """The same for a sparse model, whose losses need a regulariser around them."""
    return LossTraits(traits.inputs, traits.labels, batches=traits.batches, alone=False)


LOSSES: dict[ModelType, dict[str, LossTraits]] = {
    "Embedding": {
        "MultipleNegativesRankingLoss": _RANKING,
        "CachedMultipleNegativesRankingLoss": _CACHED_RANKING,
        "MultipleNegativesSymmetricRankingLoss": LossTraits((2, 2), batches="Unique"),
        "CachedMultipleNegativesSymmetricRankingLoss": LossTraits((2, 2), batches="Unique", cached=True),
        "GISTEmbedLoss": LossTraits((2, 3), batches="Unique"),
        "CachedGISTEmbedLoss": _CACHED_RANKING,
        "MegaBatchMarginLoss": LossTraits((2, 2), batches="Unique", cached=True),
        "TripletLoss": _TRIPLET,
        "BatchAllTripletLoss": _BY_CLASS,
        "BatchHardTripletLoss": _BY_CLASS,
        "BatchHardSoftMarginTripletLoss": _BY_CLASS,
        "BatchSemiHardTripletLoss": _BY_CLASS,
        "ContrastiveLoss": _YES_OR_NO,
        "OnlineContrastiveLoss": _YES_OR_NO,
        "CoSENTLoss": _SIMILARITY,
        "AnglELoss": _SIMILARITY,
        "CosineSimilarityLoss": _SIMILARITY,
        "SoftmaxLoss": LossTraits((2, 2), ("Class",), sliceable=False),
        "MSELoss": _TEACHER_VECTORS,
        "EmbedDistillLoss": _TEACHER_VECTORS,
        "MarginMSELoss": _TEACHER_SCORES,
        "DistillKLDivLoss": _TEACHER_RANKS,
        "ContrastiveTensionLoss": LossTraits((2, 2), ("Binary",), label_optional=True, sliceable=False),
        "ContrastiveTensionLossInBatchNegatives": LossTraits((1, 1), batches="Unique", sliceable=False),
        "DenoisingAutoEncoderLoss": LossTraits((2, 2), sliceable=False),
        "GlobalOrthogonalRegularizationLoss": LossTraits((1, MANY), sliceable=False),
        "MatryoshkaLoss": _wrapper(),
        "AdaptiveLayerLoss": _wrapper(),
        "Matryoshka2dLoss": _wrapper(),
    },
    "Reranker": {
        "BinaryCrossEntropyLoss": LossTraits((2, 2), ("Unit",), pairs=True),
        "CrossEntropyLoss": LossTraits((2, 2), ("Class",)),
        "MSELoss": _SIMILARITY,
        "MarginMSELoss": _TEACHER_SCORES,
        "MultipleNegativesRankingLoss": _RANKING,
        "CachedMultipleNegativesRankingLoss": _CACHED_RANKING,
        "LambdaLoss": _LISTS,
        "ListNetLoss": _LISTS,
        "ListMLELoss": _LISTS,
        "PListMLELoss": _LISTS,
        "RankNetLoss": _LISTS,
        "ADRMSELoss": _LISTS,
    },
    "Sparse": {
        "SpladeLoss": _wrapper(),
        "CachedSpladeLoss": _wrapper(cached=True),
        "CSRLoss": _wrapper(),
        "SparseMSELoss": _TEACHER_VECTORS,
        "SparseMultipleNegativesRankingLoss": _inner(_RANKING),
        "SparseCoSENTLoss": _inner(_SIMILARITY),
        "SparseAnglELoss": _inner(_SIMILARITY),
        "SparseCosineSimilarityLoss": _inner(_SIMILARITY),
        "SparseTripletLoss": _inner(_TRIPLET),
        "SparseMarginMSELoss": _inner(_TEACHER_SCORES),
        "SparseDistillKLDivLoss": _inner(_TEACHER_RANKS),
    },
    "MultiVector": {
        "MultiVectorMultipleNegativesRankingLoss": _RANKING,
        "CachedMultiVectorMultipleNegativesRankingLoss": _CACHED_RANKING,
        "MultiVectorDistillKLDivLoss": _TEACHER_RANKS,
        "MultiVectorMarginMSELoss": _TEACHER_SCORES,
    },
}
"""Model type -> class name -> traits. What is not here cannot be asked for: regularisers that the library
uses inside other losses only (FlopsLoss, CSRReconstructionLoss)."""

GUIDED = ("GISTEmbedLoss", "CachedGISTEmbedLoss")
"""Losses that look at a second model."""
AT_DIMENSIONS = ("MatryoshkaLoss", "Matryoshka2dLoss")
"""Wrappers that need `matryoshkaDims`; the first one is implied by them."""
OVER_LAYERS = ("AdaptiveLayerLoss", "Matryoshka2dLoss")
"""Wrappers that look into the layers, which cached losses encode out of their sight."""


def standing_names(model_type: ModelType) -> list[str]:
    """Losses that `loss.name` may name for this type of model."""
    return [name for name, traits in LOSSES[model_type].items() if traits.alone]


def inner_names(model_type: ModelType) -> list[str]:
    """Losses that may stand in a wrapper of this type of model."""
    if not any(traits.wrapper for traits in LOSSES[model_type].values()):
        return []
    cannot = {"SparseMSELoss", *(n for n, traits in LOSSES[model_type].items() if not traits.sliceable)}
    return [n for n, traits in LOSSES[model_type].items() if not traits.wrapper and n not in cannot]


def names_where(**wanted: bool) -> list[str]:
    """Names of losses, of any type of model, whose traits have these values."""
    found = (
        name
        for losses in LOSSES.values()
        for name, traits in losses.items()
        if all(getattr(traits, trait) == value for trait, value in wanted.items())
    )
    return list(dict.fromkeys(found))
