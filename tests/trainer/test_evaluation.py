import math
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import pytest
import torch
from PIL import Image
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator
from typing_extensions import override

from demo.pages import plan_pages
from demo.tiny_models import WIDTH, build_text_model
from finetune_api.evaluation import Evaluator, metric_name
from finetune_trainer.data.inputs import Collection, RetrievalData
from finetune_trainer.errors import InvalidModel, InvalidSpec
from finetune_trainer.evaluation import EvaluatorResult, candidates, evaluate
from finetune_trainer.evaluation.ranking import TOP_DOCUMENTS
from finetune_trainer.evaluation.retrieval_metrics import STANDARD_METRICS

EVALUATOR = Evaluator(name="pages", data="test", batch_size=16)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> SentenceTransformer:
    path = tmp_path_factory.mktemp("model")
    build_text_model(path)
    return SentenceTransformer(str(path), device="cpu", prompts={"query": "find: ", "document": "page: "})


@pytest.fixture(scope="module")
def data() -> RetrievalData:
    """150 documents of which a third say the same, so that scores tie; 1 to 3 of them answer each query."""
    pages = plan_pages(train=1, test=150).test
    documents = [" ".join(p.lines[: 2 if n % 3 == 0 else 4]) for n, p in enumerate(pages)]
    ids = tuple(f"d{n * 37 % 150}" for n in range(150))
    queries = tuple(f"q{n}" for n in range(60))
    return RetrievalData(
        name="test",
        queries=Collection(ids=queries, inputs=[p.query for p in pages[:60]]),
        corpus=Collection(ids=ids, inputs=documents),
        relevant={q: frozenset(ids[n * 2 : n * 2 + 1 + n % 3]) for n, q in enumerate(queries)},
        unjudged_queries=0,
        digest="sha256:0",
    )


def measured(model: Any, data: RetrievalData, **changes: Any) -> EvaluatorResult:
    arguments: dict[str, Any] = {
        "metrics": STANDARD_METRICS,
        "dimensions": (WIDTH,),
        "similarity": "cosine",
        "autocast": "None",
    }
    return evaluate(model, data, EVALUATOR, **(arguments | changes))


def top_documents(result: EvaluatorResult) -> dict[str, tuple[str, ...]]:
    assert result.ranking is not None
    return result.ranking.top_documents


def of_queries(result: EvaluatorResult, metric: str) -> list[float]:
    values = result.scores.of_units(metric)
    assert values is not None
    return list(values)


def by_the_library(
    model: SentenceTransformer, data: RetrievalData, *, truncate_dim: int, similarity: str
) -> dict[str, float]:
    model.similarity_fn_name = similarity  # type: ignore[assignment]
    evaluator = InformationRetrievalEvaluator(
        dict(zip(data.queries.ids, data.queries.inputs, strict=True)),
        dict(zip(data.corpus.ids, data.corpus.inputs, strict=True)),
        {q: set(d) for q, d in data.relevant.items()},
        truncate_dim=truncate_dim,
        batch_size=16,
        write_csv=False,
    )
    with warnings.catch_warnings():
        return dict(evaluator(model))


@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_every_dimension_has_the_values_of_the_librarys_evaluator(
    model: SentenceTransformer, data: RetrievalData, similarity: str
) -> None:
    ours = measured(model, data, dimensions=(WIDTH, 16, 3), similarity=similarity)
    for dimension in (WIDTH, 16, 3):
        library = by_the_library(model, data, truncate_dim=dimension, similarity=similarity)
        scores = ours.by_dimension[dimension]
        found = {metric: scores.value(metric) for metric in STANDARD_METRICS}
        assert found == pytest.approx({m: library[f"{similarity}_{m}"] for m in STANDARD_METRICS}, abs=1e-6)


