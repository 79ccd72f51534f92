"""Every evaluator, of every kind of model, has the values of the library's own."""

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import CrossEncoder, MultiVectorEncoder, SentenceTransformer, SparseEncoder
from sentence_transformers.cross_encoder import evaluation as of_rerankers
from sentence_transformers.multi_vector_encoder import evaluation as of_multi_vectors
from sentence_transformers.sentence_transformer import evaluation as of_embeddings
from sentence_transformers.sparse_encoder import evaluation as of_sparse
from sentence_transformers.sparse_encoder.modules import MLMTransformer, SpladePooling
from transformers import BertConfig, BertForMaskedLM, BertForSequenceClassification

from demo.pages import plan_pages
from finetune_api.evaluation import Evaluator
from finetune_trainer.evaluation import EvaluatorResult, evaluate
from finetune_trainer.evaluation.retrieval_metrics import STANDARD_METRICS
from finetune_trainer.inputs import Collection, LabelledData, RetrievalData

PAGES = plan_pages(train=1, test=80).test
TEXTS = [" ".join(page.lines) for page in PAGES]
QUERIES = [page.query for page in PAGES]
RANDOM = np.random.default_rng(5)
GRADES = RANDOM.uniform(size=len(PAGES)).round(1).tolist()
TOGETHER = RANDOM.integers(2, size=len(PAGES)).tolist()
CLASSES = RANDOM.integers(3, size=len(PAGES)).tolist()

SIMILARITY = {"Embedding": "cosine", "Sparse": "dot", "MultiVector": "maxsim", "Reranker": ""}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, text_model: Path) -> dict[str, Any]:
    """One small random model of every kind; `Reranker-3` tells three classes apart."""
    folder = tmp_path_factory.mktemp("kinds")
    plain: Any = SentenceTransformer(str(text_model), device="cpu")
    config = plain[0].auto_model.config
    tokenizer: Any = plain.tokenizer
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        BertForMaskedLM(config).save_pretrained(folder / "masked")
        tokenizer.save_pretrained(folder / "masked")
        for labels in (1, 3):
            BertForSequenceClassification(
                BertConfig(**{**config.to_dict(), "num_labels": labels, "initializer_range": 0.4})
            ).save_pretrained(folder / f"pairs-{labels}")
            tokenizer.save_pretrained(folder / f"pairs-{labels}")
        late = MultiVectorEncoder(str(text_model), device="cpu")
    splade = SparseEncoder(
        modules=[MLMTransformer(str(folder / "masked")), SpladePooling("max")], device="cpu"
    )
    return {
        "Embedding": plain,
        "Sparse": splade,
        "MultiVector": late,
        "Reranker": CrossEncoder(str(folder / "pairs-1"), device="cpu"),
        "Reranker-3": CrossEncoder(str(folder / "pairs-3"), device="cpu"),
    }


def column(inputs: Sequence[Any]) -> Collection:
    return Collection(tuple(f"r{n:02}" for n in range(len(inputs))), inputs, tuple(map(str, inputs)))


def rows(*columns: Sequence[Any], labels: Sequence[Any] | None = None) -> LabelledData:
    return LabelledData(
        "rows", tuple(map(column, columns)), None if labels is None else tuple(labels), "sha256:0"
    )


def judged() -> RetrievalData:
    queries = tuple(f"q{n:02}" for n in range(40))
    documents = tuple(f"d{n:02}" for n in range(len(TEXTS)))
    return RetrievalData(
        name="pages",
        queries=Collection(queries, QUERIES[:40]),
        corpus=Collection(documents, TEXTS),
        relevant={q: frozenset(documents[n : n + 1 + n % 3]) for n, q in enumerate(queries)},
        unjudged_queries=0,
        digest="sha256:0",
        candidates={q: tuple(documents[n : n + 12]) for n, q in enumerate(queries)},
    )


