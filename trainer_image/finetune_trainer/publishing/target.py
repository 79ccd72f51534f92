"""What holds wherever models are published: who owns a target, which versions it has, and in what order."""

import json
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from finetune_api.report import Report
from finetune_api.run_file import RunFile
from finetune_api.status import Artifact
from finetune_api.uris import PvcUri, parse_target
from finetune_trainer.digests import model_digest
from finetune_trainer.errors import InvalidModel, InvalidSpec, TargetInUse
from finetune_trainer.places import Places
from finetune_trainer.publishing.folders import FolderStore
from finetune_trainer.publishing.store import LATEST, REPORT, VersionStore

_VERSION = re.compile(r"([1-9][0-9]*)-[0-9a-f]{12}(-[0-9a-z]+)?")

Extras = Callable[[Artifact], Mapping[str, bytes]]
"""What stands beside the model, given where it will be: name -> content. Must have REPORT."""


@dataclass(frozen=True)
class Target:
    """Where the versions of one finetune go. work: scratch space of this machine."""

    run: RunFile
    store: VersionStore
    work: Path

    @property
    def uri(self) -> str:
        return self.store.uri

    @property
    def owner(self) -> tuple[str, str]:
        return (self.run.namespace, self.run.name)


@dataclass(frozen=True)
class Version:
    """A whole version of this finetune.

    finished: when, in ISO 8601 UTC; report: as its run left it, with the artifact's pinned URI.
    """

    name: str
    uid: str
    run: int
    finished: str
    report: Report


def target_of(run: RunFile, places: Places) -> Target | None:
    """Where the run publishes; None without `output`. Raises InvalidSpec when the volume is not there."""
    if run.spec.output is None:
        return None
    return Target(run, _store(run, places), places.work)


def _store(run: RunFile, places: Places) -> VersionStore:
    output = run.spec.output
    assert output is not None  # noqa: S101 - for the type checker; asked above
    uri = parse_target(output.uri)
    if not isinstance(uri, PvcUri):
        raise InvalidSpec("UnknownTarget", f"`output.uri` must be pvc://claim/path, found {output.uri}")
    root = places.volume(uri.claim) / uri.path
    return FolderStore(output.uri.rstrip("/"), root, f".unfinished.{run.namespace}.{run.name}.")


def open_target(run: RunFile, places: Places) -> Target | None:
    """The target, made if need be, seen to be ours and writable; None without `output`.

    Removes what earlier attempts of this finetune left unfinished. Raises TargetInUse, StorageFailed.
    """
    if (target := target_of(run, places)) is None:
        return None
    with target.store.errors("opening"):
        read_latest(target)
        target.store.prepare()
    return target


def read_latest(target: Target) -> dict[str, Any] | None:
    """`latest.json`, None if there is none. Raises TargetInUse when it is another finetune's."""
    content = target.store.read_latest()
    if content is None:
        return None
    try:
        latest = json.loads(content)
        owner = (latest["namespace"], latest["name"])
    except (ValueError, KeyError, TypeError) as error:
        raise TargetInUse(
            "TargetUnreadable",
            f"{target.uri}/{LATEST} must be one of ours, found something else",
            "choose another `output.uri`, or remove that file",
        ) from error
    if owner != target.owner:
        raise TargetInUse(
            "TargetInUse",
            f"{target.uri} holds the models of finetune {'/'.join(map(str, owner))}",
            "choose another `output.uri`; every finetune needs one of its own",
        )
    assert isinstance(latest, dict)  # noqa: S101 - for the type checker
    return latest


def versions(target: Target) -> list[Version]:
    """The finetune's whole versions, oldest first. What cannot be read as one is nobody's, and stays."""
    with target.store.errors("reading"):
        names = filter(_VERSION.fullmatch, target.store.names())
        found = [version for name in names if (version := _read_version(target, name)) is not None]
    return sorted(found, key=lambda v: (v.finished, v.run))


def _read_version(target: Target, name: str) -> Version | None:
    if (content := target.store.read_report(name)) is None:
        return None
    try:
        full = json.loads(content)
        if (full["namespace"], full["name"]) != target.owner:
            return None
        report = Report.model_validate(full["report"])
        finished = str(full["finished"])
    except (ValueError, KeyError, TypeError, ValidationError):
        return None
    if (artifact := report.artifact) is not None:
        report = report.model_copy(update={"artifact": _pinned(target, name, artifact)})
    return Version(name, report.uid, report.run, finished, report)


