"""hf:// sources, through the hub's own client and its cache."""

import hashlib
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune_api.tables import TableSource
from finetune_api.uris import HfUri
from finetune_trainer.places import Places
from finetune_trainer.sources.fetched import Fetched, may_be_named_by
from finetune_trainer.sources.file_names import require_plain_name
from finetune_trainer.sources.hub import hub_errors, open_hub, telling_bar
from finetune_trainer.sources.model_names import NOT_MODEL_FILES, is_model_file, wanted_patterns
from finetune_trainer.sources.splits import choose_files, choose_files_by_card
from finetune_trainer.sources.transfers import Transfer

if TYPE_CHECKING:
    from huggingface_hub import HfApi

logger = logging.getLogger(__name__)

_SHA256_DIGITS = 64


def fetch_hub_model(uri: HfUri, token: str | None, places: Places, *, trusted: bool) -> Fetched:
    with hub_errors(uri):
        api = open_hub(token)
        names = api.list_repo_files(uri.repository, revision=uri.commit)
        _require_plain([n for n in names if is_model_file(n, trusted=trusted)], uri)
        patterns = wanted_patterns(trusted=trusted)
        folder = _snapshot(api, uri, places, allow_patterns=patterns, ignore_patterns=NOT_MODEL_FILES)
    return Fetched(folder, uri.commit)


def fetch_hub_table(source: TableSource, uri: HfUri, places: Places) -> Fetched:
    with hub_errors(uri):
        api = open_hub(places.token(source.secret_ref))
        names = api.list_repo_files(uri.repository, revision=uri.commit, repo_type="dataset")
        card = _card(api, uri, names, places)
        chosen = choose_files_by_card(names, card, subset=source.subset, split=source.split, where=source.uri)
        if chosen is None:
            chosen = _files_of_subset(names, source)
        wanted = [*chosen, *(n for n in names if may_be_named_by(chosen, n))]
        _require_plain(wanted, uri)
        patterns = [_literal(n) for n in wanted]
        folder = _snapshot(api, uri, places, allow_patterns=patterns, repo_type="dataset")
    files = tuple(folder / n for n in chosen)
    # The cache keeps contents apart from the names that link to them.
    return Fetched(files[0].parent, uri.commit, files, folder.parent.parent)


def list_hub_files(uri: HfUri, token: str | None) -> list[str]:
    """Names of all files of a dataset."""
    with hub_errors(uri):
        return list(open_hub(token).list_repo_files(uri.repository, revision=uri.commit, repo_type="dataset"))


def hub_cache(places: Places) -> Path:
    """Where the hub's client keeps what it has fetched; it locks and renames as `download_cache` does."""
    return places.cache / "hub"


def _snapshot(api: "HfApi", uri: HfUri, places: Places, **which: Any) -> Path:
    """The folder with the files asked for; what the cache has damaged is fetched anew."""
    transfer = Transfer(f"hf://{uri.repository}", 0, places.on_transfer)

    def download() -> Path:
        return Path(
            api.snapshot_download(
                uri.repository,
                revision=uri.commit,
                cache_dir=hub_cache(places),
                tqdm_class=telling_bar(transfer),
                **which,
            )
        )

    folder = download()
    return download() if _remove_damaged(folder) else folder


def _require_plain(names: list[str], uri: HfUri) -> None:
    for name in names:
        require_plain_name(name, where=f"hf://{uri.repository}")


def _remove_damaged(folder: Path) -> bool:
    """Remove what a volume has spoilt: large files are called by their digest. True if there was any."""
    found = False
    for link in folder.rglob("*"):
        blob = link.resolve()
        if not blob.is_file() or len(blob.name) != _SHA256_DIGITS:
            continue
        with blob.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != blob.name:
            logger.warning("%s in the cache of the hub is damaged, it is fetched anew", link.name)
            link.unlink()
            blob.unlink()
            found = True
    return found


def _card(api: "HfApi", uri: HfUri, names: list[str], places: Places) -> str:
    if "README.md" not in names:
        return ""
    path = api.hf_hub_download(
        uri.repository, "README.md", revision=uri.commit, repo_type="dataset", cache_dir=hub_cache(places)
    )
    return Path(path).read_text(encoding="utf-8", errors="replace")


def _files_of_subset(names: list[str], source: TableSource) -> list[str]:
    folder = f"{source.subset}/" if source.subset else ""
    below = [n.removeprefix(folder) for n in names if n.startswith(folder)]
    return [
        folder + n for n in choose_files(below, split=source.split, where=source.uri + f" {folder}".rstrip())
    ]


def _literal(name: str) -> str:
    """A pattern that fits this name alone."""
    return "".join(f"[{c}]" if c in "*?[" else c for c in name)
