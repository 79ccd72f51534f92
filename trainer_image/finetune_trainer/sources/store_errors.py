"""What the clients of S3 and Google Cloud Storage raise, told as ours.

Their errors come in half a dozen families, some as plain OSErrors, so the whole chain of causes is read.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from finetune_trainer.errors import InvalidSpec, NoAccess, SourceUnavailable, TrainerError
from finetune_trainer.sources.retries import parse_retry_after
from finetune_trainer.storage import storage_errors

_CLIENTS = ("aiohttp", "aiobotocore", "botocore", "fsspec", "gcsfs", "google", "requests", "urllib3")
_CREDENTIALS = ("Credential", "Refresh", "Malformed", "Token", "Authorization", "Signature", "AccessKey")
"""In the names of errors that are about who asks: NoCredentialsError, ExpiredToken, InvalidAccessKeyId."""


@dataclass(frozen=True)
class _Answer:
    """What a store answered. status: of HTTP, None when there was no answer at all."""

    status: int | None
    code: str = ""
    retry_after_seconds: float | None = None


@contextmanager
def store_errors(name: str) -> Iterator[None]:
    """Errors while `name` (a URI) is read or written become ours.

    FileExistsError passes through: it is the answer to a conditional write.
    """
    try:
        with storage_errors_of_disk(name):
            yield
    except (TrainerError, FileExistsError):
        raise
    except Exception as error:
        if (ours := _find(error, TrainerError)) is not None:
            raise ours from error
        if (answer := _answer(error)) is None:
            raise
        raise _as_ours(name, answer) from error


@contextmanager
def storage_errors_of_disk(name: str) -> Iterator[None]:
    """As `storage_errors`, but what a store answers is no matter of this machine's disk."""
    try:
        yield
    except Exception as error:
        if _answer(error) is not None:
            raise
        with storage_errors(name):
            raise


def _as_ours(name: str, answer: _Answer) -> TrainerError:
    about_credentials = any(word in answer.code for word in _CREDENTIALS)
    if answer.status in {400, 401, 403} or (about_credentials and answer.status is None):
        found = f"status {answer.status}" if answer.status else answer.code
        return NoAccess(
            "StoreRefused",
            f"{name}: the store refused access ({found})",
            "set `secretRef` to a Secret whose keys may use it; for s3:// look at AWS_REGION and"
            " AWS_ENDPOINT_URL too",
        )
    if answer.status in {301, 307}:
        return InvalidSpec(
            "WrongRegion", f"{name}: the bucket is elsewhere", "set the key AWS_REGION of the Secret"
        )
    if answer.status == 404:
        return InvalidSpec("ObjectMissing", f"{name} does not exist", "correct `uri`")
    found = f"answered with status {answer.status}" if answer.status else "did not answer, or broke off"
    return SourceUnavailable(
        "StoreUnavailable",
        f"{name}: the store {found}",
        "another attempt may work",
        retry_after_seconds=answer.retry_after_seconds,
    )


def _find(error: BaseException, kind: type[TrainerError]) -> TrainerError | None:
    return next((e for e in _chain(error) if isinstance(e, kind)), None)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and what it came from, the outermost first."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or current.__context__


def _answer(error: BaseException) -> _Answer | None:
    """What the store answered, None when the error is not a store's."""
    return next((answer for e in _chain(error) if (answer := _answer_of(e)) is not None), None)


def _answer_of(error: BaseException) -> _Answer | None:
    if isinstance(error, RecursionError):
        # The client follows a store that says "elsewhere" for as long as it says so.
        return _Answer(301)
    name = type(error).__name__
    if isinstance(response := getattr(error, "response", None), dict):  # botocore's ClientError
        metadata = response.get("ResponseMetadata", {})
        return _Answer(
            metadata.get("HTTPStatusCode"),
            str(response.get("Error", {}).get("Code", "")),
            parse_retry_after(metadata.get("HTTPHeaders", {}).get("retry-after")),
        )
    status = getattr(error, "code", None) or getattr(error, "status", None)
    if _is_of_client(error):
        return _Answer(int(str(status)) if str(status).isdigit() else None, name)
    if isinstance(error, OSError) and error.errno is None and not isinstance(error, FileExistsError):
        return _answer_in_words(error)
    return None


def _is_of_client(error: BaseException) -> bool:
    """Every client's own errors, and time that ran out while one was waited for."""
    module = type(error).__module__.partition(".")[0]
    return module in _CLIENTS or isinstance(error, TimeoutError | ConnectionError)


def _answer_in_words(error: OSError) -> _Answer | None:
    """Some answers come as the OSError that a disk would give, but without its number."""
    if isinstance(error, FileNotFoundError):
        return _Answer(404)
    if isinstance(error, PermissionError) or str(error).startswith("Forbidden"):
        return _Answer(403)
    return None
