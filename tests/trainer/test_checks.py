import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from finetune_api import argument_tables as tables
from finetune_api.arguments import check_loss_arguments
from finetune_api.loss_table import ModelType
from finetune_api.signatures import FILE, signatures, training_parameters
from finetune_api.spec import FinetuneSpec
from finetune_trainer.errors import InvalidSpec
from finetune_trainer.training.checks import check_spec
from tests.trainer.builders import a_spec
from tests.trainer.train_sets import spec_of

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
        "use_cpu", "data_seed", "disable_tqdm", "accelerator_config",
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
        {"loss": {"args": {"directions": ["query_to_doc", "up"]}}},
        {"loss": {"args": {"scale": float("nan")}}},
        {"loss": {"args": {"scale": float("inf")}}},
        {"loss": {"args": {"scale": 0}}},
        {"loss": {"args": {"scale": True}}},
        {"training": {"args": {"adam_beta1": 1.5}}},
        {"training": {"args": {"weight_decay": -0.1}}},
        {"training": {"args": {"lr_scheduler_kwargs": {"num_cycles": float("nan")}}}},
        {"training": {"args": {"multi_dataset_batch_sampler": "in_turns"}}},
    ],
    ids=str,
)
def test_values_of_the_wrong_kind_are_refused(parts: dict[str, Any]) -> None:
    error = failure(**parts)
    assert error.reason == "BadArgument"
    assert "args." in error.message


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


def test_a_value_that_is_none_of_the_choices_gets_the_nearest() -> None:
    error = failure(training={"args": {"lr_scheduler_type": "cosin"}})
    assert error.hint == "did you mean 'cosine'?"
    assert "must be 'linear' or 'cosine' or" in error.message


def test_arguments_of_the_default_may_be_those_of_any_loss_that_the_columns_allow() -> None:
    similarity = {"columns": {"inputs": ["a", "b"], "label": "score"}}
    check_spec(a_spec(train=similarity, loss={"args": {"scale": 30}}))  # CoSENTLoss
    check_spec(a_spec(train=similarity, loss={"args": {"margin": 0.2}}))  # OnlineContrastiveLoss
    assert failure(train=similarity, loss={"args": {"directions": []}}).reason == "UnknownArgument"


@pytest.mark.parametrize(
    ("parts", "reason", "message"),
    [
        (
            {"loss": {"name": "TripletLoss"}},
            "LossDoesNotFit",
            "which takes 3 input columns and no label; train set 'train' has 2 input columns and no label",
        ),
        (
            {"train": {"loss": {"name": "CoSENTLoss"}}},
            "LossDoesNotFit",
            "`data.train[train].loss` is CoSENTLoss, which takes 2 input columns and a label (numbers)",
        ),
        (
            {
                "train": {"columns": {"inputs": ["a", "b"], "label": "c"}},
                "loss": {"name": "MegaBatchMarginLoss"},
            },
            "LossDoesNotFit",
            "has 2 input columns and a label",
        ),
        (
            {
                "train": {"columns": {"inputs": ["a"], "label": "c"}},
                "loss": {"name": "AdaptiveLayerLoss", "inner": {"name": "BatchAllTripletLoss"}},
                "training": {"batchSize": 7},
            },
            "BatchSizeForClasses",
            "must be even and at least 4 for losses of classes, found 7",
        ),
    ],
)
def test_columns_that_a_named_loss_does_not_take_are_refused_before_data_is_read(
    parts: dict[str, Any], reason: str, message: str
) -> None:
    error = failure(**parts)
    assert error.reason == reason
    assert message in error.message


def test_negatives_that_are_mined_count_as_columns() -> None:
    spec = a_spec(loss={"name": "TripletLoss"}).to_dict()
    spec["data"]["hardNegatives"] = {"perQuery": 1}
    check_spec(FinetuneSpec.model_validate(spec))


