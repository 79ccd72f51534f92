import pytest

from finetune_trainer.errors import InvalidData
from finetune_trainer.sources.splits import choose_files, choose_files_by_card

CARD = """---
license: mit
configs:
- config_name: small
  data_files:
  - split: train
    path: small/train-*
  - split: test
    path: [small/test.parquet]
- config_name: full
  default: true
  data_files: "full/**/*.parquet"
---
# A dataset
"""
NAMES = ["README.md", "full/a/x.parquet", "full/y.parquet", "small/test.parquet", "small/train-0.parquet"]


@pytest.mark.parametrize(
    ("names", "split", "chosen"),
    [
        (["train.jsonl", "test.jsonl"], "train", ["train.jsonl"]),
        (["only.csv", "README.md", "a.png"], None, ["only.csv"]),
        (["data/train-00001-of-00002.parquet", "data/train-00000-of-00002.parquet", "data/test.parquet"],
         "train", ["data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet"]),
        (["t-00001-of-00002.csv", "t-00000-of-00002.csv"], None,
         ["t-00000-of-00002.csv", "t-00001-of-00002.csv"]),
        (["train/metadata.csv", "train/a.png", "test/metadata.csv"], "train", ["train/metadata.csv"]),
        (["train/a.jsonl", "train/b.jsonl", "deep/train/c.jsonl"], "train",
         ["train/a.jsonl", "train/b.jsonl"]),
    ],
)  # fmt: skip
def test_a_split_is_chosen_by_its_name(names: list[str], split: str | None, chosen: list[str]) -> None:
    assert choose_files(names, split=split, where="there") == chosen


@pytest.mark.parametrize(
    ("names", "split", "reason", "message"),
    [
        (["test.csv"], "train", "NoTable", "must have files train.*, train-* or a folder train (.parquet,"),
        ([], None, "NoTable", "found none"),
        (["a.csv", "b.csv"], None, "AmbiguousTable", "several tables that fit split None: ./a.csv, ./b.csv"),
        (["train.csv", "train.jsonl"], "train", "AmbiguousTable", "./train.csv, ./train.jsonl"),
        (["train.csv", "train/x.csv"], "train", "AmbiguousTable", "./train.csv, train/.csv"),
        (["training.csv"], "train", "NoTable", "found training.csv"),
    ],
)
def test_none_or_several_tables_are_named(
    names: list[str], split: str | None, reason: str, message: str
) -> None:
    with pytest.raises(InvalidData) as raised:
        choose_files(names, split=split, where="there")
    assert raised.value.reason == reason
    assert message in raised.value.message


def test_long_listings_break_off() -> None:
    with pytest.raises(InvalidData, match="and 92 more"):
        choose_files([f"{i:03}.csv" for i in range(100)], split=None, where="there")


@pytest.mark.parametrize(
    ("subset", "split", "chosen"),
    [
        ("small", "train", ["small/train-0.parquet"]),
        ("small", "test", ["small/test.parquet"]),
        (None, None, ["full/a/x.parquet", "full/y.parquet"]),
        ("full", "train", ["full/a/x.parquet", "full/y.parquet"]),
    ],
)
def test_the_card_of_a_dataset_says_where_its_splits_are(
    subset: str | None, split: str | None, chosen: list[str]
) -> None:
    assert choose_files_by_card(NAMES, CARD, subset=subset, split=split, where="there") == chosen


@pytest.mark.parametrize(
    ("subset", "split", "reason", "message"),
    [
        ("tiny", None, "NoSubset", "no configuration 'tiny'; found full, small"),
        ("small", "dev", "NoSplit", "no split 'dev' in configuration 'small'; found test, train"),
        ("small", None, "NoSplit", "no split None"),
    ],
)
def test_what_the_card_does_not_have_is_named(
    subset: str | None, split: str | None, reason: str, message: str
) -> None:
    with pytest.raises(InvalidData) as raised:
        choose_files_by_card(NAMES, CARD, subset=subset, split=split, where="there")
    assert raised.value.reason == reason
    assert message in raised.value.message


@pytest.mark.parametrize(
    "card", ["", "# no front matter", "---\nlicense: mit\n---\n", "---\n: [broken\n---\n"]
)
def test_a_card_that_says_nothing_leaves_it_to_the_names(card: str) -> None:
    assert choose_files_by_card(NAMES, card, subset=None, split=None, where="there") is None


@pytest.mark.parametrize("path", ["/etc/*", "../*", "https://elsewhere/*.parquet"])
def test_a_card_cannot_point_outside_of_its_repository(path: str) -> None:
    card = f"---\nconfigs:\n- data_files: '{path}'\n---\n"
    with pytest.raises(InvalidData):
        choose_files_by_card(NAMES, card, subset=None, split=None, where="there")
