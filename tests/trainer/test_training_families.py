"""A few steps with every family of losses, on a tiny model of every type."""

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from demo.tiny_models import build_static_model
from finetune_api.loss import Loss
from finetune_api.model import Model
from finetune_api.spec import FinetuneSpec
from finetune_trainer.data.inputs import TrainingData, TrainingSet
from finetune_trainer.errors import InvalidData, InvalidSpec
from finetune_trainer.models import load_model, make_trainable
from finetune_trainer.training.train import TrainingResult, check_training, train
from tests.trainer.train_sets import (
    ANSWERS,
    OTHERS,
    QUERIES,
    ROWS,
    SHAPES,
    only,
    spec_of,
    tiny_models,
    train_set,
)

pytestmark = pytest.mark.training

GUIDE = "pvc://models/guide"


@pytest.fixture(scope="module")
def models(text_model: Path) -> dict[str, Any]:
    return tiny_models(text_model)


def run(model: Any, data: TrainingData, tmp_path: Path, **parts: Any) -> TrainingResult:
    model_type = {"CrossEncoder": "Reranker", "SparseEncoder": "Sparse", "MultiVectorEncoder": "MultiVector"}
    spec = spec_of(model_type.get(type(model).__name__, "Embedding"), **parts)
    check_training(model, data, spec)
    return train(
        model, data, spec, work=tmp_path, on_progress=lambda _: None, guides={GUIDE: copy.deepcopy(model)}
    )


def weights(model: Any) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


