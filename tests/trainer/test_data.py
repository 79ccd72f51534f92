from collections.abc import Sequence
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pytest
from PIL import Image

from finetune_api.data import EvalSet
from finetune_api.spec import FinetuneSpec
from finetune_trainer.data.inputs import LabelledData, RetrievalData
from finetune_trainer.data.judged import load_judged
from finetune_trainer.data.loading import load_evaluation_data, load_training_data
from finetune_trainer.errors import InvalidData
from finetune_trainer.places import Places
from tests.trainer.builders import (
    Row,
    a_spec,
    pairs,
    read_train_set,
    write_csv,
    write_jsonl,
    write_page,
    write_parquet,
)


def evaluation(
    places: Places, rows: Sequence[Row], *, group_by: str | None = None, **roles: Any
) -> RetrievalData:
    write_jsonl(places.volume("data") / "dev.jsonl", rows)
    columns = {"query": "q", "positive": "p", **roles}
    grouped = {"groupBy": group_by} if group_by else {}
    spec = a_spec(dev={"name": "dev", "uri": "pvc://data/dev.jsonl", "columns": columns, **grouped})
    found = load_evaluation_data(spec, places)["dev"]
    assert isinstance(found, RetrievalData)
    return found


def failure(places: Places, **train: Any) -> InvalidData:
    with pytest.raises(InvalidData) as raised:
        read_train_set(places, **train)
    return raised.value


def test_training_rows_have_the_columns_of_their_roles_in_order(places: Places, data: Path) -> None:
    rows = [
        {"n": "no", "extra": 1, "p": "yes", "q": "who"},
        {"n": "not", "extra": 2, "p": "aye", "q": "what"},
    ]
    write_jsonl(data / "train.jsonl", rows)
    found = read_train_set(places, columns={"query": "q", "positive": "p", "negatives": ["n"]})
    assert found.rows.column_names == ["query", "positive", "negative_0"]
    assert found.rows[0] == {"query": "who", "positive": "yes", "negative_0": "no"}
    assert found.content_keys.shape == (2, 3)


@pytest.mark.parametrize("suffix", ["parquet", "jsonl", "csv"])
def test_every_format_gives_the_same_rows_and_keys(places: Places, data: Path, suffix: str) -> None:
    rows = [{"q": "001", "p": "NA"}, {"q": "zwei, 2", "p": 'say "ü"\nand more'}]
    writers = {
        "parquet": lambda p: write_parquet(p, {c: [r[c] for r in rows] for c in ("q", "p")}),
        "jsonl": lambda p: write_jsonl(p, rows),
        "csv": lambda p: write_csv(p, rows),
    }
    writers[suffix](data / f"train.{suffix}")
    found = read_train_set(places, uri=f"pvc://data/train.{suffix}")
    assert found.rows[:] == {"query": ["001", "zwei, 2"], "positive": ["NA", 'say "ü"\nand more']}


def test_the_digest_is_of_the_content_and_not_of_the_format(places: Places, data: Path) -> None:
    write_jsonl(data / "train.jsonl", pairs(3))
    write_csv(data / "train.csv", pairs(3))
    write_csv(data / "other.csv", pairs(3, start=1))
    digests = [
        read_train_set(places, uri=f"pvc://data/{n}").digest
        for n in ("train.jsonl", "train.csv", "other.csv")
    ]
    assert digests[0] == digests[1] != digests[2]


def test_one_row_is_data(places: Places, data: Path) -> None:
    write_jsonl(data / "train.jsonl", pairs(1))
    assert len(read_train_set(places).rows) == 1


def test_a_missing_column_is_named_with_those_found(places: Places, data: Path) -> None:
    write_jsonl(data / "train.jsonl", pairs(2))
    error = failure(places, columns={"query": "question", "positive": "p"})
    assert error.reason == "MissingColumn"
    assert error.message == "pvc://data/train.jsonl has no column 'question'; found n, p, q"


