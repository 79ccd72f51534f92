"""Before anything is downloaded: free-form arguments against the library's real signatures.

CEL cannot look into them, and the library takes several without any effect.
"""

import dataclasses
import inspect
import json
import typing
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from enum import Enum
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticSchemaGenerationError, PydanticUndefinedAnnotation

from finetune_api.loss import Loss
from finetune_api.spec import FinetuneSpec
from finetune_trainer.errors import InvalidSpec

TRAINING_ARGUMENTS = frozenset({
    "max_steps", "lr_scheduler_type", "lr_scheduler_kwargs", "optim", "optim_args", "optim_target_modules",
    "weight_decay", "adam_beta1", "adam_beta2", "adam_epsilon", "max_grad_norm", "learning_rate_mapping",
    "tf32", "activation_checkpointing",
    "activation_checkpointing_kwargs", "torch_compile", "torch_compile_backend", "torch_compile_mode",
    "torch_empty_cache_steps", "full_determinism", "dataloader_num_workers", "dataloader_prefetch_factor",
    "dataloader_persistent_workers",
})  # fmt: skip
"""Arguments of the library that a spec may set: each of them changes something here."""

_TYPED = {
    "num_train_epochs": "training.epochs",
    "per_device_train_batch_size": "training.batchSize",
    "learning_rate": "training.learningRate",
    "warmup_ratio": "training.warmupRatio",
    "warmup_steps": "training.warmupRatio",
    "bf16": "training.autocast",
    "seed": "training.seed",
    "prompts": "model.prompts",
    "per_device_eval_batch_size": "evaluation.evaluators[].batchSize",
    "eval_strategy": "training.selection",
    "eval_steps": "training.selection.every",
    "load_best_model_at_end": "training.selection",
    "metric_for_best_model": "training.selection.metric",
}
"""Arguments that repeat a field of the spec."""

_NO_EFFECT = "the library accepts it and does nothing with it here"
_ONE_PROCESS = "a run has one process on one GPU"
_OWN_RECORDS = "the run keeps and reports its progress itself"
_OWN_CHECKPOINTS = "the run keeps its own weights, and publishes one model at the end"
_REASONS = {
    "auto_find_batch_size": "another batch size is another set of negatives, and so another result",
    "gradient_accumulation_steps": "the batch is encoded in mini-batches already, its rows are the negatives",
    "fp16": "half precision needs loss scaling, which the cached loss does not have; use training.autocast",
    "dataloader_drop_last": "batches are always full, so that every step has as many negatives",
    "batch_sampler": "batches never hold the same content twice; another sampler would break that",
    "use_cpu": "the run takes the GPU that runtime.gpusPerNode gives it",
    "output_dir": "the model goes to output.uri, everything else to scratch space",
    "data_seed": "training.seed seeds everything",
    "use_liger_kernel": _NO_EFFECT,
    "remove_unused_columns": _NO_EFFECT,
    "compute_metrics": _NO_EFFECT,
    "train_sampling_strategy": _NO_EFFECT,
    "group_by_length": _NO_EFFECT,
    "length_column_name": _NO_EFFECT,
    "router_mapping": "it is for models with routes, and the spec has none",
    "multi_dataset_batch_sampler": "there is one train set",
    "gradient_checkpointing": "its name is activation_checkpointing",
    "gradient_checkpointing_kwargs": "its name is activation_checkpointing_kwargs",
    "enable_jit_checkpoint": "it ends with success although the work is half done",
}
_REASONS_BY_PREFIX = {
    "hub_": "models are published to output.uri",
    "push_to_hub": "models are published to output.uri",
    "save_": _OWN_CHECKPOINTS,
    "resume_": _OWN_CHECKPOINTS,
    "logging_": _OWN_RECORDS,
    "log_": _OWN_RECORDS,
    "report_to": _OWN_RECORDS,
    "eval_": "base and tuned model are measured by evaluation.evaluators",
    "fsdp": _ONE_PROCESS,
    "deepspeed": _ONE_PROCESS,
    "ddp_": _ONE_PROCESS,
    "local_rank": _ONE_PROCESS,
    "parallelism_": _ONE_PROCESS,
}

_LOSS_REASONS = {
    "model": "it is the model of the spec",
    "similarity_fct": "it follows model.similarity, so that what is trained is what is measured",
    "gather_across_devices": _ONE_PROCESS,
    "show_progress_bar": _OWN_RECORDS,
}


def check_spec(spec: FinetuneSpec) -> None:
    """Raises InvalidSpec for what the models of the API cannot see."""
    checked_training_arguments(spec)
    _check_length(spec)
    checked_loss_arguments(spec.loss)
    _check_columns(spec)


def checked_training_arguments(spec: FinetuneSpec) -> dict[str, Any]:
    """`training.args`, each of its key's type. Imports the library."""
    from sentence_transformers import SentenceTransformerTrainingArguments

    known = {f.name for f in dataclasses.fields(SentenceTransformerTrainingArguments)} | set(_REASONS)
    args = spec.training.args
    for name in args:
        if name in TRAINING_ARGUMENTS:
            continue
        if name in _TYPED:
            raise _typed_field(f"training.args.{name}", _TYPED[name])
        if name not in known:
            raise _unknown(
                f"training.args.{name}", name, TRAINING_ARGUMENTS, "SentenceTransformerTrainingArguments"
            )
        raise _forbidden(f"training.args.{name}", _reason(name))
    return _checked_types("training.args", args, SentenceTransformerTrainingArguments)


