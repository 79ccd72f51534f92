"""How wide a model's vectors are, and what the spec asks of that."""

from typing import TYPE_CHECKING

from finetune_api.spec import FinetuneSpec
from finetune_trainer.errors import InvalidSpec

if TYPE_CHECKING:
    from finetune_trainer.models.kinds import AnyModel


def embedding_dimension(model: "AnyModel") -> int:
    """Values of a vector; of one token's for a multi-vector model; 0 for a reranker, which has none."""
    dimension = getattr(model, "get_embedding_dimension", None)
    return int((dimension() if dimension else 0) or 0)


def check_dimensions(model: "AnyModel", spec: FinetuneSpec) -> None:
    """Raises InvalidSpec when the spec asks for more dimensions than the model has."""
    full = embedding_dimension(model)
    asked = {"model.truncateDim": spec.model.truncate_dim or 0}
    asked["model.maxActiveDims"] = spec.model.max_active_dims or 0
    asked["loss.matryoshkaDims"] = max(spec.loss.matryoshka_dims or [0])
    for field, dimensions in asked.items():
        if dimensions > full:
            raise InvalidSpec(
                "DimensionTooLarge",
                f"`{field}` must be at most the model's {full} dimensions, found {dimensions}",
                f"take {full} or less",
            )
