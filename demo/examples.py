"""Examples of what changed: queries with what the base and the tuned model find for them.

The numbers come from the finetune's status; this only gives them a face.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal

from PIL import Image
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from demo.contact_sheet import Found, Row, draw_contact_sheet
from demo.tasks import Collection

Change = Literal["now right", "as before", "now wrong"]

ON_TERMINAL = 3
ON_SHEET = 6
_PAGES_PER_MODEL = 3
_CAPTION_CHARACTERS = 84


@dataclass(frozen=True)
class Searched:
    """A collection, and what both models find in it.

    base, tuned: for each query the positions of all documents, best first.
    """

    collection: Collection
    base: Sequence[Sequence[int]]
    tuned: Sequence[Sequence[int]]


def telling_queries(searched: Searched, count: int) -> list[tuple[int, Change]]:
    """Queries to show, in rounds of three: one that got right, one that stayed, one that got wrong.

    Judged by the first document. A kind that has no more is left out, so that the choice flatters no model.
    """
    kinds: dict[Change, list[int]] = {"now right": [], "as before": [], "now wrong": []}
    for query, answer in enumerate(searched.collection.answers):
        was, is_ = (ranked[query][0] == answer for ranked in (searched.base, searched.tuned))
        kinds["as before" if was == is_ else "now right" if is_ else "now wrong"].append(query)
    return list(islice(_in_rounds(kinds), count))


def _in_rounds(kinds: Mapping[Change, list[int]]) -> Iterator[tuple[int, Change]]:
    for round_ in range(max(map(len, kinds.values()))):
        for change, queries in kinds.items():
            if round_ < len(queries):
                yield queries[round_], change


def render_examples(searched: Searched) -> RenderableType:
    """Three queries, each with the first document of both models."""
    collection = searched.collection
    table = Table(box=None, show_header=False, padding=(0, 1, 0, 0))
    for column in range(3):
        table.add_column(no_wrap=column < 2)
    for query, change in telling_queries(searched, ON_TERMINAL):
        asked = Text.assemble((collection.queries[query], "bold"), (f"  ({change})", "dim"))
        table.add_row("", "query", asked)
        for label, ranked in (("base", searched.base[query]), ("tuned", searched.tuned[query])):
            rank = ranked.index(collection.answers[query]) + 1
            mark = Text("right", "green") if rank == 1 else Text("wrong", "red")
            line = Text(_shortened(collection.captions[ranked[0]]))
            if rank > 1:
                line.append(f"  (the right one is number {rank})", style="dim")
            table.add_row(mark, label, line)
        table.add_row()
    return table


def _shortened(text: str) -> str:
    return text if len(text) <= _CAPTION_CHARACTERS else f"{text[: _CAPTION_CHARACTERS - 2].rstrip()} …"


def draw_examples(title: str, searched: Searched) -> Image.Image:
    """The contact sheet, of a collection of pages."""
    return draw_contact_sheet(
        title, [_row(searched, query) for query, _ in telling_queries(searched, ON_SHEET)]
    )


def _row(searched: Searched, query: int) -> Row:
    pages, answer = searched.collection.pages, searched.collection.answers[query]

    def first(ranked: Sequence[int]) -> tuple[Found, ...]:
        return tuple(Found(pages[n], n == answer) for n in ranked[:_PAGES_PER_MODEL])

    return Row(
        query=searched.collection.queries[query],
        meant=pages[answer],
        base=first(searched.base[query]),
        tuned=first(searched.tuned[query]),
    )
