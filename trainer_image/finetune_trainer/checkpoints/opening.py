"""Where a run's checkpoints are: in a folder of this machine, in a bucket, or nowhere."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from finetune_api.run_file import RunFile
from finetune_api.runtime import Checkpoints as Settings
from finetune_api.uris import StoreUri, parse_target
from finetune_trainer.checkpoints.buckets import BucketCheckpoints
from finetune_trainer.checkpoints.folders import FolderCheckpoints
from finetune_trainer.checkpoints.keeping import Checkpoints
from finetune_trainer.checkpoints.store import CheckpointStore
from finetune_trainer.errors import InvalidSpec
from finetune_trainer.places import Places
from finetune_trainer.sources.stores import open_store

_OF_THIS_MACHINE = Settings(claim="this-machine")
"""How many and how often where the spec has no checkpoints, and the machine has a folder for them."""


def open_checkpoints(run: RunFile, places: Places, note: Callable[[str], None]) -> Checkpoints | None:
    """None where the run has no place for any. Nothing is read yet.

    Raises InvalidSpec when the volume is not there, NoAccess for keys that are missing.
    """
    settings = run.spec.runtime.checkpoints
    path = Path(run.namespace, run.name, run.uid, str(run.run))
    store: CheckpointStore
    if places.checkpoints is not None:
        store = FolderCheckpoints(places.checkpoints, path)
    elif settings is None:
        return None
    elif settings.uri is not None:
        store = _bucket(settings, path, places)
    else:
        raise InvalidSpec(
            "VolumeMissing",
            f"the claim {settings.claim!r} of `runtime.checkpoints` is not mounted",
            "take an operator as new as this trainer image",
        )
    settings = settings or _OF_THIS_MACHINE
    return Checkpoints(store, keep=settings.keep, every_seconds=settings.every_seconds, note=note)


def _bucket(settings: Settings, path: Path, places: Places) -> BucketCheckpoints:
    uri = parse_target(settings.uri or "")
    assert isinstance(uri, StoreUri)  # noqa: S101 - a rule of the API
    key = "/".join(part for part in (uri.key, path.as_posix()) if part)
    store = open_store(replace(uri, key=key), places.secret(settings.secret_ref))
    return BucketCheckpoints(store, places.work / "checkpoint")