def test_the_smaller_dimensions_cost_no_encoding(
    model: SentenceTransformer, data: RetrievalData, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[str] = []

    def counting(method: Callable[..., Any]) -> Callable[..., Any]:
        def encode(inputs: list[str], **rest: Any) -> Any:
            encoded.extend(inputs)
            return method(inputs, **rest)

        return encode

    monkeypatch.setattr(model, "encode_query", counting(model.encode_query))
    monkeypatch.setattr(model, "encode_document", counting(model.encode_document))
    measured(model, data, dimensions=(WIDTH, 32, 16, 8))
    assert len(encoded) == 60 + 150


def test_the_best_documents_are_kept_for_examples(model: SentenceTransformer, data: RetrievalData) -> None:
    result = measured(model, data, metrics=("accuracy@10",))
    assert all(len(found) == TOP_DOCUMENTS for found in top_documents(result).values())
    hits = [bool(data.relevant[q] & set(found)) for q, found in top_documents(result).items()]
    assert of_queries(result, "accuracy@10") == hits


class Fixed:
    """A model of which every embedding is known."""

    device = torch.device("cpu")

    def __init__(self, embeddings: dict[str, list[float]]) -> None:
        self.embeddings = embeddings
        self.seen_in_autocast: list[bool] = []

    def encode_query(self, inputs: list[str], **_: Any) -> torch.Tensor:
        self.seen_in_autocast.append(torch.is_autocast_enabled("cpu"))
        return torch.tensor([self.embeddings[i] for i in inputs])

    encode_document = encode_query


def set_of(documents: list[str], relevant: dict[str, frozenset[str]]) -> RetrievalData:
    return RetrievalData(
        name="test",
        queries=Collection(ids=tuple(relevant), inputs=list(relevant)),
        corpus=Collection(ids=tuple(documents), inputs=documents),
        relevant=relevant,
        unjudged_queries=0,
        digest="sha256:0",
    )


def test_equal_scores_go_by_document_id() -> None:
    model = Fixed({"q": [1.0, 0.0], "b": [1.0, 0.0], "a": [1.0, 0.0], "c": [2.0, 0.0], "z": [0.0, 1.0]})
    data = set_of(["z", "b", "c", "a"], {"q": frozenset({"b"})})
    result = measured(model, data, metrics=("mrr@10",), dimensions=(2,))
    assert top_documents(result)["q"] == ("a", "b", "c", "z")
    assert of_queries(result, "mrr@10") == [0.5]


def test_only_the_encoding_runs_in_low_precision() -> None:
    # Similarities 1.0 and 1.0 - 1e-4 are one number in bfloat16.
    model = Fixed({"q": [1.0, 0.0], "worse": [1.0, 0.0142], "yes": [1.0, 0.0]})
    data = set_of(["worse", "yes"], {"q": frozenset({"yes"})})
    result = measured(model, data, metrics=("accuracy@1",), dimensions=(2,), autocast="bf16")
    assert model.seen_in_autocast == [True, True]
    assert result.scores.value("accuracy@1") == 1.0


def test_an_embedding_that_is_not_a_number_is_named() -> None:
    model = Fixed({"q": [1.0, 0.0], "a": [1.0, 0.0], "b": [float("nan"), 0.0]})
    with pytest.raises(InvalidModel, match="'b'"):
        measured(model, set_of(["a", "b"], {"q": frozenset({"a"})}), dimensions=(2,))


def test_more_dimensions_than_the_model_has_are_an_error() -> None:
    model = Fixed({"q": [1.0, 0.0], "a": [1.0, 0.0]})
    with pytest.raises(InvalidSpec, match="have 2 dimensions, found 4"):
        measured(model, set_of(["a"], {"q": frozenset({"a"})}), dimensions=(2, 4))


def test_what_the_heartbeat_raises_ends_the_evaluation(
    model: SentenceTransformer, data: RetrievalData
) -> None:
    def stop(_done: int, _all: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measured(model, data, heartbeat=stop)


def test_images_are_decoded_no_more_than_a_batch_at_a_time() -> None:
    image = Image.new("RGB", (4, 4))
    taken: list[int] = []

    class Images(list[Image.Image]):
        @override
        def __getitem__(self, index: Any) -> Any:
            found = super().__getitem__(index)
            taken.append(len(found) if isinstance(found, list) else 1)
            return found

    class Constant(Fixed):
        @override
        def encode_query(self, inputs: list[Any], **_: Any) -> torch.Tensor:
            return torch.ones(len(inputs), 2)

        encode_document = encode_query

    documents = tuple(f"d{n}" for n in range(50))
    data = RetrievalData(
        name="test",
        queries=Collection(ids=("q",), inputs=["q"]),
        corpus=Collection(ids=documents, inputs=Images([image] * 50)),
        relevant={"q": frozenset({"d0"})},
        unjudged_queries=0,
        digest="sha256:0",
    )
    measured(Constant({}), data, dimensions=(2,))
    assert max(taken) == EVALUATOR.batch_size


def test_the_name_tells_evaluator_similarity_and_metric() -> None:
    assert metric_name("vdr", "cosine", "ndcg@10") == "vdr_cosine_ndcg@10"
    assert metric_name("vdr", "cosine", "ndcg@10", dimension=64) == "vdr_cosine_ndcg@10_dim64"


class OneKindAtATime(Fixed):
    """As CLIP and routers: a mixed batch is refused. Images are red by their number."""

    @override
    def encode_query(self, inputs: list[Any], **_: Any) -> torch.Tensor:
        kinds = {type(i) for i in inputs}
        assert len(kinds) == 1, kinds
        return torch.tensor([self.embeddings[self._name(i)] for i in inputs])

    encode_document = encode_query

    def _name(self, item: Any) -> str:
        return item if isinstance(item, str) else f"image {item.getpixel((0, 0))[0]}"


def test_mixed_inputs_are_encoded_kind_by_kind_and_stay_in_order() -> None:
    image_1, image_2 = (Image.new("RGB", (2, 2), (n, 0, 0)) for n in (1, 2))
    model = OneKindAtATime(
        {"q": [1.0, 0.0], "image 1": [0.0, 1.0], "text": [1.0, 0.1], "image 2": [0.9, 0.9], "z": [0.1, 1.0]}
    )
    data = RetrievalData(
        name="test",
        queries=Collection(("q0", "q1"), ["q", image_1]),
        corpus=Collection(("d0", "d1", "d2"), ["text", image_2, "z"]),
        relevant={"q0": frozenset({"d0"}), "q1": frozenset({"d1"})},
        unjudged_queries=0,
        digest="sha256:0",
    )
    result = measured(model, data, metrics=("mrr@10",), dimensions=(2,))
    assert top_documents(result) == {"q0": ("d0", "d1", "d2"), "q1": ("d2", "d1", "d0")}
    assert of_queries(result, "mrr@10") == [1.0, 0.5]
    assert result.ranking is not None
    assert result.ranking.ranks == {"q0": {"d0": 1}, "q1": {"d1": 2}}


def test_a_collapsed_model_ranks_no_candidate_first() -> None:
    """All candidates are equally similar, positives come first in the data: nothing may be gained by that."""
    discounts = [1 / math.log2(n) for n in (2, 3, 4, 5)]
    expected = {"ndcg@10": sum(discounts) / 4, "map": 0.25, "mrr@10": 0.25, "accuracy@3": 0.0}
    model = Fixed({name: [1.0, 0.0] for name in ("q", "a", "b", "c", "d")})
    data = set_of(["a", "b", "c", "d"], {"q": frozenset({"a"})})
    evaluator = Evaluator(name="pages", type="Reranking", data="test")
    result = evaluate(
        cast("Any", model), replace(data, candidates={"q": tuple("abcd")}), evaluator,
        metrics=tuple(expected), dimensions=(2,), similarity="cosine", autocast="None",
    )  # fmt: skip
    assert {m: result.scores.value(m) for m in expected} == pytest.approx(expected)


def test_the_corpus_of_candidates_is_encoded_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(candidates, "MAX_DOCUMENTS", 4)
    names = [f"d{n}" for n in range(9)]
    model = Fixed({"q": [1.0, 0.0], **{name: [1.0, n / 10] for n, name in enumerate(names)}})
    queries = {f"q{n}": tuple(names[n : n + 3]) for n in range(7)}
    data = RetrievalData(
        name="test",
        queries=Collection(tuple(queries), ["q"] * 7),
        corpus=Collection(tuple(names), names),
        relevant={q: frozenset(found[:1]) for q, found in queries.items()},
        unjudged_queries=0,
        digest="sha256:0",
        candidates=queries,
    )
    evaluator = Evaluator(name="pages", type="Reranking", data="test")
    result = evaluate(
        cast("Any", model), data, evaluator,
        metrics=("accuracy@1",), dimensions=(2,), similarity="cosine", autocast="None",
    )  # fmt: skip
    assert of_queries(result, "accuracy@1") == [1.0] * 7
    assert top_documents(result)["q6"] == ("d6", "d7", "d8")
