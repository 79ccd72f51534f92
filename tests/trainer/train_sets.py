"""Train sets of every shape, and a tiny model of every type, for tests of losses and training."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import datasets
import numpy as np
from sentence_transformers import CrossEncoder, MultiVectorEncoder, SentenceTransformer, SparseEncoder
from sentence_transformers.base.modules import Transformer
from sentence_transformers.sentence_transformer.modules import Pooling
from sentence_transformers.sparse_encoder.modules import SparseAutoEncoder
from transformers import BertForMaskedLM, BertForSequenceClassification

from finetune_api.spec import FinetuneSpec
from finetune_trainer.data.inputs import LABEL, TrainingData, TrainingSet
from tests.trainer.builders import a_spec

ROWS = 16
QUERIES = [f"invoice number {i}" for i in range(ROWS)]
ANSWERS = [f"invoice {i} of march" for i in range(ROWS)]
OTHERS = [f"letter {i} of april" for i in range(ROWS)]
WIDTH = 64


def train_set(name: str = "train", *, loss: Any = None, **columns: Any) -> TrainingSet:
    """Rows of these columns, in this order; `label` last."""
    inputs = [c for c in columns if c != LABEL]
    keys = np.array([[f"{c}{cell}"[:32] for cell in columns[c]] for c in inputs], dtype="S32").T
    rows = datasets.Dataset.from_dict(columns)
    return TrainingSet(name, rows, LABEL in columns, keys, "sha256:0", loss=loss)


def _two(**label: Any) -> TrainingSet:
    return train_set(input_0=QUERIES, input_1=ANSWERS, **label)


def _three(**label: Any) -> TrainingSet:
    return train_set(query=QUERIES, positive=ANSWERS, negative_0=OTHERS, **label)


SHAPES: dict[str, TrainingSet] = {
    "pairs": train_set(query=QUERIES, positive=ANSWERS),
    "triplets": _three(),
    "pairs with scores": _two(label=[i / ROWS for i in range(ROWS)]),
    "pairs with 0 or 1": _two(label=[i % 2 for i in range(ROWS)]),
    "pairs with classes": _two(label=[i % 3 for i in range(ROWS)]),
    "inputs with classes": train_set(input_0=QUERIES, label=[i % 3 for i in range(ROWS)]),
    "inputs": train_set(input_0=QUERIES),
    "inputs with vectors": train_set(input_0=QUERIES, label=[[0.1] * WIDTH] * ROWS),
    "triplets with scores": _three(label=[[1.0, i / ROWS] for i in range(ROWS)]),
    "triplets with margins": _three(label=[0.5 + i for i in range(ROWS)]),
    "lists with scores": train_set(
        input_0=QUERIES,
        input_1=[list(pair) for pair in zip(ANSWERS, OTHERS, strict=True)],
        label=[[1.0, 0.0]] * ROWS,
    ),
}


def spec_of(
    model_type: str, loss: dict[str, Any] | None = None, training: dict[str, Any] | None = None
) -> FinetuneSpec:
    """Few steps at a high learning rate; the spec's own columns are not looked at."""
    spec = a_spec(training=training).to_dict()
    spec["model"]["type"] = model_type
    spec["loss"] = loss or {}
    if model_type == "Reranker":
        spec["evaluation"]["evaluators"][0]["type"] = "Reranking"
    return FinetuneSpec.model_validate(spec)


def only(data: TrainingSet) -> TrainingData:
    return TrainingData((data,))


def tiny_models(text_model: Path) -> dict[str, Any]:
    """One of every type, on the CPU; copy before training one."""
    text = SentenceTransformer(str(text_model), device="cpu")
    encoder: Any = text[0]
    with TemporaryDirectory() as folder:
        plain, masked, scoring, classes = (Path(folder) / name for name in "abcd")
        config = encoder.model.config
        encoder.model.save_pretrained(plain)
        BertForMaskedLM(config).save_pretrained(masked)
        config.num_labels = 1
        BertForSequenceClassification(config).save_pretrained(scoring)
        config.num_labels = 3
        BertForSequenceClassification(config).save_pretrained(classes)
        for path in (plain, masked, scoring, classes):
            encoder.tokenizer.save_pretrained(path)
        autoencoder = SparseAutoEncoder(input_dim=WIDTH, hidden_dim=2 * WIDTH, k=8, k_aux=16)
        return {
            "Embedding": text,
            "Reranker": CrossEncoder(str(scoring), device="cpu"),
            "Classifier": CrossEncoder(str(classes), device="cpu"),
            "Sparse": SparseEncoder(str(masked), device="cpu"),
            "CSR": SparseEncoder(
                modules=[Transformer(str(plain)), Pooling(WIDTH, "mean"), autoencoder], device="cpu"
            ),
            "MultiVector": MultiVectorEncoder(str(plain), device="cpu"),
        }
