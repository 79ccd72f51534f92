"""Sparse models: SPLADE on a masked-language head, or CSR: a sparse code of a dense vector."""

from typing import TYPE_CHECKING, Any

from finetune_api.model import Encoder, Model
from finetune_trainer.models.checkpoints import Checkpoint
from finetune_trainer.models.options import Options, load_encoder, load_pooled, load_saved, refuse_layer

if TYPE_CHECKING:
    from sentence_transformers import SparseEncoder

_ACTIVE = 256
"""Values that a CSR vector keeps unless `model.maxActiveDims` says otherwise: the library's own number."""
_MASKED_LANGUAGE = "fill-mask"


def build_sparse(checkpoint: Checkpoint, spec: Model, options: Options) -> "SparseEncoder":
    """As saved; SPLADE of a raw checkpoint with a masked-language head; else a new CSR layer."""
    from sentence_transformers import SparseEncoder

    asked = spec.dense is not None or spec.pooling is not None
    if checkpoint.is_ready_as("Sparse", new_layers=asked):
        refuse_layer("model.dense", spec.dense)
        refuse_layer("model.pooling", spec.pooling)
        model: Any = load_saved(checkpoint.path, spec, options, spec.processor)
        tell_vocabulary(model)
        loaded: SparseEncoder = model
        return loaded
    if checkpoint.has_masked_language_head and not asked:
        return SparseEncoder(modules=splade_modules(checkpoint, spec, options))
    return SparseEncoder(modules=_csr_modules(checkpoint, spec, options))


def tell_vocabulary(modules: Any) -> None:
    """A SPLADE model saved before it was used says the width of its encoder for its dimensions."""
    for module in modules:
        if type(module).__name__ == "SpladePooling" and module.embedding_dimension is None:
            module.embedding_dimension = modules[0].config.vocab_size


def splade_modules(checkpoint: Checkpoint, part: Model | Encoder, options: Options) -> list[Any]:
    from sentence_transformers.sparse_encoder.modules import SpladePooling

    encoder = load_encoder(checkpoint, part, options, _MASKED_LANGUAGE)
    return [encoder, SpladePooling("max", embedding_dimension=encoder.config.vocab_size)]


def _csr_modules(checkpoint: Checkpoint, spec: Model, options: Options) -> list[Any]:
    from sentence_transformers.sparse_encoder.modules import SparseAutoEncoder

    modules = load_pooled(checkpoint, spec, options)
    width = modules[-1].get_embedding_dimension()
    hidden = spec.dense or 4 * width
    active = spec.max_active_dims or min(_ACTIVE, hidden // 4)
    return [
        *modules,
        SparseAutoEncoder(width, hidden_dim=hidden, k=active, k_aux=min(2 * _ACTIVE, hidden // 2)),
    ]