FAMILIES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "in-batch negatives": ("Embedding", "triplets", {"name": "MultipleNegativesRankingLoss"}),
    "both directions": ("Embedding", "pairs", {"name": "CachedMultipleNegativesSymmetricRankingLoss"}),
    "a guide": ("Embedding", "pairs", {"name": "GISTEmbedLoss", "guide": {"uri": GUIDE}}),
    "a cached guide, at dimensions": (
        "Embedding",
        "triplets",
        {"name": "CachedGISTEmbedLoss", "guide": {"uri": GUIDE}, "matryoshkaDims": [64, 16]},
    ),
    "large batches": ("Embedding", "pairs", {"name": "MegaBatchMarginLoss"}),
    "triplets": ("Embedding", "triplets", {"name": "TripletLoss", "args": {"triplet_margin": 1}}),
    "classes": ("Embedding", "inputs with classes", {"name": "BatchHardTripletLoss"}),
    "pairs that belong together": ("Embedding", "pairs with 0 or 1", {"name": "ContrastiveLoss"}),
    "similarities": ("Embedding", "pairs with scores", {"name": "CoSENTLoss", "matryoshkaDims": [64, 16]}),
    "classes of pairs": ("Embedding", "pairs with classes", {"name": "SoftmaxLoss"}),
    "a teacher's vectors": ("Embedding", "inputs with vectors", {"name": "EmbedDistillLoss"}),
    "a teacher's scores": ("Embedding", "triplets with scores", {"name": "MarginMSELoss"}),
    "texts alone": ("Embedding", "inputs", {"name": "ContrastiveTensionLossInBatchNegatives"}),
    "pairs of the same": ("Embedding", "pairs", {"name": "ContrastiveTensionLoss"}),
    "broken texts": ("Embedding", "pairs", {"name": "DenoisingAutoEncoderLoss"}),
    "spreading out": ("Embedding", "inputs", {"name": "GlobalOrthogonalRegularizationLoss"}),
    "layers": ("Embedding", "pairs", {"name": "AdaptiveLayerLoss"}),
    "layers and dimensions": (
        "Embedding",
        "pairs with scores",
        {"name": "Matryoshka2dLoss", "matryoshkaDims": [64, 16]},
    ),
    "scores of pairs": ("Reranker", "pairs with 0 or 1", {"name": "BinaryCrossEntropyLoss"}),
    "classes by a reranker": ("Classifier", "pairs with classes", {"name": "CrossEntropyLoss"}),
    "in-batch negatives of a reranker": ("Reranker", "triplets", {}),
    "a teacher's margins for a reranker": ("Reranker", "triplets with margins", {"name": "MarginMSELoss"}),
    "rankings": ("Reranker", "lists with scores", {"name": "LambdaLoss"}),
    "rankings in columns": ("Reranker", "triplets with scores", {"name": "ListNetLoss"}),
    "rankings without scores": ("Reranker", "triplets", {"name": "RankNetLoss"}),
    "a sparse model": ("Sparse", "triplets", {"name": "SpladeLoss"}),
    "a sparse model in mini-batches": ("Sparse", "pairs with scores", {}),
    "an autoencoder": ("CSR", "pairs", {"name": "CSRLoss"}),
    "token vectors": ("MultiVector", "triplets", {"name": "MultiVectorMultipleNegativesRankingLoss"}),
    "token vectors in mini-batches": ("MultiVector", "pairs", {}),
    "a teacher's scores for token vectors": ("MultiVector", "triplets with scores", {}),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_few_steps_change_the_weights(models: dict[str, Any], tmp_path: Path, family: str) -> None:
    kind, shape, loss = FAMILIES[family]
    model = copy.deepcopy(models[kind])
    before = weights(model)
    result = run(model, only(SHAPES[shape]), tmp_path, loss=loss, training={"args": {"max_steps": 3}})
    assert result.steps == 3
    after = weights(model)
    assert any(not torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize(
    ("kind", "loss", "rate"),
    [("Embedding", {}, "1e-3"), ("Reranker", {"name": "RankNetLoss"}, "1e-2"), ("MultiVector", {}, "1e-3")],
)
def test_the_loss_falls(
    models: dict[str, Any], tmp_path: Path, kind: str, loss: dict[str, Any], rate: str
) -> None:
    model, training = copy.deepcopy(models[kind]), {"epochs": "6", "learningRate": rate}
    curve = run(model, only(SHAPES["triplets"]), tmp_path, loss=loss, training=training).loss_curve
    assert curve[-1][1] < 0.9 * curve[0][1]


def test_frozen_parameters_stay_as_they_are(models: dict[str, Any], tmp_path: Path) -> None:
    model = copy.deepcopy(models["Embedding"])
    frozen = model.get_parameter("0.model.embeddings.word_embeddings.weight")
    frozen.requires_grad_(requires_grad=False)
    before = weights(model)
    run(model, only(SHAPES["pairs"]), tmp_path)
    changed = {name for name, tensor in weights(model).items() if not torch.equal(before[name], tensor)}
    assert "0.model.embeddings.word_embeddings.weight" not in changed
    assert "0.model.embeddings.position_embeddings.weight" in changed


def test_a_model_that_is_frozen_whole_is_refused(models: dict[str, Any], tmp_path: Path) -> None:
    model = copy.deepcopy(models["Embedding"]).requires_grad_(requires_grad=False)
    with pytest.raises(InvalidSpec) as raised:
        run(model, only(SHAPES["pairs"]), tmp_path)
    assert raised.value.reason == "NothingToTrain"


def test_a_guide_stays_as_it_is(models: dict[str, Any], tmp_path: Path) -> None:
    model, guide = (copy.deepcopy(models["Embedding"]) for _ in range(2))
    before = weights(guide)
    loss = {"name": "CachedGISTEmbedLoss", "guide": {"uri": GUIDE}}
    train(
        model, only(SHAPES["pairs"]), spec_of("Embedding", loss), work=tmp_path,
        on_progress=lambda _: None, guides={GUIDE: guide},
    )  # fmt: skip
    assert all(torch.equal(before[name], tensor) for name, tensor in weights(guide).items())


def test_a_single_step_trains(models: dict[str, Any], tmp_path: Path) -> None:
    model = copy.deepcopy(models["Embedding"])
    before = weights(model)
    run(model, only(SHAPES["pairs"]), tmp_path, training={"args": {"max_steps": 1}})
    assert any(not torch.equal(before[name], tensor) for name, tensor in weights(model).items())


def test_a_reranker_that_learned_scores_gives_them_without_a_sigmoid(
    models: dict[str, Any], tmp_path: Path
) -> None:
    found = []
    for loss in ("BinaryCrossEntropyLoss", "MSELoss"):
        model = copy.deepcopy(models["Reranker"])
        run(model, only(SHAPES["pairs with 0 or 1"]), tmp_path, loss={"name": loss})
        found.append(type(model.activation_fn).__name__)
    assert found == ["Sigmoid", "Identity"]


@pytest.mark.parametrize(
    "family", ["broken texts", "a teacher's vectors", "classes of pairs", "a sparse model"]
)
def test_weights_may_be_kept_in_bfloat16(models: dict[str, Any], tmp_path: Path, family: str) -> None:
    kind, shape, loss = FAMILIES[family]
    model = copy.deepcopy(models[kind]).bfloat16()
    if shape == "inputs with vectors":
        loss = {**loss, "args": {"projection_dim": 64}}
    run(model, only(SHAPES[shape]), tmp_path, loss=loss, training={"args": {"max_steps": 2}})
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}


