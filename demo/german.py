"""German questions, English answers: Debian's package descriptions and their translations.

A translation carries the checksum of the English text it was made from, so both are joined by that. The query
is the German summary of a package, the document its English description. apt fetches both into a folder of
its own: the system's package lists are not touched, and root is not needed.
"""

import json
import os
import random
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from demo.errors import DemoError

CORPUS_SIZE = 600
QUERIES = 200
TRAIN_ROWS = 6000
MIN_DOCUMENT_CHARACTERS = 120
FETCH_SECONDS = 300

_FILES = ("train.jsonl", "queries.jsonl", "corpus.jsonl", "qrels.jsonl")
_NEXT_STEP = "or leave this finetune out: python -m demo --only visual-documents"


@dataclass(frozen=True)
class Pair:
    """A German summary and the English description of the same package."""

    query: str
    document: str


@dataclass(frozen=True)
class GermanSearch:
    """Rows to train on, and documents held out, the first of which have queries."""

    train: tuple[Pair, ...]
    corpus: tuple[Pair, ...]
    queries: int


def cached_tables(cache: Path) -> Path:
    """Folder with train.jsonl, queries.jsonl, corpus.jsonl and qrels.jsonl; made the first time.

    Raises DemoError where there is no apt, no mirror, or too few translations.
    """
    folder = cache / "german-search"
    if not all((folder / name).exists() for name in _FILES):
        lists = cache / "apt-translations"
        fetch_translations(lists)
        pairs = join_translations(_read_lists(lists, "en"), _read_lists(lists, "de"))
        fresh = folder.with_name(folder.name + ".new")
        shutil.rmtree(fresh, ignore_errors=True)
        write_tables(fresh, plan_search(pairs))
        shutil.rmtree(folder, ignore_errors=True)
        fresh.rename(folder)
        shutil.rmtree(lists)
    return folder


def fetch_translations(lists: Path) -> None:
    """Have apt fetch the descriptions in English and German, and nothing else, into that folder."""
    if shutil.which("apt-get") is None:
        raise DemoError(
            "german-search is made from Debian's package descriptions, but apt-get was not found;"
            f" run the demo on Debian or Ubuntu, {_NEXT_STEP}"
        )
    (lists / "partial").mkdir(parents=True, exist_ok=True)
    settings = {
        "Dir::State::Lists": lists,
        "Dir::Cache": lists.with_name("apt-cache"),
        "Acquire::Languages": "en,de",
        "Acquire::GzipIndexes": "false",
        "Acquire::IndexTargets::deb::Packages::DefaultEnabled": "false",
        "Acquire::IndexTargets::deb-src::Sources::DefaultEnabled": "false",
        "APT::Sandbox::User": "",
    }
    options = [part for name, value in settings.items() for part in ("-o", f"{name}={value}")]
    _run_apt(["apt-get", "-qq", *options, "update"])


def _run_apt(command: list[str]) -> None:
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            timeout=FETCH_SECONDS,
            env={**os.environ, "LC_ALL": "C.UTF-8"},
        )
    except subprocess.TimeoutExpired as error:
        raise DemoError(
            f"apt-get update did not end within {FETCH_SECONDS} s;"
            f" look at /etc/apt/sources.list, {_NEXT_STEP}"
        ) from error
    if done.returncode != 0:
        raise DemoError(
            f"apt-get update ended with {done.returncode}:\n{done.stderr.strip()}\n"
            f"mend /etc/apt/sources.list or the network, {_NEXT_STEP}"
        )


def _read_lists(lists: Path, language: str) -> Iterator[str]:
    for file in sorted(lists.glob(f"*_Translation-{language}")):
        yield file.read_text(encoding="utf-8")


def join_translations(english: Iterable[str], german: Iterable[str]) -> list[Pair]:
    """Pairs from the texts of Translation files, ordered by checksum; every query and document comes once."""
    originals = _descriptions(english, "en")
    pairs: list[Pair] = []
    queries, documents = set[str](), set[str]()
    for checksum, (query, _) in sorted(_descriptions(german, "de").items()):
        summary, document = originals.get(checksum, ("", ""))
        if len(document) < MIN_DOCUMENT_CHARACTERS or query == summary:
            continue
        if query not in queries and document not in documents:
            pairs.append(Pair(query, document))
        queries.add(query)
        documents.add(document)
    return pairs


_STANZA = re.compile(
    r"^Description-md5: (?P<checksum>[0-9a-f]{32})\n"
    r"Description-(?P<language>[a-z]{2}): (?P<summary>.*)\n"
    r"(?P<text>(?: .*\n)*)",
    re.MULTILINE,
)


def _descriptions(files: Iterable[str], language: str) -> dict[str, tuple[str, str]]:
    """Checksum of the English description to (summary, text on one line)."""
    found: dict[str, tuple[str, str]] = {}
    for content in files:
        for stanza in _STANZA.finditer(content + "\n"):
            if stanza["language"] == language:
                lines = (line.strip() for line in stanza["text"].splitlines())
                found[stanza["checksum"]] = (
                    stanza["summary"].strip(),
                    " ".join(line for line in lines if line not in {"", "."}),
                )
    return found


def plan_search(
    pairs: list[Pair], *, corpus: int = CORPUS_SIZE, queries: int = QUERIES, train: int = TRAIN_ROWS
) -> GermanSearch:
    """Hold out the first `corpus` pairs of a fixed shuffle, train on the next ones."""
    if len(pairs) < corpus + train:
        raise DemoError(
            f"found {len(pairs)} descriptions in both German and English, {corpus + train} are needed;"
            f" add the main component to /etc/apt/sources.list, {_NEXT_STEP}"
        )
    shuffled = list(pairs)
    random.Random(0).shuffle(shuffled)
    return GermanSearch(
        train=tuple(shuffled[corpus : corpus + train]), corpus=tuple(shuffled[:corpus]), queries=queries
    )


def write_tables(folder: Path, search: GermanSearch) -> None:
    """Write the four tables, in the columns that BEIR's data sets have."""
    folder.mkdir(parents=True)
    judged = range(search.queries)
    corpus = enumerate(search.corpus)
    rows: dict[str, list[dict[str, object]]] = {
        "train.jsonl": [{"query": p.query, "positive": p.document} for p in search.train],
        "queries.jsonl": [{"_id": f"q{n}", "text": search.corpus[n].query} for n in judged],
        "corpus.jsonl": [{"_id": f"d{n}", "text": p.document} for n, p in corpus],
        "qrels.jsonl": [{"query-id": f"q{n}", "corpus-id": f"d{n}", "score": 1} for n in judged],
    }
    for name in _FILES:
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows[name])
        (folder / name).write_text("".join(lines), encoding="utf-8")
