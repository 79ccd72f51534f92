"""What fetching gives, and the rules for files that lie on this machine."""

from dataclasses import dataclass
from pathlib import Path

from finetune_api.tables import TableSource
from finetune_trainer.data.media_formats import MEDIA_SUFFIXES
from finetune_trainer.digests import file_digest
from finetune_trainer.errors import InvalidData, InvalidSpec
from finetune_trainer.sources.splits import TABLE_SUFFIXES, choose_files, is_media_folder
from finetune_trainer.storage import storage_errors


@dataclass(frozen=True)
class Fetched:
    """Something brought here.

    path: of a model its folder; of a table the folder that its files and images lie in.
    revision: the commit, the digest of an artifact, or else "sha256:..." of the content.
    files: of a table, its files; several are pieces of one table.
    root: media must not lie outside of this folder.
    """

    path: Path
    revision: str
    files: tuple[Path, ...] = ()
    root: Path = Path("/")


def table_in(source: TableSource, path: Path, root: Path) -> Fetched:
    """The table that a file is, or a folder holds."""
    if path.is_file():
        with storage_errors(source.uri):
            return single_file(source, path, file_digest(path), root)
    with storage_errors(source.uri):
        files = tuple(path / n for n in choose_files(names_below(path), split=source.split, where=source.uri))
        for file in files:
            require_inside(file, root, source.uri)
        return Fetched(files[0].parent, file_digest(*files), files, root)


def single_file(source: TableSource, path: Path, digest: str, root: Path) -> Fetched:
    require_table_name(source, path.name)
    return Fetched(path.parent, digest, (path,), root)


def require_table_name(source: TableSource, name: str) -> None:
    """Raises InvalidData unless a file of this name may be a whole table, InvalidSpec beside a `split`."""
    if not name.endswith(TABLE_SUFFIXES):
        suffix = Path(name).suffix
        raise InvalidData(
            "UnknownFormat",
            f"{source.uri} must end with one of {', '.join(TABLE_SUFFIXES)}, found {suffix or 'no ending'!r}",
            "convert the file, or let `uri` name the folder that holds the table",
        )
    if source.split is not None:
        raise InvalidSpec(
            "SplitOfFile",
            f"`split` must be left out when `uri` names a file; found {source.split!r} beside {source.uri}",
            "leave out `split`, or let `uri` name the folder",
        )


def names_below(path: Path) -> list[str]:
    return [p.relative_to(path).as_posix() for p in sorted(path.rglob("*")) if p.is_file()]


def require_inside(path: Path, root: Path, name: str) -> None:
    if not path.resolve().is_relative_to(root):
        raise InvalidSpec(
            "PathEscapes", f"{name} must stay inside its volume, found a link that leads out of it"
        )


def may_be_named_by(tables: list[str], name: str) -> bool:
    """Media that a table may name: parquet and Arrow carry their own, but for the metadata of a folder."""
    names_media = is_media_folder(tables) or not tables[0].endswith((".parquet", ".arrow"))
    return names_media and name.lower().endswith(MEDIA_SUFFIXES)
