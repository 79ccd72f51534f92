"""The library's class of each type of model."""

from typing import TYPE_CHECKING, Any

from finetune_api.model import ModelType

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder, MultiVectorEncoder, SentenceTransformer, SparseEncoder

    AnyModel = SentenceTransformer | CrossEncoder | SparseEncoder | MultiVectorEncoder

TYPES: dict[str, ModelType] = {
    "SentenceTransformer": "Embedding",
    "CrossEncoder": "Reranker",
    "SparseEncoder": "Sparse",
    "MultiVectorEncoder": "MultiVector",
    "ColBERT": "MultiVector",
}
"""Type of the model by what config_sentence_transformers.json calls it."""


def model_class(model_type: ModelType) -> Any:
    """Imports the library."""
    import sentence_transformers

    name = next(name for name, known in TYPES.items() if known == model_type)
    return getattr(sentence_transformers, name)


def named(model_type: ModelType) -> str:
    """For a message, with its article."""
    names = {"Embedding": "an Embedding", "Reranker": "a Reranker", "Sparse": "a Sparse"}
    return f"{names.get(model_type, 'a MultiVector')} model"
