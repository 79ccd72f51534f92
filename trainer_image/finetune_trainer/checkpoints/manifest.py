"""The seal of a checkpoint: what it is of, and the digest of every file; COMPLETE vouches for it."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from finetune_trainer.digests import file_digest

COMPLETE = "COMPLETE"
"""Written last; holds the digest of MANIFEST."""
MANIFEST = "manifest.json"
VERSION = 1
_AT_ONCE = 4


class Damaged(Exception):
    """A checkpoint that cannot be used, and why."""


@dataclass(frozen=True)
class Origin:
    """What must be equal for a training to go on. model: commit or digest; data: digest of the train sets."""

    spec_hash: str
    model: str
    data: str
    total_steps: int

    def difference(self, other: "Origin") -> str | None:
        """In words, what is not the same."""
        words = {"spec_hash": "spec", "model": "base model", "data": "train data", "total_steps": "steps"}
        differing = [words[f.name] for f in fields(self) if getattr(self, f.name) != getattr(other, f.name)]
        return ", ".join(differing) or None


@dataclass(frozen=True)
class Checkpoint:
    """A whole one on this machine. finished: of the end of the training, with its result for weights."""

    folder: Path
    step: int
    finished: bool
    origin: Origin
    state: Mapping[str, Any]


def write_sealed(
    folder: Path, *, step: int, finished: bool, origin: Origin, write: Callable[[Path], Mapping[str, Any]]
) -> None:
    """Fill an empty folder. write: puts files there, and gives the state that is written as JSON."""
    state = write(folder)
    (folder / "state.json").write_text(json.dumps(state), encoding="utf-8")
    manifest = {
        "version": VERSION,
        "step": step,
        "finished": finished,
        "origin": asdict(origin),
        "files": _entries(sorted(folder.iterdir())),
    }
    text = json.dumps(manifest, indent=1).encode()
    (folder / MANIFEST).write_bytes(text)
    (folder / COMPLETE).write_text(_digest(text), encoding="utf-8")


def read_sealed(folder: Path) -> Checkpoint:
    """Every file checked against its digest. Raises Damaged."""
    try:
        text = (folder / MANIFEST).read_bytes()
        if (folder / COMPLETE).read_text(encoding="utf-8") != _digest(text):
            raise Damaged("its manifest is not the one that was sealed")
        manifest = json.loads(text)
        if manifest["version"] != VERSION:
            raise Damaged(f"it is of version {manifest['version']}, wanted {VERSION}")
        _check_files(folder, manifest["files"])
        state = json.loads((folder / "state.json").read_bytes())
        origin = Origin(**manifest["origin"])
        return Checkpoint(folder, int(manifest["step"]), bool(manifest["finished"]), origin, state)
    except FileNotFoundError as error:
        raise Damaged(f"{Path(error.filename or '').name} is missing") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Damaged(f"it cannot be read ({type(error).__name__}: {error})") from error


def _check_files(folder: Path, listed: Mapping[str, Mapping[str, Any]]) -> None:
    """Sizes first: they tell most damage, and cost nothing."""
    paths = [folder / name for name in listed]
    for path, entry in zip(paths, listed.values(), strict=True):
        if path.parent != folder:
            raise Damaged(f"it names a file elsewhere, {path.name!r}")
        if (size := path.stat().st_size) != entry["bytes"]:
            raise Damaged(f"{path.name} must have {entry['bytes']} bytes, found {size}")
    if changed := [name for name, entry in _entries(paths).items() if entry != listed[name]]:
        raise Damaged(f"{changed[0]} is not what was written")


def _entries(paths: Sequence[Path]) -> dict[str, dict[str, Any]]:
    """Size and digest of each file by its name. Several at once: a core hashes slower than a disk reads."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        digests = pool.map(file_digest, paths)
        return {
            path.name: {"bytes": path.stat().st_size, "digest": digest}
            for path, digest in zip(paths, digests, strict=True)
        }


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
