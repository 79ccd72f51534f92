"""Texts that are paths of media files: found, and followed no further than the table's own volume."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from finetune_trainer.data.media_formats import (
    MEDIA_SUFFIXES,
    REFUSED_SUFFIXES,
    SUFFIXES,
    Modality,
    kind_of_suffix,
)
from finetune_trainer.errors import InvalidData

_URL = re.compile(r"^(https?://|data:(image|audio|video)/)\S+$", re.IGNORECASE)
_LONGEST_PATH = 1024
_FILES = {"image": "an image file", "audio": "an audio file", "video": "a video file"}


@dataclass(frozen=True)
class Spot:
    """Where cells stand. where: the table, for messages; rows: the row of each cell, None: they are the rows.

    folder: what paths are relative to. root: where they must stay.
    """

    column: str
    where: str
    folder: Path
    root: Path
    rows: Sequence[int] | None = None

    def at(self, cell: int) -> str:
        """A cell's place, as messages begin."""
        return f"row {self.row(cell)}, column {self.column!r} of {self.where}"

    def row(self, cell: int) -> int:
        return cell if self.rows is None else self.rows[cell]

    def of_items(self, rows: Sequence[int]) -> "Spot":
        return replace(self, rows=rows)


def media_kind(texts: Sequence[str], spot: Spot, wanted: Modality | None = None) -> Modality:
    """What all the texts name files of, or "text" where they are texts.

    wanted: what the column must hold, where that is known.
    Raises InvalidData for what the library would silently train as text, or fetch from the network.
    """
    if wanted == "text":
        return "text"
    endings = [_ending(t) for t in texts]
    _refuse_others(texts, endings, spot)
    kinds = [kind_of_suffix(e) for e in endings]
    media = [k for k in kinds if k != "text"]
    kind: Modality = wanted or (media[0] if media else "text")
    strangers = [cell for cell, k in enumerate(kinds) if k != kind]
    if strangers and wanted:
        raise InvalidData(
            "UnsupportedMedia",
            f"{spot.at(strangers[0])} must name {kind}, one of {', '.join(SUFFIXES[kind])};"
            f" found {texts[strangers[0]][:60]!r}",
            "convert the files, or name another column",
        )
    if strangers:
        raise InvalidData(
            "MixedColumn",
            f"column {spot.column!r} of {spot.where} must hold either texts or one kind of media;"
            f" row {spot.row(kinds.index(kind))} {_said(kind)}, row {spot.row(strangers[0])}"
            f" {_said(kinds[strangers[0]])}",
            "put texts and each kind of media into columns of their own",
        )
    return kind


def _said(kind: Modality) -> str:
    return "is a text" if kind == "text" else f"names {_FILES[kind]}"


def _refuse_others(texts: Sequence[str], endings: Sequence[str], spot: Spot) -> None:
    for cell, (text, ending) in enumerate(zip(texts, endings, strict=True)):
        if _URL.match(text):
            raise InvalidData(
                "UrlInCell",
                f"{spot.at(cell)} holds a URL ({text[:60]}); nothing is fetched in training",
                "put the files beside the table, and their relative paths into the column",
            )
        if ending in REFUSED_SUFFIXES:
            raise InvalidData(
                "UnsupportedMedia",
                f"{spot.at(cell)} names a file {ending}; it must be one of {', '.join(MEDIA_SUFFIXES)}",
                "convert the files",
            )


def _ending(text: str) -> str:
    """The ending of a file's name, or nothing for what cannot be one: a text has blanks or is long."""
    if len(text) > _LONGEST_PATH or text.split() != [text]:
        return ""
    return PurePosixPath(text).suffix.lower()


def existing_files(texts: Sequence[str], kind: Modality, spot: Spot) -> list[str]:
    """Absolute paths of the files, links as they are: what they lead to may have no ending.

    Raises InvalidData when a file is absent or out of the volume.
    """
    paths = [(spot.folder / t).resolve() for t in texts]
    for cell, path in enumerate(paths):
        if not path.is_relative_to(spot.root):
            raise InvalidData(
                "PathEscapes", f"{spot.at(cell)}: {texts[cell]!r} must lie inside the table's volume"
            )
    missing = [cell for cell, p in enumerate(paths) if not p.is_file()]
    if missing:
        raise InvalidData(
            "MissingFile",
            f"column {spot.column!r} of {spot.where}: {len(missing)} of {len(texts)} {kind} files do not"
            f" exist, the first in row {spot.row(missing[0])}: {texts[missing[0]]!r} beside the table",
            "add the files; paths are relative to the table's folder",
        )
    return [str(spot.folder / t) for t in texts]
