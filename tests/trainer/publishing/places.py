"""Somewhere to publish to, of every kind, with what tests look at and what they break."""

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any, Literal, Protocol

from finetune_api.report import Report
from finetune_api.results import Artifact
from finetune_api.run_file import RunFile
from finetune_api.uris import OciTarget, StoreUri
from finetune_trainer.places import Places
from finetune_trainer.publishing import LATEST, REPORT, Extras, Target, open_target, publish
from finetune_trainer.publishing.artifacts import OWNER
from finetune_trainer.sources.registries import Repository, open_repository
from finetune_trainer.sources.stores import Store, open_store
from tests.trainer.local_hub import Hub
from tests.trainer.servers.faults import Fault, Faults

SPEC: dict[str, Any] = {
    "model": {"uri": "pvc://data/model"},
    "data": {
        "train": [{"name": "t", "uri": "pvc://data/t.jsonl", "columns": {"query": "q", "positive": "p"}}],
        "eval": [{"name": "e", "uri": "pvc://data/e.jsonl", "columns": {"query": "q", "positive": "p"}}],
    },
    "evaluation": {"evaluators": [{"name": "v", "data": "e"}], "primary": {"evaluator": "v"}},
}
SECRET = "not-for-any-eyes"


class Killed(BaseException):
    """The process is killed here; nothing it does afterwards reaches the target."""


class Place(Protocol):
    """places: of this machine; uri: of the target, another one after `fresh`."""

    places: Places

    @property
    def uri(self) -> str: ...

    @property
    def secret(self) -> str | None: ...

    def fresh(self) -> None:
        """Another target, with nothing in it."""

    def latest(self) -> Any: ...

    def put_latest(self, content: str) -> None:
        """As somebody else would."""

    def files(self, name: str) -> dict[str, bytes]:
        """What a reader finds in a version; empty if there is no such version."""

    def names(self) -> set[str]:
        """Versions that a reader sees."""

    def killed(self, operation: int) -> AbstractContextManager[None]:
        """Before this operation of those that write, from 1, the process is killed."""

    def meanwhile(self, content: str) -> AbstractContextManager[None]:
        """`latest.json` is written by another finetune right before we write it."""

    def read_only(self) -> AbstractContextManager[None]: ...

    def full(self) -> AbstractContextManager[None]: ...


def run_file(place: Place, *, run: int = 1, uid: str = "u-1", name: str = "search", keep: int = 1) -> RunFile:
    output: dict[str, Any] = {"uri": place.uri, "keep": keep}
    if place.secret is not None:
        output["secretRef"] = {"name": place.secret}
    return RunFile.model_validate(
        {
            "namespace": "team", "name": name, "uid": uid, "run": run, "specHash": "v1:0",
            "spec": {**SPEC, "output": output},
        }
    )  # fmt: skip


def saved_model(places: Places, content: str = "weights") -> Path:
    model = places.work / f"saved-{content}"
    (model / "1_Pooling").mkdir(parents=True, exist_ok=True)
    (model / "model.safetensors").write_text(content)
    (model / "model.safetensors").chmod(0o600)
    (model / "1_Pooling" / "config.json").write_text("{}")
    (model / "README.md").write_text("the library's own card")
    return model


def opened(place: Place, **changes: Any) -> Target:
    target = open_target(run_file(place, **changes), place.places)
    assert target is not None
    return target


class Clock:
    """Each version was finished a second after the one before."""

    seconds = 0


def extras(target: Target) -> Extras:
    def files(artifact: Artifact) -> Mapping[str, bytes]:
        Clock.seconds += 1
        run = target.run
        report = Report(uid=run.uid, run=run.run, outcome="Succeeded", artifact=artifact)
        full = {
            "namespace": run.namespace,
            "name": run.name,
            "finished": f"{Clock.seconds:09}",
            "report": report.to_dict(),
        }
        return {REPORT: json.dumps(full).encode(), "README.md": b"# model\n"}

    return files


def published(place: Place, content: str = "weights", **changes: Any) -> Artifact:
    target = opened(place, **changes)
    return publish(target, saved_model(place.places, content), extras(target))


