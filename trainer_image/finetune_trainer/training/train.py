"""Fifth stage: the training itself, with the library's trainer.

Nothing leaves this stage but the model in memory, numbers, and checkpoints where they have a place: no card,
no report to anybody.
"""

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune_api.spec import FinetuneSpec
from finetune_trainer.data.inputs import TrainingData, TrainingSet
from finetune_trainer.errors import InvalidSpec, OutOfMemory
from finetune_trainer.losses import (
    ChosenLoss,
    build_loss,
    choose_loss,
    choose_mini_batch_size,
    model_facts,
    prepare_rows,
    set_activation,
)
from finetune_trainer.storage import storage_errors
from finetune_trainer.training.arguments import build_arguments, set_key
from finetune_trainer.training.batches import BatchPlan, notes_on_batches, plan_batches
from finetune_trainer.training.outcome import StopFlag, TrainingProgress, TrainingResult
from finetune_trainer.training.selection import BestWeights

if TYPE_CHECKING:
    import datasets
    import torch

    from finetune_trainer.models.kinds import AnyModel
    from finetune_trainer.training.loop import Loop
    from finetune_trainer.training.quiet import Quiet
    from finetune_trainer.training.saving import Resuming, Saver

__all__ = ["StopFlag", "TrainingProgress", "TrainingResult", "check_training", "train"]


def train(
    model: "AnyModel",
    data: TrainingData,
    spec: FinetuneSpec,
    *,
    work: Path,
    on_progress: Callable[[TrainingProgress], None],
    evaluate: "Callable[[AnyModel], float] | None" = None,
    stop: StopFlag | None = None,
    guides: "Mapping[str, AnyModel] | None" = None,
    resuming: "Resuming | None" = None,
) -> TrainingResult:
    """Tune the model in place, each train set with its loss.

    evaluate: the metric of `training.selection`, higher is better; the weights of the best judgement are the
    result. stop: looked at after every step; when set, the result says `stopped`. guides: models that guide
    losses, by their URI. resuming: where checkpoints are; None: an interruption loses what was done. Raises
    InvalidData when the data does not fit its loss or does not fill a batch, InvalidSpec when the loss is not
    finite or does not fit the model, OutOfMemory.
    """
    from finetune_trainer.training.loop import Loop

    losses, plan = _plan(model, data, spec)
    sizes: Mapping[str, int] = {
        one.name: choose_mini_batch_size(model, spec, loss)
        for one, loss in zip(data.sets, losses, strict=True)
    }
    saver = resuming.saver(data, plan.total_steps, sizes) if resuming is not None else None
    sizes = saver.mini_batch_sizes if saver is not None else sizes
    folder = work / "training"
    with storage_errors("training"), _training_errors(min(sizes.values())):
        selection = spec.training.selection
        best = None
        if evaluate and selection:
            best = BestWeights(evaluate, selection, folder=folder, total_steps=plan.total_steps)
        loop = Loop(
            total_steps=plan.total_steps,
            batch_size=spec.training.batch_size,
            on_progress=on_progress,
            stop=stop,
            best=best,
            saver=saver,
        )
        arguments = build_arguments(model, data.sets, spec, total_steps=plan.total_steps, folder=folder)
        built = {
            set_key(one.name): _build(
                model, one, loss, spec, mini_batch_size=sizes[one.name], guides=guides or {}
            )
            for one, loss in zip(data.sets, losses, strict=True)
        }
        trainer = _build_trainer(model, built, losses, spec, arguments=arguments, plan=plan, loop=loop)
        loop.attach(trainer)
        _run(trainer, loop, saver)
        shutil.rmtree(folder, ignore_errors=True)
    return TrainingResult(
        model=model,
        steps=loop.step,
        loss_curve=loop.curve,
        mini_batch_size=min(sizes.values()),
        best_step=best.step if best else None,
        selection_curve=best.curve if best else [],
        stopped=loop.stopped,
        losses=tuple(loss.in_words for loss in losses),
        resumed_at=tuple(saver.history.resumed_at) if saver else (),
        deviations=tuple(saver.history.deviations) if saver else (),
    )


def _run(trainer: "Quiet", loop: "Loop", saver: "Saver | None") -> None:
    """From the newest checkpoint or the beginning to the end, or to where a stop was asked for."""
    model: Any = trainer.model
    kept = saver.put_back(trainer, loop) if saver is not None else None
    if kept is None or not (kept.finished or loop.is_over()):
        trainer.resumed = kept
        trainer.train(resume_from_checkpoint=str(kept.folder) if kept is not None else None)
    if loop.stopped or (kept is not None and kept.finished):
        return
    if loop.best is not None:
        loop.best.restore(model)
    if saver is not None:
        saver.save_result(trainer, loop)


