"""The longest input of an encoder."""

from typing import Any

from finetune_trainer.errors import InvalidSpec


def limit_length(module: Any, length: int) -> None:
    """module: what reads inputs. Raises InvalidSpec for more tokens than it has positions."""
    config = getattr(getattr(module, "model", None), "config", None)
    positions = getattr(getattr(config, "text_config", config), "max_position_embeddings", None)
    if isinstance(positions, int) and 0 < positions < length:
        raise InvalidSpec(
            "SequenceTooLong",
            f"`maxSeqLength` must be at most the model's {positions} positions, found {length}",
            f"take {positions} or less",
        )
    if getattr(module, "tokenizer", None) is None or not hasattr(module, "model"):
        raise InvalidSpec(
            "NoEffect",
            f"`maxSeqLength` must be left out: {type(module).__name__} cuts no texts",
            "leave it out",
        )
    module.max_seq_length = length
    # Multi-vector models have lengths by role, which go before the general one.
    if getattr(module, "document_length", None) is not None:
        module.document_length = length
    if getattr(module, "query_length", None) is not None:
        module.query_length = min(module.query_length, length)
