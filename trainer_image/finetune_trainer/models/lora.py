"""Low-rank adapters: put beside the checkpoint's weights, merged into them, or written alone."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import copytree
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from finetune_api.model import Lora, Model
from finetune_api.uris import HfUri, parse_uri
from finetune_trainer.errors import InvalidModel, InvalidSpec
from finetune_trainer.models.checkpoints import read_json

if TYPE_CHECKING:
    from finetune_trainer.models.kinds import AnyModel

ADAPTER_CONFIG = "adapter_config.json"
_ATTENTION = frozenset({
    "q_proj", "k_proj", "v_proj", "o_proj", "out_proj", "qkv_proj", "query", "key", "value",
    "q_lin", "k_lin", "v_lin", "out_lin", "qkv", "Wqkv", "Wo",
})  # fmt: skip
"""What architectures call the linear layers of attention."""


def refuse_adapter(path: Path) -> None:
    """Raises InvalidModel for a checkpoint that is an adapter: its base is a source that no spec names."""
    if config := read_json(path / ADAPTER_CONFIG):
        raise InvalidModel(
            "AdapterAlone",
            f"the checkpoint is an adapter over {config.get('base_model_name_or_path')}, not a whole model",
            "merge it into its base, and take the merged model",
        )


def add_adapters(model: "AnyModel", lora: Lora) -> None:
    """Freeze the checkpoint's weights and put trainable matrices beside them; new layers stay trainable.

    Raises InvalidSpec for a model that takes none, or for names that match no linear layer.
    """
    from peft import LoraConfig

    base: Any = model.transformers_model
    if base is None:
        raise InvalidSpec(
            "NoLora", "`model.lora` must be left out: the model has no Transformer module", "leave it out"
        )
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=float(lora.dropout),
        target_modules=_targets(base, lora.target_modules),
        task_type="FEATURE_EXTRACTION",
    )
    model.add_adapter(config)
    _train_head(model, lora)


def merge_adapters(model: "AnyModel") -> None:
    """Add the matrices to the weights beside them; what is left is a model without adapters."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    base: Any = model.transformers_model
    for name, module in list(base.named_modules()):
        if isinstance(module, BaseTunerLayer):
            layer: Any = module
            layer.merge(safe_merge=True)
            parent, _, last = name.rpartition(".")
            setattr(base.get_submodule(parent), last, layer.get_base_layer())
    base._hf_peft_config_loaded = False  # noqa: SLF001 - transformers has no call for it
    del base.peft_config


def has_adapters(model: "AnyModel") -> bool:
    return bool(getattr(model.transformers_model, "_hf_peft_config_loaded", False))


def name_base(path: Path, spec: Model) -> None:
    """Let a saved adapter name its base by repository and commit instead of by a folder of this machine."""
    uri = parse_uri(spec.uri or "")
    assert isinstance(uri, HfUri)  # noqa: S101 - a rule of the API
    _rewrite(path, uri.repository, uri.commit)


@contextmanager
def beside_its_base(path: Path, base: Path) -> Iterator[Path]:
    """A copy of a saved adapter that names the folder in which its base lies here."""
    with TemporaryDirectory() as folder:
        copy = Path(copytree(path, Path(folder) / "adapter"))
        _rewrite(copy, str(base), None)
        yield copy


def _rewrite(path: Path, base: str, revision: str | None) -> None:
    file = path / ADAPTER_CONFIG
    config = json.loads(file.read_text())
    config |= {"base_model_name_or_path": base, "revision": revision}
    file.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def _targets(base: Any, wanted: list[str]) -> list[str]:
    from torch import nn

    layers = [name for name, module in base.named_modules() if isinstance(module, nn.Linear)]
    ends = {name.rpartition(".")[2] for name in layers}
    if not wanted:
        wanted = sorted(ends & _ATTENTION)
    unknown = [name for name in wanted if not any(f".{layer}".endswith(f".{name}") for layer in layers)]
    if unknown or not wanted:
        named = f"{unknown[0]!r} matches none" if unknown else "none has a usual name"
        raise InvalidSpec(
            "NoSuchModule",
            f"`model.lora.targetModules` must name linear layers of the model; {named} of"
            f" {', '.join(sorted(ends))}",
            "name some of those layers",
        )
    return wanted


def _train_head(model: "AnyModel", lora: Lora) -> None:
    """A classification head stands inside of the transformers model, where adapters have frozen it."""
    base: Any = model.transformers_model
    first: Any = model[0]
    if getattr(first, "transformer_task", "") != "sequence-classification":
        return
    if lora.publish == "Adapter":
        raise InvalidSpec(
            "NoLora",
            "`model.lora.publish` must be Merged for a reranker with a classification head: an adapter has no"
            " place for the head",
            "set it to Merged",
        )
    for name, parameter in base.named_parameters():
        if not name.startswith(f"{base.base_model_prefix}."):
            parameter.requires_grad = True