def check_training(model: "AnyModel", data: TrainingData, spec: FinetuneSpec) -> list[str]:
    """What can be known before the first step: whether model, data and losses fit each other.

    Gives notes for people: which loss was chosen where the spec names none. Raises InvalidData, InvalidSpec.
    """
    losses, plan = _plan(model, data, spec)
    for one, loss in zip(data.sets, losses, strict=True):
        prepare_rows(one, loss)
    chosen = dict.fromkeys(loss.note for loss in losses if loss.note)
    return [*chosen, *notes_on_batches(data.sets, plan, spec.training.batch_size)]


def _plan(model: "AnyModel", data: TrainingData, spec: FinetuneSpec) -> tuple[list[ChosenLoss], BatchPlan]:
    if not any(p.requires_grad for p in model.parameters()):
        raise InvalidSpec(
            "NothingToTrain",
            "`model.freeze` must leave parameters to train, found every one of them frozen",
            "freeze less",
        )
    facts = model_facts(model, spec.model.type)
    losses = [choose_loss(one, facts, spec) for one in data.sets]
    return losses, plan_batches(data.sets, losses, spec)


def _build(
    model: "AnyModel",
    data: TrainingSet,
    loss: ChosenLoss,
    spec: FinetuneSpec,
    *,
    mini_batch_size: int,
    guides: "Mapping[str, AnyModel]",
) -> "tuple[datasets.Dataset, torch.nn.Module]":
    """The rows of a set, and the library's loss for them."""
    rows, classes = prepare_rows(data, loss)
    if spec.model.type == "Reranker":
        set_activation(model, loss)
    guide = guides[loss.guide.uri] if loss.guide else None
    return rows, build_loss(model, loss, spec.model, mini_batch_size, classes=classes, guide=guide)


def _build_trainer(
    model: "AnyModel",
    built: "Mapping[str, tuple[datasets.Dataset, torch.nn.Module]]",
    losses: Sequence[ChosenLoss],
    spec: FinetuneSpec,
    *,
    arguments: Any,
    plan: BatchPlan,
    loop: "Loop",
) -> "Quiet":
    from finetune_trainer.training.quiet import loss_callbacks, quiet_trainer

    rows = {name: one for name, (one, _) in built.items()}
    modules = {name: loss for name, (_, loss) in built.items()}
    single = len(built) == 1
    return quiet_trainer(spec.model.type)(
        model=model,
        args=arguments,
        # A dict is trained on by batches of one set each; its rows also carry the set's name.
        train_dataset=next(iter(rows.values())) if single else rows,
        loss=next(iter(modules.values())) if single else modules,
        samplers=plan.samplers,
        listed=frozenset("" if single else set_key(loss.data) for loss in losses if loss.lists_columns),
        callbacks=[*loss_callbacks(modules.values()), loop],
    )


@contextmanager
def _training_errors(mini_batch_size: int) -> Iterator[None]:
    """Running out of memory becomes OutOfMemory, a loss that nothing trained has a part in InvalidSpec."""
    import torch

    try:
        yield
    except (MemoryError, torch.OutOfMemoryError, RuntimeError) as error:
        if "does not require grad" in str(error):
            raise InvalidSpec(
                "NothingToTrain",
                "the inputs must reach parameters that are trained; those that they reach are all frozen",
                "freeze less, or send the columns elsewhere by `training.args.router_mapping`",
            ) from error
        if not _is_out_of_memory(error):
            raise
        of_gpu = isinstance(error, torch.OutOfMemoryError)
        raise OutOfMemory(
            "CudaOutOfMemory" if of_gpu else "HostOutOfMemory",
            f"training ran out of {'GPU' if of_gpu else 'host'} memory at {mini_batch_size} rows at a time",
            f"set `loss.args.mini_batch_size` of a cached loss below {mini_batch_size}, shorten the inputs"
            " (`model.maxSeqLength`, `model.processor.max_pixels`), or give more memory",
        ) from error


def _is_out_of_memory(error: Any) -> bool:
    import torch

    allocator = "can't allocate memory" in str(error)  # torch has no class for this on the CPU
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or allocator