def test_an_empty_file_is_refused(places: Places, data: Path) -> None:
    (data / "train.jsonl").touch()
    assert failure(places).reason == "EmptyData"


def test_a_table_without_rows_is_refused(places: Places, data: Path) -> None:
    (data / "train.csv").write_text("q,p\n")
    error = failure(places, uri="pvc://data/train.csv")
    assert error.reason == "EmptyData"
    assert "pvc://data/train.csv has no rows" in error.message
    write_parquet(data / "train.parquet", {"q": pa.array([], pa.string()), "p": pa.array([], pa.string())})
    assert failure(places, uri="pvc://data/train.parquet").reason == "EmptyData"
    (data / "train.json").write_text("[]")
    assert failure(places, uri="pvc://data/train.json").reason == "EmptyData"


@pytest.mark.parametrize("empty", [None, "", "  \n"])
def test_empty_cells_are_counted_and_the_first_is_named(
    places: Places, data: Path, empty: str | None
) -> None:
    rows: list[dict[str, Any]] = [*pairs(2), {"q": empty, "p": "x"}, {"q": empty, "p": "y"}]
    write_jsonl(data / "train.jsonl", rows)
    error = failure(places)
    assert error.reason == "EmptyCell"
    assert (
        "column 'q' of pvc://data/train.jsonl has 2 empty cells among 4, the first in row 2" in error.message
    )


@pytest.mark.parametrize("cell", [7, 0.5, True, ["a"], {"a": 1}])
def test_cells_that_are_neither_text_nor_image_are_refused(places: Places, data: Path, cell: Any) -> None:
    write_jsonl(data / "train.jsonl", [{"q": cell, "p": "x"}])
    error = failure(places)
    assert error.reason == "UnsupportedCell"
    assert "column 'q' of pvc://data/train.jsonl" in error.message


def test_a_broken_table_is_refused(places: Places, data: Path) -> None:
    (data / "train.jsonl").write_text('{"q": "a", "p"')
    assert failure(places).reason == "UnreadableTable"
    (data / "train.parquet").write_bytes(b"PAR1 and no more")
    assert failure(places, uri="pvc://data/train.parquet").reason == "UnreadableTable"


def test_a_repeated_csv_column_is_refused(places: Places, data: Path) -> None:
    (data / "train.csv").write_text("q,p,p\na,b,c\n")
    assert failure(places, uri="pvc://data/train.csv").reason == "DuplicateColumn"


