"""What each way to end of the trainer's process means, and who can help."""

from dataclasses import dataclass

from finetune_api.exit_codes import ExitCode
from finetune_operator.decisions.texts import next_step

RERUN = "set spec.rerun to a new word to run it again"
_LOWER_MEMORY = (
    "raise spec.runtime.resources.limits.memory, or lower spec.training.batchSize, spec.model.maxSeqLength or"
    " the processor's pixels"
)


@dataclass(frozen=True)
class Exit:
    """One way to end."""

    reason: str
    meaning: str
    hint: str
    is_retryable: bool = True
    """Whether the same spec may work another time."""


OUT_OF_MEMORY = next_step(you=f"{_LOWER_MEMORY}; the change of the spec starts the next run")
WRONG_IMAGE = next_step(
    you="use a trainer image of the operator's version in spec.runtime.image, or none for the operator's own"
)
BY_CODE = {
    ExitCode.DONE: Exit(
        "ReportMissing", "the trainer ended well but left no Report", next_step(you=RERUN)
    ),
    ExitCode.INTERNAL: Exit(
        "InternalError", "an error nobody foresaw",
        next_step(you=f"see the log; {RERUN}", platform="report the error to the operator's makers"),
    ),
    ExitCode.USAGE: Exit("TrainerMismatch", "the image did not understand its command", WRONG_IMAGE, False),
    ExitCode.BAD_SPEC: Exit(
        "InvalidSpec", "the trainer cannot work by this spec",
        next_step(you="correct the spec; the change starts the next run"), False,
    ),
    ExitCode.BAD_DATA: Exit(
        "InvalidData", "the data are not what the spec says",
        next_step(you=f"correct spec.data, or the data and {RERUN}"), False,
    ),
    ExitCode.BAD_MODEL: Exit(
        "InvalidModel", "the model cannot be used",
        next_step(you=f"correct spec.model, or the model and {RERUN}"), False,
    ),
    ExitCode.NO_ACCESS: Exit(
        "NoAccess", "a source or the target refused",
        next_step(you=f"correct the Secret that the secretRef names and {RERUN}"), False,
    ),
    ExitCode.TARGET_IN_USE: Exit(
        "TargetInUse", "the target holds the models of another finetune",
        next_step(you="choose another spec.output.uri"), False,
    ),
    ExitCode.SOURCE_UNAVAILABLE: Exit(
        "SourceUnavailable", "a source did not answer or broke off",
        next_step(you=f"see whether the source is up and {RERUN}", platform="see the cluster's way out"),
    ),
    ExitCode.OUT_OF_MEMORY: Exit("OutOfMemory", "memory ran out", OUT_OF_MEMORY, False),
    ExitCode.STORAGE: Exit(
        "StorageFailed", "a disk is full or read-only",
        next_step(you=f"make room on the claim that the log names and {RERUN}",
                  platform="or on the node's disk"),
    ),
    ExitCode.INTERRUPTED: Exit("Interrupted", "it was stopped by a signal", next_step(you=RERUN)),
}  # fmt: skip
_NO_COMMAND = Exit(
    "TrainerMismatch", "the image has no command finetune-trainer that can be run", WRONG_IMAGE, False
)
_NOT_OURS = (126, 127)
"""Of shells and container runtimes: the command cannot be run, or is not there."""


def exit_of(code: int) -> Exit:
    """What the exit code says."""
    if code in _NOT_OURS:
        return _NO_COMMAND
    known = BY_CODE.get(ExitCode(code)) if code in set(ExitCode) else None
    return known or _by_signal(code)


def _by_signal(code: int) -> Exit:
    if 128 < code < 160:
        hint = next_step(you=RERUN, platform="see whether the node ran out of memory")
        return Exit("Killed", f"it was killed by signal {code - 128}", hint)
    hint = next_step(you=f"check spec.runtime.image, and {RERUN}")
    return Exit("UnknownExitCode", "the trainer knows no such code", hint, is_retryable=False)
