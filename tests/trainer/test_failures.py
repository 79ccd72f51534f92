import errno

import pytest
import torch

from finetune_api.exit_codes import ExitCode
from finetune_trainer.errors import InvalidData
from finetune_trainer.failures import as_trainer_error
from finetune_trainer.storage import storage_error


def test_an_error_of_ours_stays_as_it_is() -> None:
    error = InvalidData("EmptyData", "nothing there")
    assert as_trainer_error(error) is error


@pytest.mark.parametrize(
    ("error", "reason", "code"),
    [
        (MemoryError(), "HostOutOfMemory", ExitCode.OUT_OF_MEMORY),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes"),
            "HostOutOfMemory",
            ExitCode.OUT_OF_MEMORY,
        ),
        (torch.OutOfMemoryError("CUDA out of memory"), "CudaOutOfMemory", ExitCode.OUT_OF_MEMORY),
        (OSError(errno.ENOSPC, "No space left on device", "/work/x"), "StorageFailed", ExitCode.STORAGE),
        (OSError(errno.EROFS, "Read-only file system"), "StorageFailed", ExitCode.STORAGE),
    ],
)
def test_memory_and_disks_are_told_by_their_own_codes(error: Exception, reason: str, code: ExitCode) -> None:
    known = as_trainer_error(error)
    assert (known.reason, known.exit_code) == (reason, code)
    assert known.as_failure().retryable
    assert known.hint


def test_an_error_nobody_foresaw_keeps_its_class_and_last_line(caplog: pytest.LogCaptureFixture) -> None:
    known = as_trainer_error(ZeroDivisionError("first line\nlast line"))
    assert known.exit_code is ExitCode.INTERNAL
    assert known.message == "ZeroDivisionError: last line"
    assert known.as_failure().retryable
    assert "not foreseen" in caplog.text


def test_an_error_without_a_text_is_told_by_its_class() -> None:
    assert as_trainer_error(KeyError()).message == "KeyError: "


def test_an_error_that_stands_behind_itself_is_looked_at_once() -> None:
    one, other = ValueError("one"), ValueError("other")
    one.__context__, other.__cause__ = other, one
    assert storage_error(one) is None
