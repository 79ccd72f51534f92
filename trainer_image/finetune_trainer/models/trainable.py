"""Which parameters are trained."""

from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from finetune_api.model import Encoder, Model
from finetune_trainer.errors import InvalidSpec
from finetune_trainer.models.lora import add_adapters
from finetune_trainer.models.routes import router_of

if TYPE_CHECKING:
    from torch import nn

    from finetune_trainer.models.kinds import AnyModel

Named = list[tuple[str, "nn.Parameter"]]


def make_trainable(model: "AnyModel", spec: Model, *, seed: int) -> None:
    """Put adapters in and freeze what the spec names, just before training: the base is measured without.

    Raises InvalidSpec for patterns and names that match nothing, and when nothing is left to train.
    """
    from transformers import set_seed

    # Adapters begin with random matrices, which must be the same in every run.
    set_seed(seed)
    if spec.lora is not None:
        add_adapters(model, spec.lora)
    for field, patterns, parameters in _frozen(model, spec):
        _freeze(field, patterns, parameters)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise InvalidSpec(
            "NothingToTrain", "`freeze` must leave parameters to train, found none", "freeze fewer"
        )


def _frozen(model: "AnyModel", spec: Model) -> Iterator[tuple[str, list[str], Named]]:
    """Field, patterns, and the parameters that they may name."""
    yield "model.freeze", spec.freeze, list(model.named_parameters())
    for encoder in spec.encoders or ():
        parameters = _loaded_parameters(router_of(model).sub_modules[encoder.route], encoder)
        yield f"freeze` of encoder `{encoder.route}", encoder.freeze, parameters


def _loaded_parameters(modules: Any, encoder: Encoder) -> Named:
    """All but those of the new linear layer, which stands last."""
    loaded = modules[:-1] if encoder.dense is not None else modules
    return list(loaded.named_parameters())


def _freeze(field: str, patterns: Iterable[str], parameters: Named) -> None:
    for pattern in patterns:
        found = [p for name, p in parameters if any(fnmatchcase(n, pattern) for n in _names(name))]
        if not found:
            some = ", ".join(_names(name)[-1] for name, _ in parameters[:3])
            raise InvalidSpec(
                "NoSuchParameter",
                f"`{field}`: {pattern!r} must match the name of a parameter, found none among"
                f" {len(parameters)} such as {some}",
                "correct the pattern",
            )
        for parameter in found:
            parameter.requires_grad = False


def _names(name: str) -> list[str]:
    """As the library counts modules (0.model.visual.x), and as the checkpoint has it (visual.x)."""
    module, _, rest = name.partition(".")
    return [name, rest.removeprefix("model.")] if module.isdigit() else [name]
