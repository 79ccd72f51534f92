"""Hard negatives as the trainer finds them: with real models, over texts and over images."""

import json
import random
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from sentence_transformers import SentenceTransformer
from sentence_transformers.util import mine_hard_negatives

from finetune_api.model import Model
from finetune_api.spec import FinetuneSpec
from finetune_trainer.data.inputs import TrainingData, TrainingSet
from finetune_trainer.data.loading import load_evaluation_data, load_training_data
from finetune_trainer.errors import InvalidData
from finetune_trainer.mining import helpers as mining_models
from finetune_trainer.mining import negatives as module
from finetune_trainer.mining.negatives import mine_negatives
from finetune_trainer.mining.pool import with_stand_ins
from finetune_trainer.models import load_model
from finetune_trainer.places import Places
from tests.trainer.builders import a_spec, pairs, places_in, write_jsonl, write_page
from tests.trainer.media_files import write_wav

WORDS = ["invoice", "order", "letter", "march", "april", "may", "paper", "steel", "glass", "total", "date"]


def some_texts(count: int) -> list[str]:
    """Different texts of which some share words."""
    chosen = random.Random(1)
    return [f"{' '.join(chosen.sample(WORDS, 4))} number {n}" for n in range(count)]


def rows(count: int = 40) -> list[dict[str, str]]:
    return [{"q": f"where is {text}", "p": text} for text in some_texts(count)]


@pytest.fixture(scope="module")
def model(text_model: Path) -> SentenceTransformer:
    model: SentenceTransformer = load_model(text_model, a_spec().model, seed=0)
    return model


@pytest.fixture
def places(tmp_path: Path) -> Places:
    places = places_in(tmp_path)
    write_jsonl(places.volume("data") / "train.jsonl", rows())
    write_jsonl(places.volume("data") / "dev.jsonl", pairs(5, start=500))
    return places


def mining_spec(settings: dict[str, Any], **changes: Any) -> FinetuneSpec:
    content = a_spec(**changes).to_dict()
    content["data"]["hardNegatives"] = settings
    return FinetuneSpec.model_validate(content)


def mine(
    base: Any, places: Places, settings: dict[str, Any], **changes: Any
) -> tuple[TrainingSet, list[str]]:
    spec = mining_spec(settings, **changes)
    evaluation = list(load_evaluation_data(spec, places).values())
    mined, notes = mine_negatives(
        base, spec, load_training_data(spec, places), evaluation, places,
        revision="sha256:base", heartbeat=lambda _done, _all: None,
    )  # fmt: skip
    assert isinstance(mined, TrainingData)
    return mined.sets[0], notes


@pytest.mark.parametrize(
    "settings",
    [
        {"perQuery": 3},
        {"perQuery": 2, "skipTop": 3},
        {"perQuery": 2, "relativeMargin": "0.001", "searchDepth": 30},
        {"perQuery": 2, "absoluteMargin": "0.0005", "searchDepth": 30},
        {"perQuery": 2, "maxScore": "0.999", "searchDepth": 30},
    ],
    ids=str,
)
def test_the_negatives_of_texts_are_those_of_the_library(
    model: SentenceTransformer, places: Places, settings: dict[str, Any]
) -> None:
    mined, _ = mine(model, places, settings)
    names = {
        "relativeMargin": "relative_margin",
        "absoluteMargin": "absolute_margin",
        "maxScore": "max_score",
    }
    train = load_training_data(a_spec(), places).sets[0]
    limits: dict[str, Any] = {name: float(settings[key]) for key, name in names.items() if key in settings}
    theirs = mine_hard_negatives(
        train.rows,
        model,
        num_negatives=settings["perQuery"],
        range_min=settings.get("skipTop", 0),
        range_max=settings.get("searchDepth"),
        output_format="n-tuple",
        verbose=False,
        **limits,
    )
    ours = mined.rows
    assert list(ours.column_names) == [
        "query",
        "positive",
        *(f"negative_{n}" for n in range(settings["perQuery"])),
    ]
    assert len(ours) == len(theirs) > 0.95 * len(train.rows)
    for n in range(settings["perQuery"]):
        assert ours[f"negative_{n}"][:] == theirs[f"negative_{n + 1}"][:]


