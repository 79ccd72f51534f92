import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer import losses as dense_losses
from sentence_transformers.sentence_transformer.losses import (
    CachedMultipleNegativesRankingLoss,
    MatryoshkaLoss,
)
from sentence_transformers.sentence_transformer.modules import StaticEmbedding
from sentence_transformers.util import cos_sim, dot_score, pairwise_cos_sim, pairwise_euclidean_sim

from finetune_api.loss import Loss
from finetune_api.loss_table import LOSSES, ModelType
from finetune_api.model import Model
from finetune_api.spec import FinetuneSpec
from finetune_trainer.errors import InvalidData, InvalidSpec, TrainerError
from finetune_trainer.losses import build_loss, choose_loss, choose_mini_batch_size, model_facts, prepare_rows
from finetune_trainer.losses.memory import bytes_per_row, rows_that_fit, state_bytes
from finetune_trainer.losses.named import object_named
from finetune_trainer.models import load_model
from tests.trainer.builders import a_spec
from tests.trainer.train_sets import ROWS, SHAPES, WIDTH, spec_of, tiny_models, train_set

GUIDE = {"uri": "pvc://models/guide"}


@pytest.fixture(scope="module")
def models(text_model: Path) -> dict[str, Any]:
    return tiny_models(text_model)


@pytest.fixture(scope="module")
def model(models: dict[str, Any]) -> SentenceTransformer:
    found: SentenceTransformer = models["Embedding"]
    return found


def built(model: Any, spec: FinetuneSpec, shape: str = "pairs", mini_batch_size: int = 4) -> Any:
    """The loss of a spec for a set of this shape."""
    data = SHAPES[shape]
    chosen = choose_loss(data, model_facts(model, spec.model.type), spec)
    _, classes = prepare_rows(data, chosen)
    return build_loss(model, chosen, spec.model, mini_batch_size, classes=classes, guide=model)


def features(model: SentenceTransformer) -> list[dict[str, Any]]:
    texts = [[f"{kind} {i}" for i in range(7)] for kind in ("invoice", "order", "letter")]
    return [model.preprocess(t) for t in texts]


# Every class


SHAPE_OF = {
    "Class": "pairs with classes",
    "Binary": "pairs with 0 or 1",
    "Unit": "pairs with 0 or 1",
    "Score": "pairs with scores",
    "Scores": "triplets with scores",
    "Vector": "inputs with vectors",
}
EVERY_LOSS = [(kind, name) for kind, losses in LOSSES.items() for name in losses]


@pytest.mark.parametrize(("model_type", "name"), EVERY_LOSS, ids=[f"{k}-{n}" for k, n in EVERY_LOSS])
def test_every_loss_is_built_for_data_that_suits_it(
    models: dict[str, Any], model_type: ModelType, name: str
) -> None:
    traits = LOSSES[model_type][name]
    loss: dict[str, Any] = {"name": name}
    if not traits.alone:
        loss = {"name": "SpladeLoss", "inner": {"name": name}}
    if name in {"MatryoshkaLoss", "Matryoshka2dLoss"}:
        loss["matryoshkaDims"] = [64, 16]
    if "GIST" in name:
        loss["guide"] = GUIDE
    model = models[{"CrossEntropyLoss": "Classifier", "CSRLoss": "CSR"}.get(name, model_type)]
    shape = SHAPE_OF[traits.labels[0]] if traits.labels else "triplets" if traits.inputs[1] > 2 else "pairs"
    shape = "inputs" if traits.inputs == (1, 1) else shape
    shape = "inputs with classes" if traits.batches == "ByLabel" else shape
    if name == "SparseMSELoss":
        model = models["CSR"]  # as wide as a vector of the data
        shape = "inputs with vectors of twice the width"
    found = built(copy.deepcopy(model), spec_of(model_type, loss), shape)
    inner = found if traits.alone else found.loss
    assert type(inner).__name__ == name


SHAPES["inputs with vectors of twice the width"] = train_set(
    input_0=[f"text {i}" for i in range(ROWS)], label=[[0.1] * 2 * WIDTH] * ROWS
)


