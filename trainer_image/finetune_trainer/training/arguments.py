"""The spec as arguments of the library's trainer: prompts, routes and learning rates among them."""

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune_api.spec import FinetuneSpec
from finetune_trainer.data.inputs import TrainingSet
from finetune_trainer.errors import InvalidSpec
from finetune_trainer.models.routes import learning_rates, router_mapping

if TYPE_CHECKING:
    from sentence_transformers.base.training_args import BaseTrainingArguments

    from finetune_trainer.models.kinds import AnyModel

_CLASSES = {
    "Embedding": "SentenceTransformerTrainingArguments",
    "Reranker": "CrossEncoderTrainingArguments",
    "Sparse": "SparseEncoderTrainingArguments",
    "MultiVector": "MultiVectorEncoderTrainingArguments",
}
_OF_DOCUMENTS = ("document", "passage", "corpus")
"""Names of prompts that encode_document looks for, in this order."""


def build_arguments(
    model: "AnyModel", sets: Sequence[TrainingSet], spec: FinetuneSpec, *, total_steps: int, folder: Path
) -> "BaseTrainingArguments":
    """Raises InvalidSpec for what the library refuses."""
    import sentence_transformers
    import torch

    training = spec.training
    on_gpu = torch.cuda.is_available()
    try:
        arguments: BaseTrainingArguments = getattr(sentence_transformers, _CLASSES[spec.model.type])(
            output_dir=str(folder),
            num_train_epochs=float(training.epochs),
            per_device_train_batch_size=training.batch_size,
            learning_rate=float(training.learning_rate),
            warmup_steps=warmup_steps(float(training.warmup_ratio), total_steps),
            bf16=training.autocast == "bf16",
            seed=training.seed,
            use_cpu=not on_gpu,
            dataloader_pin_memory=on_gpu,
            dataloader_drop_last=True,
            # The loss is looked at after every step, unfiltered: a NaN must end the run, not fade in a mean.
            logging_strategy="no",
            logging_nan_inf_filter=False,
            save_strategy="no",
            eval_strategy="no",
            report_to="none",
            disable_tqdm=True,
            **{**training.args, **_of_the_model(model, sets, spec)},
        )
    except (ValueError, TypeError, ImportError) as error:
        raise InvalidSpec("BadArgument", f"`training.args`: {error}", "correct the argument") from error
    if arguments.n_gpu > 1:
        raise InvalidSpec(
            "SeveralGpus",
            f"a run takes one GPU, found {arguments.n_gpu}",
            "set CUDA_VISIBLE_DEVICES to one of them",
        )
    return arguments


def warmup_steps(ratio: float, total_steps: int) -> int:
    """Never all of them: a step of the warm-up's beginning changes nothing."""
    return min(math.ceil(ratio * total_steps), total_steps - 1)


def set_key(name: str) -> str:
    """What the library calls a train set, of several: it makes attributes of modules from such names, and
    "train" is one already.
    """
    return f"set {name}"


def _of_the_model(model: "AnyModel", sets: Sequence[TrainingSet], spec: FinetuneSpec) -> dict[str, Any]:
    rates = {**learning_rates(spec.model), **spec.training.args.get("learning_rate_mapping", {})}
    check_learning_rates(model, rates)
    return {
        "prompts": _prompts(model, sets, spec),
        "router_mapping": _routes(model, sets, spec),
        "learning_rate_mapping": rates,
    }


def check_learning_rates(model: "AnyModel", rates: Mapping[str, Any]) -> None:
    """Raises InvalidSpec for a pattern that is none or that no parameter has, and a rate that is none."""
    names = [name for name, _ in model.named_parameters()]
    for pattern, rate in rates.items():
        field = f"training.args.learning_rate_mapping[{pattern!r}]"
        if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 <= rate <= 1:
            raise InvalidSpec("BadArgument", f"`{field}` must be a number from 0 to 1, found {rate!r}")
        try:
            found = any(re.search(pattern, name) for name in names)
        except re.error as error:
            raise InvalidSpec("BadArgument", f"`{field}` must be a regular expression: {error}") from error
        if not found:
            raise InvalidSpec(
                "NoSuchParameter",
                f"`{field}` must match a parameter of the model, such as {names[0]}",
                "correct the pattern",
            )


def _prompts(model: "AnyModel", sets: Sequence[TrainingSet], spec: FinetuneSpec) -> Any:
    """As encoding for evaluation chooses them: by role, for a reranker one for a pair."""
    usual = model.prompts.get(model.default_prompt_name or "") or ""
    if spec.model.type == "Reranker":
        return usual or None
    by_set = {set_key(s.name): _prompts_by_column(model, s.input_columns, usual) for s in sets}
    return next(iter(by_set.values())) if len(sets) == 1 else by_set


def _prompts_by_column(model: "AnyModel", columns: Sequence[str], usual: str) -> dict[str, str]:
    prompts = model.prompts
    of_documents = next((prompts[name] for name in _OF_DOCUMENTS if name in prompts), "")
    of_role = {c: prompts.get("query", "") if c == "query" else of_documents for c in columns}
    chosen = {c: usual if c.startswith("input_") else of_role[c] for c in columns}
    return {column: prompt for column, prompt in chosen.items() if prompt}


def _check_routes(model: "AnyModel", given: Mapping[str, str]) -> None:
    """The library sends what it cannot place to the default route, without a word."""
    routes = getattr(model[0], "sub_modules", {})
    known = sorted({"query", "document", *routes})
    for column, route in given.items():
        if not routes:
            raise InvalidSpec(
                "BadArgument",
                "`training.args.router_mapping` must be left out: the model has no routes",
                "leave it out",
            )
        if route not in known:
            raise InvalidSpec(
                "BadArgument",
                f"`training.args.router_mapping[{column!r}]` must be one of {', '.join(known)}, found"
                f" {route!r}",
                "correct the route",
            )


def _routes(model: "AnyModel", sets: Sequence[TrainingSet], spec: FinetuneSpec) -> dict[str, Any]:
    """Role of every column, for models with routes; the spec's own mapping has the last word."""
    if spec.model.type == "Reranker":
        return {}
    given = spec.training.args.get("router_mapping") or {}
    columns = {c for s in sets for c in s.input_columns}
    unknown = sorted(set(given) - columns)
    if unknown:
        raise InvalidSpec(
            "BadArgument",
            f"`training.args.router_mapping` must name columns by their role: {', '.join(sorted(columns))};"
            f" found {unknown[0]!r}",
            "correct the name",
        )
    _check_routes(model, given)
    by_set = {set_key(s.name): router_mapping(model, s.input_columns) for s in sets}
    merged = {name: {**m, **{c: r for c, r in given.items() if c in m}} for name, m in by_set.items()}
    if not any(merged.values()):
        return {}
    return next(iter(merged.values())) if len(sets) == 1 else merged