# Selection


@pytest.mark.parametrize("kind", ["Embedding", "Reranker", "Sparse", "CSR", "MultiVector", "adapters"])
def test_the_best_weights_of_every_type_come_back(models: dict[str, Any], tmp_path: Path, kind: str) -> None:
    model = copy.deepcopy(models["Embedding" if kind == "adapters" else kind])
    if kind == "adapters":
        make_trainable(model, Model.model_validate({"uri": "pvc://models/base", "lora": {"rank": 2}}), seed=1)
    seen: list[dict[str, torch.Tensor]] = []
    values = iter([-0.9, -0.2, -0.5])  # negative ones too, such as negative_mse

    def judge(one: Any) -> float:
        seen.append(weights(one))
        one.eval()
        return next(values)

    selection = {"evaluator": "dev", "every": "0.3"}
    model_type = {"CSR": "Sparse", "adapters": "Embedding"}.get(kind, kind)
    spec = spec_of(model_type, None, {"args": {"max_steps": 3}, "selection": selection})
    data = only(SHAPES["pairs"])
    result = train(model, data, spec, work=tmp_path, on_progress=lambda _: None, evaluate=judge)
    assert (result.best_step, [step for step, _ in result.selection_curve]) == (2, [1, 2, 3])
    after = weights(model)
    assert all(torch.equal(after[name], tensor) for name, tensor in seen[1].items())
    assert any(not torch.equal(after[name], tensor) for name, tensor in seen[2].items())


# Routes


@pytest.fixture(scope="module")
def routed(
    text_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, Any], dict[str, Path]]:
    """A spec's model of words for queries and a frozen encoder for documents, and their folders."""
    static = tmp_path_factory.mktemp("static")
    build_static_model(static)
    words = {"route": "words", "task": "query", "uri": "pvc://models/words", "learningRate": "1e-2"}
    pages = {"route": "pages", "task": "document", "uri": "pvc://models/pages", "freeze": ["*"]}
    model = {"encoders": [words, pages], "defaultRoute": "pages"}
    return model, {"words": static, "pages": text_model}


def run_routed(
    routed: tuple[dict[str, Any], dict[str, Path]], tmp_path: Path, shape: str = "pairs", **args: Any
) -> tuple[Any, dict[str, torch.Tensor]]:
    """The model after two steps, and its weights before."""
    parts, folders = routed
    spec = spec_of("Embedding", None, {"args": {"max_steps": 2, **args}}).to_dict()
    wanted = FinetuneSpec.model_validate({**spec, "model": parts})
    model = load_model(folders, wanted.model, seed=1)
    make_trainable(model, wanted.model, seed=1)
    before = weights(model)
    train(model, only(SHAPES[shape]), wanted, work=tmp_path, on_progress=lambda _: None)
    return model, before


