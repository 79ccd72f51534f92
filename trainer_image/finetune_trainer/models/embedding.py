"""Embedding models: one dense vector for an input."""

from typing import TYPE_CHECKING, Any

from finetune_api.model import Encoder, Model
from finetune_trainer.errors import InvalidModel
from finetune_trainer.models.checkpoints import Checkpoint
from finetune_trainer.models.options import (
    Options,
    load_encoder,
    load_saved,
    pool,
    refuse_layer,
    refuse_other_pooling,
)

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


def build_embedding(checkpoint: Checkpoint, spec: Model, options: Options) -> "SentenceTransformer":
    """As saved; of a raw checkpoint: pooling as the spec says, a linear layer if asked for, unit length."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize

    if not checkpoint.is_ready_as("Embedding", new_layers=spec.pooling is not None):
        return SentenceTransformer(modules=[*raw_modules(checkpoint, spec, options), Normalize()])
    refuse_layer("model.dense", spec.dense)
    model: Any = load_saved(checkpoint.path, spec, options, spec.processor)
    refuse_other_pooling(model, spec.pooling)
    loaded: SentenceTransformer = model
    return loaded


def raw_modules(checkpoint: Checkpoint, part: Model | Encoder, options: Options) -> list[Any]:
    """Encoder, pooling and linear layer."""
    from sentence_transformers.sentence_transformer.modules import Dense
    from torch import nn

    encoder = load_encoder(checkpoint, part, options)
    modules: list[Any] = [encoder]
    if encoder.module_output_name == "token_embeddings" and part.pooling is None:
        raise InvalidModel(
            "NoPooling",
            "the model is not an embedding model yet (it has no modules.json), so `model.pooling` must say"
            " how token vectors become one",
            "set `model.pooling` to Mean, LastToken or Cls, or take an embedding model",
        )
    if part.pooling is not None:
        modules.append(pool(encoder, checkpoint, part.pooling))
    if part.dense is not None:
        width = modules[-1].get_embedding_dimension()
        modules.append(Dense(width, part.dense, activation_function=nn.Identity()))
    return modules