# Choosing


@pytest.mark.parametrize(
    ("model", "shape", "expected"),
    [
        ("Embedding", "pairs", "CachedMultipleNegativesRankingLoss"),
        ("Embedding", "triplets", "CachedMultipleNegativesRankingLoss"),
        ("Embedding", "pairs with scores", "CoSENTLoss"),
        ("Embedding", "pairs with 0 or 1", "OnlineContrastiveLoss"),
        ("Embedding", "pairs with classes", "SoftmaxLoss"),
        ("Embedding", "inputs with classes", "BatchAllTripletLoss"),
        ("Embedding", "inputs", "ContrastiveTensionLossInBatchNegatives"),
        ("Embedding", "inputs with vectors", "MSELoss"),
        ("Embedding", "triplets with scores", "DistillKLDivLoss"),
        ("Embedding", "triplets with margins", "MarginMSELoss"),
        ("Reranker", "pairs", "CachedMultipleNegativesRankingLoss"),
        ("Reranker", "pairs with scores", "BinaryCrossEntropyLoss"),
        ("Reranker", "pairs with 0 or 1", "BinaryCrossEntropyLoss"),
        ("Reranker", "pairs with classes", "MSELoss"),
        ("Classifier", "pairs with classes", "CrossEntropyLoss"),
        ("Reranker", "triplets with scores", "LambdaLoss"),
        ("Reranker", "lists with scores", "LambdaLoss"),
        ("Reranker", "triplets with margins", "MarginMSELoss"),
        ("Sparse", "pairs", "CachedSpladeLoss(SparseMultipleNegativesRankingLoss)"),
        ("Sparse", "pairs with scores", "CachedSpladeLoss(SparseCoSENTLoss)"),
        ("CSR", "pairs", "CSRLoss(SparseMultipleNegativesRankingLoss)"),
        ("MultiVector", "triplets", "CachedMultiVectorMultipleNegativesRankingLoss"),
        ("MultiVector", "triplets with scores", "MultiVectorDistillKLDivLoss"),
    ],
)
def test_the_default_suits_the_model_and_the_data_and_is_told(
    models: dict[str, Any], model: str, shape: str, expected: str
) -> None:
    model_type = {"Classifier": "Reranker", "CSR": "Sparse"}.get(model, model)
    spec = spec_of(model_type)
    chosen = choose_loss(SHAPES[shape], model_facts(models[model], spec.model.type), spec)
    assert chosen.name + (f"({chosen.inner})" if chosen.inner else "") == expected
    assert chosen.note.startswith(f"loss of train set 'train': {chosen.name} ")
    assert "by default, because it has" in chosen.note


def test_a_loss_that_is_named_needs_no_note(models: dict[str, Any], model: SentenceTransformer) -> None:
    spec = spec_of("Embedding", {"name": "CoSENTLoss"})
    assert choose_loss(SHAPES["pairs with scores"], model_facts(model, "Embedding"), spec).note == ""


def test_a_train_set_may_have_a_loss_of_its_own(model: SentenceTransformer) -> None:
    data = train_set(query=["a", "b"], positive=["c", "d"], loss=Loss(name="MegaBatchMarginLoss"))
    chosen = choose_loss(data, model_facts(model, "Embedding"), spec_of("Embedding", {"name": "TripletLoss"}))
    assert chosen.name == "MegaBatchMarginLoss"


def test_a_wrapper_over_layers_gets_a_default_that_is_not_cached(model: SentenceTransformer) -> None:
    spec = spec_of("Embedding", {"name": "AdaptiveLayerLoss"})
    chosen = choose_loss(SHAPES["pairs"], model_facts(model, "Embedding"), spec)
    assert (chosen.name, chosen.inner) == ("AdaptiveLayerLoss", "MultipleNegativesRankingLoss")
    assert "MultipleNegativesRankingLoss by default" in chosen.note


# What does not fit


