"""Images in tables: which texts are paths of images, and whether an image can be read before a step asks."""

import io
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from PIL import Image, UnidentifiedImageError

from finetune_trainer.digests import image_key
from finetune_trainer.errors import InvalidData
from finetune_trainer.sources import IMAGE_SUFFIXES

MAX_PIXELS = 100_000_000
"""Beyond this a small file fills the memory when it is decoded; a page at 600 dpi has 35 million."""
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP")
_OTHER_MEDIA = (
    ".tif", ".jp2", ".heic", ".avif", ".svg", ".pdf",
    ".webm", ".mp4", ".avi", ".mov", ".wmv", ".flv", ".mkv",
    ".m4a", ".mp3", ".wav", ".ogg", ".flac", ".aac", ".opus",
)  # fmt: skip
_URL = re.compile(r"^(https?://|data:image/)\S+$", re.IGNORECASE)
_LONGEST_PATH = 1024
_JPEG_END = b"\xff\xd9"
_TAIL = 4096


@dataclass(frozen=True)
class Problem:
    reason: str
    message: str


def paths_as_images(
    texts: Sequence[str], *, column: str, where: str, folder: Path, root: Path
) -> list[str] | None:
    """The images' absolute paths if the texts are paths of images, None if they are texts.

    Raises InvalidData for what the library would silently train as text, or fetch from the network.
    """
    endings = [_ending(t) for t in texts]
    for row, (text, ending) in enumerate(zip(texts, endings, strict=True)):
        if _URL.match(text):
            raise InvalidData(
                "UrlInCell",
                f"row {row}, column {column!r} of {where} holds a URL ({text[:60]});"
                " nothing is fetched in training",
                "put the files beside the table, and their relative paths into the column",
            )
        if ending in _OTHER_MEDIA:
            raise InvalidData(
                "UnsupportedMedia",
                f"row {row}, column {column!r} of {where} names a file {ending}; it must be one of"
                f" {', '.join(IMAGE_SUFFIXES)}",
                "convert the files",
            )
    rows = [row for row, e in enumerate(endings) if e in IMAGE_SUFFIXES]
    if not rows:
        return None
    if len(rows) < len(texts):
        mixed = next(row for row, e in enumerate(endings) if e not in IMAGE_SUFFIXES)
        raise InvalidData(
            "MixedColumn",
            f"column {column!r} of {where} must hold either texts or images;"
            f" row {rows[0]} names an image file, row {mixed} is a text",
        )
    return _existing(texts, column=column, where=where, folder=folder, root=root)


def _ending(text: str) -> str:
    """The ending of a file's name, or nothing for what cannot be one: a text has blanks or is long."""
    if len(text) > _LONGEST_PATH or text.split() != [text]:
        return ""
    return PurePosixPath(text).suffix.lower()


def _existing(texts: Sequence[str], *, column: str, where: str, folder: Path, root: Path) -> list[str]:
    paths = [(folder / t).resolve() for t in texts]
    for row, path in enumerate(paths):
        if not path.is_relative_to(root):
            raise InvalidData(
                "PathEscapes",
                f"row {row}, column {column!r} of {where}: {texts[row]!r} must lie inside the table's volume",
            )
    missing = [row for row, p in enumerate(paths) if not p.is_file()]
    if missing:
        raise InvalidData(
            "MissingFile",
            f"column {column!r} of {where}: {len(missing)} of {len(texts)} image files do not exist,"
            f" the first in row {missing[0]}: {texts[missing[0]]!r} beside the table",
            "add the files; paths are relative to the table's folder",
        )
    return [str(p) for p in paths]


def image_problem(cell: Any) -> tuple[str, Problem | None]:
    """Content key of an encoded image {bytes, path}, and what is wrong with it, if anything."""
    if cell is None or not (cell.get("bytes") or cell.get("path")):
        return "", Problem("EmptyCell", "must hold an image, found nothing")
    try:
        encoded = cell["bytes"] or Path(cell["path"]).read_bytes()
    except OSError as error:
        return "", Problem("MissingFile", f"{Path(cell['path']).name} cannot be read: {error.strerror}")
    return image_key(encoded), _problem_of(encoded)


def _problem_of(encoded: bytes) -> Problem | None:
    try:
        with warnings.catch_warnings():
            # Its limits are what this function is here for, and it has one of its own.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(encoded), formats=FORMATS) as image:
                width, height = image.size
                if width * height > MAX_PIXELS:
                    return Problem(
                        "ImageTooLarge", f"must have at most {MAX_PIXELS} pixels, found {width} x {height}"
                    )
                _require_whole(image, encoded)
    except Image.DecompressionBombError:
        return Problem(
            "ImageTooLarge", f"must have at most {MAX_PIXELS} pixels, found more than twice as many"
        )
    except UnidentifiedImageError:
        return Problem(
            "UnreadableImage", f"must be one of {', '.join(FORMATS)}, found {len(encoded)} other bytes"
        )
    except Exception as error:  # noqa: BLE001 - decoders raise whatever a broken file makes them run into
        return Problem("UnreadableImage", f"cannot be decoded ({type(error).__name__}: {str(error)[:120]})")
    return None


def _require_whole(image: Image.Image, encoded: bytes) -> None:
    """Raises when the file is cut off. Cheap where the format allows it; else by decoding.

    PNG has check sums, which `verify` follows to the end; JPEG ends with a mark, WebP begins with its length.
    """
    if image.format == "PNG":
        image.verify()
        return
    whole = (image.format == "JPEG" and _JPEG_END in encoded[-_TAIL:]) or (
        image.format == "WEBP" and len(encoded) >= int.from_bytes(encoded[4:8], "little") + 8
    )
    if not whole:
        image.load()
