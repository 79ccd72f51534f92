"""Fourth and sixth stage: how good a model is, by one evaluator on one set, at every asked dimension.

Base and tuned model go through here with the same arguments. Nothing here compares them.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from finetune_api.evaluation import Evaluator
from finetune_trainer.data.inputs import EvaluationData, LabelledData, RetrievalData
from finetune_trainer.evaluation.candidates import candidates_of, rank_candidates
from finetune_trainer.evaluation.encoding import Encoder, Heartbeat, Pairs, Progress, Role, model_type
from finetune_trainer.evaluation.labelled import Task, classes, correlations, decisions, measure_rows
from finetune_trainer.evaluation.ranking import rank_corpus
from finetune_trainer.evaluation.scores import EvaluatorResult, Ranking, Scores
from finetune_trainer.evaluation.units import data_sets, unit_count

if TYPE_CHECKING:
    from finetune_trainer.evaluation.encoding import AnyModel

__all__ = ["EvaluatorResult", "Heartbeat", "Ranking", "Scores", "evaluate"]

RERANKED = 100
"""Candidates of BM25 that a reranker ranks in NanoBEIR, as in the library."""


def evaluate(
    model: "AnyModel",
    data: EvaluationData,
    evaluator: Evaluator,
    *,
    metrics: Sequence[str],
    dimensions: Sequence[int | None],
    similarity: str,
    autocast: str,
    heartbeat: Heartbeat = lambda _done, _all: None,
) -> EvaluatorResult:
    """What the evaluator says of the model.

    metrics: for rankings, those to compute; the others have a few and compute all. dimensions: the headline
    first; (None,) unless it is an Embedding model. similarity: the model's, "" for a Reranker. autocast:
    "bf16" or "None".
    Raises InvalidModel when embeddings are not finite, InvalidSpec for more dimensions than the model has.
    """
    encoder = Encoder(
        model=model,
        batch_size=evaluator.batch_size,
        autocast=autocast,
        similarity=similarity,
        progress=Progress(_inputs(data), heartbeat),
        max_active_dims=evaluator.args.get("max_active_dims"),
        prompts=_prompts(evaluator),
    )
    # The checks would double the time of sparse products; left undecided, they are warned about.
    unchecked: Any = torch.sparse.check_sparse_tensor_invariants
    with torch.inference_mode(), unchecked(enable=False):
        if isinstance(data, RetrievalData):
            return _rank(encoder, data, evaluator, metrics=metrics, dimensions=dimensions)
        if model_type(model) == "Reranker":
            return _measure_pairs(encoder, data, evaluator)
        return measure_rows(Task(encoder, data, evaluator.args), evaluator, dimensions=dimensions)


def _rank(
    encoder: Encoder,
    data: RetrievalData,
    evaluator: Evaluator,
    *,
    metrics: Sequence[str],
    dimensions: Sequence[int | None],
) -> EvaluatorResult:
    strata = data_sets(data, evaluator)
    if evaluator.type == "Reranking" or encoder.similarity == "":
        candidates = candidates_of(
            data,
            most=evaluator.args.get("rerank_k", RERANKED) if evaluator.type == "NanoBEIR" else None,
            with_positives=evaluator.args.get("always_rerank_positives", True),
        )
        return rank_candidates(
            encoder, candidates, evaluator.name, metrics=metrics, dimensions=dimensions, strata=strata
        )
    return rank_corpus(encoder, data, evaluator.name, metrics=metrics, dimensions=dimensions, strata=strata)


def _measure_pairs(encoder: Encoder, data: LabelledData, evaluator: Evaluator) -> EvaluatorResult:
    """Of a reranker: its scores against labels."""
    rows = np.arange(len(data))
    pairs = Pairs(data.inputs[0], data.inputs[1], np.stack([rows, rows], axis=1))
    scores = encoder.pair_scores(pairs).double().numpy()
    labels = np.array(data.labels, dtype=np.float64)
    if evaluator.type == "Correlation":
        measures, details = correlations(scores.reshape(len(data)), labels), dict[str, float]()
    elif scores.ndim == 2 and scores.shape[1] > 1:
        measures, details = classes(scores, labels)
    else:
        measures, details = decisions(scores.reshape(len(data)), labels, "average_precision")
    scored = Scores(evaluator.name, None, unit_count(data, evaluator), measures, details)
    return EvaluatorResult({None: scored}, None)


def _inputs(data: EvaluationData) -> int:
    """About as many as will be encoded."""
    if isinstance(data, RetrievalData):
        return len(data.queries) + len(data.corpus)
    return len(data) * len(data.inputs)


def _prompts(evaluator: Evaluator) -> tuple[tuple[Role, str], ...]:
    said: tuple[tuple[Role, str], ...] = (("query", "query_prompt"), ("document", "corpus_prompt"))
    return tuple((role, evaluator.args[name]) for role, name in said if name in evaluator.args)
