"""The tiny models that stand where the examples name models, all with the vocabulary of `words`."""

from pathlib import Path

from demo.tiny_models import (
    build_audio_text_model,
    build_masked_language_checkpoint,
    build_multi_vector_model,
    build_text_checkpoint,
    build_text_model,
    build_vision_encoder,
    build_vision_language_embedder,
    build_vision_language_model,
)
from tests.examples.tables import SPLIT

TEXTS = [text for pair in (*SPLIT.train, *SPLIT.test) for text in (pair.query, pair.document)]
PIXELS = 64


def fill_models(root: Path) -> None:
    """The claim `models`."""
    models = root / "models"
    build_text_model(models / "text", TEXTS)
    build_text_checkpoint(models / "text-encoder", TEXTS)
    build_masked_language_checkpoint(models / "sparse", TEXTS)
    build_multi_vector_model(models / "multivector", TEXTS)
    build_vision_encoder(models / "vit")
    build_audio_text_model(models / "clap", TEXTS)
    build_vision_language_embedder(models / "vl-embedding", page_size=PIXELS, texts=TEXTS)
    build_vision_language_model(models / "tiny-qwen3-vl", page_size=PIXELS, texts=TEXTS)