def ours(models: dict[str, Any], kind: str, type_: str, data: Any, **args: Any) -> EvaluatorResult:
    said = {"name": "e", "type": type_, "data": "rows", "batchSize": 16, "args": args}
    evaluator = Evaluator.model_validate(said)
    dimensions = (64, 8) if kind == "Embedding" else (None,)
    return evaluate(
        models[kind],
        data,
        evaluator,
        metrics=(*STANDARD_METRICS, "map"),
        dimensions=dimensions,
        similarity=SIMILARITY[kind.partition("-")[0]],
        autocast="None",
    )


def library(model: Any, evaluator: Any) -> dict[str, float]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return dict(evaluator(model))


def agree(result: EvaluatorResult, dimension: int | None, expected: dict[str, float]) -> None:
    """expected: metric of ours -> value of the library."""
    scores = result.by_dimension[dimension]
    assert {m: scores.value(m) for m in expected} == pytest.approx(expected, abs=1e-6)


def without_prefix(found: dict[str, float], prefix: str = "") -> dict[str, float]:
    return {name.removeprefix(prefix): value for name, value in found.items()}


@pytest.mark.parametrize("kind", ["Sparse", "MultiVector"])
def test_retrieval(models: dict[str, Any], kind: str) -> None:
    data = judged()
    evaluators = {
        "Sparse": of_sparse.SparseInformationRetrievalEvaluator,
        "MultiVector": of_multi_vectors.MultiVectorInformationRetrievalEvaluator,
    }
    evaluator = evaluators[kind](
        dict(zip(data.queries.ids, data.queries.inputs, strict=True)),
        dict(zip(data.corpus.ids, data.corpus.inputs, strict=True)),
        {q: set(d) for q, d in data.relevant.items()},
        write_csv=False,
    )
    found = without_prefix(library(models[kind], evaluator), f"{SIMILARITY[kind]}_")
    result = ours(models, kind, "InformationRetrieval", data)
    agree(result, None, {m: found[m] for m in STANDARD_METRICS})
    if kind == "Sparse":
        details = result.scores.details
        assert details["avg_flops"] == pytest.approx(found["avg_flops"], rel=1e-5)
        assert details["query_active_dims"] == pytest.approx(found["query_active_dims"], rel=1e-5)
        assert details["corpus_active_dims"] == pytest.approx(found["corpus_active_dims"], rel=1e-5)


@pytest.mark.parametrize("kind", ["Embedding", "Sparse", "MultiVector", "Reranker"])
def test_reranking(models: dict[str, Any], kind: str) -> None:
    data = judged()
    text = dict(zip(data.corpus.ids, data.corpus.inputs, strict=True))
    samples = [
        {
            "query": query,
            "positive": [text[d] for d in sorted(data.relevant[i])],
            "negative": [text[d] for d in (data.candidates or {})[i] if d not in data.relevant[i]],
        }
        for i, query in zip(data.queries.ids, data.queries.inputs, strict=True)
    ]
    evaluators: dict[str, Any] = {
        "Embedding": of_embeddings.RerankingEvaluator,
        "Sparse": of_sparse.SparseRerankingEvaluator,
        "MultiVector": of_multi_vectors.MultiVectorRerankingEvaluator,
        "Reranker": of_rerankers.CrossEncoderRerankingEvaluator,
    }
    similar = {"similarity_fct": models[kind].similarity} if kind == "Sparse" else {}
    found = library(models[kind], evaluators[kind](samples, at_k=10, write_csv=False, **similar))
    result = ours(models, kind, "Reranking", data)
    agree(result, result.headline, {m: found[m] for m in ("ndcg@10", "mrr@10", "map")})


@pytest.mark.parametrize("always", [True, False])
def test_reranking_of_what_a_first_stage_found(models: dict[str, Any], always: bool) -> None:
    data = judged()
    first_stage = {q: found[2:] for q, found in (data.candidates or {}).items()}
    text = dict(zip(data.corpus.ids, data.corpus.inputs, strict=True))
    samples = [
        {
            "query": query,
            "positive": [text[d] for d in sorted(data.relevant[i])],
            "documents": [text[d] for d in first_stage[i]],
        }
        for i, query in zip(data.queries.ids, data.queries.inputs, strict=True)
    ]
    evaluator = of_rerankers.CrossEncoderRerankingEvaluator(
        samples, always_rerank_positives=always, write_csv=False
    )
    found = library(models["Reranker"], evaluator)
    data = replace(data, candidates=first_stage)
    result = ours(models, "Reranker", "Reranking", data, always_rerank_positives=always)
    agree(result, None, {m: found[m] for m in ("ndcg@10", "mrr@10", "map")})


