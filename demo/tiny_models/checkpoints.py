"""What all tiny checkpoints share: their sizes, their texts, and weights that come from a seed."""

import collections
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from transformers import BertConfig, BertTokenizer, PreTrainedConfig

from demo.pages import plan_pages

WIDTH = 64
"""Dimensions of the embeddings."""
LAYERS = 2
HEADS = 4
MAX_TEXT_TOKENS = 128
_SEED = 0


def built_in_texts() -> list[str]:
    """Texts for the vocabulary unless others are handed in: the queries of the demo's train pages."""
    return [page.query for page in plan_pages().train]


@contextmanager
def seeded() -> Iterator[None]:
    """New weights come from the seed; the caller's random state is as before."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED)
        yield


def save_checkpoint(path: Path, architecture: Any, config: PreTrainedConfig, reader: Any) -> None:
    """A checkpoint as transformers saves it; reader: tokenizer or processor."""
    with seeded():
        model = architecture(config)
    model.save_pretrained(path)
    reader.save_pretrained(path)


def word_tokenizer(texts: Sequence[str] | None) -> BertTokenizer:
    return BertTokenizer(vocab=_count_words(texts or built_in_texts()), model_max_length=MAX_TEXT_TOKENS)


def bert_config(tokenizer: BertTokenizer, **more: Any) -> BertConfig:
    return BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        intermediate_size=2 * WIDTH,
        max_position_embeddings=MAX_TEXT_TOKENS,
        **more,
    )


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
