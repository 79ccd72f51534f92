"""Digests: equal where and only where the content is. Of files, of models, of cells.

All are SHA-256, so that nobody can make two contents of one digest.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path

_KEY_DIGITS = 32
"""Hexadecimal digits of a content key: 128 bits, enough for no two of 10^15 cells to meet by chance."""
_NOT_THE_MODEL = {
    "README.md", ".gitattributes", "latest.json", "report.json", "report.html", "training.png",
}  # fmt: skip
"""What hubs and published versions have beside a model."""


def file_digest(*paths: Path) -> str:
    """Of the content of files, in this order."""
    whole = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            whole.update(hashlib.file_digest(file, "sha256").digest())
    return f"sha256:{whole.hexdigest()}"


def model_digest(folder: Path) -> str:
    """Of a model's weights and configuration: every file with its name, but for the README."""
    files = sorted(
        (p.relative_to(folder).as_posix(), p)
        for p in folder.rglob("*")
        if p.is_file() and p.name not in _NOT_THE_MODEL and not _is_hidden(p.relative_to(folder))
    )
    return content_digest(part for name, path in files for part in (name, file_digest(path)))


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def content_digest(parts: Iterable[str | bytes]) -> str:
    """Of parts in their order; the length of each counts, so that no two lists meet by joining."""
    whole = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        whole.update(len(data).to_bytes(8, "big"))
        whole.update(data)
    return f"sha256:{whole.hexdigest()}"


def text_key(text: str) -> str:
    """Content key of a text; never that of an image."""
    return hashlib.sha256(b"text\0" + text.encode("utf-8", "surrogatepass")).hexdigest()[:_KEY_DIGITS]


def media_key(kind: str, encoded: bytes) -> str:
    """Content key of an image or recording, over its encoded bytes: nothing is decoded for it."""
    return hashlib.sha256(kind.encode() + b"\0" + encoded).hexdigest()[:_KEY_DIGITS]


def joined_key(keys: Iterable[str]) -> str:
    """Content key of a list or a mix of inputs, over the keys of its parts."""
    return hashlib.sha256(("joined\0" + "\0".join(keys)).encode()).hexdigest()[:_KEY_DIGITS]
