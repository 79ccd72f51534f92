"""Names of files that others chose: keys of a bucket, layers of an artifact, members of an archive.

A name that is safe on this machine is relative, stays below its folder whatever is joined to it, and fits a
file system.
"""

from pathlib import PurePosixPath

from finetune_trainer.errors import InvalidData

_MAX_BYTES_OF_PART = 255
_MAX_BYTES = 1024


def require_plain_name(name: str, *, where: str) -> None:
    """Raises InvalidData unless the name, with / between folders, stays below the folder it is put in."""
    parts = name.split("/")
    escapes = name.startswith("/") or any(part in {"", ".", ".."} for part in parts)
    strange = "\\" in name or not name.isprintable()
    too_long = len(name.encode()) > _MAX_BYTES or any(len(p.encode()) > _MAX_BYTES_OF_PART for p in parts)
    if escapes or strange or too_long:
        raise InvalidData(
            "UnsafeName",
            f"{where} must hold names of files below it, found {name[:120]!r}",
            "rename that file",
        )


def suffix_of(name: str) -> str:
    """The ending of the name's last part, with its dot."""
    return PurePosixPath(name).suffix
