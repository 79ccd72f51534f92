"""Separate encoders joined by a Router, by query and document, by modality, or both."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from finetune_api.model import Encoder, Model
from finetune_trainer.errors import InvalidModel, InvalidSpec
from finetune_trainer.models.checkpoints import Checkpoint
from finetune_trainer.models.embedding import raw_modules
from finetune_trainer.models.kinds import model_class
from finetune_trainer.models.lengths import limit_length
from finetune_trainer.models.options import Options, load_saved, refuse_other_pooling, unused_weights
from finetune_trainer.models.processors import settle_processor
from finetune_trainer.models.sparse import splade_modules, tell_vocabulary
from finetune_trainer.models.weights import loading_reports, refuse_missing_weights

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer, SparseEncoder


def build_router(
    checkpoints: Mapping[str, Checkpoint], spec: Model, options: Options
) -> "SentenceTransformer | SparseEncoder":
    """Every encoder with its own pooling, length and processor; behind them unit length for embeddings."""
    from sentence_transformers.base.modules import Normalize, Router

    encoders = spec.encoders or []
    routes = {e.route: _encoder(checkpoints[e.route], e, spec, options) for e in encoders}
    _refuse_different_dimensions(routes)
    mappings: Any = _mappings(spec)
    router = Router(
        routes, default_route=_default_route(spec), allow_empty_key=False, route_mappings=mappings
    )
    ends = [Normalize()] if spec.type == "Embedding" else []
    model: SentenceTransformer | SparseEncoder = model_class(spec.type)(modules=[router, *ends])
    return model


def _mappings(spec: Model) -> dict[tuple[str | None, str | None], str]:
    """(task, modality) to route; what no encoder names goes to the default route, if there is one."""
    mappings: dict[tuple[str | None, str | None], str] = {
        (e.task, e.modality): e.route for e in spec.encoders or ()
    }
    return {**mappings, (None, None): spec.default_route} if spec.default_route else mappings


def _default_route(spec: Model) -> str | None:
    """Of inputs without a role: as the library has it, that of documents."""
    documents = (e.route for e in spec.encoders or () if e.task == "document" and e.modality is None)
    return spec.default_route or next(documents, None)


def _encoder(checkpoint: Checkpoint, part: Encoder, spec: Model, options: Options) -> list[Any]:
    from torch import nn

    with loading_reports() as reports:
        modules = _modules(checkpoint, part, spec, options)
    if type(modules[0]).__name__ == "Router":
        raise InvalidModel(
            "RouterInRouter",
            f"encoder {part.route!r} is itself a Router, which cannot be part of another one",
            "name its encoders one by one",
        )
    allowed = [*part.allow_missing_weights, *unused_weights(modules[0])]
    refuse_missing_weights(nn.ModuleList(modules), reports, allowed)
    settle_processor(getattr(modules[0], "processor", None), part.processor)
    if part.max_seq_length is not None:
        limit_length(modules[0], part.max_seq_length)
    return modules


def _modules(checkpoint: Checkpoint, part: Encoder, spec: Model, options: Options) -> list[Any]:
    new_layers = part.pooling is not None and checkpoint.type != spec.type
    if not checkpoint.is_ready_as(spec.type, new_layers=new_layers):
        raw = raw_modules if spec.type == "Embedding" else _sparse_modules
        return raw(checkpoint, part, options)
    model = load_saved(checkpoint.path, spec, options, part.processor)
    refuse_other_pooling(model, part.pooling)
    tell_vocabulary(model)
    modules = [module for module in model if type(module).__name__ != "Normalize"]
    return [*modules, _dense(modules, part.dense)] if part.dense is not None else modules


def _sparse_modules(checkpoint: Checkpoint, part: Encoder, options: Options) -> list[Any]:
    if not checkpoint.has_masked_language_head:
        raise InvalidModel(
            "NoLogits",
            f"encoder {part.route!r} has no masked-language head, so it gives no sparse vector",
            "take a checkpoint that ends in ForMaskedLM, or a sparse model",
        )
    return splade_modules(checkpoint, part, options)


def _dense(modules: list[Any], width: int) -> Any:
    from sentence_transformers.base.modules import Dense
    from torch import nn

    return Dense(_dimension(modules), width, activation_function=nn.Identity())


def _dimension(modules: Any) -> int:
    """Of what comes out: what the last module says that knows it."""
    known = (m.get_embedding_dimension() for m in reversed(modules) if hasattr(m, "get_embedding_dimension"))
    return int(next(known))


def _refuse_different_dimensions(routes: Mapping[str, list[Any]]) -> None:
    found = {route: _dimension(modules) for route, modules in routes.items()}
    if len(set(found.values())) > 1:
        raise InvalidSpec(
            "DimensionsDiffer",
            "all `model.encoders` must end in the same number of dimensions, found "
            + ", ".join(f"{route}: {dimension}" for route, dimension in found.items()),
            "give the encoders the same `dense`",
        )
