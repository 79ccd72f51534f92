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
