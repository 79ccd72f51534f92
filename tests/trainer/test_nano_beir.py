"""Sets in NanoBEIR's layout, from a folder and from a hub."""

from pathlib import Path
from typing import Any

import pytest

from finetune_api.spec import FinetuneSpec
from finetune_trainer.data.inputs import RetrievalData
from finetune_trainer.data.loading import load_evaluation_data
from finetune_trainer.errors import InvalidData, InvalidSpec
from finetune_trainer.places import Places
from tests.trainer.builders import a_spec, places_in, write_jsonl, write_page, write_parquet
from tests.trainer.local_hub import COMMIT, Hub, running

DATA_SETS = ("NanoFever", "NanoSciFact")


@pytest.fixture
def places(tmp_path: Path) -> Places:
    places = places_in(tmp_path)
    write_layout(places.volume("data") / "nano")
    return places


def write_layout(folder: Path) -> None:
    """Two data sets with equal ids; of three queries each, the last has no judgement."""
    shard = "00000-of-00001.parquet"
    for number, name in enumerate(DATA_SETS):
        ids = [f"q{n}" for n in range(3)]
        texts = [f"question {n} of {name}" for n in range(3)]
        documents = [f"d{n}" for n in range(4 + number)]
        contents = [f"answer {d} of {name}" for d in documents]
        write_parquet(folder / "queries" / f"{name}-{shard}", {"_id": ids, "text": texts})
        write_parquet(folder / "corpus" / f"{name}-{shard}", {"_id": documents, "text": contents})
        write_parquet(
            folder / "qrels" / f"{name}-{shard}",
            {"query-id": ["q0", "q0", "q1"], "corpus-id": ["d0", "d1", "d2"]},
        )
        write_parquet(
            folder / "bm25" / f"{name}-{shard}",
            {"query-id": ids, "corpus-ids": [["d3", "d0"], ["d2"], ["d1"]]},
        )


def loaded(places: Places, *, model: str = "Embedding", **dev: Any) -> RetrievalData:
    spec = a_spec(dev={"name": "dev", "uri": "pvc://data/nano", **dev}, measure="NanoBEIR").to_dict()
    spec["model"]["type"] = model
    if model == "Reranker":
        spec["loss"] = {"name": "BinaryCrossEntropyLoss"}
    found = load_evaluation_data(FinetuneSpec.model_validate(spec), places)["dev"]
    assert isinstance(found, RetrievalData)
    return found


def test_all_data_sets_are_groups_of_one_set_with_ids_of_their_own(places: Places) -> None:
    found = loaded(places)
    assert found.queries.ids == ("NanoFever/q0", "NanoFever/q1", "NanoSciFact/q0", "NanoSciFact/q1")
    assert found.groups == ("NanoFever", "NanoFever", "NanoSciFact", "NanoSciFact")
    assert found.unjudged_queries == 2
    assert len(found.corpus) == 9
    assert found.relevant["NanoSciFact/q0"] == {"NanoSciFact/d0", "NanoSciFact/d1"}
    place = found.corpus.ids.index("NanoSciFact/d4")
    assert found.corpus.inputs[place] == "answer d4 of NanoSciFact"
    assert list(found.queries.inputs)[2] == "question 0 of NanoSciFact"


def test_encoders_search_the_corpus_of_the_data_set_and_rerankers_what_bm25_found(places: Places) -> None:
    corpus = tuple(f"NanoFever/d{n}" for n in range(4))
    assert (loaded(places).candidates or {})["NanoFever/q0"] == corpus
    ranked = loaded(places, model="Reranker").candidates or {}
    assert ranked["NanoFever/q0"] == ("NanoFever/d3", "NanoFever/d0")


def test_the_digest_is_of_the_content(places: Places) -> None:
    first = loaded(places).digest
    assert loaded(places).digest == first
    folder = places.volume("data") / "nano" / "corpus"
    write_parquet(
        folder / f"{DATA_SETS[0]}-00000-of-00001.parquet",
        {"_id": [f"d{n}" for n in range(4)], "text": ["other"] * 4},
    )
    assert loaded(places).digest != first


def test_images_are_documents_too(places: Places) -> None:
    folder = places.volume("data") / "pages"
    write_jsonl(folder / "queries" / "NanoVdr.jsonl", [{"_id": "q", "text": "what"}])
    page = write_page(folder / "corpus" / "a.png", "a")
    write_jsonl(folder / "corpus" / "NanoVdr.jsonl", [{"_id": "d", "image": page.name}])
    write_jsonl(folder / "qrels" / "NanoVdr.jsonl", [{"query-id": "q", "corpus-id": "d"}])
    assert loaded(places, uri="pvc://data/pages").corpus.inputs[0].size == (64, 64)


CARD = """---
configs:
- config_name: corpus
  data_files:
  - {split: NanoFever, path: corpus/NanoFever-*}
  - {split: NanoSciFact, path: corpus/NanoSciFact-*}
- config_name: queries
  data_files:
  - {split: NanoFever, path: queries/NanoFever-*}
  - {split: NanoSciFact, path: queries/NanoSciFact-*}
- config_name: qrels
  data_files:
  - {split: NanoFever, path: qrels/NanoFever-*}
  - {split: NanoSciFact, path: qrels/NanoSciFact-*}
---
"""


@pytest.mark.parametrize("card", ["", CARD])
def test_a_dataset_of_a_hub_has_its_parts_as_subsets(
    places: Places, monkeypatch: pytest.MonkeyPatch, card: str
) -> None:
    folder = places.volume("data") / "nano"
    files = {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.parquet")}
    expected = loaded(places)
    files |= {"README.md": card.encode()} if card else {}
    monkeypatch.setenv("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")
    with running(Hub({"datasets/owner/nano": files})) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        found = loaded(places, uri=f"hf://owner/nano@{COMMIT}")
    assert found.digest == expected.digest
    assert found.corpus.ids == expected.corpus.ids


def test_an_artifact_of_a_registry_is_refused(places: Places) -> None:
    with pytest.raises(InvalidSpec, match="must lie in a hub, a volume or a bucket"):
        loaded(places, uri=f"oci://registry/repo@sha256:{'0' * 64}")


def test_a_folder_without_the_layout_is_refused(places: Places) -> None:
    with pytest.raises(InvalidData, match="must have tables qrels/<data set>") as raised:
        loaded(places, uri="pvc://data/nano/corpus")
    assert raised.value.reason == "NoTable"


def test_a_query_that_bm25_does_not_know_is_refused(places: Places) -> None:
    write_parquet(
        places.volume("data") / "nano" / "bm25" / "NanoFever-00000-of-00001.parquet",
        {"query-id": ["q0"], "corpus-ids": [["d0"]]},
    )
    with pytest.raises(InvalidData, match="query 'q1'"):
        loaded(places, model="Reranker")


def test_queries_of_a_data_set_share_their_documents(places: Places) -> None:
    """Thousands of ids for each query would be most of the memory."""
    data = loaded(places)
    assert data.candidates is not None
    by_set: dict[str, set[int]] = {}
    for query, documents in data.candidates.items():
        by_set.setdefault(query.partition("/")[0], set()).add(id(documents))
    assert all(len(found) == 1 for found in by_set.values())
    assert len(data.candidates) > len(by_set)
