"""The claims that the examples name: data and models, as folders below one root."""

from pathlib import Path

from tests.examples import tables
from tests.examples.tables import SPLIT, write_jsonl, write_parquet, write_splits


def fill_data(root: Path) -> None:
    """The claim `data`."""
    data = root / "data"
    write_jsonl(data / "answers/train.jsonl", tables.answers(SPLIT.train))
    write_jsonl(data / "answers/candidates.jsonl", tables.candidates(SPLIT.test))
    write_splits(data / "words", ".parquet", write_parquet, tables.words)
    write_splits(data / "pictures", ".parquet", write_parquet, tables.pictures)
    write_parquet(data / "cards/train.parquet", tables.cards_to_train(SPLIT.train))
    write_parquet(data / "cards/test.parquet", tables.cards_to_rank(SPLIT.test))
    tables.sounds(data / "sounds")
    tables.clips(data / "clips")
    write_splits(data / "teacher", ".parquet", write_parquet, tables.taught)
    write_jsonl(data / "teacher/translations.jsonl", tables.translations(SPLIT.test))