def refused(
    model: Any, shape: str, loss: dict[str, Any], model_type: str = "Embedding", **training: Any
) -> TrainerError:
    spec = spec_of(model_type, loss, training)
    with pytest.raises((InvalidData, InvalidSpec)) as raised:
        choose_loss(SHAPES[shape], model_facts(model, spec.model.type), spec)
    return raised.value


@pytest.mark.parametrize(
    ("loss", "shape", "message"),
    [
        ("CoSENTLoss", "pairs", "takes 2 input columns and a label (numbers); train set 'train' has"),
        ("CoSENTLoss", "pairs", "has 2 input columns (query, positive) and no label"),
        ("TripletLoss", "pairs", "TripletLoss takes 3 input columns and no label"),
        ("MegaBatchMarginLoss", "triplets", "MegaBatchMarginLoss takes 2 input columns and no label"),
        ("MultipleNegativesRankingLoss", "pairs with scores", "takes 2 or more input columns and no label"),
        ("ContrastiveLoss", "pairs with scores", "and a label (0 or 1)"),
        ("SoftmaxLoss", "pairs with scores", "and a label (whole numbers from 0 for classes)"),
        ("BatchAllTripletLoss", "pairs with classes", "takes 1 input column and a label"),
        ("MarginMSELoss", "pairs with scores", "takes 3 or more input columns and a label"),
        ("MSELoss", "pairs with scores", "a label (embeddings, all of one length)"),
        ("MultipleNegativesRankingLoss", "lists with scores", "takes 2 or more input columns"),
    ],
)
def test_columns_that_a_loss_does_not_take_are_refused_with_those_that_it_wants(
    model: SentenceTransformer, loss: str, shape: str, message: str
) -> None:
    error = refused(model, shape, {"name": loss})
    assert (type(error), error.reason) == (InvalidData, "LossDoesNotFit")
    assert message in error.message


def test_a_shape_that_no_loss_suits_asks_for_a_name(models: dict[str, Any]) -> None:
    error = refused(models["MultiVector"], "pairs with scores", {}, "MultiVector")
    assert (error.reason, error.hint) == ("NoDefaultLoss", "set `loss.name`")


@pytest.mark.parametrize(
    ("model", "shape", "loss", "reason"),
    [
        ("Reranker", "pairs with classes", "CrossEntropyLoss", "LossDoesNotFitModel"),
        ("Classifier", "pairs with scores", "BinaryCrossEntropyLoss", "LossDoesNotFitModel"),
        ("Sparse", "pairs", "CSRLoss", "LossDoesNotFitModel"),
        ("Embedding", "triplets with scores", "MSELoss", "VectorLength"),
    ],
)
def test_a_loss_that_the_model_cannot_compute_is_refused(
    models: dict[str, Any], model: str, shape: str, loss: str, reason: str
) -> None:
    model_type = "Reranker" if model == "Classifier" else model
    assert refused(models[model], shape, {"name": loss}, model_type).reason == reason


def test_dimensions_above_the_models_are_refused(model: SentenceTransformer) -> None:
    error = refused(model, "pairs", {"matryoshkaDims": [128, 64]})
    assert error.reason == "DimensionTooLarge"
    assert "`loss.matryoshkaDims` must be at most the model's 64 dimensions, found 128" in error.message


def test_dimensions_for_a_default_that_needs_them_all_are_refused(model: SentenceTransformer) -> None:
    error = refused(model, "pairs with classes", {"matryoshkaDims": [64, 16]})
    assert "SoftmaxLoss needs the whole vector" in error.message


def test_arguments_are_those_of_the_loss_that_was_chosen(model: SentenceTransformer) -> None:
    error = refused(model, "pairs with classes", {"args": {"scale": 3}})
    assert error.message == "`loss.args.scale` is no argument of SoftmaxLoss"


