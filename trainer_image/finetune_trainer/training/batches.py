"""How batches are drawn from the train sets, and how many steps that makes."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from finetune_api.spec import FinetuneSpec
from finetune_trainer.data.inputs import TrainingSet
from finetune_trainer.errors import InvalidData
from finetune_trainer.losses import ChosenLoss

if TYPE_CHECKING:
    from sentence_transformers.base.sampler import DefaultBatchSampler

MOST_USED = 0.9
"""Below this share of its rows in an epoch, a set is worth a note."""

MakeSampler = Callable[..., "DefaultBatchSampler"]


@dataclass(frozen=True)
class BatchPlan:
    """samplers: what draws batches, for each train set in its order; every batch is from one of them.

    lengths: batches of each set in an epoch.
    """

    samplers: tuple[MakeSampler, ...]
    total_steps: int
    lengths: tuple[int, ...] = ()


def plan_batches(sets: Sequence[TrainingSet], losses: Sequence[ChosenLoss], spec: FinetuneSpec) -> BatchPlan:
    """Raises InvalidData when a set does not fill a batch, InvalidSpec for a batch size that cannot work."""
    batch_size = spec.training.batch_size
    for data in sets:
        if len(data.rows) < batch_size:
            raise _too_few_rows(data, f"{len(data.rows)} rows", batch_size)
    epochs = _epochs(sets, spec)
    samplers = tuple(_sampler(d, loss, math.ceil(epochs)) for d, loss in zip(sets, losses, strict=True))
    lengths = [_batches_in(d, make, spec) for d, make in zip(sets, samplers, strict=True)]
    in_turns = spec.training.args.get("multi_dataset_batch_sampler") == "round_robin"
    steps = min(lengths) * len(lengths) if in_turns else sum(lengths)
    total = spec.training.args.get("max_steps") or math.ceil(epochs * steps)
    return BatchPlan(samplers, total, tuple(lengths))


def notes_on_batches(sets: Sequence[TrainingSet], plan: BatchPlan, batch_size: int) -> list[str]:
    """Of sets of which an epoch leaves out many rows, since no batch may hold the same content twice."""
    used = [(one, length * batch_size) for one, length in zip(sets, plan.lengths, strict=True)]
    return [
        f"an epoch trains {rows} of {len(one.rows)} rows of train set {one.name!r}: no batch of {batch_size}"
        " rows may hold the same content twice. Lower `training.batchSize`, or let fewer rows share documents"
        for one, rows in used
        if rows + batch_size <= MOST_USED * len(one.rows)
    ]


def _epochs(sets: Sequence[TrainingSet], spec: FinetuneSpec) -> float:
    """Those of the spec, or at least as many as its steps take."""
    max_steps: int | None = spec.training.args.get("max_steps")
    if max_steps is None:
        return float(spec.training.epochs)
    return max_steps * spec.training.batch_size / min(len(d.rows) for d in sets) + 1


def _sampler(data: TrainingSet, loss: ChosenLoss, epochs: int) -> MakeSampler:
    from finetune_trainer.training.samplers import ContentBatchSampler, LabelBatchSampler, PlainBatchSampler

    match loss.traits.batches:
        case "Unique":
            return partial(ContentBatchSampler, keys=data.content_keys, epochs=epochs)
        case "ByLabel":
            return LabelBatchSampler
        case "Plain":
            return PlainBatchSampler


def _batches_in(data: TrainingSet, make: MakeSampler, spec: FinetuneSpec) -> int:
    import torch

    batch_size = spec.training.batch_size
    options: dict[str, Any] = {"batch_size": batch_size, "drop_last": True, "seed": spec.training.seed}
    labels = ["label"] if data.label else []
    length = len(make(data.rows, valid_label_columns=labels, generator=torch.Generator(), **options))
    if length == 0:
        raise _too_few_rows(data, f"{len(data.rows)} rows whose contents repeat each other", batch_size)
    return length


def _too_few_rows(data: TrainingSet, found: str, batch_size: int) -> InvalidData:
    return InvalidData(
        "TooFewRows",
        f"train set {data.name!r} must fill a batch of {batch_size} rows without the same content twice,"
        f" found {found}",
        "add rows, or lower `training.batchSize`",
    )
