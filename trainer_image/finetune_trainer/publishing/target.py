"""Where a run publishes, and whose it is."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finetune_api.output import Output
from finetune_api.run_file import RunFile
from finetune_api.uris import HfTarget, OciTarget, PvcUri, StoreUri, parse_target
from finetune_trainer.errors import TargetInUse
from finetune_trainer.places import Places
from finetune_trainer.publishing.artifacts import ArtifactStore
from finetune_trainer.publishing.folders import FolderStore
from finetune_trainer.publishing.hub_commits import HubStore
from finetune_trainer.publishing.objects import ObjectStore
from finetune_trainer.publishing.store import LATEST, VersionStore
from finetune_trainer.sources.hub import open_hub
from finetune_trainer.sources.registries import open_repository
from finetune_trainer.sources.stores import open_store


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


def target_of(run: RunFile, places: Places) -> Target | None:
    """Where the run publishes; None without `output`. Raises InvalidSpec when the volume is not there."""
    if run.spec.output is None:
        return None
    return Target(run, _store(run, run.spec.output, places), places.work)


def _store(run: RunFile, output: Output, places: Places) -> VersionStore:
    uri = parse_target(output.uri)
    match uri:
        case PvcUri():
            root = places.volume(uri.claim) / uri.path
            return FolderStore(output.uri.rstrip("/"), root, f".unfinished.{run.namespace}.{run.name}.")
        case HfTarget():
            api = open_hub(places.token(output.secret_ref))
            return HubStore(uri.repository, api, places.work / "hub")
        case StoreUri():
            store = open_store(uri, places.secret(output.secret_ref))
            return ObjectStore(store, {"namespace": run.namespace, "name": run.name}, places.work)
        case OciTarget():
            repository = open_repository(uri, places.secret(output.secret_ref))
            return ArtifactStore(uri, repository, places.work)


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
