"""What a disk says when it is full, read-only or broken, told as StorageFailed by whoever reads or writes."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from finetune_trainer.errors import StorageFailed

_OF_STORAGE = {errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EIO, errno.EACCES, errno.EPERM}


def storage_error(error: BaseException) -> OSError | None:
    """The storage's own error behind this one, if there is one."""
    cause: BaseException | None = error
    seen: set[int] = set()
    # An error that is raised again while another one is handled can come to stand behind itself.
    while cause is not None and id(cause) not in seen:
        if isinstance(cause, OSError) and cause.errno in _OF_STORAGE:
            return cause
        seen.add(id(cause))
        cause = cause.__cause__ or cause.__context__
    return None


@contextmanager
def storage_errors(what: str) -> Iterator[None]:
    """Errors of the storage while `what` is read or written become StorageFailed."""
    try:
        yield
    except Exception as error:
        if isinstance(error, StorageFailed) or (cause := storage_error(error)) is None:
            raise
        name = errno.errorcode.get(cause.errno or 0, "")
        raise StorageFailed(
            "StorageFailed",
            f"{what}: {cause.strerror} ({name}) at {cause.filename or 'an unnamed file'}",
            "make room, or give the volume the right permissions",
        ) from error
