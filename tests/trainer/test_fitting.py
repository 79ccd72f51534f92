"""Data held against the model: what it reads, how recordings are decoded for it, and what does not fit."""

from pathlib import Path
from typing import Any

import pytest
import torch
from sentence_transformers import CrossEncoder, SentenceTransformer

from finetune_api.model import Model
from finetune_trainer.data.fitting import Fitted, fit_to_model
from finetune_trainer.data.loading import load_evaluation_data, load_training_data
from finetune_trainer.errors import InvalidData
from finetune_trainer.failures import as_trainer_error
from finetune_trainer.models import load_model
from finetune_trainer.places import Places
from tests.trainer.builders import a_spec, pairs, write_jsonl, write_page
from tests.trainer.media_files import write_video, write_wav

pytestmark = pytest.mark.training


@pytest.fixture(scope="module")
def text(text_model: Path) -> SentenceTransformer:
    return SentenceTransformer(str(text_model), device="cpu")


@pytest.fixture(scope="module")
def vision(vision_model: Path) -> SentenceTransformer:
    return SentenceTransformer(str(vision_model), device="cpu")


def fitted(model: Any, places: Places, **train: Any) -> Fitted:
    spec = a_spec(train=train)
    return fit_to_model(model, load_training_data(spec, places), load_evaluation_data(spec, places))


def write(data: Path, rows: list[dict[str, Any]], dev: list[dict[str, Any]] | None = None) -> None:
    write_jsonl(data / "train.jsonl", rows)
    write_jsonl(data / "dev.jsonl", dev or pairs(2))


def a_film(data: Path) -> dict[str, str]:
    write_page(data / "a.png", "a")
    write_video(data / "a.mp4")
    return {"q": "what is shown", "p": "a.mp4", "title": "a film", "scan": "a.png"}


def test_videos_and_mixes_are_trained_in_the_form_that_the_processor_reads(
    vision: SentenceTransformer, places: Places, data: Path
) -> None:
    write(data, [a_film(data)])
    mix = [{"name": "mix", "text": "title", "image": "scan", "video": "p"}]
    columns = {"query": "q", "positive": "p", "negatives": ["mix"]}
    row = fitted(vision, places, columns=columns, combine=mix).training.sets[0].rows[0]
    read = vision.preprocess([row["positive"], row["negative_0"], row["query"]])
    assert read["num_videos_per_sample"].tolist() == [1, 1, 0]
    assert read["num_images_per_sample"].tolist() == [0, 1, 0]
    assert torch.isfinite(vision.encode(list(row.values()), convert_to_tensor=True)).all()


def test_an_encoder_must_read_what_its_role_holds(tiny: Any, places: Places, data: Path) -> None:
    fields = {
        "uri": None,
        "encoders": [
            {"route": "query", "task": "query", "uri": "pvc://models/a"},
            {"route": "document", "task": "document", "uri": "pvc://models/b"},
        ],
    }
    folders = {"query": tiny("static"), "document": tiny("vision embedder")}
    router = load_model(folders, Model.model_validate(fields), seed=1)
    write(data, [a_film(data)])
    fitted(router, places, columns={"query": "q", "positive": "scan"})
    with pytest.raises(InvalidData, match="'query' in train set 'train' holds image inputs"):
        fitted(router, places, columns={"query": "scan", "positive": "q"})


def test_the_frames_are_those_that_the_processor_asks_for(
    vision: SentenceTransformer, places: Places, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(data, [a_film(data)])
    monkeypatch.setattr(vision.processor.video_processor, "min_frames", 8)
    video = fitted(vision, places).training.sets[0].rows[0]["positive"]["video"]
    assert video["array"].shape[0] == 8


def test_mixes_with_a_part_that_the_model_does_not_read_are_refused(
    vision: SentenceTransformer, places: Places, data: Path
) -> None:
    write_wav(data / "a.wav")
    write(data, [{"q": "a", "p": "a.wav", "t": "b"}])
    mix = {"name": "mix", "text": "t", "audio": "p"}
    with pytest.raises(InvalidData) as raised:
        fitted(vision, places, columns={"query": "q", "positive": "mix"}, combine=[mix])
    assert raised.value.reason == "UnsupportedModality"
    assert "column of role 'positive' in train set 'train' holds text and audio" in raised.value.message


def test_the_share_of_texts_that_are_cut_is_said(
    text: SentenceTransformer, places: Places, data: Path
) -> None:
    long = "invoice " * 400
    write(data, [{"q": f"{i}", "p": long if i < 2 else f"page {i}"} for i in range(8)])
    (note,) = fitted(text, places).notes
    assert note == (
        "25% of the texts of column 'positive' in train set 'train' are longer than the 128 tokens that the"
        " model takes; their ends are cut off"
    )


def test_texts_that_fit_are_not_worth_a_note(text: SentenceTransformer, places: Places, data: Path) -> None:
    write(data, pairs(4))
    assert fitted(text, places).notes == ()


def test_a_rerankers_pairs_are_looked_at_together(text_model: Path, places: Places, data: Path) -> None:
    model = CrossEncoder(str(text_model), device="cpu", num_labels=1)
    half = "invoice " * 80
    write(data, [{"q": half, "p": half}], [{"q": half, "p": "short"}])
    assert [note.split(" are longer")[0] for note in fitted(model, places).notes] == [
        "100% of the texts of columns 'query' and 'positive' in train set 'train'"
    ]


def test_what_the_model_refuses_of_a_sample_is_told_before_training(
    text: SentenceTransformer, places: Places, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise ValueError("no route for this\nand a long list")

    write(data, pairs(2))
    monkeypatch.setattr(text, "preprocess", refuse)
    with pytest.raises(InvalidData) as raised:
        fitted(text, places)
    assert raised.value.reason == "UnreadableInput"
    assert raised.value.message == (
        "column 'query' in train set 'train' has inputs that the model cannot read: no route for this"
    )


def test_cutting_into_media_is_refused_before_training(
    vision: SentenceTransformer, places: Places, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_page(data / "a.png", "a")
    write(data, [{"q": "a", "p": "a.png", "t": "a long title " * 20}])
    mix = {"name": "mix", "text": "t", "image": "p"}
    train = {"columns": {"query": "q", "positive": "mix"}, "combine": [mix]}
    assert fitted(vision, places, **train).notes == ()
    monkeypatch.setattr(vision, "max_seq_length", 16)
    with pytest.raises(InvalidData) as raised:
        fitted(vision, places, **train)
    assert raised.value.reason == "MediaCutOff"
    assert "column 'positive' in train set 'train'" in raised.value.message
    assert "the 16 tokens" in raised.value.message


def test_media_that_are_cut_later_are_told_the_same_way(
    vision: SentenceTransformer, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = {"text": "a long title " * 20, "image": write_page(data / "a.png", "a")}
    monkeypatch.setattr(vision, "max_seq_length", 16)
    with pytest.raises(ValueError, match="token count") as raised:
        vision.preprocess([{**row, "image": str(row["image"])}])
    assert as_trainer_error(raised.value).reason == "MediaCutOff"
