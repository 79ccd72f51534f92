"""Multi-vector models: one vector for every token, compared by MaxSim."""

from typing import TYPE_CHECKING, Any

from finetune_api.model import Model
from finetune_trainer.errors import InvalidModel
from finetune_trainer.models.checkpoints import Checkpoint
from finetune_trainer.models.options import Options, load_encoder, load_saved, refuse_layer

if TYPE_CHECKING:
    from sentence_transformers import MultiVectorEncoder

_WIDTH = 128
"""Dimensions of a new layer: what models of this type usually have."""
_TOKENS = "token_embeddings"


def build_multi_vector(checkpoint: Checkpoint, spec: Model, options: Options) -> "MultiVectorEncoder":
    """As saved; else the encoder of the checkpoint with a new linear layer over its tokens, unit length."""
    from sentence_transformers import MultiVectorEncoder
    from sentence_transformers.base.modules import Dense, Normalize
    from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask
    from torch import nn

    if checkpoint.is_ready_as("MultiVector", new_layers=spec.dense is not None):
        refuse_layer("model.dense", spec.dense)
        model: Any = load_saved(checkpoint.path, spec, options, spec.processor)
        loaded: MultiVectorEncoder = model
        return loaded
    encoder = load_encoder(checkpoint, spec, options)
    if encoder.module_output_name != _TOKENS:
        raise InvalidModel(
            "NoTokenVectors",
            "the checkpoint gives one vector for an input, none per token",
            "set `model.type` to Embedding, or take another checkpoint",
        )
    projection = Dense(
        encoder.get_embedding_dimension(),
        spec.dense or _WIDTH,
        bias=False,
        activation_function=nn.Identity(),
        module_input_name=_TOKENS,
    )
    modules: list[Any] = [encoder, projection, MultiVectorMask(), Normalize(module_input_name=_TOKENS)]
    return MultiVectorEncoder(modules=modules)