def test_arguments_of_inner_losses_and_of_train_sets_are_checked_where_they_stand() -> None:
    triplets = {"columns": {"inputs": ["a", "b", "c"]}}
    inner = {"name": "AdaptiveLayerLoss", "inner": {"name": "TripletLoss", "args": {"margin": 1}}}
    error = failure(train=triplets, loss=inner)
    assert error.message == "`loss.inner.args.margin` is no argument of TripletLoss"
    assert error.hint == "did you mean 'triplet_margin'?"
    own = failure(train={"loss": {"name": "MegaBatchMarginLoss", "args": {"margins": 1}}})
    assert own.message == "`data.train[train].loss.args.margins` is no argument of MegaBatchMarginLoss"


@pytest.mark.parametrize(
    ("model_type", "loss", "args"),
    [
        ("Reranker", "LambdaLoss", {"weighting_scheme": "NDCGLoss1Scheme", "k": 5}),
        ("Reranker", "BinaryCrossEntropyLoss", {"pos_weight": 2.5, "activation_fn": "Identity"}),
        ("Reranker", "MultipleNegativesRankingLoss", {"num_negatives": None, "scale": 0.5}),
        ("Embedding", "TripletLoss", {"distance_metric": "cosine"}),
        ("Sparse", "SpladeLoss", {"document_regularizer_weight": 1e-4}),
        ("MultiVector", "CachedMultiVectorMultipleNegativesRankingLoss", {"score_mini_batch_size": 2}),
    ],
)
def test_every_type_of_model_has_arguments_of_its_losses(
    model_type: ModelType, loss: str, args: dict[str, Any]
) -> None:
    check_loss_arguments("loss.args", args, model_type, loss)


def test_only_multi_vector_models_are_trained_at_a_length_of_its_own() -> None:
    check_spec(spec_of("MultiVector", None, {"args": {"max_length": 64}}))
    assert failure(training={"args": {"max_length": 64}}).reason == "UnknownArgument"


@pytest.mark.parametrize(
    ("loss", "name"),
    [
        ({"name": "CosineSimilarityLoss"}, "loss_fct"),
        ({"name": "SoftmaxLoss"}, "num_labels"),
        ({"name": "DenoisingAutoEncoderLoss"}, "decoder_name_or_path"),
    ],
)
def test_objects_and_what_follows_from_data_and_model_are_refused(loss: dict[str, Any], name: str) -> None:
    assert failure(loss={**loss, "args": {name: "x"}}).reason == "ForbiddenArgument"


def test_a_loss_or_guide_among_arguments_points_to_its_field() -> None:
    guided = {"name": "GISTEmbedLoss", "guide": {"uri": "pvc://models/guide"}, "args": {"guide": "x"}}
    assert failure(loss=guided).hint == "set `loss.guide`"
    assert failure(loss={"name": "AdaptiveLayerLoss", "args": {"loss": "x"}}).hint == "set `loss.inner`"


def test_every_name_in_the_tables_is_an_argument_of_the_pinned_library() -> None:
    known = set(training_parameters("MultiVector"))
    assert known >= tables.TRAINING_ARGUMENTS
    assert known >= set(tables.TRAINING_FIELDS)
    assert set(tables.TRAINING_REASONS) - known == {
        "compute_metrics",
        "group_by_length",
    }  # the trainer's, and an old name
    for prefix in tables.TRAINING_REASONS_BY_PREFIX:
        assert any(name.startswith(prefix) for name in known)
    of_losses = {name for parameters in signatures()["losses"].values() for name in parameters}
    assert of_losses >= {*tables.LOSS_REASONS, *tables.LOSS_FIELDS}
    assert known | of_losses >= {*tables.BOUNDS, *tables.ABOVE_ZERO}


def test_what_is_an_object_in_python_is_refused_or_set_by_the_run() -> None:
    """Nothing is accepted that nobody could say."""
    objects = {
        name
        for parameters in signatures()["losses"].values()
        for name, kind in parameters.items()
        if not kind
    }
    assert objects <= {*tables.LOSS_REASONS, *tables.LOSS_FIELDS}


def test_the_shipped_signatures_are_those_of_the_installed_library(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    root = Path(__file__).parents[2]
    monkeypatch.setattr(sys, "path", [str(root / "scripts"), *sys.path])
    from signatures import signatures as of_the_library  # type: ignore[import-not-found]

    shipped = json.loads((root / "crds/finetune_api" / FILE).read_text())
    assert of_the_library() == shipped, "run scripts/generate --signatures"