def test_content_keys_and_digest_follow_the_new_columns(model: SentenceTransformer, places: Places) -> None:
    mined, notes = mine(model, places, {"perQuery": 2})
    before = load_training_data(a_spec(), places).sets[0]
    key_of = dict(zip(before.rows["positive"][:], before.content_keys[:, 1].tolist(), strict=True))
    for n in range(2):
        column = mined.rows[f"negative_{n}"][:]
        assert [key_of[text] for text in column] == mined.content_keys[:, 2 + n].tolist()
    assert mined.digest != before.digest
    assert notes == [
        "2 hard negatives for each of 40 rows of train set 'train' were found among 40 documents"
    ]


def test_stand_ins_have_the_shape_of_what_is_mined_and_no_content_twice(
    model: SentenceTransformer, places: Places
) -> None:
    mined, _ = mine(model, places, {"perQuery": 2})
    spec = mining_spec({"perQuery": 2})
    (stand_in,) = with_stand_ins(load_training_data(spec, places), spec).sets
    assert stand_in.rows.features == mined.rows.features
    assert len(stand_in.rows) == len(mined.rows)
    assert len(set(stand_in.content_keys.ravel().tolist())) == stand_in.content_keys.size


def test_no_answer_of_a_query_becomes_its_negative_whatever_row_it_is_in(
    model: SentenceTransformer, places: Places
) -> None:
    texts = some_texts(30)
    # Every query has three answers, one of which other queries share.
    several = [
        {"q": f"where is {texts[n]}", "p": texts[m % 30]} for n in range(30) for m in (n, n + 1, n + 2)
    ]
    write_jsonl(places.volume("data") / "train.jsonl", several)
    mined, _ = mine(model, places, {"perQuery": 5})
    answers: dict[str, set[str]] = {}
    for row in several:
        answers.setdefault(row["q"], set()).add(row["p"])
    for row in mined.rows:
        found = [row[f"negative_{n}"] for n in range(5)]
        assert not answers[row["query"]] & set(found)
        assert len(set(found)) == 5


def test_answers_of_the_evaluation_are_no_negatives(model: SentenceTransformer, places: Places) -> None:
    texts = some_texts(40)
    known = texts[:10]
    write_jsonl(places.volume("data") / "dev.jsonl", [{"q": f"seek {t}", "p": t} for t in known])
    mined, _ = mine(model, places, {"perQuery": 5})
    found = {row[f"negative_{n}"] for row in mined.rows for n in range(5)}
    assert found
    assert not found & set(known)
    assert set(mined.rows["positive"][:]) == set(texts)


def test_negatives_of_the_table_stay_and_are_not_found_again(
    model: SentenceTransformer, places: Places
) -> None:
    first, _ = mine(model, places, {"perQuery": 1})
    given = [{"q": r["query"], "p": r["positive"], "n": r["negative_0"]} for r in first.rows]
    write_jsonl(places.volume("data") / "train.jsonl", given)
    columns = {"query": "q", "positive": "p", "negatives": ["n"]}
    mined, _ = mine(model, places, {"perQuery": 2}, train={"columns": columns})
    assert mined.rows["negative_0"][:] == [row["n"] for row in given]
    for row in mined.rows:
        assert row["negative_0"] not in {row["negative_1"], row["negative_2"]}


def test_a_corpus_gives_more_documents(model: SentenceTransformer, places: Places) -> None:
    corpus = [{"id": str(n), "text": f"{row['p']} copy"} for n, row in enumerate(rows())]
    write_jsonl(places.volume("data") / "corpus.jsonl", corpus)
    settings = {"perQuery": 3, "corpus": {"uri": "pvc://data/corpus.jsonl", "input": "text"}}
    mined, notes = mine(model, places, settings)
    found = {row[f"negative_{n}"] for row in mined.rows for n in range(3)}
    assert any(text.endswith("copy") for text in found)
    assert "among 80 documents" in notes[0]


def test_a_corpus_of_another_kind_is_refused_and_one_of_wider_texts_is_not(
    model: SentenceTransformer, places: Places
) -> None:
    write_page(places.volume("data") / "page.png", "a page")
    write_jsonl(places.volume("data") / "pages.jsonl", [{"page": "page.png"}])
    corpus = {"uri": "pvc://data/pages.jsonl", "input": "page"}
    with pytest.raises(InvalidData, match=r"must hold text inputs.*found image"):
        mine(model, places, {"perQuery": 3, "corpus": corpus})

    wide = pa.table({"text": pa.array([f"{t} copy" for t in some_texts(40)], type=pa.large_string())})
    pq.write_table(wide, places.volume("data") / "wide.parquet")
    corpus = {"uri": "pvc://data/wide.parquet", "input": "text"}
    assert "among 80 documents" in mine(model, places, {"perQuery": 3, "corpus": corpus})[1][0]


