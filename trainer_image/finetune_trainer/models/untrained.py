"""What of a model is new, and so says nothing before it is trained."""

from collections.abc import Mapping
from pathlib import Path

from finetune_api.model import Model
from finetune_trainer.models.checkpoints import read_checkpoint


def has_new_head(folders: Mapping[str, Path], spec: Model) -> bool:
    """Whether the scores are those of random weights: of a reranker with a new classifier or dense layer.

    Two tokens' logits score without training, and so do vectors behind a new projection, if badly.
    """
    if spec.type != "Reranker" or (spec.head is not None and spec.head.type == "LogitScore"):
        return False
    return any(read_checkpoint(path).type != "Reranker" for path in folders.values())


def has_new_layers(folders: Mapping[str, Path], spec: Model) -> bool:
    """Whether vectors go through a layer of random weights: they can be compared, and mean little yet."""
    found = [read_checkpoint(path) for path in folders.values()]
    match spec.type:
        case "Embedding":
            return spec.dense is not None or any(e.dense is not None for e in spec.encoders or ())
        case "MultiVector":
            return any(c.type != "MultiVector" for c in found)
        case "Sparse":
            return any(c.type != "Sparse" and not c.has_masked_language_head for c in found)
        case _:
            return False
