"""Models with random weights, below half a million parameters: what tests and demo have in place of a hub.

They are real checkpoints of their architectures, only small, and repeat bit for bit: vocabularies are counted
in texts of this repository (or texts handed in), weights come from a seed.
"""

from demo.tiny_models.checkpoints import MAX_TEXT_TOKENS, WIDTH, built_in_texts
from demo.tiny_models.media import (
    build_audio_text_model,
    build_clip_checkpoint,
    build_vision_encoder,
    build_whisper_checkpoint,
)
from demo.tiny_models.text import (
    build_masked_language_checkpoint,
    build_multi_vector_model,
    build_sparse_model,
    build_static_model,
    build_text_checkpoint,
    build_text_model,
    build_text_reranker,
)
from demo.tiny_models.vision_language import (
    build_language_model,
    build_vision_language_embedder,
    build_vision_language_model,
    build_vision_language_reranker,
)

__all__ = [
    "MAX_TEXT_TOKENS",
    "WIDTH",
    "build_audio_text_model",
    "build_clip_checkpoint",
    "build_language_model",
    "build_masked_language_checkpoint",
    "build_multi_vector_model",
    "build_sparse_model",
    "build_static_model",
    "build_text_checkpoint",
    "build_text_model",
    "build_text_reranker",
    "build_vision_encoder",
    "build_vision_language_embedder",
    "build_vision_language_model",
    "build_vision_language_reranker",
    "build_whisper_checkpoint",
    "built_in_texts",
]
