"""Models as they come: from the checkpoints that the spec names, and from where they were saved."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune_api.model import Model
from finetune_trainer.errors import InvalidModel, InvalidSpec, TrainerError
from finetune_trainer.models.checkpoints import Checkpoint, read_checkpoint
from finetune_trainer.models.embedding import build_embedding
from finetune_trainer.models.lengths import limit_length
from finetune_trainer.models.lora import ADAPTER_CONFIG, beside_its_base, refuse_adapter
from finetune_trainer.models.multi_vector import build_multi_vector
from finetune_trainer.models.options import Options, check_attention, load_saved, options_of, unused_weights
from finetune_trainer.models.processors import check_processor, settle_processor
from finetune_trainer.models.reranker import build_reranker, new_weights
from finetune_trainer.models.routers import build_router
from finetune_trainer.models.safety import check_files, no_pickles
from finetune_trainer.models.sparse import build_sparse
from finetune_trainer.models.weights import loading_reports, refuse_missing_weights
from finetune_trainer.storage import storage_error, storage_errors

if TYPE_CHECKING:
    from finetune_trainer.models.kinds import AnyModel

ONLY = ""
"""Name of the only source of a model that is not made of encoders."""


def load_model(
    folders: Path | Mapping[str, Path], spec: Model, *, seed: int, allow_remote_code: bool = False
) -> Any:
    """The base model, in the library's class for the spec's type, with the spec's settings.

    folders: of the checkpoint; of several encoders, by route. The full embedding: `truncateDim` is set when
    the model is saved, since the Matryoshka loss refuses dimensions above it. allow_remote_code: whether the
    spec may ask for it. Raises InvalidModel when a checkpoint cannot be used, InvalidSpec when the spec does
    not fit it.
    """
    from transformers import set_seed

    # Before any module is built: what a checkpoint lacks, and new layers, are the same in every run.
    set_seed(seed)
    paths = {ONLY: folders} if isinstance(folders, Path) else dict(folders)
    check_trust(spec, allowed=allow_remote_code)
    options = options_of(spec)
    for path in paths.values():
        check_files(path, trusted=options.trusted)
        refuse_adapter(path)
    checkpoints = {route: read_checkpoint(path) for route, path in paths.items()}
    for route, part in spec.sources.items():
        if part.processor:
            check_processor(
                paths[route] / (checkpoints[route].encoder or ""), part.processor, trusted=options.trusted
            )
    with unreadable_as_invalid(*paths.values()), no_pickles():
        model = (
            build_router(checkpoints, spec, options) if spec.encoders else _build(checkpoints, spec, options)
        )
    check_attention(model, spec.attention)
    _apply(model, spec, options)
    return model


def reload_model(
    path: Path, spec: Model, *, base: Path | None = None, allow_remote_code: bool = False
) -> Any:
    """A saved model as its users will load it, but for the full embedding: evaluation slices it itself.

    base: folder of the checkpoint, which a saved adapter needs; its users get it from the repository.
    """
    check_trust(spec, allowed=allow_remote_code)
    options = options_of(spec)
    is_adapter = (path / ADAPTER_CONFIG).is_file()
    place = beside_its_base(path, base) if is_adapter and base is not None else nullcontext(path)
    with place as folder, unreadable_as_invalid(path), no_pickles(), loading_reports() as reports:
        model = load_saved(folder, spec, options, {})
    refuse_missing_weights(model, reports, [])
    _compare_in_full(model, spec)
    return model


def check_trust(spec: Model, *, allowed: bool) -> None:
    """Raises InvalidSpec when the spec wants code to run that nobody has allowed."""
    if spec.trust_remote_code and not allowed:
        raise InvalidSpec(
            "RemoteCodeNotAllowed",
            "`model.trustRemoteCode` must be false: code that comes with a model is not allowed here",
            "take a model without, or let whoever runs the operator set FINETUNE_ALLOW_REMOTE_CODE"
            " (finetune-trainer run: --trust-remote-code)",
        )


def _build(checkpoints: Mapping[str, Checkpoint], spec: Model, options: Options) -> Any:
    checkpoint = checkpoints[ONLY]
    builders: dict[str, Any] = {
        "Embedding": build_embedding,
        "Reranker": build_reranker,
        "Sparse": build_sparse,
        "MultiVector": build_multi_vector,
    }
    with loading_reports() as reports:
        model = builders[spec.type](checkpoint, spec, options)
    allowed = [*spec.allow_missing_weights, *unused_weights(model[0])]
    if spec.type == "Reranker":
        allowed += new_weights(model, checkpoint, spec)
    refuse_missing_weights(model, reports, allowed)
    settle_processor(getattr(model[0], "processor", None), spec.processor)
    if spec.max_seq_length is not None:
        limit_length(model[0], spec.max_seq_length)
    return model


def _apply(model: "AnyModel", spec: Model, options: Options) -> None:
    any_model: Any = model
    for parameter in any_model.parameters():
        # Not of the whole model: rotary frequencies are no parameters, and stay float32.
        parameter.data = parameter.data.to(options.dtype)
    _compare_in_full(model, spec)
    if spec.max_active_dims is not None:
        any_model.max_active_dims = spec.max_active_dims
    if spec.prompts is None:
        return
    prompts = {"query": spec.prompts.query, "document": spec.prompts.document}
    if spec.type == "Reranker":
        # A pair has one prompt, and users of the saved model name none.
        any_model.default_prompt_name = "query"
        del prompts["document"]
    any_model.prompts = {**any_model.prompts, **prompts}


def _compare_in_full(model: "AnyModel", spec: Model) -> None:
    any_model: Any = model
    if spec.type == "Embedding":
        any_model.truncate_dim = None
    if spec.type != "Reranker":
        any_model.similarity_fn_name = spec.similarity_name


@contextmanager
def unreadable_as_invalid(*paths: Path) -> Iterator[None]:
    """Whatever the libraries raise over a checkpoint they cannot use becomes InvalidModel."""
    try:
        with storage_errors("reading the model"):
            yield
    except (TrainerError, MemoryError):
        raise
    except Exception as error:
        from torch import OutOfMemoryError

        if isinstance(error, OutOfMemoryError) or storage_error(error):
            raise
        text = str(error)
        for path in paths:
            text = text.replace(str(path), "the model")
        raise InvalidModel(
            "UnreadableModel",
            f"the model cannot be loaded ({type(error).__name__}: {text.strip().split(chr(10))[0][:300]})",
            "check the checkpoint",
        ) from error
