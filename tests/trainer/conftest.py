"""Models that are built once for all tests of the trainer; copy before changing one."""

from pathlib import Path

import pytest
import torch

from demo.tiny_models import build_text_model, build_vision_language_model


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Threads of a tiny model mostly wait for each other, and for ever on a busy machine."""
    torch.set_num_threads(1)


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
