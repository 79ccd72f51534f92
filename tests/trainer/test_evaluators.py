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
from typing_extensions import override

from demo.pages import plan_pages
from finetune_api.evaluation import Evaluator
from finetune_trainer.data.inputs import Collection, LabelledData, RetrievalData
from finetune_trainer.evaluation import EvaluatorResult, evaluate
from finetune_trainer.evaluation.retrieval_metrics import STANDARD_METRICS

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


def a_suite() -> tuple[RetrievalData, dict[str, tuple[range, range]]]:
    """Two data sets of NanoBEIR's kind, of 8 and 24 queries: data set -> its queries and documents."""
    parts = {"NanoMSMARCO": (range(8), range(30)), "NanoNQ": (range(8, 32), range(30, 80))}
    queries = [(name, q) for name, (of_set, _) in parts.items() for q in of_set]
    documents = [(name, d) for name, (_, of_set) in parts.items() for d in of_set]
    ids = {name: tuple(f"{name}/d{d}" for d in found) for name, (_, found) in parts.items()}
    return (
        RetrievalData(
            name="nano",
            queries=Collection(
                tuple(f"{name}/q{q}" for name, q in queries), [QUERIES[q] for _, q in queries]
            ),
            corpus=Collection(
                tuple(f"{name}/d{d}" for name, d in documents), [TEXTS[d] for _, d in documents]
            ),
            relevant={f"{n}/q{q}": frozenset(ids[n][q % 20 : q % 20 + 2]) for n, q in queries},
            unjudged_queries=0,
            digest="sha256:0",
            groups=tuple(name for name, _ in queries),
            candidates={f"{name}/q{q}": ids[name] for name, q in queries},
        ),
        parts,
    )


@pytest.mark.parametrize("kind", ["Embedding", "Sparse", "MultiVector"])
def test_nano_beir_is_the_mean_over_its_data_sets(models: dict[str, Any], kind: str) -> None:
    data, parts = a_suite()
    bases: dict[str, Any] = {
        "Embedding": of_embeddings.NanoBEIREvaluator,
        "Sparse": of_sparse.SparseNanoBEIREvaluator,
        "MultiVector": of_multi_vectors.MultiVectorNanoBEIREvaluator,
    }

    def load(self: Any, name: str, **arguments: Any) -> Any:
        queries, documents = parts[{"msmarco": "NanoMSMARCO", "nq": "NanoNQ"}[name]]
        prefix = {"msmarco": "NanoMSMARCO", "nq": "NanoNQ"}[name]
        if kind == "Sparse":
            del arguments["truncate_dim"]
        return self.information_retrieval_class(
            {f"{prefix}/q{q}": QUERIES[q] for q in queries},
            {f"{prefix}/d{d}": TEXTS[d] for d in documents},
            {f"{prefix}/q{q}": set(data.relevant[f"{prefix}/q{q}"]) for q in queries},
            name=self._get_human_readable_name(name),
            **arguments,
        )

    local: Any = type("Local", (bases[kind],), {"_load_dataset": load})
    evaluator = local(["msmarco", "nq"], show_progress_bar=False, write_csv=False)
    found = without_prefix(library(models[kind], evaluator), f"NanoBEIR_mean_{SIMILARITY[kind]}_")
    result = ours(models, kind, "NanoBEIR", data)
    agree(result, result.headline, {m: found[m] for m in STANDARD_METRICS})
    of_one_set = result.scores.value("ndcg@10", np.arange(8))
    assert of_one_set == pytest.approx(found[f"NanoMSMARCO_{SIMILARITY[kind]}_ndcg@10"], abs=1e-6)


def test_nano_beir_of_a_reranker_ranks_what_bm25_found(models: dict[str, Any]) -> None:
    data, parts = a_suite()
    found_first = {q: documents[::-1][:25] for q, documents in (data.candidates or {}).items()}
    text = dict(zip(data.corpus.ids, data.corpus.inputs, strict=True))

    class Local(of_rerankers.CrossEncoderNanoBEIREvaluator):
        @override
        def _load_dataset(self, dataset_name: str, **arguments: Any) -> Any:
            name = {"msmarco": "NanoMSMARCO", "nq": "NanoNQ"}[dataset_name]
            ids = [f"{name}/q{q}" for q in parts[name][0]]
            samples: Any = [
                {
                    "query": QUERIES[q],
                    "positive": [text[d] for d in sorted(data.relevant[i])],
                    "documents": [text[d] for d in found_first[i][: self.rerank_k]],
                }
                for i, q in zip(ids, parts[name][0], strict=True)
            ]
            readable = self._get_human_readable_name(dataset_name)
            return of_rerankers.CrossEncoderRerankingEvaluator(samples, name=readable, **arguments)

    evaluator = Local(["msmarco", "nq"], rerank_k=20, show_progress_bar=False, write_csv=False)
    found = without_prefix(library(models["Reranker"], evaluator), "NanoBEIR_R20_mean_")
    result = ours(models, "Reranker", "NanoBEIR", replace(data, candidates=found_first), rerank_k=20)
    agree(result, None, {m: found[m] for m in ("ndcg@10", "mrr@10", "map")})


def test_prompts_of_an_evaluator_replace_those_of_the_model(models: dict[str, Any]) -> None:
    data = judged()
    evaluator = of_embeddings.InformationRetrievalEvaluator(
        dict(zip(data.queries.ids, data.queries.inputs, strict=True)),
        dict(zip(data.corpus.ids, data.corpus.inputs, strict=True)),
        {q: set(d) for q, d in data.relevant.items()},
        query_prompt="find: ",
        corpus_prompt="page: ",
        write_csv=False,
    )
    found = library(models["Embedding"], evaluator)
    prompts = {"query_prompt": "find: ", "corpus_prompt": "page: "}
    result = ours(models, "Embedding", "InformationRetrieval", data, **prompts)
    agree(result, 64, {m: found[f"cosine_{m}"] for m in STANDARD_METRICS})


@pytest.mark.parametrize("similarity", ["euclidean", "manhattan", "dot"])
def test_every_similarity_searches_as_the_library_does(models: dict[str, Any], similarity: str) -> None:
    data = judged()
    for kind in ("Embedding", "Sparse"):
        model = models[kind]
        base = of_embeddings if kind == "Embedding" else of_sparse
        name = (
            "InformationRetrievalEvaluator" if kind == "Embedding" else "SparseInformationRetrievalEvaluator"
        )
        before, model.similarity_fn_name = model.similarity_fn_name, similarity
        evaluator = getattr(base, name)(
            dict(zip(data.queries.ids, data.queries.inputs, strict=True)),
            dict(zip(data.corpus.ids, data.corpus.inputs, strict=True)),
            {q: set(d) for q, d in data.relevant.items()},
            write_csv=False,
        )
        found = library(model, evaluator)
        model.similarity_fn_name = before
        result = evaluate(
            model,
            data,
            Evaluator(name="e", data="rows"),
            metrics=STANDARD_METRICS,
            dimensions=(None,),
            similarity=similarity,
            autocast="None",
        )
        agree(result, None, {m: found[f"{similarity}_{m}"] for m in STANDARD_METRICS})