def test_arrow_files_streams_and_saved_datasets_are_read_like_any_other(places: Places, data: Path) -> None:
    rows = {"q": ["001", "zwei"], "p": ["NA", "x"]}
    write_jsonl(data / "train.jsonl", [{"q": "001", "p": "NA"}, {"q": "zwei", "p": "x"}])
    table = pa.table({"q": pa.array(rows["q"]).dictionary_encode(), "p": rows["p"]})
    with pa.OSFile(str(data / "file.arrow"), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    with pa.OSFile(str(data / "stream.arrow"), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    splits = datasets.DatasetDict({"train": datasets.Dataset.from_dict(rows)})
    splits.save_to_disk(data / "saved")
    digest = read_train_set(places).digest
    assert read_train_set(places, uri="pvc://data/file.arrow").digest == digest
    assert read_train_set(places, uri="pvc://data/stream.arrow").digest == digest
    assert read_train_set(places, uri="pvc://data/saved", split="train").digest == digest
    assert read_train_set(places, uri="pvc://data/saved/train").digest == digest


def test_a_saved_dataset_of_images_is_read(places: Places, data: Path) -> None:
    page = write_page(data / "0.png", "0").read_bytes()
    features = datasets.Features({"q": datasets.Value("string"), "p": datasets.Image()})
    rows = {"q": ["a"], "p": [{"bytes": page, "path": None}]}
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(data / "saved")
    assert read_train_set(places, uri="pvc://data/saved").rows[0]["positive"].size == (64, 64)


def test_a_broken_arrow_file_is_refused(places: Places, data: Path) -> None:
    (data / "train.arrow").write_bytes(b"ARROW1 and no more")
    assert failure(places, uri="pvc://data/train.arrow").reason == "UnreadableTable"


def test_only_the_first_rows_are_taken(places: Places, data: Path) -> None:
    write_jsonl(data / "train.jsonl", pairs(5))
    few = read_train_set(places, maxRows=2)
    assert few.rows["query"][:] == ["invoice number 0", "invoice number 1"]
    assert few.content_keys.shape == (2, 2)
    assert len(read_train_set(places, maxRows=50).rows) == 5


def test_several_sets_are_loaded_with_their_losses(places: Places, data: Path) -> None:
    write_jsonl(data / "a.jsonl", pairs(3))
    write_jsonl(data / "b.jsonl", [{"a": "x", "b": "y", "s": 1}])
    spec = a_spec(train={"uri": "pvc://data/a.jsonl", "loss": {"name": "TripletLoss"}})
    more = {
        "name": "more", "uri": "pvc://data/b.jsonl",
        "columns": {"inputs": ["a", "b"], "label": "s"},
    }  # fmt: skip
    both = spec.to_dict()
    both["data"]["train"].append(more)
    found = load_training_data(FinetuneSpec.model_validate(both), places)
    assert [(s.name, s.label, s.loss.name if s.loss else None) for s in found.sets] == [
        ("train", False, "TripletLoss"), ("more", True, None),
    ]  # fmt: skip
    assert found.row_count == 4
    assert found.digest not in {s.digest for s in found.sets}


# Images


def test_paths_become_images_that_are_decoded_when_they_are_looked_at(places: Places, data: Path) -> None:
    rows = [{"q": f"page {i}", "p": f"pages/{i}.png"} for i in range(3)]
    for i in range(3):
        write_page(data / "pages" / f"{i}.png", str(i))
    write_jsonl(data / "train.jsonl", rows)
    image = read_train_set(places).rows[1]["positive"]
    assert isinstance(image, Image.Image)
    assert image.size == (64, 64)


def test_an_image_is_the_same_content_wherever_it_lies(places: Places, data: Path) -> None:
    page = write_page(data / "a.png", "same")
    (data / "b.png").write_bytes(page.read_bytes())
    write_jsonl(data / "train.jsonl", [{"q": "one", "p": "a.png"}, {"q": "two", "p": "b.png"}])
    write_parquet(
        data / "train.parquet",
        {"q": ["one", "two"], "p": [{"bytes": page.read_bytes(), "path": None}] * 2},
    )
    by_path, by_bytes = read_train_set(places), read_train_set(places, uri="pvc://data/train.parquet")
    assert by_path.content_keys[0, 1] == by_path.content_keys[1, 1] == by_bytes.content_keys[0, 1]
    assert by_path.digest == by_bytes.digest


def test_an_image_folder_is_read_through_its_metadata(places: Places, data: Path) -> None:
    for i in range(2):
        write_page(data / "train" / "pages" / f"{i}.png", str(i))
    rows = [{"file_name": f"pages/{i}.png", "q": f"page {i}"} for i in range(2)]
    write_csv(data / "train" / "metadata.csv", rows)
    found = read_train_set(
        places, uri="pvc://data", split="train", columns={"query": "q", "positive": "image"}
    )
    assert isinstance(found.rows[0]["positive"], Image.Image)


def test_metadata_without_file_names_is_refused(places: Places, data: Path) -> None:
    write_csv(data / "train" / "metadata.csv", [{"file": "a.png", "q": "x"}])
    error = failure(places, uri="pvc://data", split="train", columns={"query": "q", "positive": "image"})
    assert error.reason == "MissingColumn"
    assert "'file_name'" in error.message


def test_missing_image_files_are_counted_and_the_first_is_named(places: Places, data: Path) -> None:
    write_page(data / "0.png", "0")
    write_jsonl(data / "train.jsonl", [{"q": f"page {i}", "p": f"{i}.png"} for i in range(3)])
    error = failure(places)
    assert error.reason == "MissingFile"
    assert "2 of 3 image files do not exist, the first in row 1: '1.png'" in error.message


@pytest.mark.parametrize("name", ["scan.jp2", "page.pdf", "clip.wmv", "talk.wma"])
def test_media_that_would_be_trained_as_text_are_refused(places: Places, data: Path, name: str) -> None:
    write_jsonl(data / "train.jsonl", [{"q": "a page", "p": name}])
    assert failure(places).reason == "UnsupportedMedia"


@pytest.mark.parametrize("url", ["https://example.org/a.png", "http://x/y", "data:image/png;base64,AAAA"])
def test_urls_in_cells_are_refused(places: Places, data: Path, url: str) -> None:
    write_jsonl(data / "train.jsonl", [{"q": "a page", "p": url}])
    assert failure(places).reason == "UrlInCell"


def test_a_sentence_that_ends_like_a_file_is_a_text(places: Places, data: Path) -> None:
    write_jsonl(data / "train.jsonl", [{"q": "which file?", "p": "the logo is in logo.png"}])
    assert read_train_set(places).rows[0]["positive"] == "the logo is in logo.png"


def test_a_column_of_images_and_texts_is_refused(places: Places, data: Path) -> None:
    write_page(data / "0.png", "0")
    write_jsonl(data / "train.jsonl", [{"q": "a", "p": "0.png"}, {"q": "b", "p": "some words"}])
    error = failure(places)
    assert error.reason == "MixedColumn"
    assert "row 0 names an image file, row 1 is a text" in error.message


@pytest.mark.parametrize("path", ["../outside.png", "/etc/outside.png", "link/outside.png"])
def test_images_outside_of_the_volume_are_refused(places: Places, data: Path, path: str) -> None:
    write_page(data.parent / "outside.png", "secret")
    (data / "link").symlink_to(data.parent)
    write_jsonl(data / "train.jsonl", [{"q": "a", "p": path}])
    assert failure(places).reason == "PathEscapes"


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "gif", "bmp", "tiff"])
def test_cut_off_images_are_found_and_whole_ones_pass(places: Places, data: Path, suffix: str) -> None:
    whole = write_page(data / f"0.{suffix}", "whole", size=(200, 200))
    write_jsonl(data / "train.jsonl", [{"q": "a", "p": f"0.{suffix}"}])
    assert len(read_train_set(places).rows) == 1
    (data / f"1.{suffix}").write_bytes(whole.read_bytes()[:-60])
    write_jsonl(data / "train.jsonl", [{"q": "a", "p": f"{i}.{suffix}"} for i in range(2)])
    error = failure(places)
    assert error.reason == "UnreadableImage"
    assert "row 1, column 'p' of pvc://data/train.jsonl" in error.message


