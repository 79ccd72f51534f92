"""Free-form arguments against the library's signatures, without the library. CEL cannot look into them."""

from collections.abc import Mapping
from typing import Any

from finetune_api.argument_tables import (
    LOSS_FIELDS,
    LOSS_REASONS,
    TRAINING_ARGUMENTS,
    TRAINING_FIELDS,
    TRAINING_REASONS,
    TRAINING_REASONS_BY_PREFIX,
)
from finetune_api.data import TrainSet
from finetune_api.loss import Loss
from finetune_api.loss_columns import check_columns
from finetune_api.loss_defaults import possible_defaults
from finetune_api.loss_table import ModelType
from finetune_api.refusals import Refused
from finetune_api.signatures import check_value, loss_parameters, training_parameters, unknown
from finetune_api.spec import FinetuneSpec


def check_args(spec: FinetuneSpec) -> None:
    """Raises Refused for arguments that the library lacks or a run cannot use, and for columns of no use."""
    check_training_arguments(spec)
    for where, loss, train_set in losses_of(spec):
        _check_loss(where, loss, train_set, spec.model.type)
        check_columns(where, loss, train_set, spec)


def losses_of(spec: FinetuneSpec) -> list[tuple[str, Loss, TrainSet]]:
    """For each train set: the path of its loss in the spec, the loss, and the set."""
    return [
        (f"data.train[{s.name}].loss", s.loss, s) if s.loss is not None else ("loss", spec.loss, s)
        for s in spec.data.train
    ]


def check_training_arguments(spec: FinetuneSpec) -> None:
    """`training.args` alone."""
    known = training_parameters(spec.model.type)
    for name, value in spec.training.args.items():
        field = f"training.args.{name}"
        if name in TRAINING_FIELDS:
            raise _typed_field(field, TRAINING_FIELDS[name])
        if name in known and name in TRAINING_ARGUMENTS:
            check_value(field, name, value, known[name])
        elif name in known or name in TRAINING_REASONS:
            raise _forbidden(field, _training_reason(name))
        else:
            raise unknown(field, name, TRAINING_ARGUMENTS & set(known), "the library's training arguments")
    _check_length(spec)


def _training_reason(name: str) -> str:
    by_prefix = (why for prefix, why in TRAINING_REASONS_BY_PREFIX.items() if name.startswith(prefix))
    return TRAINING_REASONS.get(name) or next(by_prefix, "the run sets it itself")


def _check_length(spec: FinetuneSpec) -> None:
    """Either epochs or steps: with both, the library takes the steps and drops the epochs silently."""
    max_steps = spec.training.args.get("max_steps")
    if max_steps is not None and float(spec.training.epochs) != 1:
        raise Refused(
            "BadArgument",
            f"`training.epochs` must be left out beside `training.args.max_steps`; found"
            f" {spec.training.epochs} epochs and {max_steps} steps",
            "leave out one of them",
        )


def _check_loss(where: str, loss: Loss, train_set: TrainSet, model_type: ModelType) -> None:
    """A default depends on the label's values, which are not known yet: any that is possible will do."""
    columns = train_set.columns
    defaults = possible_defaults(model_type, len(columns.inputs_by_name), label=columns.label is not None)
    names = [loss.name] if loss.name else list(dict.fromkeys(d.name for d in defaults))
    refusals = [_refusal(f"{where}.args", loss.args, model_type, name) for name in names]
    if refusals and None not in refusals:
        raise refusals[0] or AssertionError
    if loss.inner is not None:
        check_loss_arguments(f"{where}.inner.args", loss.inner.args, model_type, loss.inner.name)


def _refusal(where: str, args: Mapping[str, Any], model_type: ModelType, name: str) -> Refused | None:
    try:
        check_loss_arguments(where, args, model_type, name)
    except Refused as refused:
        return refused
    return None


def check_loss_arguments(where: str, args: Mapping[str, Any], model_type: ModelType, loss: str) -> None:
    """Raises Refused for arguments that this loss does not have, with values that it does not take."""
    known = loss_parameters(model_type, loss)
    for name, value in args.items():
        field = f"{where}.{name}"
        if name in LOSS_REASONS:
            raise _forbidden(field, LOSS_REASONS[name])
        if name in LOSS_FIELDS:
            raise _typed_field(field, LOSS_FIELDS[name])
        if name not in known:
            raise unknown(field, name, set(known) - set(LOSS_REASONS) - set(LOSS_FIELDS), loss)
        check_value(field, name, value, known[name])


def _typed_field(field: str, typed: str) -> Refused:
    return Refused("TypedField", f"`{field}` must be left out: it repeats `{typed}`", f"set `{typed}`")


def _forbidden(field: str, reason: str) -> Refused:
    return Refused("ForbiddenArgument", f"`{field}` must be left out: {reason}", "leave it out")
