"""Models of every type: loaded with every weight from its checkpoint, made trainable, saved and reloaded.

What the library does with a log line - random weights where a checkpoint has none, mean pooling for whatever
comes without - is an error here. Nothing is trained or measured.
"""

from finetune_trainer.digests import model_digest
from finetune_trainer.models.dimensions import check_dimensions, embedding_dimension
from finetune_trainer.models.loading import ONLY, check_trust, load_model, reload_model
from finetune_trainer.models.routes import learning_rates, model_modalities, router_mapping
from finetune_trainer.models.saving import save_model
from finetune_trainer.models.trainable import make_trainable
from finetune_trainer.models.untrained import has_new_head, has_new_layers

__all__ = [
    "ONLY",
    "check_dimensions",
    "check_trust",
    "embedding_dimension",
    "has_new_head",
    "has_new_layers",
    "learning_rates",
    "load_model",
    "make_trainable",
    "model_digest",
    "model_modalities",
    "reload_model",
    "router_mapping",
    "save_model",
]
