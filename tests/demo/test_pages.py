import json
from pathlib import Path

import pytest
from PIL import Image, ImageChops

from demo import pages


def test_the_same_seed_gives_the_same_pages_and_another_seed_others() -> None:
    assert pages.plan_pages() == pages.plan_pages()
    assert pages.plan_pages(seed=1) != pages.plan_pages()


def test_no_combination_of_fields_comes_twice() -> None:
    planned = pages.plan_pages()
    assert (len(planned.train), len(planned.test)) == (2400, 200)
    assert len({page.lines for page in planned.train + planned.test}) == 2600


def test_every_query_names_all_fields_of_its_page() -> None:
    for page in pages.plan_pages().test:
        for line in page.lines:
            assert line.lower() in page.query.lower()


def test_the_longest_words_fit_on_the_page() -> None:
    """One pixel of ink in the last column would be a cut word."""
    for page in pages.plan_pages().train:
        if "September" in page.lines or "Contract" in page.lines:
            image = pages.draw_page(page)
            edge = image.crop((pages.SIZE - 1, 0, pages.SIZE, pages.SIZE))
            assert ImageChops.difference(edge, Image.new("RGB", edge.size, page.paper)).getbbox() is None


@pytest.fixture(scope="module")
def small() -> pages.Pages:
    return pages.plan_pages(train=3, test=2)


def test_pages_are_written_as_image_folders_with_their_queries(tmp_path: Path, small: pages.Pages) -> None:
    pages.write_pages(tmp_path, small)
    rows = [json.loads(line) for line in (tmp_path / "train" / "metadata.jsonl").read_text().splitlines()]
    assert [row["query"] for row in rows] == [page.query for page in small.train]
    assert len(list((tmp_path / "test").glob("*.png"))) == 2
    with Image.open(tmp_path / "train" / rows[0]["file_name"]) as image:
        assert ImageChops.difference(image, pages.draw_page(small.train[0])).getbbox() is None
