"""Hostile checkpoints: nothing in them runs code, and nothing leads out of their folder."""

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typing_extensions import override

from finetune_api.model import Model
from finetune_trainer.errors import InvalidModel, InvalidSpec
from finetune_trainer.models import load_model, reload_model, save_model
from finetune_trainer.models.safety import no_pickles, refuse_links
from tests.trainer.test_models import without_weights

Tiny = Callable[[str], Path]
MODEL = Model(uri="pvc://models/base")


class Hostile:
    """Unpickled, it writes a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    @override
    def __reduce__(self) -> Any:
        return (Path.touch, (self.target,))


def copied(path: Path, folder: Path) -> Path:
    return Path(shutil.copytree(path, folder / "model"))


def refusal(path: Path, **fields: Any) -> InvalidModel:
    with pytest.raises(InvalidModel) as raised:
        load_model(path, Model.model_validate({"uri": "pvc://models/base", **fields}), seed=1)
    return raised.value


def edit(file: Path, **changes: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


# Pickles


def test_a_pickle_in_the_folder_of_a_module_is_not_read(tiny: Tiny, tmp_path: Path) -> None:
    model, ran = copied(tiny("multi-vector"), tmp_path), tmp_path / "ran"
    (model / "1_Dense/model.safetensors").unlink()
    (model / "1_Dense/pytorch_model.bin").write_bytes(pickle.dumps(Hostile(ran)))
    error = refusal(model, type="MultiVector")
    assert error.reason == "PickleWeights"
    assert "1_Dense/pytorch_model.bin" in error.message
    assert not ran.exists()


def test_a_pickle_beside_safe_weights_is_left_alone(tiny: Tiny, tmp_path: Path) -> None:
    model, ran = copied(tiny("text"), tmp_path), tmp_path / "ran"
    for name in ("pytorch_model.bin", "optimizer.pt", "training_args.bin"):
        (model / name).write_bytes(pickle.dumps(Hostile(ran)))
    load_model(model, MODEL, seed=1)
    assert not ran.exists()


def test_an_adapter_in_a_pickle_is_refused(tiny: Tiny, tmp_path: Path) -> None:
    model = copied(tiny("text"), tmp_path)
    (model / "adapter_model.bin").write_bytes(b"a pickle")
    assert refusal(model).reason == "PickleWeights"


def test_whatever_a_library_unpickles_meanwhile_is_refused(tmp_path: Path) -> None:
    torch.save({}, tmp_path / "state.pt")
    with pytest.raises(InvalidModel, match=r"state\.pt"), no_pickles():
        torch.load(tmp_path / "state.pt")
    assert torch.load(tmp_path / "state.pt") == {}


# Code


def test_code_that_a_configuration_names_is_refused(tiny: Tiny, tmp_path: Path) -> None:
    model = copied(tiny("text"), tmp_path)
    edit(model / "config.json", auto_map={"AutoModel": "mine.Model"})
    (model / "mine.py").write_text("raise SystemExit('the code of the model ran')")
    error = refusal(model)
    assert error.reason == "RemoteCode"
    assert "config.json of the model names code of its own" in error.message


def test_a_word_of_a_vocabulary_is_no_code(tiny: Tiny, tmp_path: Path) -> None:
    model = copied(tiny("text"), tmp_path)
    (model / "vocab.json").write_text(json.dumps({"auto_map": 1, "_attn_implementation_internal": 2}))
    load_model(model, MODEL, seed=1)


@pytest.mark.parametrize(
    ("file", "changes"),
    [
        ("config.json", {"_attn_implementation_internal": "owner/kernel"}),
        ("config.json", {"text_config": {"_attn_implementation": "owner/kernel"}}),
        ("sentence_bert_config.json", {"model_args": {"attn_implementation": "owner/kernel:code"}}),
    ],
    ids=str,
)
def test_attention_from_elsewhere_is_refused_even_where_code_is_trusted(
    tiny: Tiny, tmp_path: Path, file: str, changes: dict[str, Any]
) -> None:
    model = copied(tiny("text"), tmp_path)
    edit(model / file, **changes)
    trusting = Model(uri="pvc://models/base", trust_remote_code=True)
    with pytest.raises(InvalidModel) as raised:
        load_model(model, trusting, seed=1, allow_remote_code=True)
    assert raised.value.reason == "RemoteCode"


def test_a_module_of_the_models_own_is_refused_by_name(tiny: Tiny, tmp_path: Path) -> None:
    model = copied(tiny("text"), tmp_path)
    modules = json.loads((model / "modules.json").read_text())
    modules[1]["type"] = "os.path.Pooling"
    (model / "modules.json").write_text(json.dumps(modules))
    error = refusal(model)
    assert error.reason == "RemoteCode"
    assert "a module of its own, os.path.Pooling" in error.message


@pytest.fixture
def with_code(tiny: Tiny, tmp_path: Path) -> Path:
    """A model whose second module is of its own."""
    model = copied(tiny("text"), tmp_path)
    modules = json.loads((model / "modules.json").read_text())
    modules[1]["type"] = "mine.MyPooling"
    (model / "modules.json").write_text(json.dumps(modules))
    (model / "mine.py").write_text(
        "from sentence_transformers.sentence_transformer.modules import Pooling\n"
        "class MyPooling(Pooling):\n    pass\n"
    )
    return model


def test_code_runs_only_where_the_spec_and_whoever_runs_it_allow_it(with_code: Path, tmp_path: Path) -> None:
    assert refusal(with_code).reason == "RemoteCode"
    trusting = Model(uri="pvc://models/base", trust_remote_code=True)
    with pytest.raises(InvalidSpec) as raised:
        load_model(with_code, trusting, seed=1)
    assert raised.value.reason == "RemoteCodeNotAllowed"
    assert "FINETUNE_ALLOW_REMOTE_CODE" in raised.value.hint
    model = load_model(with_code, trusting, seed=1, allow_remote_code=True)
    assert type(model[1]).__name__ == "MyPooling"
    save_model(model, tmp_path / "saved", trusting)
    reloaded = reload_model(tmp_path / "saved", trusting, allow_remote_code=True)
    assert np.array_equal(reloaded.encode(["invoice"]), model.encode(["invoice"]))


def test_permission_alone_runs_no_code(with_code: Path) -> None:
    with pytest.raises(InvalidModel) as raised:
        load_model(with_code, MODEL, seed=1, allow_remote_code=True)
    assert raised.value.reason == "RemoteCode"


# Files


def test_a_link_out_of_the_model_is_refused(tiny: Tiny, tmp_path: Path) -> None:
    model = copied(tiny("text"), tmp_path)
    (model / "inside.json").symlink_to(model / "config.json")
    refuse_links(model)
    (tmp_path / "secret").write_text("{}")
    (model / "1_Pooling/secret.json").symlink_to("../../secret")
    with pytest.raises(InvalidModel) as raised:
        refuse_links(model)
    assert raised.value.reason == "LinkOutOfModel"
    assert "1_Pooling/secret.json" in raised.value.message


def test_a_module_that_lacks_weights_is_the_models_fault(tiny: Tiny, tmp_path: Path) -> None:
    model = copied(tiny("multi-vector"), tmp_path)
    (model / "model.safetensors").replace(model / "kept")
    shutil.copy(model / "1_Dense/model.safetensors", model / "model.safetensors")
    without_weights(model, "linear.weight")
    (model / "model.safetensors").replace(model / "1_Dense/model.safetensors")
    (model / "kept").replace(model / "model.safetensors")
    assert refusal(model, type="MultiVector").reason == "UnreadableModel"


def test_an_adapter_alone_is_no_model_to_begin_with(tiny: Tiny, tmp_path: Path) -> None:
    model = copied(tiny("text"), tmp_path)
    (model / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "owner/base"}))
    error = refusal(model)
    assert error.reason == "AdapterAlone"
    assert "owner/base" in error.message