def test_bytes_that_are_no_image_are_refused(places: Places, data: Path) -> None:
    write_parquet(data / "train.parquet", {"q": ["a"], "p": [b"%PDF-1.7 not an image"]})
    assert failure(places, uri="pvc://data/train.parquet").reason == "UnreadableImage"


@pytest.mark.parametrize("size", [(10_001, 10_000), (20_000, 20_000)])
def test_images_that_would_fill_the_memory_are_refused(
    places: Places, data: Path, size: tuple[int, int]
) -> None:
    Image.new("1", size).save(data / "huge.png")
    write_jsonl(data / "train.jsonl", [{"q": "a", "p": "huge.png"}])
    assert failure(places).reason == "ImageTooLarge"


# Pairs to measure on


def test_equal_content_is_one_document_and_all_positives_of_a_query_count(places: Places) -> None:
    rows = [
        {"q": "who", "p": "ann", "n": "bob"},
        {"q": "who", "p": "eve", "n": "ann"},
        {"q": "whom", "p": "ann", "n": "joe"},
    ]
    found = evaluation(places, rows, negatives=["n"])
    assert list(found.queries.inputs) == ["who", "whom"]
    assert list(found.corpus.inputs) == ["ann", "eve", "bob", "joe"]
    assert found.relevant == {"q0": frozenset({"d0", "d1"}), "q1": frozenset({"d0"})}
    assert found.unjudged_queries == 0


