"""The hub's own client, and what it raises told as ours."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from finetune_api.uris import HfUri
from finetune_trainer.errors import InvalidSpec, NoAccess, SourceUnavailable, TrainerError
from finetune_trainer.sources.transfers import Transfer
from finetune_trainer.storage import storage_errors

if TYPE_CHECKING:
    from huggingface_hub import HfApi


def open_hub(token: str | None) -> "HfApi":
    from huggingface_hub import HfApi
    from huggingface_hub.utils.tqdm import disable_progress_bars

    disable_progress_bars()
    return HfApi(endpoint=os.environ.get("HF_ENDPOINT"), token=token)


def telling_bar(transfer: Transfer) -> Any:
    """A progress bar for the hub's client that shows nothing and passes on the bytes."""
    from huggingface_hub.utils.tqdm import tqdm
    from typing_extensions import override

    class Telling(tqdm):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            # The client has two bars of bytes, and one of files; this is the one of bytes on the disk.
            self._counts = kwargs.get("name") == "huggingface_hub.snapshot_download"
            super().__init__(*args, **{**kwargs, "disable": True})  # type: ignore[no-untyped-call]

        @override
        def update(self, n: float | None = 1) -> None:
            if self._counts and n:
                transfer.total = int(self.total or 0)
                transfer.add(int(n))

    return Telling


@contextmanager
def hub_errors(uri: HfUri) -> Iterator[None]:
    """What the hub's client raises becomes ours, with the repository named."""
    from huggingface_hub import errors

    name = f"hf://{uri.repository}@{uri.commit}"
    try:
        with storage_errors(name):
            yield
    except TrainerError:
        raise
    except errors.GatedRepoError as error:
        raise _no_access(name) from error
    except errors.RevisionNotFoundError as error:
        raise InvalidSpec(
            "RevisionMissing", f"{name}: the repository has no such commit", "correct `uri`"
        ) from error
    except errors.HfHubHTTPError as error:
        raise _status_error(name, error.response.status_code) from error
    except errors.LocalEntryNotFoundError as error:
        cause = error.__cause__
        response = getattr(cause, "response", None)
        raise _status_error(name, getattr(response, "status_code", None)) from error
    except (errors.EntryNotFoundError, errors.HFValidationError) as error:
        raise InvalidSpec("RepositoryMissing", f"{name} has none of the files wanted") from error
    except Exception as error:
        if _is_network_error(error):
            raise _status_error(name, None) from error
        raise


def _is_network_error(error: Exception) -> bool:
    """The client's HTTP library is its own affair: its errors are known by their module."""
    return isinstance(error, OSError) or type(error).__module__.partition(".")[0].startswith(
        ("httpx", "httpcore")
    )


def _status_error(name: str, status: int | None) -> TrainerError:
    if status in {401, 403}:
        return _no_access(name)
    if status == 404:
        return InvalidSpec("RepositoryMissing", f"{name} does not exist on the hub", "correct `uri`")
    found = f"answered with status {status}" if status else "did not answer, or broke off"
    return SourceUnavailable("HubUnavailable", f"{name}: the hub {found}", "another attempt may work")


def _no_access(name: str) -> NoAccess:
    return NoAccess(
        "HubRefused",
        f"{name}: the hub refused access (the repository is private, gated, or does not exist)",
        "set `secretRef` to a Secret whose `token` may read it, and accept the repository's terms",
    )
