"""Separate encoders joined by a Router."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest

from finetune_api.model import Model
from finetune_trainer.errors import InvalidModel, InvalidSpec
from finetune_trainer.models import (
    embedding_dimension,
    learning_rates,
    load_model,
    make_trainable,
    model_modalities,
    reload_model,
    router_mapping,
    save_model,
)
from finetune_trainer.models.routes import reads
from tests.trainer.test_models_of_every_type import IMAGES, SOUNDS, TEXTS, scores

Tiny = Callable[[str], Path]

QUERY: dict[str, Any] = {"route": "query", "task": "query", "uri": "pvc://models/query"}
DOCUMENT: dict[str, Any] = {"route": "document", "task": "document", "uri": "pvc://models/document"}
TEXT: dict[str, Any] = {"route": "text", "modality": "text", "uri": "pvc://models/text"}
IMAGE: dict[str, Any] = {
    "route": "image", "modality": "image", "uri": "pvc://models/image", "pooling": "Mean", "dense": 64,
}  # fmt: skip
SOUND: dict[str, Any] = {
    "route": "sound", "modality": "audio", "uri": "pvc://models/sound", "pooling": "Mean",
}  # fmt: skip


def a_router(*encoders: dict[str, Any], **fields: Any) -> Model:
    return Model.model_validate({"encoders": list(encoders), **fields})


def load(tiny: Tiny, spec: Model, **names: str) -> Any:
    return load_model({route: tiny(name.replace("_", " ")) for route, name in names.items()}, spec, seed=1)


WAYS: dict[str, tuple[Model, dict[str, str], list[Any]]] = {
    "a static model for queries, BERT for documents": (
        a_router(QUERY, DOCUMENT), {"query": "static", "document": "text"}, [TEXTS],
    ),
    "a text and an image encoder": (
        a_router(TEXT, IMAGE), {"text": "text", "image": "vision encoder"}, [TEXTS, IMAGES],
    ),
    "a text and a sound encoder": (
        a_router({**TEXT, "pooling": "Mean"}, SOUND), {"text": "text checkpoint", "sound": "whisper"},
        [TEXTS, [{"audio": sound} for sound in SOUNDS]],
    ),
    "texts by role, images alike": (
        a_router({**QUERY, "modality": "text"}, {**DOCUMENT, "modality": "text"}, IMAGE),
        {"query": "static", "document": "text", "image": "vision encoder"}, [TEXTS, IMAGES],
    ),
    "two sparse encoders": (
        a_router(QUERY, DOCUMENT, type="Sparse"), {"query": "masked language", "document": "sparse"}, [TEXTS],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("spec", "names", "inputs"), WAYS.values(), ids=WAYS)
def test_a_router_repeats_and_survives_saving(
    tiny: Tiny, tmp_path: Path, spec: Model, names: dict[str, str], inputs: list[Any]
) -> None:
    model, again = (load(tiny, spec, **names) for _ in range(2))
    found = [scores(model, spec, part) for part in inputs]
    save_model(model, tmp_path / "saved", spec)
    reloaded = reload_model(tmp_path / "saved", spec)
    assert embedding_dimension(reloaded) == embedding_dimension(model) == found[0].shape[1]
    for part, expected in zip(inputs, found, strict=True):
        assert np.ptp(expected) > 0
        assert np.array_equal(scores(again, spec, part), expected)
        assert np.array_equal(scores(reloaded, spec, part), expected)


def test_each_role_has_its_own_encoder(tiny: Tiny) -> None:
    model = load(tiny, a_router(QUERY, DOCUMENT), query="static", document="text")
    assert not np.allclose(model.encode_query(TEXTS), model.encode_document(TEXTS))
    assert np.array_equal(model.encode(TEXTS), model.encode_document(TEXTS))


def test_the_default_route_takes_the_rest(tiny: Tiny) -> None:
    spec = a_router(QUERY, {"route": "image", "modality": "image", "uri": "pvc://m/i"}, defaultRoute="image")
    model = load(tiny, spec, query="static", image="vision_embedder")
    assert np.array_equal(model.encode_document(TEXTS), model.encode(TEXTS))
    assert not np.allclose(model.encode_document(TEXTS), model.encode_query(TEXTS))
    assert model.encode_document(IMAGES).shape == (2, 64)


def test_what_an_encoder_reads_depends_on_the_role(tiny: Tiny) -> None:
    by_role = load(tiny, a_router(QUERY, DOCUMENT), query="static", document="vision_embedder")
    assert model_modalities(by_role, "query") == ("text",)
    assert set(model_modalities(by_role, "document")) == {"text", "image", "video", "message"}
    by_kind = load(tiny, a_router(TEXT, IMAGE), text="text", image="vision_encoder")
    assert model_modalities(by_kind, "query") == model_modalities(by_kind, "document") == ("image", "text")


def test_several_kinds_together_need_one_encoder_that_reads_them(tiny: Tiny) -> None:
    both, image_and_text = ("text", "image"), ("image", "text")
    by_role = load(tiny, a_router(QUERY, DOCUMENT), query="static", document="vision_embedder")
    assert [reads(by_role, role, both) for role in ("query", "document", None)] == [False, True, True]
    by_kind = load(tiny, a_router(TEXT, IMAGE), text="text", image="vision_encoder")
    assert not reads(by_kind, "document", image_and_text)
    whole = load_model(tiny("vision embedder"), Model(uri="pvc://models/one"), seed=1)
    assert reads(whole, None, image_and_text)
    assert not reads(whole, None, ("audio",))


def test_columns_are_routed_by_role(tiny: Tiny) -> None:
    columns = ["query", "positive", "negative_0"]
    routed = load(tiny, a_router(QUERY, DOCUMENT), query="static", document="text")
    expected = {"query": "query", "positive": "document", "negative_0": "document"}
    assert router_mapping(routed, columns) == expected
    assert router_mapping(load_model(tiny("text"), Model(uri="pvc://models/one"), seed=1), columns) == {}


def test_encoders_must_end_in_the_same_dimensions(tiny: Tiny) -> None:
    with pytest.raises(InvalidSpec, match="found text: 64, image: 96") as raised:
        load(tiny, a_router(TEXT, {**IMAGE, "dense": None}), text="text", image="vision_encoder")
    assert raised.value.reason == "DimensionsDiffer"


def test_each_encoder_has_its_own_length_processor_and_weights_that_may_lack(tiny: Tiny) -> None:
    spec = a_router(
        {**QUERY, "maxSeqLength": 8, "processor": {"padding_side": "left"}},
        {**DOCUMENT, "pooling": "Mean", "allowMissingWeights": ["*"]},
    )
    model = load(tiny, spec, query="text", document="text_checkpoint")
    query, document = (model[0].sub_modules[route][0] for route in ("query", "document"))
    assert (query.max_seq_length, document.max_seq_length) == (8, 128)
    assert (query.tokenizer.padding_side, document.tokenizer.padding_side) == ("left", "right")


def test_a_router_in_a_router_is_refused(tiny: Tiny, tmp_path: Path) -> None:
    spec = a_router(QUERY, DOCUMENT)
    save_model(load(tiny, spec, query="static", document="text"), tmp_path / "saved", spec)
    with pytest.raises(InvalidModel) as raised:
        load_model({"query": tmp_path / "saved", "document": tiny("text")}, spec, seed=1)
    assert raised.value.reason == "RouterInRouter"


@pytest.mark.parametrize(("name", "reason"), [("reranker", "WrongType"), ("text_checkpoint", "NoPooling")])
def test_an_encoder_of_another_kind_is_refused(tiny: Tiny, name: str, reason: str) -> None:
    with pytest.raises(InvalidModel) as raised:
        load(tiny, a_router(QUERY, DOCUMENT), query=name, document="text")
    assert raised.value.reason == reason


def test_a_sparse_router_needs_encoders_with_a_vocabulary(tiny: Tiny) -> None:
    with pytest.raises(InvalidModel) as raised:
        load(tiny, a_router(QUERY, DOCUMENT, type="Sparse"), query="text_checkpoint", document="sparse")
    assert raised.value.reason == "NoLogits"


# Training


def test_a_frozen_encoder_still_trains_its_new_layer(tiny: Tiny) -> None:
    spec = a_router({**TEXT, "dense": 64, "freeze": ["*"]}, {**IMAGE, "freeze": ["embeddings.*"]})
    model = load(tiny, spec, text="text", image="vision_encoder")
    make_trainable(model, spec, seed=1)
    trained = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    of_text = [name for name in trained if ".text." in name]
    assert of_text == ["0.sub_modules.text.2.linear.weight", "0.sub_modules.text.2.linear.bias"]
    of_image = [name for name in trained if ".image." in name]
    assert of_image
    assert not any("embeddings" in name for name in of_image)


def test_a_pattern_of_an_encoder_names_its_parameters_alone(tiny: Tiny) -> None:
    spec = a_router(TEXT, {**IMAGE, "freeze": ["embeddings.word_embeddings.*"]})
    model = load(tiny, spec, text="text", image="vision_encoder")
    with pytest.raises(InvalidSpec, match="`freeze` of encoder `image`"):
        make_trainable(model, spec, seed=1)


@pytest.mark.training
def test_encoders_learn_at_their_own_rates(tiny: Tiny, tmp_path: Path) -> None:
    """At a rate of nothing to speak of an encoder stays where it was."""
    from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

    spec = a_router({**QUERY, "learningRate": "1e-12"}, DOCUMENT)
    model = load(tiny, spec, query="static", document="text")
    make_trainable(model, spec, seed=1)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    rows = datasets.Dataset.from_dict({"query": TEXTS * 2, "positive": TEXTS * 2})
    arguments = SentenceTransformerTrainingArguments(
        output_dir=str(tmp_path), max_steps=2, per_device_train_batch_size=2, learning_rate=1e-2,
        use_cpu=True, report_to="none", save_strategy="no", disable_tqdm=True, dataloader_pin_memory=False,
        router_mapping=router_mapping(model, rows.column_names), learning_rate_mapping=learning_rates(spec),
    )  # fmt: skip
    loss = MultipleNegativesRankingLoss(model)
    SentenceTransformerTrainer(model=model, args=arguments, train_dataset=rows, loss=loss).train()
    moved = {
        name: float((value.float() - before[name].float()).abs().max())
        for name, value in model.state_dict().items()
    }
    assert max(change for name, change in moved.items() if "sub_modules.query." in name) < 1e-6
    assert max(change for name, change in moved.items() if "sub_modules.document." in name) > 1e-3