@pytest.mark.parametrize("margin", [0, 0.02])
@pytest.mark.parametrize("kind", ["Embedding", "Sparse", "MultiVector"])
def test_triplets(models: dict[str, Any], kind: str, margin: float) -> None:
    triplets = (QUERIES, TEXTS, TEXTS[1:] + TEXTS[:1])
    evaluators: dict[str, Any] = {
        "Embedding": of_embeddings.TripletEvaluator,
        "Sparse": of_sparse.SparseTripletEvaluator,
        "MultiVector": of_multi_vectors.MultiVectorTripletEvaluator,
    }
    result = ours(models, kind, "Triplet", rows(*triplets), margin=margin)
    for dimension in result.by_dimension:
        cut = {} if dimension is None else {"truncate_dim": dimension}
        found = library(models[kind], evaluators[kind](*triplets, margin=margin, write_csv=False, **cut))
        agree(result, dimension, {"accuracy": found[f"{SIMILARITY[kind]}_accuracy"]})


@pytest.mark.parametrize("kind", ["Embedding", "Sparse"])
def test_similarity_and_binary_classification(models: dict[str, Any], kind: str) -> None:
    pairs, name = (QUERIES, TEXTS), SIMILARITY[kind]
    by_score = ours(models, kind, "EmbeddingSimilarity", rows(*pairs, labels=GRADES))
    by_class = ours(models, kind, "BinaryClassification", rows(*pairs, labels=TOGETHER))
    scored, classed = (
        (of_embeddings.EmbeddingSimilarityEvaluator, of_embeddings.BinaryClassificationEvaluator)
        if kind == "Embedding"
        else (of_sparse.SparseEmbeddingSimilarityEvaluator, of_sparse.SparseBinaryClassificationEvaluator)
    )
    for dimension in by_score.by_dimension:
        cut: Any = {"write_csv": False} | ({} if dimension is None else {"truncate_dim": dimension})
        found = library(models[kind], scored(*pairs, GRADES, **cut))
        agree(by_score, dimension, {m: found[f"{m}_{name}"] for m in ("spearman", "pearson")})
        found = library(models[kind], classed(*pairs, TOGETHER, **cut))
        metrics = ("ap", "f1", "precision", "recall", "accuracy", "mcc")
        agree(by_class, dimension, {m: found[f"{name}_{m}"] for m in metrics})
        details = by_class.by_dimension[dimension].details
        assert details["f1_threshold"] == pytest.approx(found[f"{name}_f1_threshold"], rel=1e-5)


@pytest.mark.parametrize("kind", ["Embedding", "Sparse"])
def test_distance_to_a_teacher(models: dict[str, Any], kind: str) -> None:
    model = models[kind]
    teacher = model.encode(QUERIES, convert_to_tensor=True)
    labels = teacher.to_dense().tolist()
    result = ours(models, kind, "MSE", rows(TEXTS, labels=labels))
    kinds = {"Embedding": of_embeddings.MSEEvaluator, "Sparse": of_sparse.SparseMSEEvaluator}
    for dimension in result.by_dimension:
        cut: Any = {"write_csv": False} | ({} if dimension is None else {"truncate_dim": dimension})
        found = library(model, kinds[kind](QUERIES, TEXTS, teacher_model=model, **cut))
        agree(result, dimension, {"negative_mse": found["negative_mse"]})


@pytest.mark.parametrize("kind", ["Embedding", "Sparse"])
def test_translations(models: dict[str, Any], kind: str) -> None:
    pairs = (QUERIES, TEXTS[:60] + TEXTS[:20])
    result = ours(models, kind, "Translation", rows(*pairs))
    kinds = {"Embedding": of_embeddings.TranslationEvaluator, "Sparse": of_sparse.SparseTranslationEvaluator}
    for dimension in result.by_dimension:
        cut: Any = {"write_csv": False} | ({} if dimension is None else {"truncate_dim": dimension})
        found = library(models[kind], kinds[kind](*pairs, **cut))
        agree(result, dimension, {m: found[m] for m in ("mean_accuracy", "src2trg_accuracy")})


