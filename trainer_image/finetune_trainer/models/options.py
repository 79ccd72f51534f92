"""How checkpoints are loaded: the same for the base, the tuned and every reloaded model."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune_api.model import Encoder, Model
from finetune_trainer.errors import InvalidSpec
from finetune_trainer.models.checkpoints import Checkpoint
from finetune_trainer.models.kinds import model_class

if TYPE_CHECKING:
    import torch
    from sentence_transformers.base.modules import Transformer

    from finetune_trainer.models.kinds import AnyModel

_POOLING = {"Mean": "mean", "LastToken": "lasttoken", "Cls": "cls"}


@dataclass(frozen=True)
class Options:
    """dtype: of the weights; attention: None for the library's choice; trusted: whether code may be run."""

    dtype: "torch.dtype"
    attention: str | None
    trusted: bool

    @property
    def of_model(self) -> dict[str, Any]:
        """Arguments for the weights."""
        attention = {"attn_implementation": self.attention} if self.attention else {}
        return {"dtype": self.dtype, "use_safetensors": True, **attention}


def options_of(spec: Model) -> Options:
    """Raises InvalidSpec for an attention that cannot run here."""
    import torch
    from transformers.utils.import_utils import is_flash_attn_2_available

    if spec.attention == "flash_attention_2" and not is_flash_attn_2_available():
        raise InvalidSpec(
            "NoFlashAttention",
            "`model.attention` is flash_attention_2, but the package flash-attn or a GPU for it is missing",
            "set `model.attention` to sdpa, or take an image with flash-attn and a GPU",
        )
    return Options(getattr(torch, spec.weights), spec.attention, spec.trust_remote_code)


def load_saved(path: Path, spec: Model, options: Options, processor: dict[str, Any]) -> "AnyModel":
    """A model as the library saved it, or as it builds one of its own accord."""
    model: AnyModel = model_class(spec.type)(
        str(path),
        local_files_only=True,
        trust_remote_code=options.trusted,
        model_kwargs=options.of_model,
        processor_kwargs=dict(processor),
    )
    return model


def load_encoder(
    checkpoint: Checkpoint, part: Model | Encoder, options: Options, task: str | None = None, **config: Any
) -> Any:
    """The encoder of a checkpoint alone. task: as transformers call it; None for token vectors, or as the
    checkpoint has been saved. config: settings that its configuration gets.
    """
    from sentence_transformers.base.modules import Transformer

    files = {"local_files_only": True, "trust_remote_code": options.trusted}
    arguments: dict[str, Any] = {
        "model_kwargs": {**options.of_model, **files},
        "processor_kwargs": {**part.processor, **files},
        "config_kwargs": {**config, **files},
    }
    if checkpoint.type in {"Embedding", "MultiVector"} and checkpoint.has_modules and task is None:
        # As saved: with its chat settings and lengths.
        path, folder = str(checkpoint.path), str(checkpoint.encoder_path.relative_to(checkpoint.path))
        return Transformer.load(path, subfolder="" if folder == "." else folder, **arguments)
    arguments |= {"transformer_task": task} if task else {}
    return Transformer(str(checkpoint.encoder_path), **arguments)


def pool(encoder: "Transformer", checkpoint: Checkpoint, pooling: str | None) -> Any:
    """One vector for an input, from the vectors of its tokens. Without a choice: for decoders the last
    token's, which alone has seen all others, for encoders the mean.
    """
    from sentence_transformers.sentence_transformer.modules import Pooling

    if encoder.module_output_name != "token_embeddings":
        raise InvalidSpec(
            "NoTokenVectors",
            "`model.pooling` must be left out: the checkpoint gives one vector for an input, none per token",
            "leave it out",
        )
    usual = "lasttoken" if checkpoint.is_decoder else "mean"
    return Pooling(encoder.get_embedding_dimension(), _POOLING[pooling] if pooling else usual)


def load_pooled(checkpoint: Checkpoint, spec: Model, options: Options) -> list[Any]:
    """Encoder and pooling: what a new layer on one vector for an input stands on."""
    encoder = load_encoder(checkpoint, spec, options)
    if encoder.module_output_name == "token_embeddings" or spec.pooling is not None:
        return [encoder, pool(encoder, checkpoint, spec.pooling)]
    return [encoder]


def unused_weights(module: Any) -> list[str]:
    """Patterns of weights that have no part in the result: a pooler, where the tokens' vectors are pooled."""
    return ["pooler.*"] if getattr(module, "module_output_name", "") == "token_embeddings" else []


def saved_pooling(modules: Any) -> list[str]:
    return [str(m.pooling_mode) for m in modules if type(m).__name__ == "Pooling"]


def refuse_other_pooling(modules: Any, pooling: str | None) -> None:
    """Raises InvalidSpec when the spec wants another pooling than a ready model has."""
    saved = saved_pooling(modules)
    if pooling is not None and saved != [_POOLING[pooling]]:
        raise InvalidSpec(
            "PoolingGiven",
            f"`model.pooling` must be left out for an embedding model; found {pooling}, the model has"
            f" {', '.join(saved) or 'none'}",
            "leave out `model.pooling`",
        )


def refuse_layer(field: str, value: Any) -> None:
    """Raises InvalidSpec when the spec wants a new layer on a model that is ready."""
    if value is not None:
        raise InvalidSpec(
            "LayerGiven",
            f"`{field}` must be left out: the checkpoint is ready as it stands, and gets no new layer",
            f"leave out `{field}`, or take a raw checkpoint",
        )


def check_attention(model: "AnyModel", wanted: str | None) -> None:
    """Raises InvalidSpec when a part of the model has ended up with another attention than the spec's."""
    from transformers import PreTrainedModel

    if wanted is None:
        return
    if model.transformers_model is None:
        raise InvalidSpec(
            "NoEffect", "`model.attention` must be left out: the model has no attention", "leave it out"
        )
    for module in model.modules():
        found = (
            getattr(module.config, "_attn_implementation", None)
            if isinstance(module, PreTrainedModel)
            else wanted
        )
        if found != wanted:
            raise InvalidSpec(
                "NoEffect",
                f"`model.attention` is {wanted}, but {type(module).__name__} ended up with {found}",
                "leave out `model.attention`",
            )
