"""First stage: what a URI names is brought onto this machine, or it is said why that cannot be.

Each scheme has a file of its own beside this one; pvc:// and configmap:// are folders. What the files hold is
for `tables` and `models` to judge.
"""

from pathlib import Path

from finetune_api.fields import SecretRef
from finetune_api.model import Encoder, Model
from finetune_api.tables import TableSource
from finetune_api.uris import ConfigMapUri, HfUri, HttpsUri, OciUri, PvcUri, StoreUri, parse_uri
from finetune_trainer.digests import model_digest
from finetune_trainer.errors import InvalidSpec
from finetune_trainer.models.safety import refuse_links
from finetune_trainer.places import Places
from finetune_trainer.sources.artifact_sources import (
    fetch_files_of_artifact,
    fetch_model_artifact,
    fetch_table_artifact,
)
from finetune_trainer.sources.downloads import download
from finetune_trainer.sources.fetched import Fetched, names_below, require_inside, single_file, table_in
from finetune_trainer.sources.hub_sources import fetch_hub_model, fetch_hub_table, list_hub_files
from finetune_trainer.sources.splits import TABLE_SUFFIXES, listed
from finetune_trainer.sources.store_sources import fetch_stored_model, fetch_stored_table, list_stored_files
from finetune_trainer.storage import storage_errors

__all__ = ["Fetched", "fetch_model", "fetch_table", "list_files"]


def fetch_model(model: Model | Encoder, places: Places, *, trusted: bool = False) -> Fetched:
    """The folder of the base model, or of one of its encoders. trusted: with the code that comes with it."""
    text = model.uri or ""
    match uri := parse_uri(text):
        case HfUri():
            return fetch_hub_model(uri, places.token(model.secret_ref), places, trusted=trusted)
        case StoreUri():
            return fetch_stored_model(uri, places.secret(model.secret_ref), places, trusted=trusted)
        case OciUri():
            return fetch_model_artifact(uri, places.secret(model.secret_ref), places, trusted=trusted)
        case PvcUri():
            folder_of_claim, path = _path_in_claim(uri, places)
            if not path.is_dir():
                raise InvalidSpec("NotAFolder", f"{text} must be a folder with a model, found a file")
            refuse_links(path)
            with storage_errors(text):
                return Fetched(path, model_digest(path), root=folder_of_claim)
        case HttpsUri() | ConfigMapUri():
            raise InvalidSpec("WrongScheme", f"a model must be a folder, found {text}")


def fetch_table(source: TableSource, places: Places) -> Fetched:
    """The files of a table, and the folder that its images lie in."""
    match uri := parse_uri(source.uri):
        case HfUri():
            return fetch_hub_table(source, uri, places)
        case StoreUri():
            return fetch_stored_table(source, uri, places)
        case OciUri():
            return fetch_table_artifact(source, uri, places)
        case PvcUri():
            folder_of_claim, path = _path_in_claim(uri, places)
            return table_in(source, path, folder_of_claim)
        case ConfigMapUri():
            path = _path_of_key(uri, places)
            return table_in(source, path, path.parent.resolve())
        case HttpsUri():
            token = places.token(source.secret_ref)
            path, digest = download(uri.url, places, token=token, suffixes=TABLE_SUFFIXES)
            return single_file(source, path, digest, path.parent)


def list_files(uri: str, secret: SecretRef | None, places: Places) -> list[str]:
    """Names of all files below a folder, in a bucket or artifact, or in a dataset of a hub."""
    match parsed := parse_uri(uri):
        case HfUri():
            return list_hub_files(parsed, places.token(secret))
        case StoreUri():
            return list_stored_files(parsed, places.secret(secret))
        case OciUri():
            return names_below(fetch_files_of_artifact(parsed, places.secret(secret), places))
        case PvcUri():
            return names_below(_path_in_claim(parsed, places)[1])
        case HttpsUri() | ConfigMapUri():
            raise InvalidSpec("WrongScheme", f"{uri} must be a folder, found one file", "copy it to a volume")


def _path_in_claim(uri: PvcUri, places: Places) -> tuple[Path, Path]:
    """Folder of the claim, and the path in it; both without links.

    Raises InvalidSpec when the path is absent or leads out of the claim.
    """
    root = places.volume(uri.claim).resolve()
    name = f"pvc://{uri.claim}/{uri.path}"
    try:
        path = (root / uri.path).resolve(strict=True)
    except FileNotFoundError as error:
        parent = next(p for p in (root / uri.path).parents if p.exists())
        raise InvalidSpec(
            "PathMissing",
            f"{name} does not exist; {parent.name} holds {listed(p.name for p in parent.iterdir())}",
            "correct `uri`, or put the files there",
        ) from error
    except OSError as error:
        raise InvalidSpec("PathMissing", f"{name} cannot be followed: {error.strerror}") from error
    require_inside(path, root, name)
    return root, path


def _path_of_key(uri: ConfigMapUri, places: Places) -> Path:
    folder = places.config_map(uri.name)
    path = folder / uri.key
    if not path.is_file():
        keys = (p.name for p in folder.iterdir() if not p.name.startswith(".."))
        raise InvalidSpec(
            "ConfigMapKeyMissing",
            f"configmap://{uri.name}/{uri.key} does not exist; the ConfigMap has {listed(keys)}",
            "correct `uri`, or put the key there",
        )
    return path