def test_rows_without_enough_negatives_are_left_out_and_counted(
    model: SentenceTransformer, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InvalidData) as error:
        mine(model, places, {"perQuery": 3, "maxScore": "-0.9"})
    assert error.value.reason == "TooFewNegatives"
    assert "40 of 40 rows of train set 'train' found fewer than 3 negatives" in error.value.message
    assert "searchDepth" in error.value.hint

    texts = some_texts(40)
    crowded = [*rows(), *({"q": "where is everything", "p": text} for text in texts[:38])]
    monkeypatch.setattr(module, "MOST_LOST", 0.5)
    write_jsonl(places.volume("data") / "train.jsonl", crowded)
    mined, notes = mine(model, places, {"perQuery": 3})
    assert len(mined.rows) == len(mined.content_keys) == 40
    assert "where is everything" not in mined.rows["query"][:]
    assert "38 rows with fewer were left out" in notes[0]


def test_what_was_mined_is_kept_for_the_next_attempt_and_mined_anew_for_other_settings(
    model: SentenceTransformer, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = mine(model, places, {"perQuery": 2})
    (file,) = (places.cache / "negatives").iterdir()
    kept = json.loads(file.read_text())
    texts = {row["p"] for row in rows()} | {row["q"] for row in rows()}
    assert not texts & {*kept, *(key for keys in kept.values() for key in keys)}

    def no_search(*_: Any, **__: Any) -> None:
        raise AssertionError("searched again")

    with monkeypatch.context() as patched:
        patched.setattr(module, "find_candidates", no_search)
        again, _ = mine(model, places, {"perQuery": 2})
        assert again.digest == first.digest
        for changed in ({"perQuery": 3}, {"perQuery": 2, "skipTop": 1}):
            with pytest.raises(AssertionError, match="searched again"):
                mine(model, places, changed)
        with pytest.raises(AssertionError, match="searched again"):
            mine(model, places, {"perQuery": 2}, model={"prompts": {"query": "find: ", "document": ""}})


@pytest.mark.filterwarnings("ignore:Sparse:UserWarning")
@pytest.mark.parametrize(("kind", "name"), [("Sparse", "sparse"), ("MultiVector", "multi-vector")])
def test_models_of_other_vectors_mine_by_their_own_similarity(
    kind: str, name: str, tiny: Callable[[str], Path], places: Places
) -> None:
    of_kind = {"type": kind}
    base = load_model(tiny(name), a_spec(model=of_kind).model, seed=0)
    mined, _ = mine(base, places, {"perQuery": 2}, model=of_kind)
    texts = [row["p"] for row in rows()]
    scores = base.similarity(base.encode_query(mined.rows["query"][:]), base.encode_document(texts))
    for row, values in zip(mined.rows, scores.tolist(), strict=True):
        others = [value for text, value in zip(texts, values, strict=True) if text != row["positive"]]
        found = [values[texts.index(row[f"negative_{n}"])] for n in range(2)]
        assert found == pytest.approx(sorted(others, reverse=True)[:2], abs=1e-5)


class SharedWords:
    """Scores a pair by the words that both have, as a reranker would."""

    def predict(self, inputs: list[tuple[str, str]], **_: Any) -> list[int]:
        return [len(set(q.split()) & set(d.split())) for q, d in inputs]


def test_a_reranker_rules_out_what_the_search_has_found(
    model: SentenceTransformer, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mining_models, "_load", lambda *_: (SharedWords(), "sha256:reranker"))
    settings = {"perQuery": 2, "searchDepth": 30, "maxScore": "3.5"}
    without, _ = mine(model, places, {**settings, "maxScore": "1"})
    mined, _ = mine(model, places, {**settings, "crossEncoder": {"uri": "pvc://models/reranker"}})
    shared = [SharedWords().predict([(r["query"], r["negative_0"]), (r["query"], r["negative_1"])])
              for r in mined.rows]  # fmt: skip
    assert all(3 >= first >= second for first, second in shared)
    assert mined.digest != without.digest


def test_a_real_reranker_scores_what_was_found(
    model: SentenceTransformer, tiny: Callable[[str], Path], places: Places
) -> None:
    shutil.copytree(tiny("reranker"), places.volume("models") / "reranker")
    settings = {"perQuery": 2, "minScore": "-1000", "crossEncoder": {"uri": "pvc://models/reranker"}}
    mined, _ = mine(model, places, settings)
    reranker = load_model(tiny("reranker"), Model(type="Reranker", uri="pvc://models/reranker"), seed=0)
    for row in mined.rows.select(range(5)):
        first, second = reranker.predict([(row["query"], row[f"negative_{n}"]) for n in range(2)])
        assert first >= second - 1e-5


def test_another_model_searches_for_one_that_cannot(
    model: SentenceTransformer, text_model: Path, places: Places
) -> None:
    shutil.copytree(text_model, places.volume("models") / "retriever")
    found, _ = mine(model, places, {"perQuery": 2})
    settings = {"perQuery": 2, "retriever": {"uri": "pvc://models/retriever"}}
    by_other, _ = mine(None, places, settings)
    assert by_other.rows["negative_0"][:] == found.rows["negative_0"][:]
    assert len(list((places.cache / "negatives").iterdir())) == 2


def test_a_broken_file_in_the_cache_is_mined_anew(model: SentenceTransformer, places: Places) -> None:
    first, _ = mine(model, places, {"perQuery": 2})
    (file,) = (places.cache / "negatives").iterdir()
    file.write_bytes(file.read_bytes()[:50])
    again, _ = mine(model, places, {"perQuery": 2})
    assert again.digest == first.digest
    assert json.loads(file.read_text())


def test_images_are_mined_as_texts_are(vision_model: Path, places: Places) -> None:
    names = [f"page-{n}.png" for n in range(8)]
    for n, name in enumerate(names):
        write_page(places.volume("data") / name, f"{WORDS[n]} {n}")
    write_jsonl(
        places.volume("data") / "train.jsonl",
        [{"q": f"the page about {WORDS[n % 8]}, form {n}", "p": names[n % 8]} for n in range(12)],
    )
    settings = {"pooling": "LastToken"}
    model = load_model(vision_model, a_spec(model=settings).model, seed=0)
    mined, notes = mine(model, places, {"perQuery": 2}, model=settings)
    assert "12 rows" in notes[0]
    assert "among 8 documents" in notes[0]
    first = mined.rows[0]
    assert isinstance(first["negative_0"], Image.Image)
    assert list(mined.rows.features) == ["query", "positive", "negative_0", "negative_1"]
    keys: Sequence[list[bytes]] = mined.content_keys.tolist()
    for row in keys:
        assert len({*row[1:]}) == 3


def test_recordings_are_mined_too(tiny: Callable[[str], Path], places: Places) -> None:
    for n in range(6):
        write_wav(places.volume("data") / f"{n}.wav", 200.0 * (n + 1))
    write_jsonl(
        places.volume("data") / "train.jsonl", [{"q": f"tone {n}", "p": f"{n}.wav"} for n in range(6)]
    )
    base = load_model(tiny("clap"), a_spec().model, seed=0)
    mined, notes = mine(base, places, {"perQuery": 2})
    assert "6 rows" in notes[0]
    assert set(mined.rows[0]["negative_1"]) == {"audio"}
    assert mined.rows[0]["negative_1"]["audio"]["sampling_rate"] > 0


def test_mixed_inputs_are_mined_too(tiny: Callable[[str], Path], places: Places) -> None:
    names = [write_page(places.volume("data") / f"{n}.png", str(n)).name for n in range(6)]
    content = [{"q": f"page {n}", "t": f"title {n}", "i": name} for n, name in enumerate(names)]
    write_jsonl(places.volume("data") / "train.jsonl", content)
    train = {
        "columns": {"query": "q", "positive": "both"},
        "combine": [{"name": "both", "text": "t", "image": "i"}],
    }
    base = load_model(tiny("vision embedder"), a_spec().model, seed=0)
    mined, _ = mine(base, places, {"perQuery": 2}, train=train)
    assert list(mined.rows[0]["negative_0"]) == ["text", "image"]
    assert isinstance(mined.rows[0]["negative_0"]["image"], Image.Image)
