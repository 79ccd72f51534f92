"""In what the places that models are published to differ."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

LATEST = "latest.json"
REPORT = "report.json"


class VersionStore(Protocol):
    """Versions and the one pointer to the latest. A version without REPORT is not finished.

    All but `errors` and `uri_of` are called inside `errors`, and may raise what that translates.
    """

    @property
    def uri(self) -> str:
        """`output.uri`, without a slash at its end."""

    def errors(self, doing: str) -> AbstractContextManager[None]:
        """Whatever the place raises becomes a TrainerError that begins with `<doing> <uri>`."""

    def names(self) -> list[str]:
        """Of everything that may be a version, whole or not, anybody's. None where there is no target yet."""

    def read_latest(self) -> bytes | None:
        """LATEST, None if there is none."""

    def read_report(self, name: str) -> bytes | None:
        """REPORT of a version, None if it has none."""

    def uri_of(self, name: str) -> str:
        """What a version calls itself in its own files."""

    def pinned_uri(self, name: str) -> str:
        """A URI that names this version's content for ever, and can be a `model.uri`."""

    def prepare(self) -> None:
        """Make the target if need be, see that it can be written, remove what this finetune left unfinished.

        What an attempt left that needs only its last step is finished instead.
        """

    def write(self, name: str, model: Path, files: Mapping[str, bytes], *, latest: bytes) -> None:
        """Make a version of a saved model and further files; nobody takes it for one before it is whole.

        latest: what LATEST will be, for places where both are one write. May raise FileExistsError where
        somebody else has written meanwhile.
        """

    def write_latest(self, content: bytes, *, replace: bool) -> None:
        """replace=False: raises FileExistsError where there is one, as far as the place can tell."""

    def remove(self, name: str) -> None:
        """Remove a version; an interruption leaves it whole, or unfinished for `prepare`."""

    def folder(self, name: str) -> Path | None:
        """Where the version is on this machine; None where it is elsewhere."""

    def fetch(self, name: str, into: Path) -> Path:
        """The folder of a version on this machine; copied into the empty folder `into` from elsewhere."""
