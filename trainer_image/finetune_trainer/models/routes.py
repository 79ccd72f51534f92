"""Which encoder of a model gets an input, and what it can read. Of models without a Router, the only one."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from finetune_api.model import Model

if TYPE_CHECKING:
    from finetune_trainer.models.kinds import AnyModel

_QUERIES = {"query"}


def router_mapping(model: "AnyModel", columns: Iterable[str]) -> dict[str, str]:
    """Column of the train data to the role that its inputs are routed by, as evaluation routes them; empty
    unless the model has a Router.
    """
    if router_of(model) is None:
        return {}
    return {column: "query" if column in _QUERIES else "document" for column in columns}


def learning_rates(spec: Model) -> dict[str, float]:
    """Regular expressions of parameter names, and the learning rate of what they match."""
    return {
        rf"(^|\.)0\.sub_modules\.{encoder.route}\.": float(encoder.learning_rate)
        for encoder in spec.encoders or ()
        if encoder.learning_rate is not None
    }


def model_modalities(model: "AnyModel", role: str) -> tuple[str, ...]:
    """What inputs of a role may be: text, image, audio, video and message (several of them together).

    role: query or document.
    """
    names = [m for m in model.modalities if isinstance(m, str)]
    return tuple(name for name in names if reads(model, role, (name,)))


def reads(model: Any, role: str | None, kinds: tuple[str, ...]) -> bool:
    """Whether the model reads inputs of these kinds, several of them together in one input.

    role: query or document; None where an evaluator gives none. model: what has `supports` is enough.
    """
    asked: Any = kinds[0] if len(kinds) == 1 else tuple(sorted(kinds))
    router = router_of(model)
    if router is None:
        return bool(model.supports(asked) or (len(kinds) > 1 and model.supports(kinds)))
    try:
        route = router._resolve_route(task=role, modality=asked)  # noqa: SLF001 - the library's own decision
    except ValueError:
        return False
    known = getattr(router.sub_modules[route][0], "modalities", ["text"])
    return asked in known or ("message" in known and all(kind in known for kind in kinds))


def router_of(model: Any) -> Any:
    """The Router that a model begins with, or None."""
    from sentence_transformers.base.modules import Router
    from torch import nn

    first = model[0] if isinstance(model, nn.Sequential) else None
    return first if isinstance(first, Router) else None
