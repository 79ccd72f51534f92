"""Tiny models that read text alone, of every type."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sentence_transformers import CrossEncoder, MultiVectorEncoder, SentenceTransformer, SparseEncoder
from sentence_transformers.sentence_transformer.modules import Pooling, StaticEmbedding, Transformer
from transformers import BertForMaskedLM, BertForSequenceClassification, BertModel

from demo.tiny_models.checkpoints import (
    MAX_TEXT_TOKENS,
    WIDTH,
    bert_config,
    save_checkpoint,
    seeded,
    word_tokenizer,
)

Texts = Sequence[str] | None


def build_text_model(path: Path, texts: Texts = None) -> None:
    """Save an untrained BERT with mean pooling as a SentenceTransformer."""
    with TemporaryDirectory() as checkpoint:
        build_text_checkpoint(Path(checkpoint), texts)
        modules = [Transformer(checkpoint, max_seq_length=MAX_TEXT_TOKENS), Pooling(WIDTH, "mean")]
        _save(SentenceTransformer(modules=modules, device="cpu"), path)


def build_text_checkpoint(path: Path, texts: Texts = None) -> None:
    """Save an untrained BERT as transformers does: a raw checkpoint, no embedding model yet."""
    tokenizer = word_tokenizer(texts)
    save_checkpoint(path, BertModel, bert_config(tokenizer), tokenizer)


def build_masked_language_checkpoint(path: Path, texts: Texts = None) -> None:
    """Save an untrained BERT with its masked-language head: what SPLADE models begin with."""
    tokenizer = word_tokenizer(texts)
    save_checkpoint(path, BertForMaskedLM, bert_config(tokenizer), tokenizer)


def build_text_reranker(path: Path, texts: Texts = None) -> None:
    """Save an untrained CrossEncoder: BERT with one score."""
    tokenizer = word_tokenizer(texts)
    with TemporaryDirectory() as checkpoint:
        config = bert_config(tokenizer, num_labels=1)
        save_checkpoint(Path(checkpoint), BertForSequenceClassification, config, tokenizer)
        _save(CrossEncoder(checkpoint, device="cpu"), path)


def build_sparse_model(path: Path, texts: Texts = None) -> None:
    """Save an untrained SPLADE model."""
    with TemporaryDirectory() as checkpoint:
        build_masked_language_checkpoint(Path(checkpoint), texts)
        _save(SparseEncoder(checkpoint, device="cpu"), path)


def build_multi_vector_model(path: Path, texts: Texts = None) -> None:
    """Save an untrained MultiVectorEncoder over BERT, with vectors of 128 dimensions."""
    with TemporaryDirectory() as checkpoint:
        build_text_checkpoint(Path(checkpoint), texts)
        with seeded():
            model = MultiVectorEncoder(checkpoint, device="cpu")
        _save(model, path)


def build_static_model(path: Path, texts: Texts = None) -> None:
    """Save an untrained embedding model without an encoder: one vector a word, averaged."""
    with seeded():
        static = StaticEmbedding(word_tokenizer(texts).backend_tokenizer, embedding_dim=WIDTH)
    _save(SentenceTransformer(modules=[static], device="cpu"), path)


def _save(model: Any, path: Path) -> None:
    model.save_pretrained(str(path), create_model_card=False)
