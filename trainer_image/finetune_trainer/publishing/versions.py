"""The versions that a target has, and what is read from them."""

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from finetune_api.report import Report
from finetune_api.results import Artifact
from finetune_trainer.digests import model_digest
from finetune_trainer.errors import InvalidModel
from finetune_trainer.publishing.store import REPORT
from finetune_trainer.publishing.target import Target, read_latest

_VERSION = re.compile(r"([1-9][0-9]*)-[0-9a-f]{12}(-[0-9a-z]+)?")


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
        report = report.model_copy(update={"artifact": pinned(target, name, artifact)})
    return Version(name, report.uid, report.run, finished, report)


def pinned(target: Target, name: str, artifact: Artifact) -> Artifact:
    """A commit or a digest is not known yet when the version's own files are written."""
    uri = target.store.pinned_uri(name)
    return artifact.model_copy(update={"uri": uri, "report": f"{uri}/{REPORT}"})


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
