"""Publishing: a version first, `latest.json` last, then what is too old is removed. The same everywhere."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from finetune_api.report import Report
from finetune_api.results import Artifact
from finetune_api.run_file import RunFile
from finetune_trainer.digests import model_digest
from finetune_trainer.errors import SourceUnavailable, TargetInUse
from finetune_trainer.publishing.contents import model_files
from finetune_trainer.publishing.store import REPORT
from finetune_trainer.publishing.target import Target, read_latest
from finetune_trainer.publishing.versions import pinned, versions

Extras = Callable[[Artifact], Mapping[str, bytes]]
"""What stands beside the model, given where it will be: name -> content. Must have REPORT."""


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
        model_files(model)
        if _is_later(read_latest(target), target.run):
            raise _superseded(target)
        latest = _to_bytes(_latest_for(target, name, digest))
        try:
            target.store.write(name, model, extras(artifact), latest=latest)
        except FileExistsError as error:
            raise _overtaken(target) from error
        try:
            _finish(target, name, digest)
        except TargetInUse:
            target.store.remove(name)
            raise
        return pinned(target, name, artifact)


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
        except FileExistsError as error:
            raise _overtaken(target) from error
    _prune(target, name)


def _superseded(target: Target) -> TargetInUse:
    return TargetInUse(
        "Superseded",
        f"{target.uri} must not have a later run than {target.run.run} of this finetune, found one",
        "apply the spec anew: its next run goes on from there",
    )


def _overtaken(target: Target) -> SourceUnavailable:
    """Raises TargetInUse when it was another finetune that wrote."""
    read_latest(target)
    return SourceUnavailable(
        "TargetChanged", f"somebody else wrote to {target.uri} at this moment", "another attempt may work"
    )


def _prune(target: Target, newest: str) -> None:
    """Keep the latest and `output.keep` older versions of this finetune."""
    output = target.run.spec.output
    keep = output.keep if output else 0
    older = [v for v in versions(target) if v.name != newest]
    for version in older[: max(0, len(older) - keep)]:
        target.store.remove(version.name)
