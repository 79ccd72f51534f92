"""Whatever ends a run, told as a TrainerError: foreseen ones as they are, memory and disks, and the rest."""

import logging

from finetune_trainer.data.lengths import cuts_media, media_cut_off
from finetune_trainer.errors import InvalidModel, OutOfMemory, StorageFailed, TrainerError
from finetune_trainer.storage import storage_error

logger = logging.getLogger(__name__)

_LONGEST = 300


def as_trainer_error(error: Exception) -> TrainerError:
    """The error in our terms. One that nobody foresaw keeps its class and the last line of its text."""
    if isinstance(error, TrainerError):
        return error
    if (memory := _of_memory(error)) is not None:
        return OutOfMemory(
            memory,
            f"{'GPU' if memory == 'CudaOutOfMemory' else 'host'} memory ran out outside of a training step",
            "lower the evaluators' batchSize, shorten the inputs, or give more memory",
        )
    if _is_of_template(error):
        return InvalidModel(
            "InvalidTemplate",
            f"the model's chat template cannot be used ({type(error).__name__}: {str(error)[:_LONGEST]})",
            "correct chat_template.jinja beside the model",
        )
    if cuts_media(error):
        return media_cut_off("the data")
    if (disk := storage_error(error)) is not None:
        return StorageFailed(
            "StorageFailed", f"{disk.strerror} at {disk.filename or 'an unnamed file'}", "make room"
        )
    logger.error("the run ended with an error that was not foreseen", exc_info=error)
    text = (str(error).strip().splitlines() or [""])[-1][:_LONGEST]
    return TrainerError(
        "InternalError", f"{type(error).__name__}: {text}", "see the log for where it happened"
    )


def _is_of_template(error: Exception) -> bool:
    """By name: whoever has no model with a template need not have its library in memory."""
    return any(
        c.__name__ == "TemplateError" and c.__module__ == "jinja2.exceptions" for c in type(error).__mro__
    )


def _of_memory(error: Exception) -> str | None:
    if isinstance(error, MemoryError) or "can't allocate memory" in str(error):
        return "HostOutOfMemory"
    # By name, so that a failure before torch is imported does not import it.
    names = {f"{c.__module__}.{c.__name__}" for c in type(error).__mro__}
    return "CudaOutOfMemory" if "torch.OutOfMemoryError" in names else None
