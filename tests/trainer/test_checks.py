import dataclasses
import inspect
from pathlib import Path
from typing import Any

import pytest
import yaml
from sentence_transformers import SentenceTransformerTrainingArguments
from sentence_transformers.sentence_transformer import losses

from finetune_api.spec import FinetuneSpec
from finetune_trainer import checks
from finetune_trainer.checks import check_spec, checked_loss_arguments, checked_training_arguments
from finetune_trainer.errors import InvalidSpec
from tests.trainer.builders import a_spec

EXAMPLES = Path(__file__).parents[2] / "crds" / "examples"


def failure(**parts: Any) -> InvalidSpec:
    with pytest.raises(InvalidSpec) as raised:
        check_spec(a_spec(**parts))
    return raised.value


def test_arguments_of_the_library_pass() -> None:
    args = {"max_steps": 10, "lr_scheduler_type": "cosine", "optim": "adamw_torch", "adam_beta2": 1,
            "lr_scheduler_kwargs": {"num_cycles": 0.5}, "dataloader_num_workers": 2}  # fmt: skip
    check_spec(a_spec(training={"args": args}, loss={"args": {"scale": 30}}))


def test_no_arguments_pass() -> None:
    check_spec(a_spec())


@pytest.mark.parametrize(
    ("parts", "field", "hint"),
    [
        ({"training": {"args": {"weigth_decay": 0.1}}}, "training.args.weigth_decay", "weight_decay"),
        (
            {"training": {"args": {"lr_schedule_type": "linear"}}},
            "training.args.lr_schedule",
            "lr_scheduler_type",
        ),
        ({"loss": {"args": {"scal": 20}}}, "loss.args.scal", "scale"),
        ({"loss": {"args": {"minibatch_size": 2}}}, "loss.args.minibatch_size", "mini_batch_size"),
    ],
)
def test_a_misspelt_argument_is_named_with_what_was_meant(
    parts: dict[str, Any], field: str, hint: str
) -> None:
    error = failure(**parts)
    assert error.reason == "UnknownArgument"
    assert field in error.message
    assert error.hint == f"did you mean {hint!r}?"


def test_an_argument_that_resembles_none_gets_the_list() -> None:
    assert "scale" in failure(loss={"args": {"qqq": 1}}).hint


@pytest.mark.parametrize(
    "name",
    [
        "output_dir", "resume_from_checkpoint", "push_to_hub", "hub_model_id", "hub_token", "report_to",
        "auto_find_batch_size", "fsdp", "fsdp_config", "deepspeed", "local_rank", "enable_jit_checkpoint",
        "use_liger_kernel", "train_sampling_strategy", "length_column_name", "remove_unused_columns",
        "compute_metrics", "group_by_length", "gradient_accumulation_steps", "batch_sampler", "fp16",
        "save_strategy", "save_steps", "logging_steps", "eval_delay", "dataloader_drop_last", "ddp_backend",
        "use_cpu", "router_mapping", "data_seed", "disable_tqdm", "accelerator_config",
    ],
)  # fmt: skip
def test_arguments_that_do_harm_or_nothing_are_refused_with_a_reason(name: str) -> None:
    error = failure(training={"args": {name: "x"}})
    assert error.reason == "ForbiddenArgument"
    assert f"`training.args.{name}` must be left out: " in error.message


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("per_device_train_batch_size", "training.batchSize"),
        ("num_train_epochs", "training.epochs"),
        ("learning_rate", "training.learningRate"),
        ("warmup_steps", "training.warmupRatio"),
        ("seed", "training.seed"),
        ("bf16", "training.autocast"),
        ("prompts", "model.prompts"),
        ("metric_for_best_model", "training.selection.metric"),
    ],
)
def test_arguments_that_repeat_a_field_point_to_it(name: str, field: str) -> None:
    error = failure(training={"args": {name: 1}})
    assert error.reason == "TypedField"
    assert error.hint == f"set `{field}`"


@pytest.mark.parametrize("name", ["model", "similarity_fct", "gather_across_devices", "show_progress_bar"])
def test_loss_arguments_that_the_run_sets_are_refused(name: str) -> None:
    assert failure(loss={"args": {name: True}}).reason == "ForbiddenArgument"


def test_matryoshka_dimensions_have_a_field_of_their_own() -> None:
    assert failure(loss={"args": {"matryoshka_dims": [2]}}).hint == "set `loss.matryoshkaDims`"


@pytest.mark.parametrize(
    "parts",
    [
        {"training": {"args": {"max_steps": "10"}}},
        {"training": {"args": {"max_steps": 0}}},
        {"training": {"args": {"adam_beta2": "high"}}},
        {"training": {"args": {"lr_scheduler_type": "zigzag"}}},
        {"training": {"args": {"optim": "adamx"}}},
        {"training": {"args": {"activation_checkpointing": "yes"}}},
        {"loss": {"args": {"scale": "20"}}},
        {"loss": {"args": {"mini_batch_size": 0}}},
        {"loss": {"args": {"mini_batch_num_tokens": -1}}},
        {"loss": {"args": {"partition_mode": "both"}}},
    ],
    ids=str,
)
def test_values_of_the_wrong_kind_are_refused(parts: dict[str, Any]) -> None:
    error = failure(**parts)
    assert error.reason == "BadArgument"
    assert "args." in error.message


def test_values_come_as_the_library_wants_them() -> None:
    spec = a_spec(
        training={"args": {"lr_scheduler_type": "cosine"}},
        loss={"args": {"directions": ["query_to_doc", "doc_to_query"]}},
    )
    assert checked_loss_arguments(spec.loss) == {"directions": ("query_to_doc", "doc_to_query")}
    assert checked_training_arguments(spec)["lr_scheduler_type"] == "cosine"


def test_epochs_and_steps_exclude_each_other() -> None:
    error = failure(training={"epochs": "2", "args": {"max_steps": 10}})
    assert error.reason == "BadArgument"
    assert "found 2 epochs and 10 steps" in error.message


@pytest.mark.parametrize("example", sorted(EXAMPLES.glob("*.yaml")), ids=lambda p: p.stem)
def test_every_example_passes(example: Path) -> None:
    check_spec(FinetuneSpec.model_validate(yaml.safe_load(example.read_text())["spec"]))


def test_a_column_has_one_role() -> None:
    error = failure(train={"columns": {"query": "q", "positive": "p", "negatives": ["p"]}})
    assert error.reason == "ColumnTwice"
    assert "found 'p' in 2" in error.message


def test_every_name_in_the_tables_is_an_argument_of_the_pinned_library() -> None:
    known = {f.name for f in dataclasses.fields(SentenceTransformerTrainingArguments)}
    assert known >= checks.TRAINING_ARGUMENTS
    assert known >= set(checks._TYPED)
    assert set(checks._REASONS) - known == {
        "compute_metrics",
        "group_by_length",
    }  # the trainer's, and an old name
    for prefix in checks._REASONS_BY_PREFIX:
        assert any(name.startswith(prefix) for name in known)
    of_loss = inspect.signature(losses.CachedMultipleNegativesRankingLoss.__init__).parameters
    assert set(of_loss) >= set(checks._LOSS_REASONS)
