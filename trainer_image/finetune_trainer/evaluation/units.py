"""What a bootstrap draws: the units of an evaluator, their clusters, data sets and groups. Pure."""

import numpy as np

from finetune_api.evaluation import Evaluator
from finetune_trainer.comparison.clusters import clusters, renumbered
from finetune_trainer.data.inputs import EvaluationData, LabelledData, RetrievalData
from finetune_trainer.evaluation.measures import Labels
from finetune_trainer.evaluation.paraphrases import texts_of


def unit_count(data: EvaluationData, evaluator: Evaluator) -> int:
    """Queries of rankings, texts where paraphrases are mined, else rows."""
    if isinstance(data, RetrievalData):
        return len(data.queries)
    return len(texts_of(data).places) if evaluator.type == "ParaphraseMining" else len(data)


def unit_clusters(data: EvaluationData, evaluator: Evaluator) -> Labels:
    """(units,) cluster of each: queries that share a relevant document, rows that share content."""
    if isinstance(data, RetrievalData):
        return clusters([data.relevant[query] for query in data.queries.ids])
    if evaluator.type == "ParaphraseMining":
        return texts_of(data).families
    return clusters(_contents(data))


def _contents(data: LabelledData) -> list[frozenset[str]]:
    columns = [items.keys or items.ids for items in data.inputs]
    return [frozenset(keys) for keys in zip(*columns, strict=True)]


def data_sets(data: EvaluationData, evaluator: Evaluator) -> Labels | None:
    """(units,) the data set of each query of NanoBEIR; None for all other evaluators."""
    if evaluator.type != "NanoBEIR" or data.groups is None:
        return None
    return renumbered(data.groups)


def group_members(data: EvaluationData) -> dict[str, Labels]:
    """Units of every group, groups in the order of their names. `fit_evaluators` refuses groups of texts."""
    groups = np.array(data.groups or (), dtype=object)
    return {str(g): np.flatnonzero(groups == g) for g in sorted(set(groups))}
