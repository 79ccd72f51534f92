"""Rerankers: one score, or the scores of classes, for a pair of inputs."""

from typing import TYPE_CHECKING, Any

from finetune_api.model import Head, Model
from finetune_trainer.errors import InvalidSpec
from finetune_trainer.models.checkpoints import Checkpoint
from finetune_trainer.models.options import Options, load_encoder, load_pooled, load_saved, refuse_layer

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder


def build_reranker(checkpoint: Checkpoint, spec: Model, options: Options) -> Any:
    """As saved; else the checkpoint with a new head."""
    from sentence_transformers import CrossEncoder

    if not checkpoint.is_ready_as("Reranker", new_layers=spec.head is not None):
        return CrossEncoder(modules=_new_head(checkpoint, spec, options))
    refuse_layer("model.head", spec.head)
    return load_saved(checkpoint.path, spec, options, spec.processor)


def new_weights(model: "CrossEncoder", checkpoint: Checkpoint, spec: Model) -> list[str]:
    """Patterns of the weights that a new classification head begins with: they are in no checkpoint.

    A pooler below the head is part of it, and masked-language checkpoints have none.
    """
    base = model.transformers_model
    prefix = getattr(base, "base_model_prefix", "")
    if checkpoint.type == "Reranker" or base is None or not prefix or not _is_classifier(spec.head):
        return []
    heads = {name.split(".")[0] for name, _ in base.named_parameters()} - {prefix}
    return [*(f"{head}.*" for head in sorted(heads)), "*pooler.*"]


def _is_classifier(head: Head | None) -> bool:
    return head is None or head.type == "Classifier"


def _new_head(checkpoint: Checkpoint, spec: Model, options: Options) -> list[Any]:
    match spec.head.type if spec.head else "":
        case "LogitScore":
            return _logit_score(checkpoint, spec, options)
        case "Dense":
            return _dense(checkpoint, spec, options)
        case _:
            return _classifier(checkpoint, spec, options)


def _classifier(checkpoint: Checkpoint, spec: Model, options: Options) -> list[Any]:
    if checkpoint.is_decoder:
        raise InvalidSpec(
            "NoHead",
            f"`model.head` must say how {checkpoint.architecture} gives a score: it is no reranker yet",
            "set `model.head` to {type: LogitScore, trueToken: ..., falseToken: ...} or {type: Dense}",
        )
    labels = spec.head.labels if spec.head else 1
    return [load_encoder(checkpoint, spec, options, "sequence-classification", num_labels=labels)]


def _dense(checkpoint: Checkpoint, spec: Model, options: Options) -> list[Any]:
    from sentence_transformers.base.modules import Dense
    from torch import nn

    modules = load_pooled(checkpoint, spec, options)
    width = modules[-1].get_embedding_dimension()
    return [*modules, Dense(width, 1, activation_function=nn.Identity(), module_output_name="scores")]


def _logit_score(checkpoint: Checkpoint, spec: Model, options: Options) -> list[Any]:
    from sentence_transformers.cross_encoder.modules import LogitScore

    if not checkpoint.is_decoder:
        raise InvalidSpec(
            "NoLogits",
            "`model.head.type` must not be LogitScore:"
            f" {checkpoint.architecture or 'the checkpoint'} predicts no next token",
            "set it to Classifier or Dense",
        )
    text_only = checkpoint.architecture.endswith("ForCausalLM")
    encoder = load_encoder(checkpoint, spec, options, "text-generation" if text_only else "any-to-any")
    head: Any = spec.head
    relevant = _token(encoder.tokenizer, "trueToken", head.true_token)
    other = _token(encoder.tokenizer, "falseToken", head.false_token) if head.false_token else None
    return [encoder, LogitScore(relevant, other)]


def _token(tokenizer: Any, field: str, text: str) -> int:
    ids = tokenizer.encode(text, add_special_tokens=False)
    if len(ids) != 1 or ids[0] == tokenizer.unk_token_id:
        pieces = ", ".join(map(repr, tokenizer.convert_ids_to_tokens(ids)))
        raise InvalidSpec(
            "NotOneToken",
            f"`model.head.{field}` must be one token of the model's tokenizer; {text!r} is {pieces}",
            "take a word that the tokenizer has, such as yes and no, or 1 and 0",
        )
    return int(ids[0])