@pytest.mark.parametrize("behind_a_router", [False, True])
def test_cached_losses_refuse_static_embeddings_and_the_default_is_not_cached(
    model: SentenceTransformer, *, behind_a_router: bool
) -> None:
    from sentence_transformers.base.modules import Router

    static = StaticEmbedding(model.tokenizer.backend_tokenizer, embedding_dim=WIDTH)
    first = Router.for_query_document([static], [*model]) if behind_a_router else static
    words = SentenceTransformer(modules=[first], device="cpu")
    error = refused(words, "pairs", {"name": "CachedMultipleNegativesRankingLoss"})
    assert (error.reason, error.hint) == ("CachedLossOnStatic", "take MultipleNegativesRankingLoss")
    chosen = choose_loss(SHAPES["pairs"], model_facts(words, "Embedding"), spec_of("Embedding"))
    assert chosen.name == "MultipleNegativesRankingLoss"


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        ([1.0, None], "LabelMissing"),
        (["a", "b"], "LabelNotANumber"),
        ([1.0, float("nan")], "LabelNotANumber"),
        ([1.0, float("inf")], "LabelNotANumber"),
        ([[1.0], [float("nan")]], "LabelNotANumber"),
        ([[1.0], [1.0, 2.0]], "LabelLengths"),
        ([[], []], "LabelNotANumber"),
        ([["a"], ["b"]], "LabelNotANumber"),
        ([[1.0, None], [1.0, 2.0]], "LabelNotANumber"),
        ([[[1.0], [1.0, 2.0]], [[1.0], [1.0]]], "LabelLengths"),
    ],
    ids=str,
)
def test_labels_of_the_wrong_kind_are_refused(
    model: SentenceTransformer, labels: list[Any], reason: str
) -> None:
    data = train_set(input_0=["a", "b"], input_1=["c", "d"], label=labels)
    with pytest.raises(InvalidData) as raised:
        choose_loss(data, model_facts(model, "Embedding"), spec_of("Embedding"))
    assert raised.value.reason == reason
    assert "train set 'train'" in raised.value.message


@pytest.mark.parametrize("scores", [[[1.0], [1.0, 0.0]], [[1.0, 0.5], [1.0]]])
def test_every_document_of_a_list_needs_a_score(models: dict[str, Any], scores: list[list[float]]) -> None:
    data = train_set(input_0=["a", "b"], input_1=[["c", "d"], ["e", "f"]], label=scores)
    with pytest.raises(InvalidData, match="must have a score for each document of a row: row"):
        choose_loss(data, model_facts(models["Reranker"], "Reranker"), spec_of("Reranker"))


def test_labels_of_any_number_type_are_taken(model: SentenceTransformer) -> None:
    data = train_set(input_0=["a", "b"], input_1=["c", "d"], label=[True, False])
    chosen = choose_loss(data, model_facts(model, "Embedding"), spec_of("Embedding", {"name": "SoftmaxLoss"}))
    rows, classes = prepare_rows(data, chosen)
    assert (rows["label"][:], classes) == ([1, 0], 2)


@pytest.mark.parametrize("loss", ["CoSENTLoss", "ContrastiveLoss", "SoftmaxLoss"])
def test_labels_that_are_all_the_same_are_refused(model: SentenceTransformer, loss: str) -> None:
    data = train_set(input_0=["a", "b"], input_1=["c", "d"], label=[1, 1])
    chosen = choose_loss(data, model_facts(model, "Embedding"), spec_of("Embedding", {"name": loss}))
    with pytest.raises(InvalidData, match="must differ, found 1 in all 2 rows"):
        prepare_rows(data, chosen)


# Building


def test_the_loss_is_the_specs(model: SentenceTransformer) -> None:
    loss = built(model, a_spec(loss={"args": {"scale": 7}}))
    assert isinstance(loss, CachedMultipleNegativesRankingLoss)
    assert (loss.scale, loss.mini_batch_size, loss.similarity_fct) == (7, 4, cos_sim)


