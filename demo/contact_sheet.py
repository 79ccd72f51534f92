"""A picture of what two models find: for each query the page it means and the first pages of both models."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

Color = tuple[int, int, int]

_PAGE = 128
_GAP = 12
_FRAME = 5
_MARGIN = 32
_HEADER = 104
_QUERY_WIDTH = 270
_GROUP_GAP = 36
_LABEL = 24
_CELL = _PAGE + 2 * _FRAME
_ROW = _CELL + _LABEL + 20

_BACKGROUND = (250, 250, 248)
_BAND = (240, 241, 239)
_TEXT = (28, 32, 36)
_FAINT = (112, 118, 124)
_RIGHT = (0, 128, 74)
_WRONG = (196, 200, 203)

_font = ImageFont.load_default


@dataclass(frozen=True)
class Found:
    """A page that a model returned."""

    page: Image.Image
    right: bool


@dataclass(frozen=True)
class Row:
    """One query. Both models give the same number of pages, best first."""

    query: str
    meant: Image.Image
    base: tuple[Found, ...]
    tuned: tuple[Found, ...]


def draw_contact_sheet(title: str, rows: Sequence[Row]) -> Image.Image:
    """The sheet as an RGB image; the right page has a thick green frame and says so below."""
    per_model = len(rows[0].base)
    columns = _columns(per_model)
    width = columns[-1] + _group_width(per_model) + _MARGIN
    sheet = Image.new("RGB", (width, _HEADER + len(rows) * _ROW + _MARGIN), _BACKGROUND)
    pen = ImageDraw.Draw(sheet)
    pen.text((_MARGIN, 24), title, _TEXT, _font(26))
    headings = ("query", "the page it means", "base model finds", "tuned model finds")
    for x, heading in zip(columns, headings, strict=True):
        pen.text((x, _HEADER - 32), heading, _FAINT, _font(17))
    for number, row in enumerate(rows):
        top = _HEADER + number * _ROW
        if number % 2 == 0:
            pen.rectangle((0, top, width, top + _ROW - 1), _BAND)
        _draw_row(sheet, row, columns, top + 10)
    return sheet


def _group_width(pages: int) -> int:
    return pages * _CELL + (pages - 1) * _GAP


def _columns(per_model: int) -> tuple[int, int, int, int]:
    """Left edges of query, meant page, base and tuned."""
    meant = _MARGIN + _QUERY_WIDTH
    base = meant + _CELL + _GROUP_GAP
    return _MARGIN, meant, base, base + _group_width(per_model) + _GROUP_GAP


def _draw_row(sheet: Image.Image, row: Row, columns: tuple[int, int, int, int], top: int) -> None:
    pen = ImageDraw.Draw(sheet)
    text = "\n".join(textwrap.wrap(row.query, 26))
    pen.multiline_text((columns[0], top + _CELL // 2), text, _TEXT, _font(19), anchor="lm", spacing=7)
    _draw_page(sheet, row.meant, (columns[1], top), _BACKGROUND)
    for left, found in ((columns[2], row.base), (columns[3], row.tuned)):
        for number, one in enumerate(found):
            _draw_found(sheet, one, number + 1, (left + number * (_CELL + _GAP), top))


def _draw_found(sheet: Image.Image, found: Found, rank: int, corner: tuple[int, int]) -> None:
    _draw_page(sheet, found.page, corner, _RIGHT if found.right else _WRONG)
    label, color = (f"{rank}  right", _RIGHT) if found.right else (f"{rank}", _FAINT)
    below = (corner[0] + _CELL // 2, corner[1] + _CELL + 4)
    ImageDraw.Draw(sheet).text(below, label, color, _font(17), anchor="ma")


def _draw_page(sheet: Image.Image, page: Image.Image, corner: tuple[int, int], color: Color) -> None:
    x, y = corner
    frame = _FRAME if color == _RIGHT else 1
    inset = _FRAME - frame
    ImageDraw.Draw(sheet).rectangle(
        (x + inset, y + inset, x + _CELL - 1 - inset, y + _CELL - 1 - inset), fill=color
    )
    sheet.paste(page.convert("RGB").resize((_PAGE, _PAGE)), (x + _FRAME, y + _FRAME))