def test_columns_are_read_by_the_encoders_of_their_roles(
    routed: tuple[dict[str, Any], dict[str, Path]], tmp_path: Path
) -> None:
    model, before = run_routed(routed, tmp_path)
    changed = {name for name, tensor in weights(model).items() if not torch.equal(before[name], tensor)}
    assert changed
    assert all(".words." in name for name in changed)


def test_a_spec_may_say_which_encoder_reads_a_column(
    routed: tuple[dict[str, Any], dict[str, Path]], tmp_path: Path
) -> None:
    model, before = run_routed(
        routed, tmp_path, "pairs with scores", router_mapping={"input_0": "query", "input_1": "pages"}
    )
    assert any(not torch.equal(before[name], tensor) for name, tensor in weights(model).items())


def test_columns_that_only_reach_frozen_encoders_are_refused(
    routed: tuple[dict[str, Any], dict[str, Path]], tmp_path: Path
) -> None:
    with pytest.raises(InvalidSpec) as raised:
        run_routed(routed, tmp_path, "pairs with scores")
    assert raised.value.reason == "NothingToTrain"
    assert "router_mapping" in raised.value.hint


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"query": "qwery"}, "must be one of document, pages, query, words, found 'qwery'"),
        ({"question": "query"}, "must name columns by their role: positive, query; found 'question'"),
    ],
)
def test_a_route_or_column_that_does_not_exist_is_refused(
    routed: tuple[dict[str, Any], dict[str, Path]], tmp_path: Path, mapping: dict[str, str], message: str
) -> None:
    with pytest.raises(InvalidSpec, match=re.escape(message)):
        run_routed(routed, tmp_path, router_mapping=mapping)


def test_routes_for_a_model_without_any_are_refused(models: dict[str, Any], tmp_path: Path) -> None:
    args = {"router_mapping": {"query": "query"}}
    with pytest.raises(InvalidSpec, match="the model has no routes"):
        run(models["Embedding"], only(SHAPES["pairs"]), tmp_path, training={"args": args})


# Rates


def test_part_of_a_model_may_learn_at_a_rate_of_its_own(models: dict[str, Any], tmp_path: Path) -> None:
    model = copy.deepcopy(models["Embedding"])
    before = weights(model)
    rates = {"learning_rate_mapping": {r"\.embeddings\.": 0}}
    run(model, only(SHAPES["pairs"]), tmp_path, training={"args": rates})
    changed = {name for name, tensor in weights(model).items() if not torch.equal(before[name], tensor)}
    assert changed
    assert not any(".embeddings." in name for name in changed)


@pytest.mark.parametrize(
    ("rates", "reason"),
    [
        ({"no such part": 0.1}, "NoSuchParameter"),
        ({"(": 0.1}, "BadArgument"),
        ({"embeddings": "fast"}, "BadArgument"),
        ({"embeddings": 2}, "BadArgument"),
    ],
    ids=str,
)
def test_rates_that_would_do_nothing_are_refused(
    models: dict[str, Any], tmp_path: Path, rates: dict[str, Any], reason: str
) -> None:
    with pytest.raises(InvalidSpec) as raised:
        run(
            copy.deepcopy(models["Embedding"]), only(SHAPES["pairs"]), tmp_path,
            training={"args": {"learning_rate_mapping": rates}},
        )  # fmt: skip
    assert raised.value.reason == reason


# Several sets


def two_sets(**second: Any) -> TrainingData:
    scores = SHAPES["pairs with scores"]
    other = TrainingSet("other", scores.rows, scores.label, scores.content_keys, "sha256:1", **second)
    return TrainingData((SHAPES["pairs"], other))


@pytest.mark.parametrize("kind", ["Embedding", "Reranker", "Sparse"])
def test_several_sets_are_trained_on_each_with_its_loss(
    models: dict[str, Any], tmp_path: Path, kind: str
) -> None:
    result = run(copy.deepcopy(models[kind]), two_sets(), tmp_path)
    assert result.steps == 2 * ROWS // 8
    notes = check_training(models[kind], two_sets(), spec_of(kind))
    assert [note.split(":")[0] for note in notes] == [
        "loss of train set 'train'",
        "loss of train set 'other'",
    ]


