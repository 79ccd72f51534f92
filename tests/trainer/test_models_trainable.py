"""What is trained and what is not: LoRA, freezing, gradient checkpointing."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch

from finetune_api.model import Model
from finetune_trainer.errors import InvalidSpec
from finetune_trainer.models import load_model, make_trainable, reload_model, save_model
from tests.trainer.local_hub import Hub, running
from tests.trainer.test_models_of_every_type import TEXT_PAIRS, TEXTS, YES_NO, scores

Tiny = Callable[[str], Path]

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def a_model(**fields: Any) -> Model:
    return Model.model_validate({"uri": f"hf://owner/base@{COMMIT}", **fields})


def trainable(path: Path, spec: Model) -> Any:
    model = load_model(path, spec, seed=1)
    make_trainable(model, spec, seed=1)
    return model


def trained(model: Any) -> Any:
    """As if it had been: every trainable parameter is another one."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.05)
    return model


def trainable_names(model: Any) -> list[str]:
    return [name for name, parameter in model.named_parameters() if parameter.requires_grad]


def base_of(name: str) -> str:
    """Of an adapter's matrix."""
    return name.rpartition(".lora_")[0].rpartition(".")[2]


# LoRA

LORA: dict[str, tuple[str, dict[str, Any]]] = {
    "an embedding model": ("text", {}),
    "a vision-language model": ("vision", {"pooling": "LastToken"}),
    "a reranker with a new head": ("text checkpoint", {"type": "Reranker"}),
    "a reranker by two tokens": ("vision", {"type": "Reranker", "head": YES_NO}),
    "a sparse model": ("masked language", {"type": "Sparse"}),
    "a multi-vector model": ("text checkpoint", {"type": "MultiVector", "dense": 16}),
}


WAYS = [(what, publish) for what in LORA for publish in ("Merged", "Adapter")]
WAYS.remove(("a reranker with a new head", "Adapter"))  # refused: see below


@pytest.mark.parametrize(("what", "publish"), WAYS)
def test_adapters_are_merged_or_saved_alone(tiny: Tiny, tmp_path: Path, what: str, publish: str) -> None:
    name, fields = LORA[what]
    spec = a_model(**fields, lora={"publish": publish})
    inputs = TEXT_PAIRS if spec.type == "Reranker" else TEXTS
    model = trainable(tiny(name), spec)
    before = scores(model, spec, inputs)
    expected = scores(trained(model), spec, inputs)
    assert np.abs(expected - before).max() > 1e-3
    save_model(model, tmp_path / "saved", spec)
    found = reload_model(tmp_path / "saved", spec, base=tiny(name))
    assert np.abs(scores(found, spec, inputs) - expected).max() < 1e-6
    assert (tmp_path / "saved/model.safetensors").exists() == (publish == "Merged")
    assert (tmp_path / "saved/adapter_model.safetensors").exists() == (publish == "Adapter")


def test_only_matrices_and_new_layers_are_trained(tiny: Tiny) -> None:
    spec = a_model(type="MultiVector", dense=16, lora={"rank": 4, "targetModules": ["query", "value"]})
    names = trainable_names(trainable(tiny("text checkpoint"), spec))
    assert {base_of(name) for name in names if ".lora_" in name} == {"query", "value"}
    assert [name for name in names if ".lora_" not in name] == ["1.linear.weight"]


def test_a_new_classification_head_is_trained_beside_adapters(tiny: Tiny) -> None:
    names = trainable_names(trainable(tiny("text checkpoint"), a_model(type="Reranker", lora={})))
    assert [n for n in names if ".lora_" not in n] == ["0.model.classifier.weight", "0.model.classifier.bias"]


def test_adapters_go_to_every_attention_unless_told(tiny: Tiny) -> None:
    names = trainable_names(trainable(tiny("vision"), a_model(pooling="Mean", lora={})))
    assert {base_of(name) for name in names} == {"q_proj", "k_proj", "v_proj", "o_proj", "qkv"}


def test_adapters_are_the_same_in_every_run(tiny: Tiny) -> None:
    spec = a_model(lora={})
    first, again = (trainable(tiny("text"), spec).state_dict() for _ in range(2))
    matrices = [name for name in first if "lora_A" in name]
    assert matrices
    assert all(torch.equal(first[name], again[name]) for name in matrices)


def test_a_saved_adapter_names_its_base_by_repository_and_commit(tiny: Tiny, tmp_path: Path) -> None:
    spec = a_model(lora={"publish": "Adapter"})
    save_model(trainable(tiny("text"), spec), tmp_path / "saved", spec)
    config = json.loads((tmp_path / "saved/adapter_config.json").read_text())
    assert (config["base_model_name_or_path"], config["revision"]) == ("owner/base", COMMIT)
    for file in (tmp_path / "saved").rglob("*.json"):
        assert str(tiny("text")) not in file.read_text()


USER = """
import sys
import numpy as np
from sentence_transformers import SentenceTransformer
np.save(sys.argv[2], SentenceTransformer(sys.argv[1], device="cpu").encode(sys.argv[3:]))
"""


