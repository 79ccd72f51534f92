"""Rendered forms with queries: a visual search task that is made on the spot and repeats exactly.

A page shows four fields (document type, vendor, item, month) in random ink on random paper; its query asks
for the same four in a sentence. Every page has a combination of fields of its own, so that held-out pages
cannot be known by heart.
"""

import itertools
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

TYPES = ("Invoice", "Receipt", "Contract", "Report", "Letter", "Order", "Notice", "Permit")
VENDORS = (
    "Acme", "Borealis", "Cobalt", "Dunmore", "Ember", "Falcon",
    "Granite", "Harbor", "Indigo", "Juniper", "Kestrel", "Lumen",
)  # fmt: skip
ITEMS = (
    "pumps", "valves", "cables", "lamps", "chairs", "desks", "paper", "tiles",
    "bricks", "gloves", "engines", "filters", "ladders", "mirrors", "ovens", "tents",
)  # fmt: skip
MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
SENTENCES = (
    "{type} from {vendor} for {item} in {month}",
    "show me the {month} {type} about {item} by {vendor}",
    "which {type} did {vendor} send for {item} in {month}?",
    "{vendor} {item} {type}, {month}",
    "find the {type} of {month} where {vendor} lists {item}",
)

TRAIN_PAGES = 2400
HELD_OUT_PAGES = 200
SIZE = 128
_LINE_HEIGHT = SIZE // 4
_POINTS = 18
_MAX_JITTER = 3


@dataclass(frozen=True)
class Page:
    """The four fields of a page, and how it looks."""

    type: str
    vendor: str
    item: str
    month: str
    paper: tuple[int, int, int]
    ink: tuple[int, int, int]
    jitter: tuple[tuple[int, int], ...]
    """(x, y) in pixels, for each line."""
    query: str

    @property
    def lines(self) -> tuple[str, str, str, str]:
        return self.type, self.vendor, self.item, self.month


@dataclass(frozen=True)
class Pages:
    """Pages to train on and pages to measure on; no combination of fields is in both."""

    train: tuple[Page, ...]
    test: tuple[Page, ...]


def plan_pages(*, train: int = TRAIN_PAGES, test: int = HELD_OUT_PAGES, seed: int = 0) -> Pages:
    """Pages of distinct combinations; the same for the same arguments."""
    chance = random.Random(seed)
    combinations = list(itertools.product(TYPES, VENDORS, ITEMS, MONTHS))
    pages = tuple(_plan_page(chance, fields) for fields in chance.sample(combinations, train + test))
    return Pages(train=pages[:train], test=pages[train:])


def _plan_page(chance: random.Random, fields: tuple[str, str, str, str]) -> Page:
    kind, vendor, item, month = fields
    return Page(
        type=kind,
        vendor=vendor,
        item=item,
        month=month,
        paper=(chance.randint(235, 255), chance.randint(235, 255), chance.randint(235, 255)),
        ink=(chance.randint(0, 60), chance.randint(0, 60), chance.randint(0, 60)),
        jitter=tuple((chance.randint(0, _MAX_JITTER), chance.randint(0, _MAX_JITTER)) for _ in fields),
        query=chance.choice(SENTENCES).format(type=kind.lower(), vendor=vendor, item=item, month=month),
    )


def draw_page(page: Page) -> Image.Image:
    """The page as an RGB image of SIZE x SIZE pixels, in the font that comes with Pillow."""
    image = Image.new("RGB", (SIZE, SIZE), page.paper)
    pen = ImageDraw.Draw(image)
    font = ImageFont.load_default(_POINTS)
    for number, (line, (x, y)) in enumerate(zip(page.lines, page.jitter, strict=True)):
        pen.text((4 + x, number * _LINE_HEIGHT + 4 + y), line, fill=page.ink, font=font)
    return image


def write_pages(folder: Path, pages: Pages) -> None:
    """Write image folders `train` and `test`, each with a metadata.jsonl of columns file_name and query."""
    for split, of_split in (("train", pages.train), ("test", pages.test)):
        _write_image_folder(folder / split, of_split)


def _write_image_folder(folder: Path, pages: Sequence[Page]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "metadata.jsonl").open("w", encoding="utf-8") as table:
        for number, page in enumerate(pages):
            name = f"page-{number:04d}.png"
            draw_page(page).save(folder / name)
            table.write(json.dumps({"file_name": name, "query": page.query}) + "\n")
