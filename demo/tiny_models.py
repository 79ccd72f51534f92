"""Models with random weights, below half a million parameters: what tests and demo have in place of a hub.

They are real checkpoints of their architectures, only small, and repeat bit for bit: vocabularies are counted
in texts of this repository (or texts handed in), weights come from a seed.
"""

import collections
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from transformers import (
    BertConfig,
    BertModel,
    BertTokenizer,
    PreTrainedConfig,
    Qwen2Tokenizer,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLProcessor,
    Qwen3VLVideoProcessor,
)
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from demo.pages import SIZE, plan_pages

WIDTH = 64
"""Dimensions of the embeddings."""
MAX_TEXT_TOKENS = 128
_LAYERS = 2
_HEADS = 4
_SEED = 0

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


def built_in_texts() -> list[str]:
    """Texts for the vocabulary unless others are handed in: the queries of the demo's train pages."""
    return [page.query for page in plan_pages().train]


def build_text_model(path: Path, texts: Sequence[str] | None = None) -> None:
    """Save an untrained BERT with mean pooling as a SentenceTransformer."""
    tokenizer = BertTokenizer(vocab=_count_words(texts or built_in_texts()), model_max_length=MAX_TEXT_TOKENS)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        num_hidden_layers=_LAYERS,
        num_attention_heads=_HEADS,
        intermediate_size=2 * WIDTH,
        max_position_embeddings=MAX_TEXT_TOKENS,
    )
    with TemporaryDirectory() as checkpoint:
        _save_checkpoint(Path(checkpoint), BertModel, config, tokenizer)
        modules = [Transformer(checkpoint, max_seq_length=MAX_TEXT_TOKENS), Pooling(WIDTH, "mean")]
        model = SentenceTransformer(modules=modules, device="cpu")
    model.save_pretrained(str(path), create_model_card=False)


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
    _save_checkpoint(path, Qwen3VLForConditionalGeneration, config, processor)


def _save_checkpoint(path: Path, architecture: Any, config: PreTrainedConfig, reader: Any) -> None:
    """Weights from the seed, without touching the caller's random state; reader: tokenizer or processor."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED)
        model = architecture(config)
    model.save_pretrained(path)
    reader.save_pretrained(path)


def _count_words(texts: Sequence[str], size: int = 2048) -> dict[str, int]:
    """A WordPiece vocabulary: single characters, then whole words, the most frequent first.

    Not `tokenizers.trainers.WordPieceTrainer`: its ids differ from one run to the next.
    """
    characters = [chr(code) for code in range(33, 127) if not chr(code).isupper()]
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *characters, *(f"##{c}" for c in characters)]
    normalize, split = BertNormalizer().normalize_str, BertPreTokenizer().pre_tokenize_str
    counts = collections.Counter(
        word for text in texts for word, _ in split(normalize(text)) if len(word) > 1
    )
    pieces += sorted(counts, key=lambda word: (-counts[word], word))
    return {piece: number for number, piece in enumerate(pieces[:size])}


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
        "num_hidden_layers": _LAYERS,
        "num_attention_heads": _HEADS,
        "num_key_value_heads": _HEADS // 2,
        "head_dim": WIDTH // _HEADS,
        "max_position_embeddings": 4096,
        "rope_parameters": rope,
        "pad_token_id": tokenizer.pad_token_id,
        "tie_word_embeddings": True,
    }
    vision = {
        "depth": _LAYERS,
        "hidden_size": WIDTH,
        "intermediate_size": 2 * WIDTH,
        "num_heads": _HEADS,
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
