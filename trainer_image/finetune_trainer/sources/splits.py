"""Which files make up a split: chosen from names alone, so that a hub's listing and a folder go by one rule.

Raises InvalidData naming what is there when no file or more than one table fits.
"""

import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Any

import yaml

from finetune_trainer.errors import InvalidData

TABLE_SUFFIXES = (".parquet", ".arrow", ".jsonl", ".json", ".csv")
_METADATA = "metadata"
_ABOUT_TABLES = ("dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json")
"""What the `datasets` library writes beside the tables that it saves."""
_SHARD = re.compile(r"^(?P<table>.+)-[0-9]{5}-of-[0-9]{5}$")
_LISTED = 8
"""Names that a message lists before it breaks off."""


def choose_files(names: Iterable[str], *, split: str | None, where: str) -> list[str]:
    """The files of a split below a folder, or of its only table when split is None.

    names: of all files below the folder, with / between folders. where: the folder, for messages.
    Several files of one answer are pieces of one table, in the order of their names.
    """
    tables = [n for n in names if n.endswith(TABLE_SUFFIXES) and PurePosixPath(n).name not in _ABOUT_TABLES]
    places = _tables_by_place(tables, split)
    if not places:
        wanted = "one table" if split is None else f"files {split}.*, {split}-* or a folder {split}"
        raise InvalidData(
            "NoTable",
            f"{where} must have {wanted} ({', '.join(TABLE_SUFFIXES)}); found {listed(tables)}",
            "correct `uri` or `split`",
        )
    if len(places) > 1:
        raise InvalidData(
            "AmbiguousTable",
            f"{where} has several tables that fit split {split!r}: {listed(places)}",
            "set `split`, or let `uri` name one file",
        )
    return sorted(next(iter(places.values())))


def table_name(path: PurePosixPath) -> str:
    """The name of the table that a file is, or is a piece of."""
    piece = _SHARD.match(path.stem)
    return piece["table"] if piece else path.stem


def _tables_by_place(tables: Sequence[str], split: str | None) -> dict[str, list[str]]:
    """Tables that fit, under a name of their own; the pieces of a table come together."""
    found: dict[str, list[str]] = {}
    for name in tables:
        path = PurePosixPath(name)
        folder = path.parent.as_posix()
        at_top = folder in {".", "data"}
        if split is None and at_top:
            found.setdefault(f"{folder}/{table_name(path)}{path.suffix}", []).append(name)
        elif split is not None and at_top and (path.stem == split or path.stem.startswith(f"{split}-")):
            found.setdefault(f"{folder}/{split}{path.suffix}", []).append(name)
        elif split is not None and folder in {split, f"data/{split}"}:
            found.setdefault(f"{folder}/{path.suffix}", []).append(name)
    return found


def choose_files_by_card(
    names: Sequence[str], card: str, *, subset: str | None, split: str | None, where: str
) -> list[str] | None:
    """The files that a dataset card gives for a configuration and split, or None when it gives none.

    card: text of README.md; its front matter may hold `configs`, as the hub documents.
    """
    configurations = _configurations(card)
    if not configurations:
        return None
    config = _configuration(configurations, subset, where)
    patterns = _patterns_by_split(config.get("data_files"))
    if split is None and len(patterns) == 1:
        (split,) = patterns
    if split not in patterns:
        raise InvalidData(
            "NoSplit",
            f"{where} has no split {split!r} in configuration {config.get('config_name')!r};"
            f" found {listed(patterns)}",
            "set `split` to one of them",
        )
    chosen = sorted(n for n in names if any(_fits(n, p) for p in patterns[split]))
    if not chosen:
        raise InvalidData("NoTable", f"{where} has no files {listed(patterns[split])} of split {split!r}")
    return chosen


def _configurations(card: str) -> list[dict[str, Any]]:
    front = re.match(r"^---\s*\n(.*?)\n---\s*(\n|$)", card, re.DOTALL)
    try:
        content = yaml.safe_load(front[1]) if front else None
    except yaml.YAMLError:
        return []
    configs = content.get("configs") if isinstance(content, dict) else None
    return (
        [c for c in configs if isinstance(c, dict) and c.get("data_files")]
        if isinstance(configs, list)
        else []
    )


def _configuration(configs: list[dict[str, Any]], subset: str | None, where: str) -> dict[str, Any]:
    by_name = {str(c.get("config_name", "default")): c for c in configs}
    defaults = [c for c in configs if c.get("default") is True]
    if subset in by_name:
        return by_name[subset]
    if subset is None and (len(configs) == 1 or defaults or "default" in by_name):
        return (defaults or [by_name.get("default", configs[0])])[0]
    raise InvalidData(
        "NoSubset",
        f"{where} has no configuration {subset!r}; found {listed(by_name)}",
        "set `subset` to one of them",
    )


def _patterns_by_split(data_files: Any) -> dict[str, list[str]]:
    """The three forms that the hub allows: a pattern, patterns, or entries of a split and its patterns."""
    if isinstance(data_files, str):
        return {"train": [data_files]}
    entries = data_files if isinstance(data_files, list) else []
    patterns: dict[str, list[str]] = {}
    for entry in entries:
        split, path = (
            (entry.get("split", "train"), entry.get("path")) if isinstance(entry, dict) else ("train", entry)
        )
        patterns.setdefault(str(split), []).extend(path if isinstance(path, list) else [str(path)])
    return patterns


def _fits(name: str, pattern: str) -> bool:
    return fnmatchcase(name, pattern) or fnmatchcase(name, pattern.replace("**/", ""))


def is_media_folder(files: Sequence[str]) -> bool:
    """Whether a table is the metadata of the images, audio or videos around it."""
    return all(PurePosixPath(f).stem == _METADATA for f in files)


def listed(names: Iterable[str]) -> str:
    """Names for a message; of many, the first."""
    ordered = sorted(names)
    more = f" and {len(ordered) - _LISTED} more" if len(ordered) > _LISTED else ""
    return ", ".join(ordered[:_LISTED]) + more if ordered else "none"