def _check_length(spec: FinetuneSpec) -> None:
    """Either epochs or steps: with both, the library takes the steps and drops the epochs silently."""
    max_steps = spec.training.args.get("max_steps")
    if max_steps is None:
        return
    if max_steps < 1:
        raise InvalidSpec("BadArgument", f"`training.args.max_steps` must be at least 1, found {max_steps}")
    if float(spec.training.epochs) != 1:
        raise InvalidSpec(
            "BadArgument",
            f"`training.epochs` must be left out beside `training.args.max_steps`; found"
            f" {spec.training.epochs} epochs and {max_steps} steps",
            "leave out one of them",
        )


def _reason(name: str) -> str:
    by_prefix = (why for prefix, why in _REASONS_BY_PREFIX.items() if name.startswith(prefix))
    return _REASONS.get(name) or next(by_prefix, "the run sets it itself")


def checked_loss_arguments(loss: Loss) -> dict[str, Any]:
    """`loss.args`, each of its key's type. Imports the library."""
    from sentence_transformers.sentence_transformer import losses

    name_of_loss = loss.name or "CachedMultipleNegativesRankingLoss"
    function = getattr(losses, name_of_loss).__init__
    known = set(inspect.signature(function).parameters) - {"self"}
    for name in loss.args:
        if name in _LOSS_REASONS:
            raise _forbidden(f"loss.args.{name}", _LOSS_REASONS[name])
        if name == "matryoshka_dims":
            raise _typed_field(f"loss.args.{name}", "loss.matryoshkaDims")
        if name not in known:
            raise _unknown(f"loss.args.{name}", name, known - set(_LOSS_REASONS), name_of_loss)
    checked = _checked_types("loss.args", loss.args, function)
    for name in ("mini_batch_size", "mini_batch_num_tokens"):
        if checked.get(name) is not None and checked[name] < 1:
            raise InvalidSpec("BadArgument", f"`loss.args.{name}` must be at least 1, found {checked[name]}")
    return checked


def _checked_types(where: str, args: Mapping[str, Any], owner: type | Callable[..., Any]) -> dict[str, Any]:
    """The values as the annotations of `owner` want them; JSON has no tuples and no enumerations."""
    hints = typing.get_type_hints(owner)
    return {
        name: _checked_type(f"{where}.{name}", value, hints.get(name, Any)) for name, value in args.items()
    }


def _checked_type(field: str, value: Any, hint: Any) -> Any:
    try:
        adapter = TypeAdapter(_without_free_text(hint))
    except (PydanticSchemaGenerationError, PydanticUndefinedAnnotation):
        return value
    try:
        return adapter.validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        raise InvalidSpec(
            "BadArgument",
            f"`{field}` is {value!r}; {error.errors()[0]['msg']}",
            f"give a value of the type {_type_text(hint)}",
        ) from error


def _without_free_text(hint: Any) -> Any:
    """`SchedulerType | str` lets any text pass, although only the enumeration's are known."""
    members = typing.get_args(hint)
    enumerations = [m for m in members if inspect.isclass(m) and issubclass(m, Enum)]
    if not enumerations:
        return hint
    return typing.Union[tuple(m for m in members if m is not str)]  # noqa: UP007 - of a tuple


def _type_text(hint: Any) -> str:
    return getattr(hint, "__name__", str(hint)).replace("typing.", "") if inspect.isclass(hint) else str(hint)


def _check_columns(spec: FinetuneSpec) -> None:
    """One column in two roles would be its own answer, or its own counter-example."""
    named = [("data.train", s.name, s.columns) for s in spec.data.train]
    named += [("data.eval", s.name, s.columns) for s in spec.data.eval if s.columns]
    for where, name, columns in named:
        twice = [c for c in columns.all if columns.all.count(c) > 1]
        if twice:
            raise InvalidSpec(
                "ColumnTwice",
                f"`{where}` {name!r}: every column must have one role, found {twice[0]!r} in"
                f" {columns.all.count(twice[0])}",
                "name another column",
            )


def _unknown(field: str, name: str, known: typing.Collection[str], owner: str) -> InvalidSpec:
    close = get_close_matches(name, sorted(known), n=1)
    return InvalidSpec(
        "UnknownArgument",
        f"`{field}` is no argument of {owner}",
        f"did you mean {close[0]!r}?" if close else f"leave it out; there are {', '.join(sorted(known))}",
    )


def _typed_field(field: str, typed: str) -> InvalidSpec:
    return InvalidSpec("TypedField", f"`{field}` must be left out: it repeats `{typed}`", f"set `{typed}`")


def _forbidden(field: str, reason: str) -> InvalidSpec:
    return InvalidSpec("ForbiddenArgument", f"`{field}` must be left out: {reason}", "leave it out")
