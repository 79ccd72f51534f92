"""What can go wrong in a run, one class for every exit code.

TrainerError
|-- InvalidSpec        the spec asks for something that cannot work
|-- InvalidData        the data is not what the spec says
|-- InvalidModel       the base model cannot be used as it is
|-- NoAccess           a source or the target refused
|-- TargetInUse        the target belongs to another finetune
|-- SourceUnavailable  a source did not answer or broke off; another attempt may work
|-- OutOfMemory        host or GPU; another attempt may work
|-- StorageFailed      a disk is full or read-only; another attempt may work
`-- Interrupted        in `interruption`: the run was asked to stop; another attempt goes on or begins anew
"""

from typing import ClassVar

from finetune_api.exit_codes import USER_ERRORS, ExitCode
from finetune_api.results import Failure


class TrainerError(Exception):
    """Ends the run. `reason` is CamelCase and stable; `message` names the thing, what was found and what was
    wanted; `hint` is the next step.
    """

    exit_code: ClassVar[ExitCode] = ExitCode.INTERNAL

    def __init__(self, reason: str, message: str, hint: str = "") -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.message = message
        self.hint = hint

    def as_failure(self) -> Failure:
        return Failure(
            reason=self.reason,
            message=self.message[:1024],
            hint=self.hint[:512],
            retryable=self.exit_code not in USER_ERRORS,
        )


class InvalidSpec(TrainerError):
    exit_code = ExitCode.BAD_SPEC


class InvalidData(TrainerError):
    exit_code = ExitCode.BAD_DATA


class InvalidModel(TrainerError):
    exit_code = ExitCode.BAD_MODEL


class NoAccess(TrainerError):
    exit_code = ExitCode.NO_ACCESS


class TargetInUse(TrainerError):
    exit_code = ExitCode.TARGET_IN_USE


class SourceUnavailable(TrainerError):
    """retry_after_seconds: how long the source itself asked to be left alone."""

    exit_code = ExitCode.SOURCE_UNAVAILABLE

    def __init__(
        self, reason: str, message: str, hint: str = "", *, retry_after_seconds: float | None = None
    ) -> None:
        super().__init__(reason, message, hint)
        self.retry_after_seconds = retry_after_seconds


class OutOfMemory(TrainerError):
    exit_code = ExitCode.OUT_OF_MEMORY


class StorageFailed(TrainerError):
    exit_code = ExitCode.STORAGE
