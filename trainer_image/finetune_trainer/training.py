"""Fifth stage: the training itself, with the library's trainer.

Nothing leaves this stage but the model in memory and numbers: no checkpoint, no card, no report to anybody.
"""

import math
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune_api.spec import FinetuneSpec
from finetune_trainer.checks import checked_training_arguments
from finetune_trainer.errors import InvalidData, InvalidSpec, OutOfMemory
from finetune_trainer.inputs import TrainingData, TrainingSet
from finetune_trainer.losses import build_loss, choose_mini_batch_size
from finetune_trainer.selection import BestWeights
from finetune_trainer.storage import storage_errors
from finetune_trainer.training_types import StopFlag, TrainingProgress, TrainingResult

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer, SentenceTransformerTrainingArguments

    from finetune_trainer.samplers import ContentBatchSampler

__all__ = ["StopFlag", "TrainingProgress", "TrainingResult", "train"]

Sampler = Callable[..., "ContentBatchSampler"]


def train(
    model: "SentenceTransformer",
    data: TrainingData,
    spec: FinetuneSpec,
    *,
    work: Path,
    on_progress: Callable[[TrainingProgress], None],
    evaluate: Callable[["SentenceTransformer"], float] | None = None,
    stop: StopFlag | None = None,
) -> TrainingResult:
    """Tune the model in place.

    evaluate: the metric of `training.selection`, higher is better; the weights of the best judgement are the
    result. stop: looked at after every step; when set, the result says `stopped`.
    Raises InvalidData when the data does not fill a batch, InvalidSpec when the loss is not finite,
    OutOfMemory.
    """
    from finetune_trainer.loop import Loop, QuietTrainer

    mini_batch_size = choose_mini_batch_size(model, spec)
    (one,) = data.sets
    sampler, total_steps = _plan_batches(one, spec)
    folder = work / "training"
    with storage_errors("training"), _memory_errors(mini_batch_size):
        arguments = _build_arguments(
            spec,
            sampler,
            total_steps,
            prompts=_prompts_by_column(model, one.input_columns),
            folder=folder,
        )
        selection = spec.training.selection
        best = None
        if evaluate and selection:
            best = BestWeights(evaluate, selection, folder=folder, total_steps=total_steps)
        loop = Loop(
            total_steps=total_steps,
            batch_size=spec.training.batch_size,
            on_progress=on_progress,
            stop=stop,
            best=best,
        )
        trainer = QuietTrainer(
            model=model,
            args=arguments,
            train_dataset=one.rows,
            loss=build_loss(model, spec, mini_batch_size),
            callbacks=[loop],
        )
        loop.attach(trainer)
        trainer.train()
        if best is not None:
            best.restore(model)
        shutil.rmtree(folder, ignore_errors=True)
    return TrainingResult(
        model=model,
        steps=loop.step,
        loss_curve=loop.curve,
        mini_batch_size=mini_batch_size,
        best_step=best.step if best else None,
        selection_curve=best.curve if best else [],
        stopped=loop.stopped,
    )


def _plan_batches(data: TrainingSet, spec: FinetuneSpec) -> tuple[Sampler, int]:
    """How batches are drawn, and how many steps that makes."""
    from finetune_trainer.samplers import ContentBatchSampler

    batch_size, rows = spec.training.batch_size, len(data.rows)
    if rows < batch_size:
        raise _too_few_rows(f"{rows} rows", batch_size)
    max_steps: int | None = spec.training.args.get("max_steps")
    epochs = max_steps * batch_size / rows + 1 if max_steps else float(spec.training.epochs)
    sampler = partial(ContentBatchSampler, keys=data.content_keys, epochs=math.ceil(epochs))
    steps_per_epoch = len(sampler(data.rows, batch_size=batch_size, drop_last=True, seed=spec.training.seed))
    if steps_per_epoch == 0:
        raise _too_few_rows(f"{rows} rows whose contents repeat each other", batch_size)
    return sampler, max_steps or math.ceil(epochs * steps_per_epoch)


def _too_few_rows(found: str, batch_size: int) -> InvalidData:
    return InvalidData(
        "TooFewRows",
        f"the train set must fill a batch of {batch_size} rows without the same content twice, found {found}",
        "add rows, or lower `training.batchSize`",
    )


def _build_arguments(
    spec: FinetuneSpec, sampler: Sampler, total_steps: int, *, prompts: dict[str, str], folder: Path
) -> "SentenceTransformerTrainingArguments":
    import torch
    from sentence_transformers import SentenceTransformerTrainingArguments

    training = spec.training
    on_gpu = torch.cuda.is_available()
    try:
        arguments = SentenceTransformerTrainingArguments(
            output_dir=str(folder),
            num_train_epochs=float(training.epochs),
            per_device_train_batch_size=training.batch_size,
            learning_rate=float(training.learning_rate),
            warmup_steps=math.ceil(float(training.warmup_ratio) * total_steps),
            bf16=training.autocast == "bf16",
            seed=training.seed,
            prompts=prompts,
            batch_sampler=sampler,
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
            **checked_training_arguments(spec),
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


def _prompts_by_column(model: "SentenceTransformer", columns: list[str]) -> dict[str, str]:
    """The prompt of each column, as encode_query and encode_document choose theirs."""
    of_documents = next(
        (model.prompts[n] for n in ("document", "passage", "corpus") if n in model.prompts), ""
    )
    prompts = {c: of_documents if c != "query" else model.prompts.get("query", "") for c in columns}
    return {column: prompt for column, prompt in prompts.items() if prompt}


@contextmanager
def _memory_errors(mini_batch_size: int) -> Iterator[None]:
    """Running out of memory, of the host or the GPU, becomes OutOfMemory."""
    import torch

    try:
        yield
    except (MemoryError, torch.OutOfMemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        of_gpu = isinstance(error, torch.OutOfMemoryError)
        raise OutOfMemory(
            "CudaOutOfMemory" if of_gpu else "HostOutOfMemory",
            f"training ran out of {'GPU' if of_gpu else 'host'} memory at {mini_batch_size} rows at a time",
            f"set `loss.args.mini_batch_size` below {mini_batch_size}, shorten the inputs"
            " (`model.maxSeqLength`, `model.processor.max_pixels`), or give more memory",
        ) from error


def _is_out_of_memory(error: Any) -> bool:
    import torch

    allocator = "can't allocate memory" in str(error)  # torch has no class for this on the CPU
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or allocator