@pytest.mark.slow
def test_users_of_an_adapter_get_its_base_from_the_hub(tiny: Tiny, tmp_path: Path) -> None:
    hub = Hub()
    base = {
        p.relative_to(tiny("text")).as_posix(): p.read_bytes() for p in tiny("text").rglob("*") if p.is_file()
    }
    commit = hub.repositories.made("models/owner/base").commit(base)
    spec = Model.model_validate({"uri": f"hf://owner/base@{commit}", "lora": {"publish": "Adapter"}})
    model = trained(trainable(tiny("text"), spec))
    save_model(model, tmp_path / "saved", spec)
    with running(hub):
        environment = {**os.environ, "HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "cache")}
        command = [sys.executable, "-c", USER, str(tmp_path / "saved"), str(tmp_path / "found.npy"), *TEXTS]
        subprocess.run(command, env=environment, check=True, capture_output=True, timeout=300)
    assert np.array_equal(np.load(tmp_path / "found.npy"), model.encode(TEXTS))


REFUSED_LORA = {
    "a layer that is not there": ("text", {"lora": {"targetModules": ["wq"]}}, "NoSuchModule"),
    "a model without an encoder": ("static", {"lora": {}}, "NoLora"),
    "a head that an adapter cannot hold": (
        "reranker", {"type": "Reranker", "lora": {"publish": "Adapter"}}, "NoLora",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("name", "fields", "reason"), REFUSED_LORA.values(), ids=REFUSED_LORA)
def test_adapters_that_cannot_be_are_refused(
    tiny: Tiny, name: str, fields: dict[str, Any], reason: str
) -> None:
    with pytest.raises(InvalidSpec) as raised:
        trainable(tiny(name), a_model(**fields))
    assert raised.value.reason == reason


# Freezing


@pytest.mark.parametrize("pattern", ["visual.*", "0.model.visual.*"])
def test_what_a_pattern_names_is_not_trained(tiny: Tiny, pattern: str) -> None:
    model = trainable(tiny("vision"), a_model(pooling="Mean", freeze=[pattern]))
    frozen = [name for name, parameter in model.named_parameters() if not parameter.requires_grad]
    assert frozen
    assert all(name.startswith("0.model.visual.") for name in frozen)
    assert not any(name.startswith("0.model.visual.") for name in trainable_names(model))


def test_a_pattern_that_names_nothing_is_refused(tiny: Tiny) -> None:
    with pytest.raises(InvalidSpec, match=r"'vision\.\*' must match the name of a parameter") as raised:
        trainable(tiny("vision"), a_model(pooling="Mean", freeze=["vision.*"]))
    assert raised.value.reason == "NoSuchParameter"


def test_a_model_with_nothing_to_train_is_refused(tiny: Tiny) -> None:
    with pytest.raises(InvalidSpec) as raised:
        trainable(tiny("text"), a_model(freeze=["*"]))
    assert raised.value.reason == "NothingToTrain"


# In training


def train_a_little(path: Path, spec: Model, work: Path, **args: Any) -> Any:
    """Three steps of the cached loss, by the library's own trainer."""
    from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments
    from sentence_transformers.sentence_transformer.losses import CachedMultipleNegativesRankingLoss

    model = trainable(path, spec)
    rows = datasets.Dataset.from_dict(
        {"query": [f"invoice {n}" for n in range(8)], "positive": [f"page {n}" for n in range(8)]}
    )
    arguments = SentenceTransformerTrainingArguments(
        output_dir=str(work), max_steps=3, per_device_train_batch_size=4, learning_rate=1e-2, seed=1,
        use_cpu=True, report_to="none", save_strategy="no", disable_tqdm=True, dataloader_pin_memory=False,
        **args,
    )  # fmt: skip
    loss = CachedMultipleNegativesRankingLoss(model, mini_batch_size=2)
    SentenceTransformerTrainer(model=model, args=arguments, train_dataset=rows, loss=loss).train()
    return model


@pytest.mark.training
@pytest.mark.filterwarnings("ignore:.*gradient_checkpointing_enable:FutureWarning")
@pytest.mark.parametrize("fields", [{"lora": {}}, {"freeze": ["language_model.embed_tokens.*"]}], ids=str)
def test_gradient_checkpointing_changes_nothing_in_the_result(
    tiny: Tiny, tmp_path: Path, fields: dict[str, Any]
) -> None:
    spec = a_model(pooling="LastToken", **fields)
    before = trainable(tiny("vision"), spec).state_dict()
    plain = train_a_little(tiny("vision"), spec, tmp_path).state_dict()
    saving = train_a_little(tiny("vision"), spec, tmp_path, activation_checkpointing=True).state_dict()
    moved = {name for name, value in plain.items() if not torch.equal(value, before[name])}
    assert moved
    assert all(".lora_" in name for name in moved) == ("lora" in fields)
    assert "0.model.language_model.embed_tokens.weight" not in moved
    for name, value in plain.items():
        assert torch.allclose(saving[name], value, atol=1e-5), name


@pytest.mark.training
def test_pure_bfloat16_stays_so_while_training(tiny: Tiny, tmp_path: Path) -> None:
    spec = a_model(weights="bfloat16")
    model = train_a_little(tiny("text"), spec, tmp_path)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
