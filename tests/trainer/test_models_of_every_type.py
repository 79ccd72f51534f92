"""From every starting point: the model repeats bit for bit, and a saved and reloaded one scores the same."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image

from finetune_api.model import Model
from finetune_trainer.errors import InvalidModel, InvalidSpec
from finetune_trainer.models import (
    embedding_dimension,
    load_model,
    model_modalities,
    reload_model,
    save_model,
)

Tiny = Callable[[str], Path]

TEXTS = ["invoice 7 from Acme", "tents in March"]
IMAGES = [Image.new("RGB", (64, 64), color) for color in ("red", "white")]
SOUNDS = [
    {"array": np.sin(np.arange(8000, dtype=np.float32) * pitch), "sampling_rate": 16_000}
    for pitch in (0.1, 0.3)
]
TEXT_PAIRS = [("invoice", "tents in March"), ("tents", "invoice 7")]
IMAGE_PAIRS = [("invoice", image) for image in IMAGES]
YES_NO = {"type": "LogitScore", "trueToken": "1", "falseToken": "0"}


def a_model(**fields: Any) -> Model:
    source = {} if "encoders" in fields else {"uri": "pvc://models/base"}
    return Model.model_validate({**source, **fields})


def scores(model: Any, spec: Model, inputs: Any) -> Any:
    """One array, whatever the type of the model gives."""
    if spec.type == "Reranker":
        return model.predict(inputs)
    vectors = model.encode_document(inputs)
    if spec.type == "MultiVector":
        return np.concatenate([np.asarray(v) for v in vectors])
    return np.asarray(vectors.to_dense() if spec.type == "Sparse" else vectors)


class Start(NamedTuple):
    """name: of a tiny model; fields: of spec.model; the rest: what it must have and take."""

    name: str
    fields: dict[str, Any]
    modules: str
    inputs: list[Any]
    dimensions: int


STARTS: dict[str, Start] = {
    "an embedding model": Start("text", {}, "Transformer Pooling", [TEXTS], 64),
    "an embedding model of texts and images": Start(
        "vision embedder", {}, "Transformer Pooling Normalize", [TEXTS, IMAGES], 64,
    ),
    "a raw checkpoint for embeddings": Start(
        "text checkpoint", {"pooling": "Mean", "dense": 32}, "Transformer Pooling Dense Normalize", [TEXTS],
        32,
    ),
    "a raw vision-language checkpoint for embeddings": Start(
        "vision", {"pooling": "LastToken"}, "Transformer Pooling Normalize", [TEXTS, IMAGES], 64,
    ),
    "CLIP": Start("clip", {}, "Transformer Normalize", [TEXTS, IMAGES], 64),
    "CLAP": Start("clap", {}, "Transformer Normalize", [TEXTS, SOUNDS], 64),
    "an embedding model without an encoder": Start("static", {}, "StaticEmbedding", [TEXTS], 64),
    "an embedding model on a sparse one": Start(
        "sparse", {"pooling": "Mean"}, "Transformer Pooling Normalize", [TEXTS], 64,
    ),
    "a reranker": Start("reranker", {"type": "Reranker"}, "Transformer", [TEXT_PAIRS], 0),
    "a raw checkpoint for a reranker": Start(
        "text checkpoint", {"type": "Reranker"}, "Transformer", [TEXT_PAIRS], 0,
    ),
    "a masked-language checkpoint for a reranker of three classes": Start(
        "masked language", {"type": "Reranker", "head": {"type": "Classifier", "labels": 3}}, "Transformer",
        [TEXT_PAIRS], 0,
    ),
    "a reranker on an embedding model": Start(
        "text", {"type": "Reranker", "head": {"type": "Dense"}}, "Transformer Pooling Dense", [TEXT_PAIRS], 0,
    ),
    "a raw vision-language checkpoint for a reranker by a pooled vector": Start(
        "vision", {"type": "Reranker", "head": {"type": "Dense"}}, "Transformer Pooling Dense",
        [TEXT_PAIRS, IMAGE_PAIRS], 0,
    ),
    "a raw vision-language checkpoint for a reranker by two tokens": Start(
        "vision", {"type": "Reranker", "head": YES_NO}, "Transformer LogitScore",
        [TEXT_PAIRS, IMAGE_PAIRS], 0,
    ),
    "a decoder for embeddings": Start(
        "language", {"pooling": "LastToken"}, "Transformer Pooling Normalize", [TEXTS], 64,
    ),
    "a decoder for a reranker by two tokens": Start(
        "language", {"type": "Reranker", "head": YES_NO}, "Transformer LogitScore", [TEXT_PAIRS], 0,
    ),
    "a decoder for a reranker by a pooled vector": Start(
        "language", {"type": "Reranker", "head": {"type": "Dense"}}, "Transformer Pooling Dense",
        [TEXT_PAIRS], 0,
    ),
    "a reranker of images by a pooled vector": Start(
        "vision dense reranker", {"type": "Reranker"}, "Transformer Pooling Dense", [IMAGE_PAIRS], 0,
    ),
    "a reranker of images by two tokens": Start(
        "vision reranker", {"type": "Reranker"}, "Transformer LogitScore", [IMAGE_PAIRS], 0,
    ),
    "a sparse model": Start("sparse", {"type": "Sparse"}, "Transformer SpladePooling", [TEXTS], 204),
    "a masked-language checkpoint for SPLADE": Start(
        "masked language", {"type": "Sparse", "maxActiveDims": 16}, "Transformer SpladePooling", [TEXTS], 204,
    ),
    "a raw checkpoint for CSR": Start(
        "text checkpoint", {"type": "Sparse"}, "Transformer Pooling SparseAutoEncoder", [TEXTS], 256,
    ),
    "CSR on an embedding model of texts and images": Start(
        "vision embedder", {"type": "Sparse", "dense": 128}, "Transformer Pooling SparseAutoEncoder",
        [TEXTS, IMAGES], 128,
    ),
    "a multi-vector model": Start(
        "multi-vector", {"type": "MultiVector"}, "Transformer Dense MultiVectorMask Normalize", [TEXTS], 128,
    ),
    "a raw checkpoint for many vectors": Start(
        "text checkpoint", {"type": "MultiVector", "dense": 32},
        "Transformer Dense MultiVectorMask Normalize", [TEXTS], 32,
    ),
    "many vectors on an embedding model of texts and images": Start(
        "vision embedder", {"type": "MultiVector", "dense": 16},
        "Transformer Dense MultiVectorMask Normalize", [TEXTS, IMAGES], 16,
    ),
}  # fmt: skip


@pytest.mark.parametrize("start", STARTS.values(), ids=STARTS)
def test_a_start_repeats_and_survives_saving(tiny: Tiny, tmp_path: Path, start: Start) -> None:
    spec = a_model(**start.fields)
    model, again = (load_model(tiny(start.name), spec, seed=1) for _ in range(2))
    assert " ".join(type(module).__name__ for module in model) == start.modules
    assert embedding_dimension(model) == start.dimensions
    found = [scores(model, spec, part) for part in start.inputs]
    save_model(model, tmp_path / "saved", spec)
    reloaded = reload_model(tmp_path / "saved", spec)
    for part, expected in zip(start.inputs, found, strict=True):
        assert np.ptp(expected) > 0, "a constant would prove nothing"
        assert np.array_equal(scores(again, spec, part), expected)
        assert np.array_equal(scores(reloaded, spec, part), expected)


WRONG_TYPES = {
    "a reranker as an embedding model": ("reranker", {}, "Reranker", "model.pooling"),
    "a sparse model as an embedding model": ("sparse", {}, "Sparse", "model.pooling"),
    "an embedding model as a multi-vector one": (
        "text", {"type": "MultiVector"}, "Embedding", "model.dense",
    ),
    "a multi-vector model as a reranker": ("multi-vector", {"type": "Reranker"}, "MultiVector", "model.head"),
    "an embedding model as a sparse one": ("text", {"type": "Sparse"}, "Embedding", "model.dense"),
}  # fmt: skip


@pytest.mark.parametrize(("name", "fields", "found", "field"), WRONG_TYPES.values(), ids=WRONG_TYPES)
def test_a_model_of_another_type_says_what_it_is(
    tiny: Tiny, name: str, fields: dict[str, Any], found: str, field: str
) -> None:
    with pytest.raises(InvalidModel) as raised:
        load_model(tiny(name), a_model(**fields), seed=1)
    assert raised.value.reason == "WrongType"
    assert f"{found} model, but `model.type` is" in raised.value.message
    assert raised.value.hint.startswith(f"set `model.type` to {found}, or set `{field}`")


REFUSED_HEADS = {
    "no head at all": ("vision", {}, "NoHead"),
    "logits of an encoder": ("text checkpoint", {"head": YES_NO}, "NoLogits"),
    "two tokens for one": ("vision", {"head": {**YES_NO, "trueToken": "yes indeed"}}, "NotOneToken"),
    "a head on a reranker": ("reranker", {"head": {"type": "Dense"}}, "LayerGiven"),
}


@pytest.mark.parametrize(("name", "fields", "reason"), REFUSED_HEADS.values(), ids=REFUSED_HEADS)
def test_a_head_that_cannot_be_is_refused(tiny: Tiny, name: str, fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidSpec) as raised:
        load_model(tiny(name), a_model(type="Reranker", **fields), seed=1)
    assert raised.value.reason == reason


def test_the_pieces_of_a_text_that_is_no_token_are_shown(tiny: Tiny) -> None:
    head = {**YES_NO, "trueToken": "12"}
    with pytest.raises(InvalidSpec, match=r"must be one token .*'12' is '1', '2'"):
        load_model(tiny("vision"), a_model(type="Reranker", head=head), seed=1)


@pytest.mark.parametrize("kind", ["Embedding", "Sparse", "MultiVector"])
def test_a_ready_model_gets_no_new_layer(tiny: Tiny, kind: str) -> None:
    name = {"Embedding": "text", "Sparse": "sparse", "MultiVector": "multi-vector"}[kind]
    with pytest.raises(InvalidSpec) as raised:
        load_model(tiny(name), a_model(type=kind, dense=32), seed=1)
    assert raised.value.reason == "LayerGiven"


@pytest.mark.parametrize("name", ["clip", "clap"])
def test_a_model_of_one_vector_for_an_input_has_none_per_token(tiny: Tiny, name: str) -> None:
    with pytest.raises(InvalidSpec) as spec_error:
        load_model(tiny(name), a_model(pooling="Mean"), seed=1)
    with pytest.raises(InvalidModel) as model_error:
        load_model(tiny(name), a_model(type="MultiVector"), seed=1)
    assert spec_error.value.reason == model_error.value.reason == "NoTokenVectors"


def test_random_weights_of_a_whole_whisper_are_found(tiny: Tiny) -> None:
    with pytest.raises(InvalidModel) as raised:
        load_model(tiny("whole whisper"), a_model(pooling="Mean"), seed=1)
    assert raised.value.reason == "MissingWeights"
    assert "lacks 37 of the model's weights" in raised.value.message


def test_a_reranker_has_one_prompt_that_its_users_need_not_name(tiny: Tiny, tmp_path: Path) -> None:
    spec = a_model(type="Reranker", prompts={"query": "relevant? "})
    model = load_model(tiny("reranker"), spec, seed=1)
    save_model(model, tmp_path / "saved", spec)
    plain = load_model(tiny("reranker"), a_model(type="Reranker"), seed=1)
    expected = scores(plain, spec, [("relevant? invoice", "tents")])
    for found in (model, reload_model(tmp_path / "saved", spec)):
        assert np.allclose(scores(found, spec, [("invoice", "tents")]), expected, atol=1e-6)


def test_a_sparse_vector_keeps_as_many_values_as_the_spec_says(tiny: Tiny, tmp_path: Path) -> None:
    spec = a_model(type="Sparse", maxActiveDims=5)
    save_model(load_model(tiny("sparse"), spec, seed=1), tmp_path / "saved", spec)
    assert (scores(reload_model(tmp_path / "saved", spec), spec, TEXTS) != 0).sum(axis=1).max() == 5


@pytest.mark.parametrize(("kind", "name", "similarity"), [
    ("Embedding", "text", "euclidean"), ("Sparse", "sparse", "cosine"),
])  # fmt: skip
def test_the_similarity_is_the_specs(
    tiny: Tiny, tmp_path: Path, kind: str, name: str, similarity: str
) -> None:
    spec = a_model(type=kind, similarity=similarity)
    model = load_model(tiny(name), spec, seed=1)
    save_model(model, tmp_path / "saved", spec)
    for found in (model, reload_model(tmp_path / "saved", spec)):
        assert found.similarity_fn_name == similarity


@pytest.mark.parametrize("weights", ["float32", "bfloat16"])
def test_weights_are_kept_and_saved_as_the_spec_says(tiny: Tiny, tmp_path: Path, weights: str) -> None:
    spec = a_model(type="MultiVector", dense=32, weights=weights)
    model = load_model(tiny("text checkpoint"), spec, seed=1)
    save_model(model, tmp_path / "saved", spec)
    for found in (model, reload_model(tmp_path / "saved", spec)):
        assert {str(p.dtype) for p in found.parameters()} == {f"torch.{weights}"}


@pytest.mark.parametrize("name", ["vision", "language"])
def test_positions_stay_precise_in_bfloat16(tiny: Tiny, tmp_path: Path, name: str) -> None:
    """Rotary frequencies in bfloat16 would move every token, and be float32 again in the reloaded model."""
    spec = a_model(pooling="LastToken", weights="bfloat16")
    model = load_model(tiny(name), spec, seed=1)
    save_model(model, tmp_path / "saved", spec)
    reloaded = reload_model(tmp_path / "saved", spec)
    assert np.array_equal(scores(model, spec, TEXTS), scores(reloaded, spec, TEXTS))
    frequencies = [buffer for key, buffer in model.named_buffers() if "inv_freq" in key]
    assert {buffer.dtype for buffer in frequencies} == {torch.float32}


def test_attention_is_the_specs_also_when_reloaded(tiny: Tiny, tmp_path: Path) -> None:
    for attention in ("eager", "sdpa"):
        spec = a_model(pooling="LastToken", attention=attention)
        model = load_model(tiny("vision"), spec, seed=1)
        save_model(model, tmp_path / attention, spec)
        for found in (model, reload_model(tmp_path / attention, spec)):
            assert found.transformers_model is not None
            assert found.transformers_model.config._attn_implementation == attention


def test_flash_attention_needs_its_package_and_a_gpu(tiny: Tiny) -> None:
    with pytest.raises(InvalidSpec) as raised:
        load_model(tiny("text"), a_model(attention="flash_attention_2"), seed=1)
    assert raised.value.reason == "NoFlashAttention"


@pytest.mark.parametrize(
    "fields", [{"maxSeqLength": 8}, {"attention": "eager"}, {"processor": {"padding_side": "left"}}], ids=str
)
def test_what_a_model_does_not_have_is_not_accepted(tiny: Tiny, fields: dict[str, Any]) -> None:
    with pytest.raises((InvalidSpec, InvalidModel)):
        load_model(tiny("static"), a_model(**fields), seed=1)


def test_a_length_means_nothing_to_an_image_encoder(tiny: Tiny) -> None:
    with pytest.raises(InvalidSpec, match="`maxSeqLength` must be left out"):
        load_model(tiny("vision encoder"), a_model(pooling="Mean", maxSeqLength=8), seed=1)


def test_modalities_of_a_model(tiny: Tiny) -> None:
    for name, fields, expected in [
        ("text", {}, ("text",)),
        ("clip", {}, ("text", "image")),
        ("vision embedder", {}, ("text", "image", "video", "message")),
        ("whisper", {"pooling": "Mean"}, ("audio",)),
    ]:
        model = load_model(tiny(name), a_model(**fields), seed=1)
        assert model_modalities(model, "query") == model_modalities(model, "document") == expected
