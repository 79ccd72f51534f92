"""Tiny models of two encoders or of other media: CLIP, ViT, CLAP, Whisper."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import (
    ClapConfig,
    ClapFeatureExtractor,
    ClapModel,
    ClapProcessor,
    CLIPConfig,
    CLIPModel,
    CLIPProcessor,
    ViTConfig,
    ViTModel,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from demo.tiny_models.checkpoints import (
    HEADS,
    LAYERS,
    MAX_TEXT_TOKENS,
    WIDTH,
    save_checkpoint,
    word_tokenizer,
)

PIXELS = 64
"""Width and height of the images that CLIP and ViT see."""
_BLOCKS: dict[str, Any] = {
    "hidden_size": WIDTH,
    "intermediate_size": 2 * WIDTH,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
}


def build_clip_checkpoint(path: Path, texts: Sequence[str] | None = None) -> None:
    """Save an untrained CLIP: one encoder for texts, one for images, both to the same 64 dimensions."""
    tokenizer = word_tokenizer(texts)
    special = {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}
    config = CLIPConfig(
        text_config={
            **_BLOCKS, **special, "vocab_size": len(tokenizer), "max_position_embeddings": MAX_TEXT_TOKENS
        },
        vision_config={**_BLOCKS, "image_size": PIXELS, "patch_size": 16},
        projection_dim=WIDTH,
    )  # fmt: skip
    images = CLIPImageProcessorPil(
        size={"shortest_edge": PIXELS}, crop_size={"height": PIXELS, "width": PIXELS}
    )
    processor: Any = CLIPProcessor
    save_checkpoint(path, CLIPModel, config, processor(image_processor=images, tokenizer=tokenizer))


def build_vision_encoder(path: Path) -> None:
    """Save an untrained ViT of 96 dimensions: it reads images alone, for an encoder of a Router."""
    width = WIDTH + WIDTH // 2
    config = ViTConfig(**{**_BLOCKS, "hidden_size": width}, image_size=PIXELS, patch_size=16)
    save_checkpoint(path, ViTModel, config, ViTImageProcessorPil(size={"height": PIXELS, "width": PIXELS}))


def build_audio_text_model(path: Path, texts: Sequence[str] | None = None) -> None:
    """Save an untrained CLAP: texts and sounds to the same 64 dimensions."""
    tokenizer = word_tokenizer(texts)
    config = ClapConfig(
        text_config={**_BLOCKS, "vocab_size": len(tokenizer), "max_position_embeddings": MAX_TEXT_TOKENS + 2},
        audio_config={
            "hidden_size": WIDTH, "patch_embeds_hidden_size": WIDTH // 2, "depths": [1, 1],
            "num_hidden_layers": 2,
            "num_attention_heads": [2, 2], "spec_size": 64, "num_mel_bins": 32, "window_size": 4,
            "mlp_ratio": 2.0,
        },
        projection_dim=WIDTH,
    )  # fmt: skip
    extractor = ClapFeatureExtractor(
        feature_size=32,
        sampling_rate=16_000,
        truncation="rand_trunc",
        max_length_s=1,
        fft_window_size=512,
        frequency_max=8000,
        hop_length=160,
    )
    processor: Any = ClapProcessor
    save_checkpoint(path, ClapModel, config, processor(feature_extractor=extractor, tokenizer=tokenizer))


def build_whisper_checkpoint(path: Path, *, encoder_only: bool = True) -> None:
    """Save an untrained Whisper: its encoder alone, or whole, whose encoder the library does not find."""
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    config = WhisperConfig(
        d_model=WIDTH, encoder_layers=LAYERS, decoder_layers=1, encoder_attention_heads=HEADS,
        decoder_attention_heads=HEADS, encoder_ffn_dim=2 * WIDTH, decoder_ffn_dim=2 * WIDTH, vocab_size=64,
        num_mel_bins=16, max_source_positions=100, max_target_positions=32, pad_token_id=0, bos_token_id=1,
        eos_token_id=2, decoder_start_token_id=1, suppress_tokens=None, begin_suppress_tokens=None,
    )  # fmt: skip
    reader: Any = WhisperFeatureExtractor
    extractor = reader(feature_size=16, sampling_rate=16_000, chunk_length=2)
    architecture = WhisperEncoder if encoder_only else WhisperForConditionalGeneration
    save_checkpoint(path, architecture, config, extractor)