def test_ids_sort_as_the_contents_are_met(places: Places) -> None:
    found = evaluation(places, pairs(12))
    assert list(found.queries.ids) == sorted(found.queries.ids)
    assert found.queries.inputs[11] == "invoice number 11"


def test_images_of_the_corpus_are_decoded_when_they_are_looked_at(places: Places, data: Path) -> None:
    for i in range(3):
        write_page(data / f"{i}.png", str(i))
    found = evaluation(places, [{"q": f"page {i}", "p": f"{i}.png"} for i in range(3)])
    assert all(isinstance(i, Image.Image) for i in found.corpus.inputs[0:2])
    assert len(found.corpus.inputs) == 3


def test_lists_of_positives_and_negatives_are_documents_of_their_query(places: Places) -> None:
    rows: list[dict[str, Any]] = [
        {"q": "who", "p": ["ann", "eve"], "n": ["bob"]},
        {"q": "whom", "p": ["ann"], "n": ["joe", "bob"]},
    ]
    found = evaluation(places, rows, negatives=["n"])
    assert list(found.corpus.inputs) == ["ann", "eve", "bob", "joe"]
    assert found.relevant == {"q0": frozenset({"d0", "d1"}), "q1": frozenset({"d0"})}
    assert found.candidates == {"q0": ("d0", "d1", "d2"), "q1": ("d0", "d3", "d2")}


def test_a_list_of_queries_is_refused(places: Places) -> None:
    with pytest.raises(InvalidData, match="as 'query' it must hold one input a row"):
        evaluation(places, [{"q": ["who"], "p": "ann"}])


def test_every_query_has_the_group_of_its_first_row(places: Places) -> None:
    rows = [{**row, "lang": lang} for row, lang in zip(pairs(3), ("de", "en", "de"), strict=True)]
    found = evaluation(places, [*rows, {**rows[0], "lang": "en"}], group_by="lang")
    assert found.groups == ("de", "en", "de")


def labelled(places: Places, kind: str, columns: dict[str, Any], **dev: Any) -> LabelledData:
    table = {"name": "dev", "uri": "pvc://data/dev.jsonl", "columns": columns, **dev}
    found = load_evaluation_data(a_spec(dev=table, measure=kind), places)["dev"]
    assert isinstance(found, LabelledData)
    return found


def test_other_evaluators_measure_row_by_row(places: Places, data: Path) -> None:
    rows = [{"a": "one", "b": "two", "s": 0.5, "g": 1}, {"a": "one", "b": "three", "s": 1, "g": 2}]
    write_jsonl(data / "dev.jsonl", rows)
    found = labelled(places, "EmbeddingSimilarity", {"inputs": ["a", "b"], "label": "s"}, groupBy="g")
    assert [list(items.inputs) for items in found.inputs] == [["one", "one"], ["two", "three"]]
    assert found.inputs[0].ids == found.inputs[1].ids == ("r0", "r1")
    assert (found.labels, found.groups, len(found)) == ((0.5, 1.0), ("1", "2"), 2)


def test_one_set_serves_evaluators_of_both_forms(places: Places, data: Path) -> None:
    write_jsonl(data / "dev.jsonl", pairs(3))
    columns = {"query": "q", "positive": "p", "negatives": ["n"]}
    spec = a_spec(dev={"name": "dev", "uri": "pvc://data/dev.jsonl", "columns": columns}).to_dict()
    spec["evaluation"]["evaluators"] += [
        {"name": "triplets", "type": "Triplet", "data": "dev"}, {"name": "again", "data": "dev"},
    ]  # fmt: skip
    found = load_evaluation_data(FinetuneSpec.model_validate(spec), places)
    assert isinstance(found["triplets"], LabelledData)
    assert len(found["triplets"].inputs) == 3
    assert found["again"] is found["dev"]


