import json
import shutil
import stat
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer

from finetune_api.model import Model
from finetune_trainer.errors import InvalidModel, InvalidSpec
from finetune_trainer.models import check_dimensions, load_model, model_digest, reload_model, save_model
from tests.trainer.builders import a_spec

RAW = {"pooling": "Mean"}


def a_model(**fields: Any) -> Model:
    return Model.model_validate({"uri": "pvc://models/base", **fields})


def load(path: Path, **fields: Any) -> SentenceTransformer:
    model: SentenceTransformer = load_model(path, a_model(**fields), seed=1)
    return model


def embedding(model: SentenceTransformer, text: str = "invoice 7") -> Any:
    return model.encode([text], convert_to_numpy=True)[0]


@pytest.fixture
def copy(text_model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(text_model, tmp_path / "model"))


def without_weights(path: Path, *patterns: str) -> None:
    file = path / "model.safetensors"
    kept = {k: v for k, v in load_file(file).items() if not any(p in k for p in patterns)}
    save_file(kept, file, metadata={"format": "pt"})


def test_weights_are_float32_whatever_the_checkpoint_has(copy: Path) -> None:
    weights = load_file(copy / "model.safetensors")
    half = {k: v.bfloat16() for k, v in weights.items()}
    save_file(half, copy / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((copy / "config.json").read_text()) | {"dtype": "bfloat16"}
    (copy / "config.json").write_text(json.dumps(config))
    assert {p.dtype for p in load(copy).parameters()} == {torch.float32}


def test_a_folder_without_weights_is_refused(copy: Path) -> None:
    (copy / "model.safetensors").unlink()
    with pytest.raises(InvalidModel) as raised:
        load(copy)
    assert raised.value.reason == "MissingWeights"
    assert "must have weights in *.safetensors; found 1_Pooling, config.json" in raised.value.message


def test_weights_in_pickles_are_refused(copy: Path) -> None:
    (copy / "model.safetensors").unlink()
    (copy / "pytorch_model.bin").write_bytes(b"a pickle")
    with pytest.raises(InvalidModel) as raised:
        load(copy)
    assert raised.value.reason == "PickleWeights"
    assert "pytorch_model.bin" in raised.value.message


def test_missing_weights_are_named(copy: Path) -> None:
    without_weights(copy, "layer.1.output")
    with pytest.raises(InvalidModel) as raised:
        load(copy)
    assert raised.value.reason == "MissingWeights"
    assert "lacks 4 of the model's weights" in raised.value.message
    assert "encoder.layer.1.output.LayerNorm.bias" in raised.value.message
    assert "and 1 more" in raised.value.message


def test_missing_weights_that_the_spec_allows_are_the_same_in_every_run(copy: Path) -> None:
    without_weights(copy, "layer.1.output")
    allowed = a_model(allowMissingWeights=["*layer.1.output*"])
    first, again, other = (embedding(load_model(copy, allowed, seed=s)) for s in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_pattern_allows_only_what_it_names(copy: Path) -> None:
    without_weights(copy, "layer.1.output", "layer.0.output")
    with pytest.raises(InvalidModel, match=r"layer\.0\.output"):
        load(copy, allowMissingWeights=["*layer.1.output*"])


@pytest.mark.parametrize("broken", ["model.safetensors", "config.json", "modules.json", "tokenizer.json"])
def test_a_broken_checkpoint_is_the_models_fault(copy: Path, broken: str) -> None:
    content = (copy / broken).read_bytes()
    (copy / broken).write_bytes(content[: len(content) // 2])
    with pytest.raises(InvalidModel) as raised:
        load(copy)
    assert raised.value.reason == "UnreadableModel"
    assert str(copy) not in raised.value.message


def test_code_that_comes_with_a_model_is_not_run(copy: Path) -> None:
    modules = json.loads((copy / "modules.json").read_text())
    modules[1]["type"] = "pooling_of_mine.Pooling"
    (copy / "modules.json").write_text(json.dumps(modules))
    (copy / "pooling_of_mine.py").write_text("raise SystemExit('the code of the model ran')")
    with pytest.raises(InvalidModel):
        load(copy)


def test_a_checkpoint_that_is_no_embedding_model_needs_pooling(vision_model: Path) -> None:
    with pytest.raises(InvalidModel) as raised:
        load(vision_model)
    assert raised.value.reason == "NoPooling"
    assert "Mean, LastToken or Cls" in raised.value.hint


@pytest.mark.parametrize(("pooling", "mode"), [("Mean", "mean"), ("LastToken", "lasttoken"), ("Cls", "cls")])
def test_pooling_makes_an_embedding_model_of_unit_length(vision_model: Path, pooling: str, mode: str) -> None:
    model = load(vision_model, pooling=pooling)
    assert model[1].pooling_mode == mode
    assert np.linalg.norm(embedding(model)) == pytest.approx(1, abs=1e-5)
    assert model.supports("image")


def test_pooling_of_an_embedding_model_is_not_changed(text_model: Path) -> None:
    assert load(text_model, pooling="Mean")[1].pooling_mode == "mean"
    with pytest.raises(InvalidSpec) as raised:
        load(text_model, pooling="Cls")
    assert raised.value.reason == "PoolingGiven"


def test_prompts_go_by_role(text_model: Path) -> None:
    model = load(text_model, prompts={"query": "find: "})
    assert (model.prompts["query"], model.prompts["document"]) == ("find: ", "")
    assert not np.array_equal(model.encode_query("a"), model.encode_document("a"))
    assert np.array_equal(model.encode_query("a"), model.encode("find: a"))


def test_the_longest_input_is_the_specs(text_model: Path) -> None:
    model = load(text_model, maxSeqLength=8)
    assert model.preprocess(["word " * 50])["input_ids"].shape == (1, 8)
    with pytest.raises(InvalidSpec) as raised:
        load(text_model, maxSeqLength=4096)
    assert raised.value.reason == "SequenceTooLong"
    assert "at most the model's 128 positions, found 4096" in raised.value.message


def test_more_dimensions_than_the_model_has_are_refused(text_model: Path) -> None:
    model = load(text_model)
    check_dimensions(model, a_spec(loss={"matryoshkaDims": [64, 32]}))
    for parts in ({"loss": {"matryoshkaDims": [65, 32]}}, {"model": {"truncateDim": 65}}):
        with pytest.raises(InvalidSpec, match="at most the model's 64 dimensions, found 65"):
            check_dimensions(model, a_spec(**parts))


# The processor


def test_pixels_are_limited_and_saved(vision_model: Path, tmp_path: Path) -> None:
    spec = a_model(**RAW, processor={"min_pixels": 32 * 32, "max_pixels": 32 * 64})
    model = load_model(vision_model, spec, seed=1)
    save_model(model, tmp_path / "saved", spec)
    again = reload_model(tmp_path / "saved", spec)
    for found in (model, again):
        size = found.processor.image_processor.to_dict()["size"]
        assert size == {"shortest_edge": 1024, "longest_edge": 2048}


def test_bounds_of_pixels_are_no_arguments_of_every_call(vision_model: Path) -> None:
    model = load(vision_model, **RAW, processor={"max_pixels": 32 * 64})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.encode([Image.new("RGB", (64, 64))])


@pytest.mark.parametrize(
    ("processor", "reason", "hint"),
    [
        ({"max_pixel": 1024}, "UnknownArgument", "did you mean 'max_pixels'?"),
        ({"padding_sides": "left"}, "UnknownArgument", "did you mean 'padding_side'?"),
        ({"zzz": 1}, "UnknownArgument", "leave it out"),
        ({"model_max_length": 10}, "TypedField", "set `model.maxSeqLength`"),
        ({"min_pixels": 4096, "max_pixels": 1024}, "BadArgument", ""),
    ],
)
def test_processor_arguments_that_it_does_not_have_are_refused(
    vision_model: Path, processor: dict[str, Any], reason: str, hint: str
) -> None:
    with pytest.raises(InvalidSpec) as raised:
        load(vision_model, **RAW, processor=processor)
    assert (raised.value.reason, raised.value.hint) == (reason, hint)


def test_pixels_mean_nothing_to_a_text_model(text_model: Path) -> None:
    with pytest.raises(InvalidSpec) as raised:
        load(text_model, processor={"max_pixels": 1024})
    assert raised.value.reason == "UnknownArgument"


def test_padding_of_the_tokenizer_can_be_set(text_model: Path) -> None:
    assert load(text_model, processor={"padding_side": "left"}).tokenizer.padding_side == "left"


# Saving


@pytest.fixture
def saved(text_model: Path, tmp_path: Path) -> Path:
    (text_model / "README.md").write_text("# of the base model, with its training texts")
    spec = a_model(prompts={"query": "find: ", "document": "doc: "}, truncateDim=32, similarity="dot")
    save_model(load_model(text_model, spec, seed=1), tmp_path / "saved", spec)
    (text_model / "README.md").unlink()
    return tmp_path / "saved"


def test_a_saved_model_gives_the_same_embeddings(text_model: Path, saved: Path) -> None:
    assert np.array_equal(embedding(reload_model(saved, a_model())), embedding(load(text_model)))


def test_prompts_dimension_and_similarity_are_saved_for_users_of_the_model(saved: Path) -> None:
    users = SentenceTransformer(str(saved))
    assert users.prompts == {"query": "find: ", "document": "doc: "}
    assert users.encode("x").shape == (32,)
    assert users.similarity_fn_name == "dot"


def test_evaluation_gets_the_full_embedding_and_so_does_the_model_that_was_saved(saved: Path) -> None:
    assert embedding(reload_model(saved, a_model())).shape == (64,)


def test_saving_does_not_change_the_model(text_model: Path, tmp_path: Path) -> None:
    model = load(text_model)
    save_model(model, tmp_path / "saved", a_model(truncateDim=16))
    assert embedding(model).shape == (64,)


def test_everybody_can_read_a_saved_model_and_it_holds_no_card(saved: Path) -> None:
    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in saved.rglob("*")}
    assert modes["model.safetensors"] == 0o644
    assert modes["1_Pooling"] == 0o755
    assert stat.S_IMODE(saved.stat().st_mode) == 0o755
    assert not {"README.md", "assets"} & set(modes)


def test_a_saved_model_names_no_folder_of_this_machine(text_model: Path, saved: Path) -> None:
    for file in saved.rglob("*.json"):
        assert str(text_model) not in file.read_text()
        assert str(saved) not in file.read_text()


def test_the_same_model_saved_twice_has_one_digest(saved: Path, tmp_path: Path) -> None:
    spec = a_model(truncateDim=32)
    model = reload_model(saved, spec)
    for name in ("a", "b"):
        save_model(model, tmp_path / name, spec)
    assert model_digest(tmp_path / "a") == model_digest(tmp_path / "b")
    save_model(model, tmp_path / "c", a_model(truncateDim=16))
    assert model_digest(tmp_path / "c") != model_digest(tmp_path / "a")


def test_a_saved_model_that_lost_weights_is_found(saved: Path) -> None:
    without_weights(saved, "layer.1.output")
    with pytest.raises(InvalidModel) as raised:
        reload_model(saved, a_model(allowMissingWeights=["*"]))
    assert raised.value.reason == "MissingWeights"
