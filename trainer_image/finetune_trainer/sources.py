"""First stage: what a URI names is brought onto this machine, or it is said why that cannot be.

hf:// goes through the hub's own client, pvc:// is a folder, https:// is `downloads`. What the files hold is
for `tables` and `models` to judge.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from finetune_api.fields import SecretRef
from finetune_api.model import Encoder, Model
from finetune_api.tables import TableSource
from finetune_api.uris import HfUri, HttpsUri, PvcUri, parse_uri
from finetune_trainer import downloads
from finetune_trainer.digests import file_digest, model_digest
from finetune_trainer.errors import InvalidData, InvalidSpec
from finetune_trainer.hub import hub_errors, open_hub
from finetune_trainer.media_formats import MEDIA_SUFFIXES
from finetune_trainer.models.safety import refuse_links
from finetune_trainer.places import Places
from finetune_trainer.splits import (
    TABLE_SUFFIXES,
    choose_files,
    choose_files_by_card,
    is_media_folder,
    listed,
)
from finetune_trainer.storage import storage_errors

if TYPE_CHECKING:
    from huggingface_hub import HfApi

MODEL_FILES = ["*.safetensors", "*.json", "*.txt", "*.model", "*.jinja"]
"""Weights only as safetensors: other formats are pickles, which run code when they are read."""
CODE_FILES = ["*.py"]
NOT_MODEL_FILES = ["onnx/*", "openvino/*", "*checkpoint-*"]


@dataclass(frozen=True)
class Fetched:
    """Something brought here.

    path: of a model its folder; of a table the folder that its files and images lie in.
    revision: the commit, or "sha256:..." of the content.
    files: of a table, its files; several are pieces of one table.
    root: media must not lie outside of this folder.
    """

    path: Path
    revision: str
    files: tuple[Path, ...] = ()
    root: Path = Path("/")


def fetch_model(model: Model | Encoder, places: Places, *, trusted: bool = False) -> Fetched:
    """The folder of the base model, or of one of its encoders. trusted: with the code that comes with it."""
    uri = parse_uri(model.uri or "")
    if isinstance(uri, HfUri):
        with hub_errors(uri):
            api = open_hub(places.token(model.secret_ref))
            folder = api.snapshot_download(
                uri.repository,
                revision=uri.commit,
                cache_dir=places.work / "hub",
                allow_patterns=MODEL_FILES + (CODE_FILES if trusted else []),
                ignore_patterns=NOT_MODEL_FILES,
            )
        return Fetched(Path(folder), uri.commit)
    if isinstance(uri, PvcUri):
        folder_of_claim, path = _path_in_claim(uri, places)
        if not path.is_dir():
            raise InvalidSpec("NotAFolder", f"{model.uri} must be a folder with a model, found a file")
        refuse_links(path)
        with storage_errors(model.uri or ""):
            return Fetched(path, model_digest(path), root=folder_of_claim)
    raise InvalidSpec("WrongScheme", f"`model.uri` must be hf:// or pvc://, found {model.uri}")


def fetch_table(source: TableSource, places: Places) -> Fetched:
    """The files of a table, and the folder that its images lie in."""
    uri = parse_uri(source.uri)
    match uri:
        case HfUri():
            return _hub_table(source, uri, places)
        case PvcUri():
            folder_of_claim, path = _path_in_claim(uri, places)
            return _local_table(source, path, folder_of_claim)
        case HttpsUri():
            path, digest = downloads.download(
                uri.url, places, token=places.token(source.secret_ref), suffixes=TABLE_SUFFIXES
            )
            return _single_file(source, path, digest, path.parent)
        case _:
            raise InvalidSpec("WrongScheme", f"{source.uri} cannot be read yet")


def list_files(uri: str, secret: SecretRef | None, places: Places) -> list[str]:
    """Names of all files below a folder or in a dataset of a hub, with / between folders."""
    parsed = parse_uri(uri)
    match parsed:
        case HfUri():
            with hub_errors(parsed):
                api = open_hub(places.token(secret))
                return list(
                    api.list_repo_files(parsed.repository, revision=parsed.commit, repo_type="dataset")
                )
        case PvcUri():
            _, path = _path_in_claim(parsed, places)
            return _names_below(path)
        case _:
            raise InvalidSpec("WrongScheme", f"the files of {uri} cannot be listed", "copy them to a volume")


def _names_below(path: Path) -> list[str]:
    return [p.relative_to(path).as_posix() for p in sorted(path.rglob("*")) if p.is_file()]


def _local_table(source: TableSource, path: Path, root: Path) -> Fetched:
    if path.is_file():
        with storage_errors(source.uri):
            return _single_file(source, path, file_digest(path), root)
    with storage_errors(source.uri):
        names = _names_below(path)
        files = tuple(path / n for n in choose_files(names, split=source.split, where=source.uri))
        for file in files:
            _require_inside(file, root, source.uri)
        return Fetched(files[0].parent, file_digest(*files), files, root)


def _single_file(source: TableSource, path: Path, digest: str, root: Path) -> Fetched:
    if path.suffix not in TABLE_SUFFIXES:
        raise InvalidData(
            "UnknownFormat",
            f"{source.uri} must end with one of {', '.join(TABLE_SUFFIXES)}, "
            f" found {path.suffix or 'no ending'!r}",
            "convert the file, or let `uri` name the folder that holds the table",
        )
    if source.split is not None:
        raise InvalidSpec(
            "SplitOfFile",
            f"`split` must be left out when `uri` names a file; found {source.split!r} beside {source.uri}",
            "leave out `split`, or let `uri` name the folder",
        )
    return Fetched(path.parent, digest, (path,), root)


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
    _require_inside(path, root, name)
    return root, path


def _require_inside(path: Path, root: Path, name: str) -> None:
    if not path.resolve().is_relative_to(root):
        raise InvalidSpec(
            "PathEscapes", f"{name} must stay inside its volume, found a link that leads out of it"
        )


def _hub_table(source: TableSource, uri: HfUri, places: Places) -> Fetched:
    with hub_errors(uri):
        api = open_hub(places.token(source.secret_ref))
        names = api.list_repo_files(uri.repository, revision=uri.commit, repo_type="dataset")
        card = _card(api, uri, names, places)
        chosen = choose_files_by_card(names, card, subset=source.subset, split=source.split, where=source.uri)
        if chosen is None:
            chosen = _files_of_subset(names, source)
        images = [n for n in names if _may_be_named_by(chosen, n)]
        folder = Path(
            api.snapshot_download(
                uri.repository,
                revision=uri.commit,
                repo_type="dataset",
                cache_dir=places.work / "hub",
                allow_patterns=[_literal(n) for n in [*chosen, *images]],
            )
        )
    files = tuple(folder / n for n in chosen)
    # The cache keeps contents apart from the names that link to them.
    return Fetched(files[0].parent, uri.commit, files, folder.parent.parent)


def _card(api: "HfApi", uri: HfUri, names: list[str], places: Places) -> str:
    if "README.md" not in names:
        return ""
    path = api.hf_hub_download(
        uri.repository, "README.md", revision=uri.commit, repo_type="dataset", cache_dir=places.work / "hub"
    )
    return Path(path).read_text(encoding="utf-8", errors="replace")


def _files_of_subset(names: list[str], source: TableSource) -> list[str]:
    folder = f"{source.subset}/" if source.subset else ""
    below = [n.removeprefix(folder) for n in names if n.startswith(folder)]
    return [
        folder + n for n in choose_files(below, split=source.split, where=source.uri + f" {folder}".rstrip())
    ]


def _may_be_named_by(tables: list[str], name: str) -> bool:
    """Media that a table may name: parquet and Arrow carry their own, but for the metadata of a folder."""
    names_media = is_media_folder(tables) or not tables[0].endswith((".parquet", ".arrow"))
    return names_media and name.lower().endswith(MEDIA_SUFFIXES)


def _literal(name: str) -> str:
    """A pattern that fits this name alone."""
    return "".join(f"[{c}]" if c in "*?[" else c for c in name)
