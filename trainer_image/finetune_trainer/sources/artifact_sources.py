"""oci:// sources: the manifest is asked for first, so that credentials count; the rest the cache may have."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from finetune_api.tables import TableSource
from finetune_api.uris import OciUri
from finetune_trainer.data.media_formats import MEDIA_SUFFIXES
from finetune_trainer.errors import InvalidSpec
from finetune_trainer.places import Places
from finetune_trainer.sources.download_cache import cache_key, get_entry
from finetune_trainer.sources.fetched import Fetched, table_in
from finetune_trainer.sources.model_names import WEIGHTS, is_model_file
from finetune_trainer.sources.splits import TABLE_SUFFIXES
from finetune_trainer.sources.transfers import Transfer

if TYPE_CHECKING:
    from finetune_trainer.sources.artifacts import Manifest
    from finetune_trainer.sources.registries import Repository


def fetch_model_artifact(uri: OciUri, secret: Path | None, places: Places, *, trusted: bool) -> Fetched:
    purpose = "model and code" if trusted else "model"
    wanted = partial(is_model_file, trusted=trusted)
    folder = _fetch(uri, secret, places, purpose=purpose, wanted=wanted)
    return Fetched(folder, uri.digest, root=folder)


def fetch_artifact_settings(uri: OciUri, secret: Path | None, places: Places) -> tuple[Path, int]:
    """A model without its weights, and how many bytes those are; archives of other tools come whole."""
    manifest = _manifest(uri, secret)[1]
    named = [layer for layer in manifest.layers if layer.name is not None]
    size = sum(layer.size for layer in named if (layer.name or "").endswith(WEIGHTS))
    if len(named) < len(manifest.layers):
        folder = fetch_model_artifact(uri, secret, places, trusted=False).path
        return folder, sum(path.stat().st_size for path in folder.rglob(f"*{WEIGHTS}"))
    return _fetch(uri, secret, places, purpose="settings", wanted=_is_setting), size


def _is_setting(name: str) -> bool:
    return is_model_file(name, trusted=False) and not name.endswith(WEIGHTS)


def fetch_table_artifact(source: TableSource, uri: OciUri, places: Places) -> Fetched:
    folder = _fetch(uri, places.secret(source.secret_ref), places, purpose="table", wanted=_is_of_tables)
    found = table_in(source, folder, folder)
    return Fetched(found.path, uri.digest, found.files, folder)


def fetch_files_of_artifact(uri: OciUri, secret: Path | None, places: Places) -> Path:
    """The folder with all tables and media of an artifact."""
    return _fetch(uri, secret, places, purpose="table", wanted=_is_of_tables)


def _is_of_tables(name: str) -> bool:
    return name.endswith(TABLE_SUFFIXES) or name.lower().endswith(MEDIA_SUFFIXES)


def _fetch(
    uri: OciUri, secret: Path | None, places: Places, *, purpose: str, wanted: Callable[[str], bool]
) -> Path:
    repository, manifest = _manifest(uri, secret)
    layers = [layer for layer in manifest.layers if layer.name is None or wanted(layer.name)]
    transfer = Transfer(repository.name, sum(layer.size for layer in layers), places.on_transfer)

    def fill(folder: Path) -> str:
        repository.pull(manifest, folder, wanted=wanted, on_bytes=transfer.add)
        return repository.name

    return get_entry(places.cache, cache_key("oci", purpose, uri.digest), fill=fill).folder


def _manifest(uri: OciUri, secret: Path | None) -> "tuple[Repository, Manifest]":
    from finetune_trainer.sources.registries import open_repository

    repository = open_repository(uri, secret)
    manifest = repository.manifest(uri.digest)
    if manifest is None:
        raise InvalidSpec(
            "ArtifactMissing", f"{repository.name}@{uri.digest} does not exist", "correct `uri`"
        )
    return repository, manifest