def _pinned(target: Target, name: str, artifact: Artifact) -> Artifact:
    """A commit or a digest is not known yet when the version's own files are written."""
    uri = target.store.pinned_uri(name)
    return artifact.model_copy(update={"uri": uri, "report": f"{uri}/{REPORT}"})


def find_published(target: Target) -> Report | None:
    """The Report of this very run, if it has been published; what an interruption left to do is done."""
    with target.store.errors("reading"):
        mine = [v for v in versions(target) if (v.uid, v.run) == (target.run.uid, target.run.run)]
        if not mine or (artifact := mine[-1].report.artifact) is None:
            return None
        _finish(target, mine[-1].name, artifact.digest)
        return mine[-1].report


def publish(target: Target, model: Path, extras: Extras) -> Artifact:
    """Publish a saved model. Raises TargetInUse, StorageFailed; then no reader sees anything of it."""
    with target.store.errors("publishing to"):
        digest = model_digest(model)
        name = _free_name(target, digest)
        uri = target.store.uri_of(name)
        artifact = Artifact(uri=uri, digest=digest, run=target.run.run, report=f"{uri}/{REPORT}")
        superseded = _is_later(read_latest(target), target.run)
        latest = None if superseded else _to_bytes(_latest_for(target, name, digest))
        target.store.write(name, model, extras(artifact), latest=latest)
        try:
            _finish(target, name, digest)
        except TargetInUse:
            target.store.remove(name)
            raise
        return _pinned(target, name, artifact)


def _free_name(target: Target, digest: str) -> str:
    """`<run>-<digest12>`; a finetune that was deleted and made again counts its runs anew, so add its uid."""
    name = f"{target.run.run}-{digest.removeprefix('sha256:')[:12]}"
    if name in target.store.names():
        name = f"{name}-{''.join(filter(str.isalnum, target.run.uid.lower()))[:12]}"
    return name


def _latest_for(target: Target, name: str, digest: str) -> dict[str, Any]:
    """What `latest.json` has when it names this version."""
    run = target.run
    return {
        "uri": target.store.uri_of(name), "digest": digest,
        "namespace": run.namespace, "name": run.name, "uid": run.uid, "run": run.run,
    }  # fmt: skip


def _is_later(latest: Mapping[str, Any] | None, run: RunFile) -> bool:
    return latest is not None and latest.get("uid") == run.uid and latest.get("run", 0) > run.run


def _to_bytes(latest: Mapping[str, Any]) -> bytes:
    return f"{json.dumps(latest, indent=2)}\n".encode()


def _finish(target: Target, name: str, digest: str) -> None:
    """Let `latest.json` name this version, unless a later run's is there, and remove what is too old."""
    latest = read_latest(target)
    if _is_later(latest, target.run):
        return
    if latest != (content := _latest_for(target, name, digest)):
        try:
            # Two finetunes may begin with one empty target: only one of them makes the file.
            target.store.write_latest(_to_bytes(content), replace=latest is not None)
        except FileExistsError:
            read_latest(target)
            raise
    _prune(target, name)


def _prune(target: Target, newest: str) -> None:
    """Keep the latest and `output.keep` older versions of this finetune."""
    output = target.run.spec.output
    keep = output.keep if output else 0
    older = [v for v in versions(target) if v.name != newest]
    for version in older[: max(0, len(older) - keep)]:
        target.store.remove(version.name)


def local_report(target: Target, artifact: Artifact) -> Path | None:
    """The full report of a published version, on this machine; None when the version is gone."""
    name = next((v.name for v in versions(target) if _is(v, artifact)), None)
    if name is None:
        return None
    if (folder := target.store.folder(name)) is not None:
        return folder / REPORT
    with target.store.errors("reading"):
        content = target.store.read_report(name)
    path = target.work / REPORT
    path.write_bytes(content or b"")
    return path


def _is(version: Version, artifact: Artifact) -> bool:
    return version.report.artifact is not None and version.report.artifact.uri == artifact.uri


def published_model(target: Target) -> Path | None:
    """The model that `latest.json` names, on this machine and seen to be whole; None before the first.

    Raises InvalidModel when its content is not what was published.
    """
    with target.store.errors("reading"):
        if (latest := read_latest(target)) is None:
            return None
        name = re.split(r"[/@:]", str(latest["uri"]))[-1]
        into = target.work / "published"
        shutil.rmtree(into, ignore_errors=True)
        into.mkdir(parents=True)
        folder = target.store.fetch(name, into)
        found, wanted = model_digest(folder), latest["digest"]
    if found != wanted:
        raise InvalidModel(
            "PublishedModelChanged",
            f"{latest['uri']} must have digest {wanted}, found {found}",
            "restore that version, or compare to Base",
        )
    return folder