def test_a_set_of_lists_beside_one_of_pairs(models: dict[str, Any], tmp_path: Path) -> None:
    columns = train_set(
        "columns", query=QUERIES, positive=ANSWERS, negative_0=OTHERS, loss=Loss(name="LambdaLoss")
    )
    data = TrainingData((SHAPES["pairs"], columns))
    assert run(copy.deepcopy(models["Reranker"]), data, tmp_path).steps == 4


@pytest.mark.parametrize(("sampler", "steps"), [("proportional", 5), ("round_robin", 2)])
def test_sets_take_turns_or_come_as_often_as_they_are_large(
    models: dict[str, Any], tmp_path: Path, sampler: str, steps: int
) -> None:
    small = train_set("small", query=QUERIES[:8], positive=ANSWERS[:8])
    large = train_set(
        "large", query=[*QUERIES, *OTHERS], positive=[f"{a} again" for a in [*QUERIES, *OTHERS]]
    )
    args = {"multi_dataset_batch_sampler": sampler}
    result = run(
        copy.deepcopy(models["Embedding"]), TrainingData((small, large)), tmp_path, training={"args": args}
    )
    assert result.steps == steps


def test_a_set_that_does_not_fill_a_batch_is_named(models: dict[str, Any], tmp_path: Path) -> None:
    small = train_set("small", query=QUERIES[:5], positive=ANSWERS[:5])
    with pytest.raises(InvalidData, match="train set 'small' must fill a batch of 8 rows"):
        run(models["Embedding"], TrainingData((SHAPES["pairs"], small)), tmp_path)


# Prompts


class Spy:
    """What the model is asked to read, and behind which prompt."""

    def __init__(self, model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seen: set[tuple[str, str | None]] = set()
        read = model.preprocess

        def preprocess(inputs: Any, prompt: str | None = None, **rest: Any) -> Any:
            self.seen.update((str(one).split("'")[-2] if "(" in str(one) else one, prompt) for one in inputs)
            return read(inputs, prompt=prompt, **rest)

        monkeypatch.setattr(model, "preprocess", preprocess)

    def prompts_of(self, texts: list[str]) -> set[str | None]:
        return {prompt for text, prompt in self.seen if text in texts}


@pytest.mark.parametrize("kind", ["Embedding", "Sparse", "MultiVector"])
def test_prompts_go_by_role_in_every_set(
    models: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    model = copy.deepcopy(models[kind])
    model.prompts = {"query": "find: ", "document": "doc: "}
    spy = Spy(model, monkeypatch)
    second = train_set("second", query=OTHERS, positive=[f"{o} again" for o in OTHERS])
    run(model, TrainingData((SHAPES["pairs"], second)), tmp_path, training={"args": {"max_steps": 4}})
    assert spy.prompts_of([*QUERIES, *OTHERS]) == {"find: "}
    assert spy.prompts_of(ANSWERS) == {"doc: "}


def test_inputs_without_a_role_get_the_prompt_that_encoding_would_give_them(
    models: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = copy.deepcopy(models["Embedding"])
    model.prompts, model.default_prompt_name = {"query": "find: ", "same": "say: "}, "same"
    spy = Spy(model, monkeypatch)
    run(model, only(SHAPES["pairs with scores"]), tmp_path, training={"args": {"max_steps": 1}})
    assert spy.prompts_of([*QUERIES, *ANSWERS]) == {"say: "}


def test_a_reranker_has_one_prompt_for_a_pair(
    models: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = copy.deepcopy(models["Reranker"])
    model.prompts, model.default_prompt_name = {"query": "judge: "}, "query"
    spy = Spy(model, monkeypatch)
    run(model, only(SHAPES["pairs with 0 or 1"]), tmp_path, training={"args": {"max_steps": 1}})
    assert spy.prompts_of(ANSWERS) == {"judge: "}