# Judged sets


def judged(
    places: Places,
    *,
    queries: list[Any] | None = None,
    corpus: list[Any] | None = None,
    qrels: list[Any] | None = None,
    **judgements: Any,
) -> RetrievalData:
    folder = places.volume("data")
    write_jsonl(folder / "queries.jsonl", queries or [{"id": "q1", "t": "one"}, {"id": "q2", "t": "two"}])
    write_jsonl(folder / "corpus.jsonl", corpus or [{"id": 7, "t": "seven"}, {"id": 8, "t": "eight"}])
    write_csv(
        folder / "qrels.csv", qrels or [{"q": "q1", "d": "7", "g": "2"}, {"q": "q2", "d": "8", "g": "1"}]
    )
    source = EvalSet.model_validate(
        {
            "name": "dev",
            "queries": {"uri": "pvc://data/queries.jsonl", "id": "id", "input": "t"},
            "corpus": {"uri": "pvc://data/corpus.jsonl", "id": "id", "input": "t"},
            "qrels": {"uri": "pvc://data/qrels.csv", "query": "q", "document": "d", **judgements},
        }
    )
    return load_judged(source, places)


def test_a_judged_set_keeps_its_ids(places: Places) -> None:
    found = judged(places)
    assert found.relevant == {"q1": frozenset({"7"}), "q2": frozenset({"8"})}
    assert found.corpus.ids == ("7", "8")


def test_queries_without_a_relevant_document_are_left_out_and_counted(places: Places) -> None:
    found = judged(places, grade="g", minimumGrade=2)
    assert found.queries.ids == ("q1",)
    assert list(found.queries.inputs) == ["one"]
    assert found.unjudged_queries == 1


def test_a_set_without_any_relevant_document_is_refused(places: Places) -> None:
    with pytest.raises(InvalidData, match="no query with a relevant document"):
        judged(places, grade="g", minimumGrade=3)


@pytest.mark.parametrize(
    ("parts", "reason", "message"),
    [
        (
            {"corpus": [{"id": "7", "t": "x"}, {"id": "8", "t": "y"}, {"id": "7", "t": "z"}]},
            "DuplicateId",
            "must have each id once, found '7' in rows 0 and 2",
        ),
        (
            {"qrels": [{"q": "q1", "d": "9"}]},
            "UnknownId",
            "1 of 1 judgements in pvc://data/qrels.csv point outside",
        ),
        ({"qrels": [{"q": "q9", "d": "7"}]}, "UnknownId", "outside of queries, the first in row 0: q 'q9'"),
        (
            {"qrels": [{"q": "q1", "d": "7", "g": "1"}, {"q": "q1", "d": "7", "g": "0"}], "grade": "g"},
            "ConflictingGrades",
            "judges query 'q1' and document '7' twice",
        ),
        (
            {"qrels": [{"q": "q1", "d": "7", "g": "good"}], "grade": "g"},
            "BadGrade",
            "a whole number, found 'good'",
        ),
        (
            {"qrels": [{"q": "q1", "d": "7", "g": "1.5"}], "grade": "g"},
            "BadGrade",
            "a whole number, found '1.5'",
        ),
        (
            {"queries": [{"id": 1.5, "t": "x"}]},
            "UnsupportedCell",
            "must be an id (text or whole number), found float",
        ),
        ({"queries": [{"id": None, "t": "x"}]}, "EmptyCell", "has 1 empty cells among 1"),
    ],
)
def test_broken_judged_sets_are_refused(
    places: Places, parts: dict[str, Any], reason: str, message: str
) -> None:
    with pytest.raises(InvalidData) as raised:
        judged(places, **parts)
    assert raised.value.reason == reason
    assert message in raised.value.message


def test_the_digest_follows_the_judgements(places: Places) -> None:
    first = judged(places)
    other = judged(places, qrels=[{"q": "q1", "d": "8"}, {"q": "q2", "d": "8"}])
    assert first.digest == judged(places).digest != other.digest
