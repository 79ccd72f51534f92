"""Rankings of each query's own candidates, by embeddings or by a reranker.

Candidates are those of the data (positives and negatives of a query, or what BM25 found) and, unless
`always_rerank_positives` is false, every relevant document beside them: then a relevant document that the
first stage missed counts as if it had been handed in. Without it such a document is not asked for.

Documents of equal score are in no order: NDCG and MAP take the mean over all orders, as scikit-learn has it
(MAP by groups of equal scores), everything else the worst. A collapsed model thus never looks good.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from finetune_trainer.data.inputs import RetrievalData
from finetune_trainer.errors import InvalidData
from finetune_trainer.evaluation.encoding import Encoder, Pairs, check_dimensions
from finetune_trainer.evaluation.measures import Flags, Floats, Labels, Mean
from finetune_trainer.evaluation.ranking import part_of, ranking_of
from finetune_trainer.evaluation.retrieval_metrics import compute_metrics, cut_off
from finetune_trainer.evaluation.scores import EvaluatorResult, Scores
from finetune_trainer.evaluation.vectors import all_scores

MAX_DOCUMENTS = 8192
"""Documents whose embeddings are held at a time."""

QueryScores = list[Floats]
"""For every query the scores of its candidates."""


@dataclass(frozen=True)
class Candidates:
    """Every query's candidates, by place in the corpus, in the order of the data's queries."""

    data: RetrievalData
    of_query: list[list[int]]

    def flags(self, query: int) -> Flags:
        """Which of the candidates are relevant."""
        relevant = self.data.relevant[self.data.queries.ids[query]]
        return np.array([self.data.corpus.ids[p] in relevant for p in self.of_query[query]], dtype=np.bool_)


def candidates_of(data: RetrievalData, *, most: int | None, with_positives: bool) -> Candidates:
    """most: only so many of the data's. Raises InvalidData for a set that names no candidates."""
    if data.candidates is None:
        raise InvalidData(
            "NoCandidates",
            f"eval set {data.name!r} must say which documents are candidates of a query; it has none",
            "give a table with query, positive and negatives, or measure with InformationRetrieval",
        )
    place = {document: p for p, document in enumerate(data.corpus.ids)}
    rows = []
    for query in data.queries.ids:
        found = dict.fromkeys(data.candidates[query][:most])
        if with_positives:
            found.update(dict.fromkeys(sorted(data.relevant[query])))
        rows.append([place[d] for d in found])
    return Candidates(data, rows)


def rank_candidates(
    encoder: Encoder,
    candidates: Candidates,
    evaluator: str,
    *,
    metrics: Sequence[str],
    dimensions: Sequence[int | None],
    strata: Labels | None = None,
) -> EvaluatorResult:
    """Score every query's candidates and see where the relevant ones rank."""
    if encoder.similarity == "":
        by_dimension: dict[int | None, QueryScores] = {None: _scored_by_pairs(encoder, candidates)}
    else:
        by_dimension = _scored_by_embeddings(encoder, candidates, dimensions)
    headline = next(iter(by_dimension))
    data = candidates.data
    scores = {
        n: Scores(evaluator, n, len(data.queries), _measures(candidates, found, metrics, strata))
        for n, found in by_dimension.items()
    }
    documents = [
        [data.corpus.ids[row[p]] for p in np.argsort(-found, kind="stable")]
        for row, found in zip(candidates.of_query, by_dimension[headline], strict=True)
    ]
    return EvaluatorResult(scores, headline, ranking_of(data, documents, max(map(len, documents))))


def _scored_by_pairs(encoder: Encoder, candidates: Candidates) -> QueryScores:
    rows = [(q, d) for q, found in enumerate(candidates.of_query) for d in found]
    data = candidates.data
    scores = encoder.pair_scores(Pairs(data.queries, data.corpus, np.array(rows, dtype=np.int64)))
    ends = np.cumsum([len(found) for found in candidates.of_query])
    return np.split(scores.double().numpy(), ends[:-1])


def _scored_by_embeddings(
    encoder: Encoder, candidates: Candidates, dimensions: Sequence[int | None]
) -> dict[int | None, QueryScores]:
    queries = encoder.whole(candidates.data.queries, "query")
    check_dimensions(dimensions, queries)
    scores: dict[int | None, QueryScores] = {n: [] for n in dimensions}
    for rows, documents in _blocks(candidates.of_query):
        places = {d: p for p, d in enumerate(documents)}
        block = encoder.whole(part_of(candidates.data.corpus, documents), "document")
        for row in rows:
            found = block.picked([places[d] for d in candidates.of_query[row]])
            for n in dimensions:
                asked = queries.picked([row]).at(n)
                values = all_scores(asked, found.at(n), encoder.similarity)[0]
                scores[n].append(values.double().cpu().numpy())
    return scores


def _blocks(of_query: Sequence[Sequence[int]]) -> Iterator[tuple[list[int], list[int]]]:
    """(queries, their documents) with no more documents than may be held, as far as one query allows it."""
    rows: list[int] = []
    documents: dict[int, None] = {}
    for row, found in enumerate(of_query):
        grown = documents | dict.fromkeys(found)
        if rows and len(grown) > MAX_DOCUMENTS:
            yield rows, list(documents)
            rows, grown = [], dict.fromkeys(found)
        rows.append(row)
        documents = grown
    yield rows, list(documents)


def _measures(
    candidates: Candidates, scores: QueryScores, metrics: Sequence[str], strata: Labels | None
) -> dict[str, Mean]:
    table = np.zeros((len(scores), len(metrics)))
    for query, found in enumerate(scores):
        table[query] = query_metrics(metrics, candidates.flags(query), found)
    return {metric: Mean(table[:, n], strata) for n, metric in enumerate(metrics)}


def query_metrics(metrics: Sequence[str], relevant: Flags, scores: Floats) -> Floats:
    """(metrics,) of one query. relevant, scores: (candidates,)."""
    if not relevant.any():
        return np.zeros(len(metrics))
    worst = np.lexsort((relevant, -scores))
    hits = relevant[worst][None, :]
    wanted = np.array([relevant.sum()])
    found = compute_metrics(metrics, hits, wanted)
    if len(np.unique(scores)) < len(scores):
        found |= {m: np.array([_tied(m, relevant, scores)]) for m in metrics if _takes_the_mean(m)}
    return np.array([found[m][0] for m in metrics])


def _takes_the_mean(metric: str) -> bool:
    return metric.startswith("ndcg") or metric == "map"


def _tied(metric: str, relevant: Flags, scores: Floats) -> float:
    from sklearn.metrics import average_precision_score, ndcg_score

    if metric == "map":
        return float(average_precision_score(relevant, scores))
    return float(ndcg_score([relevant], [scores], k=cut_off(metric)))
