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
    router = router_of(model)
    names = [m for m in model.modalities if isinstance(m, str)]
    if router is None:
        return tuple(names)
    return tuple(name for name in names if _reads(router, role, name))


def _reads(router: Any, role: str, modality: str) -> bool:
    try:
        route = router._resolve_route(task=role, modality=modality)  # noqa: SLF001 - the library's own decision
    except ValueError:
        return False
    return modality in getattr(router.sub_modules[route][0], "modalities", ["text"])


def router_of(model: "AnyModel") -> Any:
    """The Router that a model begins with, or None."""
    from sentence_transformers.base.modules import Router

    first: Any = model[0]
    return first if isinstance(first, Router) else None
