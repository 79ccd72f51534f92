"""s3:// and gs:// sources: listed first, so that credentials count, and fetched unless the cache has them.

What lies in the cache is found by the keys, sizes and tags of the objects; the revision that lineage tells is
the digest of the content, equal wherever the content lies.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from finetune_api.tables import TableSource
from finetune_api.uris import StoreUri
from finetune_trainer.digests import file_digest, model_digest
from finetune_trainer.errors import InvalidSpec, SourceUnavailable
from finetune_trainer.places import Places
from finetune_trainer.sources.download_cache import cache_key, get_entry
from finetune_trainer.sources.fetched import Fetched, may_be_named_by, require_table_name
from finetune_trainer.sources.model_names import WEIGHTS, is_model_file
from finetune_trainer.sources.splits import choose_files
from finetune_trainer.sources.stores import Store, StoredObject, open_store
from finetune_trainer.sources.transfers import Transfer


def fetch_stored_model(uri: StoreUri, secret: Path | None, places: Places, *, trusted: bool) -> Fetched:
    store, objects = _list(uri, secret)
    if store.uri != uri:
        raise InvalidSpec("NotAFolder", f"{uri} must be a folder with a model, found one object")
    folder = _fetch(store, [o for o in objects if is_model_file(o.key, trusted=trusted)], places)
    return Fetched(folder, model_digest(folder), root=folder)


def fetch_stored_settings(uri: StoreUri, secret: Path | None, places: Places) -> tuple[Path, int]:
    """A model without its weights, and how many bytes those are."""
    store, objects = _list(uri, secret)
    files = [o for o in objects if is_model_file(o.key, trusted=False)]
    weights = [o for o in files if o.key.endswith(WEIGHTS)]
    return _fetch(store, [o for o in files if o not in weights], places), sum(o.size for o in weights)


def fetch_stored_table(source: TableSource, uri: StoreUri, places: Places) -> Fetched:
    store, objects = _list(uri, places.secret(source.secret_ref))
    names = [o.key for o in objects]
    if store.uri == uri:
        chosen = choose_files(names, split=source.split, where=source.uri)
    else:
        chosen = names
        require_table_name(source, names[0])
    wanted = {*chosen, *(n for n in names if may_be_named_by(chosen, n))}
    folder = _fetch(store, [o for o in objects if o.key in wanted], places)
    files = tuple(folder / name for name in chosen)
    return Fetched(files[0].parent, file_digest(*files), files, folder)


def list_stored_files(uri: StoreUri, secret: Path | None) -> list[str]:
    """Keys of all objects below a folder, relative to it."""
    return [o.key for o in _list(uri, secret)[1]]


def _list(uri: StoreUri, secret: Path | None) -> tuple[Store, list[StoredObject]]:
    """The folder's objects; of an object itself, the folder that it lies in and that object alone."""
    store = open_store(uri, secret)
    objects = store.list()
    if not objects:
        raise InvalidSpec("ObjectMissing", f"{uri} does not exist, or holds nothing", "correct `uri`")
    if [o.key for o in objects] != [""]:
        return store, objects
    parent, _, name = uri.key.rpartition("/")
    return store.at(replace(uri, key=parent)), [replace(objects[0], key=name)]


def _fetch(store: Store, objects: Sequence[StoredObject], places: Places) -> Path:
    """The folder with these objects as files."""
    described = [f"{o.key}\0{o.size}\0{o.tag}" for o in objects]
    transfer = Transfer(str(store.uri), sum(o.size for o in objects), places.on_transfer)

    def fill(folder: Path) -> str:
        store.download(objects, folder, on_bytes=transfer.add)
        if not set(objects) <= set(store.list() if len(objects) > 1 else store.list(objects[0].key)):
            raise SourceUnavailable(
                "SourceChanged", f"{store.uri} changed while it was fetched", "another attempt may work"
            )
        return str(store.uri)

    return get_entry(places.cache, cache_key(str(store.uri), *described), fill=fill).folder
