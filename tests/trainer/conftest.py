"""Models that are built once for all tests of the trainer; copy before changing one."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from demo import tiny_models
from demo.tiny_models import build_text_model, build_vision_language_model
from finetune_trainer.places import Places
from finetune_trainer.sources import retries
from tests.one_thread import one_thread  # noqa: F401 - a fixture
from tests.trainer.builders import places_in
from tests.trainer.servers.gcs import Gcs, running_gcs
from tests.trainer.servers.registry import Registry, running_registry
from tests.trainer.servers.s3 import S3, running_s3

TINY: dict[str, Callable[[Path], None]] = {
    "text": tiny_models.build_text_model,
    "text checkpoint": tiny_models.build_text_checkpoint,
    "masked language": tiny_models.build_masked_language_checkpoint,
    "reranker": tiny_models.build_text_reranker,
    "sparse": tiny_models.build_sparse_model,
    "multi-vector": tiny_models.build_multi_vector_model,
    "static": tiny_models.build_static_model,
    "vision": partial(tiny_models.build_vision_language_model, page_size=64),
    "vision embedder": partial(tiny_models.build_vision_language_embedder, page_size=64),
    "vision reranker": partial(tiny_models.build_vision_language_reranker, head="LogitScore", page_size=64),
    "vision dense reranker": partial(tiny_models.build_vision_language_reranker, head="Dense", page_size=64),
    "language": tiny_models.build_language_model,
    "clip": tiny_models.build_clip_checkpoint,
    "vision encoder": tiny_models.build_vision_encoder,
    "clap": tiny_models.build_audio_text_model,
    "whisper": tiny_models.build_whisper_checkpoint,
    "whole whisper": partial(tiny_models.build_whisper_checkpoint, encoder_only=False),
}
"""What `tiny` builds, by name."""


@pytest.fixture
def places(tmp_path: Path) -> Places:
    """Claims `data` and `models`, both empty."""
    return places_in(tmp_path)


@pytest.fixture
def data(places: Places) -> Path:
    """The folder of the claim `data`."""
    return places.volume("data")


@pytest.fixture(scope="session")
def text_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small untrained text model with mean pooling."""
    path = tmp_path_factory.mktemp("models") / "text"
    build_text_model(path)
    return path


@pytest.fixture(scope="session")
def vision_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small untrained checkpoint of a vision-language model, not yet an embedding model."""
    path = tmp_path_factory.mktemp("models") / "vision"
    build_vision_language_model(path, page_size=64)
    return path


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    """A store with the protocol of S3."""
    with running_s3(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture(scope="session")
def gcs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gcs]:
    """A store with the protocol of Google Cloud Storage."""
    with running_gcs(tmp_path_factory.mktemp("gcs")) as server:
        yield server


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """An OCI registry that asks for a password."""
    with running_registry(tmp_path_factory.mktemp("registry")) as server:
        yield server


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Retries without their pauses, which are put down here in seconds."""
    taken: list[float] = []
    monkeypatch.setattr(retries, "sleep", taken.append)
    return taken


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a small untrained model of TINY, built when it is first asked for."""
    folder = tmp_path_factory.mktemp("tiny")

    def path_of(name: str) -> Path:
        path = folder / name.replace(" ", "-")
        if not path.is_dir():
            TINY[name](path)
        return path

    return path_of