@pytest.mark.parametrize(
    ("loss", "similarity", "function", "scale"),
    [
        ({}, "cosine", cos_sim, 20),
        ({}, "dot", dot_score, 1),
        ({"name": "CoSENTLoss"}, "cosine", pairwise_cos_sim, 20),
        ({"name": "CoSENTLoss"}, "euclidean", pairwise_euclidean_sim, 1),
    ],
)
def test_a_model_is_trained_with_the_similarity_that_it_is_compared_by(
    model: SentenceTransformer, loss: dict[str, Any], similarity: str, function: Any, scale: float
) -> None:
    shape = "pairs with scores" if loss else "pairs"
    found = built(model, a_spec(model={"similarity": similarity}, loss=loss), shape)
    assert (found.scale, found.similarity_fct) == (scale, function)


def test_matryoshka_dimensions_wrap_the_loss(model: SentenceTransformer) -> None:
    loss = built(model, a_spec(loss={"matryoshkaDims": [64, 16]}))
    assert isinstance(loss, MatryoshkaLoss)
    assert list(loss.matryoshka_dims) == [64, 16]
    assert isinstance(loss.loss, CachedMultipleNegativesRankingLoss)


def test_a_matryoshka_loss_that_is_named_takes_arguments_and_an_inner_loss(
    model: SentenceTransformer,
) -> None:
    spec = {
        "name": "MatryoshkaLoss",
        "matryoshkaDims": [64, 16],
        "args": {"matryoshka_weights": [1, 0.5], "n_dims_per_step": 1},
        "inner": {"name": "TripletLoss", "args": {"triplet_margin": 1, "distance_metric": "cosine"}},
    }
    loss = built(model, a_spec(loss=spec), "triplets")
    assert (loss.matryoshka_weights, loss.n_dims_per_step) == ((1, 0.5), 1)
    assert isinstance(loss.loss, dense_losses.TripletLoss)
    assert loss.loss.distance_metric is dense_losses.TripletDistanceMetric.COSINE


@pytest.mark.parametrize(
    ("loss", "parameter", "name"),
    [
        ("BatchAllTripletLoss", "distance_metric", "cosine"),
        ("BatchHardSoftMarginTripletLoss", "distance_metric", "euclidean"),
        ("ContrastiveLoss", "distance_metric", "manhattan"),
        ("SparseTripletLoss", "distance_metric", "euclidean"),
        ("LambdaLoss", "weighting_scheme", "NDCGLoss1Scheme"),
        ("MSELoss", "activation_fn", "Sigmoid"),
    ],
)
def test_objects_are_given_by_name(loss: str, parameter: str, name: str) -> None:
    assert callable(object_named(loss, parameter, name))


def test_a_weight_of_positives_becomes_a_tensor(models: dict[str, Any]) -> None:
    spec = spec_of("Reranker", {"args": {"pos_weight": 3}})
    assert built(models["Reranker"], spec, "pairs with 0 or 1").pos_weight == torch.tensor(3.0)


def test_a_sparse_loss_has_the_librarys_regularisers_unless_it_is_told(models: dict[str, Any]) -> None:
    usual = built(models["Sparse"], spec_of("Sparse"))
    assert (usual.document_regularizer_weight, usual.query_regularizer_weight) == (3e-5, 5e-5)
    spec = spec_of("Sparse", {"name": "SpladeLoss", "args": {"use_document_regularizer_only": True}})
    assert built(models["Sparse"], spec).query_regularizer_weight is None


def test_what_the_class_refuses_is_told(model: SentenceTransformer) -> None:
    loss = {"name": "MatryoshkaLoss", "matryoshkaDims": [64], "args": {"matryoshka_weights": [1, 2]}}
    with pytest.raises(InvalidSpec) as raised:
        built(model, a_spec(loss=loss))
    assert raised.value.reason == "LossRefused"
    assert "matryoshka_weights must be the same length" in raised.value.message


