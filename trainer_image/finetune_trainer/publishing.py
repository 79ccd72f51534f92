"""Last stage: a model that passed becomes an immutable version below `output.uri`; `latest.json` names it.

    <output.uri>/<run>-<digest12>/    model, README.md, report.json, training.png; appears whole or not at all
    <output.uri>/latest.json          {uri, digest, namespace, name, uid, run}; always of a whole version

Names that begin with a dot are being written or removed; readers must pass them over.
"""

import json
import re
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
from finetune_trainer.durable import remove, write_file, write_folder
from finetune_trainer.errors import InvalidSpec, TargetInUse
from finetune_trainer.places import Places
from finetune_trainer.storage import storage_errors

LATEST = "latest.json"
REPORT = "report.json"
_VERSION = re.compile(r"([1-9][0-9]*)-[0-9a-f]{12}(-[0-9a-z]+)?")

Extras = Callable[[Artifact], Mapping[str, bytes]]
"""What stands beside the model, given where it will be: name -> content. Must have REPORT."""


@dataclass(frozen=True)
class Target:
    """A folder for the versions of one finetune. uri: of that folder, without a slash at its end."""

    folder: Path
    uri: str
    run: RunFile

    @property
    def aside(self) -> str:
        """Begins the name of everything this finetune has not finished writing or removing."""
        return f".unfinished.{self.run.namespace}.{self.run.name}."

    def version(self, artifact: Artifact) -> Path:
        """The folder of a published version."""
        return self.folder / artifact.uri.rpartition("/")[2]


@dataclass(frozen=True)
class Version:
    """A whole version of this finetune. finished: when, in ISO 8601 UTC; report: as its run left it."""

    folder: Path
    uid: str
    run: int
    finished: str
    report: Report


def target_of(run: RunFile, places: Places) -> Target | None:
    """Where the run publishes; None without `output`. Raises InvalidSpec when the volume is not there."""
    if run.spec.output is None:
        return None
    uri = parse_target(run.spec.output.uri)
    if not isinstance(uri, PvcUri):
        raise InvalidSpec(
            "UnknownTarget", f"`output.uri` must be pvc://claim/path, found {run.spec.output.uri}"
        )
    return Target(places.volume(uri.claim) / uri.path, run.spec.output.uri.rstrip("/"), run)


def open_target(run: RunFile, places: Places) -> Target | None:
    """The target, made if need be, seen to be ours and writable; None without `output`.

    Removes what earlier attempts of this finetune left unfinished. Raises TargetInUse, StorageFailed.
    """
    if (target := target_of(run, places)) is None:
        return None
    with storage_errors(f"opening {target.uri}"):
        target.folder.mkdir(parents=True, exist_ok=True)
        read_latest(target)
        for path in target.folder.glob(f"{target.aside}*"):
            remove(path)
        probe = target.folder / f"{target.aside}probe"
        probe.write_bytes(b"")
        probe.unlink()
    return target


def read_latest(target: Target) -> dict[str, Any] | None:
    """`latest.json`, None if there is none. Raises TargetInUse when it is another finetune's."""
    path = target.folder / LATEST
    try:
        latest = json.loads(path.read_text(encoding="utf-8"))
        owner = (latest["namespace"], latest["name"])
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise TargetInUse(
            "TargetUnreadable",
            f"{target.uri}/{LATEST} must be one of ours, found something else",
            "choose another `output.uri`, or remove that file",
        ) from error
    if owner != (target.run.namespace, target.run.name):
        raise TargetInUse(
            "TargetInUse",
            f"{target.uri} holds the models of finetune {'/'.join(map(str, owner))}",
            "choose another `output.uri`; every finetune needs one of its own",
        )
    assert isinstance(latest, dict)  # noqa: S101 - for the type checker
    return latest


def versions(target: Target) -> list[Version]:
    """The finetune's whole versions, oldest first. What cannot be read as one is nobody's, and stays."""
    found = [
        version
        for folder in target.folder.iterdir()
        if _VERSION.fullmatch(folder.name) and (version := _read_version(folder, target.run)) is not None
    ]
    return sorted(found, key=lambda v: (v.finished, v.run))


def _read_version(folder: Path, run: RunFile) -> Version | None:
    try:
        full = json.loads((folder / REPORT).read_text(encoding="utf-8"))
        if (full["namespace"], full["name"]) != (run.namespace, run.name):
            return None
        report = Report.model_validate(full["report"])
        return Version(folder, report.uid, report.run, str(full["finished"]), report)
    except (OSError, ValueError, KeyError, TypeError, ValidationError):
        return None


def find_published(target: Target) -> Report | None:
    """The Report of this very run, if it has been published; what an interruption left to do is done."""
    with storage_errors(f"reading {target.uri}"):
        mine = [v for v in versions(target) if (v.uid, v.run) == (target.run.uid, target.run.run)]
        if not mine or (artifact := mine[-1].report.artifact) is None:
            return None
        _finish(target, artifact)
        return mine[-1].report


def publish(target: Target, model: Path, extras: Extras) -> Artifact:
    """Publish a saved model. Raises TargetInUse, StorageFailed; then no reader sees anything of it."""
    with storage_errors(f"publishing to {target.uri}"):
        digest = model_digest(model)
        name = _free_name(target, digest)
        uri = f"{target.uri}/{name}"
        artifact = Artifact(uri=uri, digest=digest, run=target.run.run, report=f"{uri}/{REPORT}")
        write_folder(
            target.folder / name,
            aside=target.folder / f"{target.aside}{name}",
            source=model,
            files=extras(artifact),
        )
        try:
            _finish(target, artifact)
        except TargetInUse:
            _discard(target, target.folder / name)
            raise
        return artifact


def _free_name(target: Target, digest: str) -> str:
    """`<run>-<digest12>`; a finetune that was deleted and made again counts its runs anew, so add its uid."""
    name = f"{target.run.run}-{digest.removeprefix('sha256:')[:12]}"
    if (target.folder / name).exists():
        name = f"{name}-{''.join(filter(str.isalnum, target.run.uid.lower()))[:12]}"
    return name


def _finish(target: Target, artifact: Artifact) -> None:
    """Let `latest.json` name this version, unless a later run's is there, and remove what is too old."""
    latest = read_latest(target)
    run = target.run
    if latest and latest.get("uid") == run.uid and latest.get("run", 0) > run.run:
        return
    content = {
        "uri": artifact.uri, "digest": artifact.digest,
        "namespace": run.namespace, "name": run.name, "uid": run.uid, "run": run.run,
    }  # fmt: skip
    if latest != content:
        text = json.dumps(content, indent=2) + "\n"
        aside = target.folder / f"{target.aside}{LATEST}"
        try:
            # Two finetunes may begin with one empty target: only one of them makes the file.
            write_file(target.folder / LATEST, text.encode(), aside=aside, replace=latest is not None)
        except FileExistsError:
            read_latest(target)
            raise
    _prune(target, artifact)


def _prune(target: Target, newest: Artifact) -> None:
    """Keep the latest and `output.keep` older versions of this finetune."""
    output = target.run.spec.output
    keep = output.keep if output else 0
    older = [v for v in versions(target) if v.folder != target.version(newest)]
    for version in older[: max(0, len(older) - keep)]:
        _discard(target, version.folder)


def _discard(target: Target, version: Path) -> None:
    """Remove a version; out of sight first, for nobody must read one of which half is gone."""
    gone = target.folder / f"{target.aside}{version.name}"
    remove(gone)
    version.rename(gone)
    remove(gone)