@pytest.mark.parametrize("closed", [True, False])
def test_paraphrases(models: dict[str, Any], closed: bool) -> None:
    texts = [*QUERIES, *TEXTS]
    pairs = [(0, 80), (1, 81), (1, 2), (3, 4), (4, 84), (5, 6), (7, 8)]
    is_paraphrase = [1, 1, 1, 1, 1, 0, 1]
    data = rows([texts[a] for a, _ in pairs], [texts[b] for _, b in pairs], labels=is_paraphrase)
    known = list(dict.fromkeys(t for a, b in pairs for t in (texts[a], texts[b])))
    duplicates = [(texts[a], texts[b]) for (a, b), y in zip(pairs, is_paraphrase, strict=True) if y]
    evaluator = of_embeddings.ParaphraseMiningEvaluator(
        {t: t for t in known}, duplicates, add_transitive_closure=closed, write_csv=False
    )
    found = library(models["Embedding"], evaluator)
    result = ours(models, "Embedding", "ParaphraseMining", data, add_transitive_closure=closed)
    agree(result, 64, {m: found[m] for m in ("average_precision", "f1", "precision", "recall")})


def test_classification_and_correlation_of_a_reranker(models: dict[str, Any]) -> None:
    pairs: Any = list(zip(QUERIES, TEXTS, strict=True))
    one = of_rerankers.CrossEncoderClassificationEvaluator(pairs, TOGETHER, write_csv=False)
    found = library(models["Reranker"], one)
    result = ours(models, "Reranker", "Classification", rows(QUERIES, TEXTS, labels=TOGETHER))
    names = ("average_precision", "f1", "precision", "recall", "accuracy")
    agree(result, None, {m: found[m] for m in names})
    several = of_rerankers.CrossEncoderClassificationEvaluator(pairs, CLASSES, write_csv=False)
    found = library(models["Reranker-3"], several)
    result = ours(models, "Reranker-3", "Classification", rows(QUERIES, TEXTS, labels=CLASSES))
    agree(result, None, {m: found[m] for m in ("f1_macro", "f1_micro", "f1_weighted")})
    graded = of_rerankers.CrossEncoderCorrelationEvaluator(pairs, GRADES, write_csv=False)
    found = library(models["Reranker"], graded)
    result = ours(models, "Reranker", "Correlation", rows(QUERIES, TEXTS, labels=GRADES))
    agree(result, None, {m: found[m] for m in ("spearman", "pearson")})


@pytest.mark.parametrize("temperatures", [{}, {"temperature": 2.0}, {"student_temperature": 3.0}])
def test_distillation(models: dict[str, Any], temperatures: dict[str, Any]) -> None:
    model, others = models["MultiVector"], TEXTS[1:] + TEXTS[:1]
    scores = RANDOM.uniform(size=(len(QUERIES), 2)).tolist()
    several = of_multi_vectors.MultiVectorDistillationEvaluator(
        QUERIES, list(zip(TEXTS, others, strict=True)), scores, write_csv=False, **temperatures
    )
    data = rows(QUERIES, TEXTS, others, labels=scores)
    result = ours(models, "MultiVector", "Distillation", data, **temperatures)
    found = library(model, several)
    agree(result, None, {"spearman": found["spearman"], "negative_kl_divergence": -found["kl_divergence"]})
    one = of_multi_vectors.MultiVectorDistillationEvaluator(
        QUERIES, TEXTS, GRADES, write_csv=False, **temperatures
    )
    result = ours(models, "MultiVector", "Distillation", rows(QUERIES, TEXTS, labels=GRADES), **temperatures)
    found = library(model, one)
    agree(result, None, {"spearman": found["spearman"], "negative_kl_divergence": -found["kl_divergence"]})
