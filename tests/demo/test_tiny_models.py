"""Building twice in one process is enough: hash maps of the tokenizers library are seeded anew each time."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer

from demo import tiny_models
from demo.pages import draw_page, plan_pages


@pytest.fixture(scope="module", params=["text", "vision-language"])
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    build = {
        "text": tiny_models.build_text_model,
        "vision-language": tiny_models.build_vision_language_model,
    }[request.param]
    first, second = (tmp_path_factory.mktemp(request.param) for _ in range(2))
    build(first)
    torch.manual_seed(99)
    build(second)
    return first, second


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_a_model_is_the_same_to_the_last_bit_each_time(built: tuple[Path, Path]) -> None:
    first, second = map(contents, built)
    assert "model.safetensors" in first
    assert first == second


OTHERS = {
    "sparse": tiny_models.build_sparse_model,
    "reranker": tiny_models.build_text_reranker,
    "multi-vector": tiny_models.build_multi_vector_model,
    "static": tiny_models.build_static_model,
    "vision-language reranker": partial(tiny_models.build_vision_language_reranker, head="Dense"),
    "clip": tiny_models.build_clip_checkpoint,
    "clap": tiny_models.build_audio_text_model,
    "whisper": tiny_models.build_whisper_checkpoint,
}


@pytest.mark.parametrize("build", OTHERS.values(), ids=OTHERS)
def test_so_are_models_of_other_types_and_media(tmp_path: Path, build: Callable[[Path], None]) -> None:
    build(tmp_path / "first")
    torch.manual_seed(99)
    build(tmp_path / "second")
    assert contents(tmp_path / "first") == contents(tmp_path / "second")


def test_building_leaves_the_random_state_alone(tmp_path: Path) -> None:
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    tiny_models.build_text_model(tmp_path)
    assert torch.equal(before, torch.random.get_rng_state())


def test_a_model_embeds_texts_into_64_dimensions(built: tuple[Path, Path]) -> None:
    model = SentenceTransformer(str(built[0]), device="cpu")
    first, second = model.encode(["invoice from Acme", "tents in March"])
    assert first.shape == (tiny_models.WIDTH,)
    assert not np.allclose(first, second)


def test_the_vision_language_model_embeds_pages(tmp_path: Path) -> None:
    tiny_models.build_vision_language_model(tmp_path)
    model = SentenceTransformer(str(tmp_path), device="cpu")
    assert model.supports("image")
    first, second = model.encode([draw_page(page) for page in plan_pages(train=1, test=2).test])
    assert first.shape == (tiny_models.WIDTH,)
    assert not np.allclose(first, second)


def test_the_vocabulary_comes_from_the_texts_handed_in(tmp_path: Path) -> None:
    tiny_models.build_text_model(tmp_path, ["ein Kühlschrank voller Kühlschrank"])
    tokenizer = SentenceTransformer(str(tmp_path), device="cpu").tokenizer
    assert tokenizer.tokenize("Kühlschrank voller x") == ["kuhlschrank", "voller", "x"]
