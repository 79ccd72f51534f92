"""hf://: a version is a commit on the main branch, with a tag that has its name.

A commit is whole or absent and holds `latest.json` too, so that one write does both. What a commit's files
say of their own place is the tag: its hash is not known before.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING

from finetune_api.uris import HfUri
from finetune_trainer.errors import NoAccess, StorageFailed, TargetInUse, TrainerError
from finetune_trainer.publishing.contents import model_files
from finetune_trainer.publishing.store import LATEST, REPORT
from finetune_trainer.sources.hub import hub_errors

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
    from huggingface_hub.errors import HfHubHTTPError
    from huggingface_hub.hf_api import ModelInfo

MAIN = "main"
_OF_ANYBODY = {"README.md", LATEST}
"""What a repository may have that is no model; names that begin with a dot too."""


@dataclass
class HubStore:
    """repository: owner/name; cache: where reports are downloaded to; tags: name -> commit, as last seen."""

    repository: str
    api: "HfApi"
    cache: Path
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def uri(self) -> str:
        return f"hf://{self.repository}"

    @contextmanager
    def errors(self, doing: str) -> Iterator[None]:
        from huggingface_hub.errors import HfHubHTTPError

        with hub_errors(HfUri(self.repository, MAIN)):
            try:
                yield
            except HfHubHTTPError as error:
                if (ours := self._refusal(doing, error)) is None:
                    raise
                raise ours from error
            except RuntimeError as error:
                # How the client tells that one of several uploads failed.
                cause = error.__cause__ or error
                ours = self._refusal(doing, cause) if isinstance(cause, HfHubHTTPError) else None
                raise ours or cause from error

    def names(self) -> list[str]:
        from huggingface_hub.errors import RepositoryNotFoundError

        try:
            refs = self.api.list_repo_refs(self.repository)
        except RepositoryNotFoundError:
            return []
        self.tags = {tag.name: tag.target_commit for tag in refs.tags}
        return list(self.tags)

    def read_latest(self) -> bytes | None:
        head = self._head()
        return self._read(LATEST, head.sha) if head and head.sha and LATEST in _files(head) else None

    def read_report(self, name: str) -> bytes | None:
        from huggingface_hub.errors import EntryNotFoundError

        try:
            return self._read(REPORT, self._commit_of(name))
        except EntryNotFoundError:
            return None

    def uri_of(self, name: str) -> str:
        return f"{self.uri}@{name}"

    def pinned_uri(self, name: str) -> str:
        return f"{self.uri}@{self._commit_of(name)}"

    def prepare(self) -> None:
        head = self._head()
        if head is None:
            self.api.create_repo(self.repository, private=True, exist_ok=True)
        self._check_access()
        if head is not None:
            self._require_free(head)
            self._tag_what_is_published(head)

    def write(self, name: str, model: Path, files: Mapping[str, bytes], *, latest: bytes) -> None:
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

        contents: dict[str, Path | bytes] = {**model_files(model), **files, LATEST: latest}
        head = self._head()
        stale = [n for n in _files(head) if n not in contents and not n.startswith(".")]
        commit = self._commit(
            [
                *(CommitOperationDelete(n) for n in stale),
                *(CommitOperationAdd(n, content) for n, content in contents.items()),
            ],
            f"Publish {name}",
            head,
        )
        self._tag(name, commit)

    def write_latest(self, content: bytes, *, replace: bool) -> None:
        from huggingface_hub import CommitOperationAdd

        head = self._head()
        if not replace and LATEST in _files(head):
            raise FileExistsError(LATEST)
        self._commit([CommitOperationAdd(LATEST, content)], f"Write {LATEST}", head)

    def remove(self, name: str) -> None:
        """The commit stays: that is what a history is for."""
        self.api.delete_tag(self.repository, tag=name)
        self.tags.pop(name, None)

    def folder(self, name: str) -> Path | None:  # noqa: ARG002 - never on this machine
        return None

    def fetch(self, name: str, into: Path) -> Path:
        self.api.snapshot_download(self.repository, revision=self._commit_of(name), local_dir=into)
        return into

    def _head(self) -> "ModelInfo | None":
        """The main branch; None where there is no repository, or none to be seen."""
        from huggingface_hub.errors import RepositoryNotFoundError

        try:
            return self.api.model_info(self.repository, revision=MAIN)
        except RepositoryNotFoundError:
            return None

    def _read(self, file: str, commit: str) -> bytes:
        path = self.api.hf_hub_download(self.repository, file, revision=commit, cache_dir=self.cache)
        return Path(path).read_bytes()

    def _commit_of(self, name: str) -> str:
        if name not in self.tags:
            self.names()
        return self.tags.get(name, name)

    def _commit(
        self,
        operations: "Sequence[CommitOperationAdd | CommitOperationDelete]",
        message: str,
        parent: "ModelInfo | None",
    ) -> str:
        """Commit on top of `parent`. Raises FileExistsError when somebody else has committed meanwhile."""
        from huggingface_hub.errors import HfHubHTTPError

        try:
            info = self.api.create_commit(
                self.repository,
                operations,
                commit_message=message,
                parent_commit=parent.sha if parent else None,
            )
        except HfHubHTTPError as error:
            if error.response.status_code in {HTTPStatus.CONFLICT, HTTPStatus.PRECONDITION_FAILED}:
                raise FileExistsError(MAIN) from error
            raise
        return info.oid

    def _tag(self, name: str, commit: str) -> None:
        self.api.create_tag(self.repository, tag=name, revision=commit)
        self.tags[name] = commit

    def _check_access(self) -> None:
        from huggingface_hub.errors import RepositoryNotFoundError

        try:
            self.api.auth_check(self.repository, write=True)
        except RepositoryNotFoundError as error:
            # The repository is there: this hub just does not know the question.
            if error.response.status_code != HTTPStatus.NOT_FOUND:
                raise

    def _require_free(self, head: "ModelInfo") -> None:
        files = _files(head)
        other = [n for n in files if n not in _OF_ANYBODY and not n.startswith(".")]
        if other and LATEST not in files:
            raise TargetInUse(
                "TargetHoldsOtherFiles",
                f"{self.uri} must be new, empty, or one of ours, found {', '.join(other[:3])}",
                "choose another `output.uri`",
            )

    def _tag_what_is_published(self, head: "ModelInfo") -> None:
        """An attempt may have been killed between its commit and the tag."""
        if LATEST in _files(head) and head.sha:
            name = str(json.loads(self._read(LATEST, head.sha))["uri"]).rpartition("@")[2]
            if name not in self.names():
                self._tag(name, head.sha)

    def _refusal(self, doing: str, error: "HfHubHTTPError") -> TrainerError | None:
        """What only who writes may be told; None for what every user of a hub may."""
        said = (error.server_message or "no reason given").replace(str(self.api.token), "***")[:200]
        match error.response.status_code:
            case HTTPStatus.UNAUTHORIZED | HTTPStatus.FORBIDDEN:
                return NoAccess(
                    "HubRefused",
                    f"{doing} {self.uri}: the hub refused ({said})",
                    "set `output.secretRef` to a Secret whose `token` may write to the repository",
                )
            case HTTPStatus.INSUFFICIENT_STORAGE | HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
                return StorageFailed(
                    "StorageFailed", f"{doing} {self.uri}: the hub has no room ({said})", "make room there"
                )
            case _:
                return None


def _files(head: "ModelInfo | None") -> list[str]:
    return [file.rfilename for file in (head.siblings or [])] if head else []
