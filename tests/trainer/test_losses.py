from pathlib import Path
from typing import Any

import pytest
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.losses import (
    CachedMultipleNegativesRankingLoss,
    MatryoshkaLoss,
)
from sentence_transformers.util import cos_sim, dot_score

from finetune_api.model import Model
from finetune_trainer.errors import InvalidSpec
from finetune_trainer.losses import build_loss, bytes_per_row, choose_mini_batch_size, rows_that_fit
from finetune_trainer.models import load_model
from tests.trainer.builders import a_spec


@pytest.fixture(scope="module")
def model(text_model: Path) -> SentenceTransformer:
    loaded: SentenceTransformer = load_model(text_model, Model(uri="pvc://models/base"), seed=1)
    return loaded


def features(model: SentenceTransformer) -> list[dict[str, Any]]:
    texts = [[f"{kind} {i}" for i in range(7)] for kind in ("invoice", "order", "letter")]
    return [model.preprocess(t) for t in texts]


def test_the_loss_is_the_specs(model: SentenceTransformer) -> None:
    loss = build_loss(model, a_spec(loss={"args": {"scale": 7}}), 4)
    assert isinstance(loss, CachedMultipleNegativesRankingLoss)
    assert (loss.scale, loss.mini_batch_size, loss.similarity_fct) == (7, 4, cos_sim)


def test_a_model_compared_by_dot_product_is_trained_with_it(model: SentenceTransformer) -> None:
    loss = build_loss(model, a_spec(model={"similarity": "dot"}), 4)
    assert isinstance(loss, CachedMultipleNegativesRankingLoss)
    assert (loss.scale, loss.similarity_fct) == (1, dot_score)


def test_matryoshka_dimensions_wrap_the_loss(model: SentenceTransformer) -> None:
    loss = build_loss(model, a_spec(loss={"matryoshkaDims": [64, 16]}), 4)
    assert isinstance(loss, MatryoshkaLoss)
    assert list(loss.matryoshka_dims) == [64, 16]
    assert isinstance(loss.loss, CachedMultipleNegativesRankingLoss)


def test_dimensions_above_the_models_are_refused(model: SentenceTransformer) -> None:
    with pytest.raises(InvalidSpec):
        build_loss(model, a_spec(loss={"matryoshkaDims": [128, 64]}), 4)


@pytest.mark.parametrize("dims", [None, [64, 16]])
def test_loss_and_gradients_do_not_depend_on_the_mini_batch(
    model: SentenceTransformer, dims: list[int] | None
) -> None:
    spec = a_spec(loss={"matryoshkaDims": dims} if dims else {})
    found = []
    model.eval()  # without dropout, whose masks would differ
    for mini_batch_size in (2, 7, 32):
        model.zero_grad()
        loss = build_loss(model, spec, mini_batch_size)(features(model), None)
        loss.backward()
        gradient = model.get_parameter("0.model.embeddings.word_embeddings.weight").grad
        assert gradient is not None
        found.append((loss.item(), gradient.clone()))
    assert found[0][1].abs().max() > 1e-4
    for value, gradient in found[1:]:
        assert value == pytest.approx(found[0][0], rel=1e-5)
        difference = (gradient - found[0][1]).abs().max()
        assert difference < 1e-5 * found[0][1].abs().max()  # the order of additions in float32


@pytest.mark.parametrize(("batch", "given", "rows"), [(8, None, 8), (256, None, 32), (64, 4, 4), (8, 64, 8)])
def test_rows_at_a_time_on_a_cpu(
    model: SentenceTransformer, batch: int, given: int | None, rows: int
) -> None:
    if model.device.type != "cpu":
        pytest.fail("the tests of this file are for the CPU: hide the GPU with CUDA_VISIBLE_DEVICES=")
    loss = {"args": {"mini_batch_size": given}} if given else {}
    assert choose_mini_batch_size(model, a_spec(training={"batchSize": batch}, loss=loss)) == rows


@pytest.mark.parametrize(
    ("memory", "row", "batch", "rows"),
    [(80e9, 1e9, 64, 64), (80e9, 2.3e9, 64, 16), (24e9, 2.3e9, 64, 8), (-1, 1e9, 64, 1), (1e12, 1.0, 48, 48)],
)
def test_rows_that_fit_a_gpu_are_a_power_of_two_or_the_batch(
    memory: float, row: float, batch: int, rows: int
) -> None:
    assert rows_that_fit(memory, bytes_per_row=row, batch_size=batch) == rows


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