@pytest.mark.parametrize("dims", [None, [64, 16]])
def test_loss_and_gradients_do_not_depend_on_the_mini_batch(
    model: SentenceTransformer, dims: list[int] | None
) -> None:
    spec = a_spec(loss={"matryoshkaDims": dims} if dims else {})
    found = []
    model.eval()  # without dropout, whose masks would differ
    for mini_batch_size in (2, 7, 32):
        model.zero_grad()
        loss = built(model, spec, mini_batch_size=mini_batch_size)(features(model), None)
        loss.backward()
        gradient = model.get_parameter("0.model.embeddings.word_embeddings.weight").grad
        assert gradient is not None
        found.append((loss.item(), gradient.clone()))
    assert found[0][1].abs().max() > 1e-4
    for value, gradient in found[1:]:
        assert value == pytest.approx(found[0][0], rel=1e-5)
        difference = (gradient - found[0][1]).abs().max()
        assert difference < 1e-5 * found[0][1].abs().max()  # the order of additions in float32


# Memory


def rows_at_once(model: Any, spec: FinetuneSpec, shape: str = "pairs") -> int:
    return choose_mini_batch_size(
        model, spec, choose_loss(SHAPES[shape], model_facts(model, spec.model.type), spec)
    )


@pytest.mark.parametrize(("batch", "given", "rows"), [(8, None, 8), (256, None, 32), (64, 4, 4), (8, 64, 8)])
def test_rows_at_a_time_on_a_cpu(
    model: SentenceTransformer, batch: int, given: int | None, rows: int
) -> None:
    if model.device.type != "cpu":
        pytest.fail("the tests of this file are for the CPU: hide the GPU with CUDA_VISIBLE_DEVICES=")
    loss = {"args": {"mini_batch_size": given}} if given else {}
    assert rows_at_once(model, a_spec(training={"batchSize": batch}, loss=loss)) == rows


def test_a_loss_that_is_not_cached_takes_the_whole_batch(models: dict[str, Any]) -> None:
    spec = spec_of("Embedding", {"name": "TripletLoss"}, {"batchSize": 64})
    assert rows_at_once(models["Embedding"], spec, "triplets") == 64
    assert rows_at_once(models["Sparse"], spec_of("Sparse", None, {"batchSize": 64})) == 32


@pytest.mark.parametrize(
    ("memory", "row", "batch", "rows"),
    [(80e9, 1e9, 64, 64), (80e9, 2.3e9, 64, 16), (24e9, 2.3e9, 64, 8), (-1, 1e9, 64, 1), (1e12, 1.0, 48, 48)],
)
def test_rows_that_fit_a_gpu_are_a_power_of_two_or_the_batch(
    memory: float, row: float, batch: int, rows: int
) -> None:
    assert rows_that_fit(memory, bytes_per_row=row, batch_size=batch) == rows


def test_frozen_and_half_precise_weights_take_less(model: SentenceTransformer) -> None:
    count = sum(p.numel() for p in model.parameters())
    assert state_bytes(model) == 16 * count
    assert state_bytes(copy.deepcopy(model).bfloat16()) == 8 * count
    assert state_bytes(copy.deepcopy(model).requires_grad_(requires_grad=False)) == 4 * count


def test_a_row_takes_more_with_longer_texts_larger_images_and_full_precision(
    model: SentenceTransformer, vision_model: Path
) -> None:
    short, long = (a_spec(model={"maxSeqLength": n}) for n in (16, 128))
    assert bytes_per_row(model, long) == 8 * bytes_per_row(model, short)
    assert bytes_per_row(model, a_spec(training={"autocast": "bf16"})) < bytes_per_row(model, a_spec())
    small, large = (
        load_model(
            vision_model,
            Model.model_validate(
                {
                    "uri": "pvc://models/base",
                    "pooling": "Mean",
                    "processor": {"min_pixels": 1024, "max_pixels": n},
                }
            ),
            seed=1,
        )
        for n in (1024, 512 * 512)
    )
    spec = a_spec(model={"maxSeqLength": 16})
    assert bytes_per_row(large, spec) > 10 * bytes_per_row(small, spec)


def test_a_row_of_a_sparse_model_takes_its_vocabulary(models: dict[str, Any]) -> None:
    sparse = spec_of("Sparse")
    assert bytes_per_row(models["Sparse"], sparse) > bytes_per_row(models["Embedding"], a_spec())
