from PIL import Image

from demo.contact_sheet import Found, Row, draw_contact_sheet

GREEN = (0, 128, 74)
RED_PAGE = Image.new("RGB", (128, 128), "red")
BLUE_PAGE = Image.new("RGB", (64, 64), "blue")


def sheet(*, right: bool, rows: int = 1) -> Image.Image:
    row = Row(
        "a query of several words", RED_PAGE, base=(Found(BLUE_PAGE, False),), tuned=(Found(RED_PAGE, right),)
    )
    return draw_contact_sheet("visual-documents", [row] * rows)


def count(image: Image.Image, color: tuple[int, int, int]) -> int:
    return sum(n for n, value in image.getcolors(1 << 24) or [] if value == color)


def test_every_page_is_on_the_sheet_at_its_full_size() -> None:
    drawn = sheet(right=True)
    assert count(drawn, (255, 0, 0)) == 2 * 128 * 128
    assert count(drawn, (0, 0, 255)) == 128 * 128


def test_only_a_right_page_is_framed_and_labelled_in_green() -> None:
    assert count(sheet(right=True), GREEN) > 4 * 128 * 5
    assert count(sheet(right=False), GREEN) == 0


def test_each_query_adds_a_row_of_the_same_height() -> None:
    heights = [sheet(right=True, rows=n).height for n in (1, 2, 3)]
    assert heights[1] - heights[0] == heights[2] - heights[1] > 128
