"""Tiny models of the Qwen3 architectures: a decoder of texts, and one of texts, images and video."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import torch
from sentence_transformers import CrossEncoder, SentenceTransformer
from sentence_transformers.cross_encoder.modules import LogitScore
from sentence_transformers.sentence_transformer.modules import Dense, Normalize, Pooling, Transformer
from transformers import (
    Qwen2Tokenizer,
    Qwen3Config,
    Qwen3ForCausalLM,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLProcessor,
    Qwen3VLVideoProcessor,
)
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from demo.pages import SIZE
from demo.tiny_models.checkpoints import HEADS, LAYERS, WIDTH, built_in_texts, save_checkpoint, seeded

_PATCHES: dict[str, Any] = {"patch_size": 16, "temporal_patch_size": 2, "merge_size": 2}
_VISION_TOKENS = {
    "image_token": "<|image_pad|>",
    "video_token": "<|video_pad|>",
    "vision_start_token": "<|vision_start|>",
    "vision_end_token": "<|vision_end|>",
}
_CHAT_TEMPLATE = """\
{%- for message in messages -%}
{%- if message.content is string -%}{{ message.content }}
{%- else -%}
{%- for part in message.content -%}
{%- if part.type == 'image' -%}<|vision_start|><|image_pad|><|vision_end|>
{%- elif part.type == 'video' -%}<|vision_start|><|video_pad|><|vision_end|>
{%- elif part.type == 'text' -%}{{ part.text }}
{%- endif -%}
{%- endfor -%}
{%- endif -%}
{%- endfor -%}
"""


def build_vision_language_model(
    path: Path, texts: Sequence[str] | None = None, *, page_size: int = SIZE
) -> None:
    """Save an untrained checkpoint of the Qwen3-VL architecture.

    It reads texts and images, scaled to about page_size x page_size pixels. It is a raw checkpoint, not
    yet an embedding model: the fine-tune says how it is pooled.
    """
    tokenizer = _train_byte_pairs(texts or built_in_texts())
    config = _vision_language_config(tokenizer)
    processor = _vision_language_processor(tokenizer, pixels=page_size * page_size)
    save_checkpoint(path, Qwen3VLForConditionalGeneration, config, processor)


def build_language_model(path: Path, texts: Sequence[str] | None = None) -> None:
    """Save an untrained decoder of the Qwen3 architecture, which reads texts alone."""
    tokenizer = _train_byte_pairs(texts or built_in_texts())
    tokenizer.chat_template = _CHAT_TEMPLATE
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS // 2,
        head_dim=WIDTH // HEADS,
        max_position_embeddings=4096,
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=True,
    )
    save_checkpoint(path, Qwen3ForCausalLM, config, tokenizer)


def build_vision_language_embedder(
    path: Path, texts: Sequence[str] | None = None, *, page_size: int = SIZE
) -> None:
    """The same as an embedding model: last-token pooling, unit length, prompts for queries and documents."""
    with TemporaryDirectory() as checkpoint:
        build_vision_language_model(Path(checkpoint), texts, page_size=page_size)
        modules = [Transformer(checkpoint), Pooling(WIDTH, "lasttoken"), Normalize()]
        prompts = {"query": "find: ", "document": "page: "}
        model = SentenceTransformer(modules=modules, prompts=prompts, device="cpu")
    model.save_pretrained(str(path), create_model_card=False)


def build_vision_language_reranker(
    path: Path,
    texts: Sequence[str] | None = None,
    *,
    head: Literal["Dense", "LogitScore"],
    page_size: int = SIZE,
) -> None:
    """The same as a reranker of pairs of texts and images; LogitScore takes the tokens 1 and 0."""
    with TemporaryDirectory() as checkpoint:
        build_vision_language_model(Path(checkpoint), texts, page_size=page_size)
        build = _dense_head if head == "Dense" else _logit_head
        with seeded():
            model = CrossEncoder(modules=build(checkpoint), device="cpu")
    model.save_pretrained(str(path), create_model_card=False)


def _dense_head(checkpoint: str) -> list[Any]:
    score = Dense(WIDTH, 1, activation_function=torch.nn.Identity(), module_output_name="scores")
    return [Transformer(checkpoint), Pooling(WIDTH, "lasttoken"), score]


def _logit_head(checkpoint: str) -> list[Any]:
    transformer = Transformer(checkpoint, transformer_task="any-to-any")
    relevant, other = (transformer.tokenizer.convert_tokens_to_ids(token) for token in ("1", "0"))
    return [transformer, LogitScore(relevant, other)]


def _train_byte_pairs(texts: Sequence[str], size: int = 1024) -> Qwen2Tokenizer:
    untrained: Any = Qwen2Tokenizer(extra_special_tokens=_VISION_TOKENS)
    trained: Qwen2Tokenizer = untrained.train_new_from_iterator(texts, size, show_progress=False)
    return trained


def _vision_language_processor(tokenizer: Qwen2Tokenizer, *, pixels: int) -> Any:
    image_size = {"shortest_edge": pixels, "longest_edge": pixels}
    video_size = {"shortest_edge": 2 * 32 * 32, "longest_edge": 8 * pixels}
    processor: Any = Qwen3VLProcessor
    return processor(
        image_processor=Qwen2VLImageProcessorPil(size=image_size, **_PATCHES),
        tokenizer=tokenizer,
        video_processor=Qwen3VLVideoProcessor(size=video_size, cap_pixels_per_frame=False, **_PATCHES),
        chat_template=_CHAT_TEMPLATE,
    )


def _vision_language_config(tokenizer: Qwen2Tokenizer) -> Qwen3VLConfig:
    rope = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [4, 2, 2], "mrope_interleaved": True}
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": WIDTH,
        "intermediate_size": 2 * WIDTH,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": HEADS // 2,
        "head_dim": WIDTH // HEADS,
        "max_position_embeddings": 4096,
        "rope_parameters": rope,
        "pad_token_id": tokenizer.pad_token_id,
        "tie_word_embeddings": True,
    }
    vision = {
        "depth": LAYERS,
        "hidden_size": WIDTH,
        "intermediate_size": 2 * WIDTH,
        "num_heads": HEADS,
        "out_hidden_size": WIDTH,
        "patch_size": _PATCHES["patch_size"],
        "temporal_patch_size": _PATCHES["temporal_patch_size"],
        "spatial_merge_size": _PATCHES["merge_size"],
        "num_position_embeddings": 64,
        "deepstack_visual_indexes": [0],
    }
    ids: Any = {
        f"{name}_id": tokenizer.convert_tokens_to_ids(token) for name, token in _VISION_TOKENS.items()
    }
    return Qwen3VLConfig(text_config=text, vision_config=vision, tie_word_embeddings=True, **ids)