class _Disk:
    """Counts the operations that change a folder, and kills the process at one of them."""

    _CHANGES = ("os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.link", "os.chmod", "os.truncate")

    def __init__(self) -> None:
        self.folder: str | None = None
        self.crash_at = 0
        self.operations = 0
        sys.addaudithook(self._seen)

    def _seen(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.folder is None or not self._changes(event, arguments):
            return
        self.operations += 1
        if self.operations >= self.crash_at:
            raise Killed

    def _changes(self, event: str, arguments: tuple[Any, ...]) -> bool:
        if event == "open":
            path, _, flags = arguments
            return str(path).startswith(self.folder or "") and bool(flags & (os.O_WRONLY | os.O_RDWR))
        # Inside rmtree paths are relative to an open folder: count them all.
        return event in self._CHANGES


_DISK = _Disk()


class Volume:
    """pvc://"""

    secret = None

    def __init__(self, places: Places) -> None:
        self.places = places
        self.count = 0

    @property
    def uri(self) -> str:
        return f"pvc://models/search-{self.count}"

    @property
    def folder(self) -> Path:
        return self.places.volume("models") / f"search-{self.count}"

    def fresh(self) -> None:
        self.count += 1

    def latest(self) -> Any:
        path = self.folder / LATEST
        return json.loads(path.read_text()) if path.exists() else None

    def put_latest(self, content: str) -> None:
        self.folder.mkdir(exist_ok=True)
        (self.folder / LATEST).write_text(content)

    def files(self, name: str) -> dict[str, bytes]:
        version = self.folder / name
        return {p.relative_to(version).as_posix(): p.read_bytes() for p in version.rglob("*") if p.is_file()}

    def names(self) -> set[str]:
        return {p.name for p in self.folder.glob("[0-9]*")}

    @contextmanager
    def killed(self, operation: int) -> Iterator[None]:
        _DISK.folder, _DISK.crash_at, _DISK.operations = str(self.folder.parent), operation, 0
        try:
            yield
        finally:
            _DISK.folder = None

    @contextmanager
    def meanwhile(self, content: str) -> Iterator[None]:
        original = os.link

        def late(*arguments: Any, **options: Any) -> None:
            self.put_latest(content)
            original(*arguments, **options)

        os.link = late
        try:
            yield
        finally:
            os.link = original

    @contextmanager
    def read_only(self) -> Iterator[None]:
        """Root may write anywhere, so that the mode of the folder would tell nothing."""
        original = Path.write_bytes

        def refused(path: Path, *_: Any) -> int:
            raise OSError(30, "Read-only file system", str(path))

        Path.write_bytes = refused  # type: ignore[method-assign, assignment]
        try:
            yield
        finally:
            Path.write_bytes = original  # type: ignore[method-assign]

    @contextmanager
    def full(self) -> Iterator[None]:
        original = os.fsync

        def refused(_handle: Any) -> None:
            raise OSError(28, "No space left on device")

        os.fsync = refused  # type: ignore[assignment]
        try:
            yield
        finally:
            os.fsync = original


class _Wire:
    """What happens on the way to a server; a refusal is as good as the end of the process."""

    def __init__(self, faults: Faults) -> None:
        self.faults = faults
        self.refuse = 0
        self.after: int | None = None
        self.late: Callable[[], int | None] | None = None
        self.at = LATEST
        self.undeletable: int | None = None
        faults.next = self._next  # type: ignore[method-assign]

    def _next(self, request: str) -> Fault:
        if request.startswith(("GET", "HEAD")):
            return Fault()
        if self.undeletable and request.startswith("DELETE") and "/manifests/" in request:
            return Fault(status=self.undeletable)
        if self.at in request and self.late is not None:
            late, self.late = self.late, None
            if (status := late()) is not None:
                return Fault(status=status)
        if self.after is not None:
            self.after -= 1
            return Fault(status=HTTPStatus.FORBIDDEN) if self.after < 0 else Fault()
        return Fault(status=self.refuse or None)

    @contextmanager
    def dead_after(self, writes: int) -> Iterator[None]:
        self.after = writes
        try:
            yield
        finally:
            self.after = None

    @contextmanager
    def refusing(self, status: int) -> Iterator[None]:
        self.refuse = status
        yield
        self.refuse = 0

    @contextmanager
    def meanwhile(self, late: Callable[[], int | None], at: str) -> Iterator[None]:
        """at: in the request before which it happens; late: gives the answer, if it is not the server's."""
        self.late, self.at = late, at
        yield


class Bucket:
    """s3:// or gs://, with a proxy in front of the store."""

    def __init__(self, places: Places, scheme: Literal["s3", "gs"], bucket: str, faults: Faults) -> None:
        self.places = places
        self.scheme: Literal["s3", "gs"] = scheme
        self.bucket = bucket
        # The store of the tests asks gs:// for no credentials.
        self.secret = "store" if scheme == "s3" else None
        self._stores: dict[int, Store] = {}
        self.wire = _Wire(faults)
        self.count = 0

    @property
    def uri(self) -> str:
        return f"{self.scheme}://{self.bucket}/models/search-{self.count}"

    @property
    def _store(self) -> Store:
        """Each takes a client of AWS half a second to make."""
        if self.count not in self._stores:
            uri = StoreUri(self.scheme, self.bucket, f"models/search-{self.count}")
            secret = self.places.secrets / self.secret if self.secret else None
            self._stores[self.count] = open_store(uri, secret)
        return self._stores[self.count]

    def fresh(self) -> None:
        self.count += 1

    def latest(self) -> Any:
        return self._store.read_json(LATEST)

    def put_latest(self, content: str) -> None:
        self._store.write(LATEST, content.encode())

    def files(self, name: str) -> dict[str, bytes]:
        found = {o.key.removeprefix(f"{name}/"): o for o in self._store.list(name)}
        return {key: self._store.read(o.key) or b"" for key, o in found.items()}

    def put(self, key: str, content: bytes) -> None:
        """As somebody else would."""
        self._store.write(key, content)

    def begun(self) -> set[str]:
        """Versions, finished or not."""
        return {o.key.partition("/")[0] for o in self._store.list() if "/" in o.key}

    def names(self) -> set[str]:
        keys = {o.key for o in self._store.list()}
        return {name for key in keys if f"{(name := key.partition('/')[0])}/{REPORT}" in keys}

    def killed(self, operation: int) -> AbstractContextManager[None]:
        return self.wire.dead_after(operation - 1)

    def meanwhile(self, content: str) -> AbstractContextManager[None]:
        """rclone takes no conditions, so that the answer of AWS is given for it."""

        def late() -> int | None:
            self.put_latest(content)
            return HTTPStatus.PRECONDITION_FAILED if self.scheme == "s3" else None

        return self.wire.meanwhile(late, at=f"/{LATEST}" if self.scheme == "s3" else "ifGenerationMatch=0")

    def read_only(self) -> AbstractContextManager[None]:
        return self.wire.refusing(HTTPStatus.FORBIDDEN)

    def full(self) -> AbstractContextManager[None]:
        return self.wire.refusing(HTTPStatus.INSUFFICIENT_STORAGE)


class RegistryRepository:
    """oci://, with a proxy in front of the registry."""

    secret = "docker"

    def __init__(self, places: Places, name: str, faults: Faults) -> None:
        self.places = places
        self.name = name
        self.wire = _Wire(faults)
        self.count = 0

    @property
    def uri(self) -> str:
        return f"oci://{self.wire.faults.host}/{self.name}/search-{self.count}"

    @property
    def repository(self) -> Repository:
        uri = OciTarget(self.wire.faults.host, f"{self.name}/search-{self.count}")
        return open_repository(uri, self.places.secrets / self.secret)

    def fresh(self) -> None:
        self.count += 1

    def latest(self) -> Any:
        manifest = self.repository.manifest("latest")
        return json.loads(manifest.annotations[OWNER]) if manifest else None

    def put_latest(self, content: str) -> None:
        self.repository.push({"a.json": b"{}"}, tag="latest", annotations={OWNER: content})

    def files(self, name: str) -> dict[str, bytes]:
        manifest = self.repository.manifest(name)
        layers = manifest.layers if manifest else ()
        return {str(layer.name): self.repository.read(layer) for layer in layers}

    def names(self) -> set[str]:
        return set(self.repository.tags()) - {"latest"}

    def killed(self, operation: int) -> AbstractContextManager[None]:
        return self.wire.dead_after(operation - 1)

    def meanwhile(self, content: str) -> AbstractContextManager[None]:
        """Right before the version is pushed: nothing can be done after the last look."""
        return self.wire.meanwhile(lambda: self.put_latest(content), at="/manifests/1-")

    def read_only(self) -> AbstractContextManager[None]:
        return self.wire.refusing(HTTPStatus.FORBIDDEN)

    def full(self) -> AbstractContextManager[None]:
        return self.wire.refusing(HTTPStatus.INSUFFICIENT_STORAGE)


class HubRepository:
    """hf://, in a hub on this machine."""

    secret = "hub"

    def __init__(self, places: Places, hub: Hub) -> None:
        self.places = places
        self.hub = hub
        self.count = 0

    @property
    def repository(self) -> str:
        return f"team/search-{self.count}"

    @property
    def uri(self) -> str:
        return f"hf://{self.repository}"

    def fresh(self) -> None:
        self.count += 1

    def latest(self) -> Any:
        repository = self.hub.repositories.all.get(f"models/{self.repository}")
        content = repository.commits[repository.head].get(LATEST) if repository else None
        return json.loads(content) if content is not None else None

    def put_latest(self, content: str) -> None:
        repository = self.hub.repositories.made(f"models/{self.repository}")
        repository.commit({**repository.commits[repository.head], LATEST: content.encode()})

    def files(self, name: str) -> dict[str, bytes]:
        repository = self.hub.repositories.all[f"models/{self.repository}"]
        return repository.commits.get(repository.tags.get(name, ""), {})

    def names(self) -> set[str]:
        repository = self.hub.repositories.all.get(f"models/{self.repository}")
        return set(repository.tags) if repository else set()

    @contextmanager
    def killed(self, operation: int) -> Iterator[None]:
        self.hub.repositories.writes = 0
        self.hub.repositories.dead_after = operation - 1
        try:
            yield
        finally:
            self.hub.repositories.dead_after = None

    @contextmanager
    def meanwhile(self, content: str) -> Iterator[None]:
        self.hub.repositories.before_commit = lambda: self.put_latest(content)
        yield

    @contextmanager
    def read_only(self) -> Iterator[None]:
        self.hub.repositories.read_only = True
        yield
        self.hub.repositories.read_only = False

    @contextmanager
    def full(self) -> Iterator[None]:
        self.hub.repositories.full = True
        yield
        self.hub.repositories.full = False
