"""The tables of the examples, all in the small language of `words`."""

import csv
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.examples.media import png, write_clip, write_sound
from tests.examples.words import COUNT, Pair, others, split_pairs

Rows = Iterable[Mapping[str, Any]]
SPLIT = split_pairs()


def write_jsonl(path: Path, rows: Rows) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def write_csv(path: Path, rows: Rows) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = list(rows)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def write_parquet(path: Path, rows: Rows) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist([dict(row) for row in rows]), path)


def write_splits(
    folder: Path, ending: str, write: Callable[[Path, Rows], None], rows: Callable[[Sequence[Pair]], Rows]
) -> None:
    """Train and test, given the ending of the files and what a pair becomes."""
    for name, pairs in (("train", SPLIT.train), ("test", SPLIT.test)):
        write(folder / f"{name}{ending}", rows(pairs))


def answers(pairs: Sequence[Pair]) -> Rows:
    return [{"question": p.query, "answer": p.document} for p in pairs]


def candidates(pairs: Sequence[Pair]) -> Rows:
    """A question, its answer, and four others."""
    for pair in pairs:
        wrong = others(pair, pairs, 4)
        yield {
            "question": pair.query,
            "answer": pair.document,
            **{f"wrong_{n}": other.document for n, other in enumerate(wrong)},
        }


def words(pairs: Sequence[Pair]) -> Rows:
    for pair in pairs:
        (wrong,) = others(pair, pairs, 1)
        yield {"query": pair.query, "positive": pair.document, "negative": wrong.document}


def pictures(pairs: Sequence[Pair]) -> Rows:
    return [{"name": p.query, "image": {"bytes": png(p), "path": f"{p.name}.png"}} for p in pairs]


def forms(pairs: Sequence[Pair]) -> Rows:
    return [{"query": p.query, "image": {"bytes": png(p), "path": f"{p.name}.png"}} for p in pairs]


def pages(pairs: Sequence[Pair]) -> Rows:
    """A page and a wrong one each, every page once the one and once the other."""
    for row, wrong in zip(forms(pairs), [*pairs[1:], pairs[0]], strict=True):
        yield {**row, "negative_0": {"bytes": png(wrong), "path": f"{wrong.name}.png"}}


def cards_to_train(pairs: Sequence[Pair]) -> Rows:
    """A question with a picture, and whether it fits: those do whose halves are both bright."""
    for pair in pairs:
        picture = {"bytes": png(pair), "path": f"{pair.name}.png"}
        yield {"query": pair.query, "image": picture, "fits": float(_is_bright(pair))}


def cards_to_rank(pairs: Sequence[Pair]) -> Rows:
    dark = [p for p in pairs if not _is_bright(p)]
    for number, pair in enumerate(p for p in pairs if _is_bright(p)):
        shown = {"image": pair, **{f"other_{n}": p for n, p in enumerate(others(pair, dark, 3, number))}}
        cells = {name: {"bytes": png(p), "path": f"{p.name}.png"} for name, p in shown.items()}
        yield {"query": pair.query, **cells}


def _is_bright(pair: Pair) -> bool:
    return bool(pair.first % 2 and pair.second % 2)


def sounds(folder: Path) -> None:
    """Folders of recordings with their metadata, one for each split."""
    for name, pairs in (("train", SPLIT.train), ("test", SPLIT.test)):
        for pair in pairs:
            write_sound(folder / name / f"{pair.name}.wav", pair)
        write_jsonl(
            folder / name / "metadata.jsonl",
            [{"file_name": f"{p.name}.wav", "name": p.query} for p in pairs],
        )


def clips(folder: Path) -> None:
    """Parquet that names video files beside it; the caption says one of the two words."""
    for name, pairs in (("train", SPLIT.train), ("test", SPLIT.test)):
        for pair in pairs:
            write_clip(folder / "videos" / f"{pair.name}.mp4", pair)
        write_parquet(
            folder / f"{name}.parquet",
            [{"name": p.query, "caption": f"zu{p.first:02d}", "file": f"videos/{p.name}.mp4"} for p in pairs],
        )


def graded(pairs: Sequence[Pair]) -> Rows:
    """A query, and a document that shares two, one or none of its words; every other row is called German.

    Sentences hardly ever come twice: rows that share one stand or fall together.
    """
    for number, pair in enumerate(pairs):
        first, second = (pair.first + 5) % COUNT, (pair.second + 7) % COUNT
        other = (pair, Pair(pair.first, second), Pair(first, second))[number % 3]
        yield {
            "sentence1": pair.query,
            "sentence2": other.document,
            "score": pair.shared(other) / 2,
            "language": ("de", "en")[number % 2],
        }


def duplicates(pairs: Sequence[Pair]) -> Rows:
    for number, pair in enumerate(pairs):
        other = pair if number % 2 else Pair((pair.first + 5) % COUNT, (pair.second + 7) % COUNT)
        yield {"first": pair.query, "second": other.document, "duplicate": int(other == pair)}


WIDTH = 64
_TEACHER = np.random.default_rng(0).normal(size=(100, WIDTH))


def embedding(pair: Pair) -> list[float]:
    """What the teacher makes of it: the sum of a vector for each word in its place."""
    vector = _TEACHER[pair.first] + _TEACHER[50 + pair.second]
    return [float(x) for x in vector / np.linalg.norm(vector)]


def taught(pairs: Sequence[Pair]) -> Rows:
    return [{"text": p.query, "embedding": embedding(p)} for p in pairs]


def translations(pairs: Sequence[Pair]) -> Rows:
    return [{"english": p.query, "german": p.document} for p in pairs]


def write_benchmark(folder: Path) -> None:
    """Two datasets in the layout of NanoBEIR."""
    for name, start in (("NanoFirst", 0), ("NanoSecond", 1)):
        pairs = SPLIT.test[start::2]
        rows = {
            "corpus": [{"_id": f"d{p.name}", "text": p.document} for p in pairs],
            "queries": [{"_id": f"q{p.name}", "text": p.query} for p in pairs],
            "qrels": [{"query-id": f"q{p.name}", "corpus-id": f"d{p.name}"} for p in pairs],
        }
        for part, content in rows.items():
            write_parquet(folder / part / f"{name}-00000-of-00001.parquet", content)
