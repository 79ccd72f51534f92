"""Results of an invented run: two evaluators, three dimensions, no model."""

from typing import Any

import numpy as np

from finetune_api.run_file import RunFile
from finetune_api.spec import FinetuneSpec
from finetune_trainer.comparison.measurement import Measurement, judge_gates, wanted_metrics
from finetune_trainer.data.inputs import Collection, RetrievalData
from finetune_trainer.evaluation import EvaluatorResult, Ranking, Scores
from finetune_trainer.evaluation.measures import Mean
from finetune_trainer.reporting.results import Results, Sources, measurement_notes
from finetune_trainer.training.outcome import TrainingResult

DIMENSIONS = (32, 64, 16)
QUERIES = 120


def a_gated_spec(**evaluation: Any) -> FinetuneSpec:
    columns = {"query": "q", "positive": "p"}
    sets = [{"name": n, "uri": f"pvc://data/{n}.jsonl", "columns": columns} for n in ("train", "test", "dev")]
    return FinetuneSpec.model_validate(
        {
            "model": {"uri": "pvc://models/base", "truncateDim": 32},
            "data": {"train": sets[:1], "eval": sets[1:]},
            "loss": {"matryoshkaDims": [64, 32, 16]},
            "evaluation": {
                "evaluators": [{"name": "dev", "data": "dev"}, {"name": "vdr", "data": "test"}],
                "primary": {"evaluator": "vdr"},
                "gates": [{"evaluator": "vdr", "metric": "mrr@10", "minimum": "0.5", "minimumGain": "0"}],
                **evaluation,
            },
        }
    )


def scores(spec: FinetuneSpec, evaluator: str, *, mean: float) -> EvaluatorResult:
    """Metrics around `mean`, a little lower at smaller dimensions."""
    random = np.random.default_rng(5)
    noise = random.uniform(-0.1, 0.1, QUERIES)
    by_dimension: dict[int | None, Scores] = {
        n: Scores(
            evaluator,
            n,
            QUERIES,
            {m: Mean(np.clip(mean + noise - 0.5 / n, 0, 1)) for m in wanted_metrics(spec, evaluator)},
        )
        for n in DIMENSIONS
    }
    found: dict[str, tuple[str, ...]] = {f"q{n}": (f"d{n}", "d0") for n in range(QUERIES)}
    ranks = {query: {documents[0]: 1} for query, documents in found.items()}
    return EvaluatorResult(by_dimension, 32, Ranking(found, ranks, 100))


def evaluation_data(name: str, *, per_document: int = 1) -> RetrievalData:
    queries = tuple(f"q{n}" for n in range(QUERIES))
    return RetrievalData(
        name=name,
        queries=Collection(queries, [f"secret text {q}" for q in queries]),
        corpus=Collection(tuple(f"d{n}" for n in range(QUERIES)), ["secret text"] * QUERIES),
        relevant={q: frozenset({f"d{n // per_document}"}) for n, q in enumerate(queries)},
        unjudged_queries=3 if name == "test" else 0,
        digest=f"sha256:{name}",
    )


def some_results(
    spec: FinetuneSpec | None = None, *, tuned: float = 0.8, with_base: bool = True, per_document: int = 1
) -> Results:
    spec = spec or a_gated_spec()
    run = RunFile(namespace="team", name="search", uid="u-1", run=3, spec_hash="v1:0", spec=spec)
    measured = []
    for evaluator in spec.evaluation.evaluators:
        base = scores(spec, evaluator.name, mean=0.6) if with_base else None
        after = scores(spec, evaluator.name, mean=tuned)
        for at_dimension in after.by_dimension.values():
            for measure in at_dimension.measures.values():
                assert isinstance(measure, Mean)
                measure.values[:10] = 0.1  # so that some queries lose
        data = evaluation_data(evaluator.data, per_document=per_document)
        measured.append(Measurement(evaluator, data, base, after))
    training = TrainingResult(
        model=None,  # type: ignore[arg-type]
        steps=20,
        loss_curve=[(1, 3.0), (10, 1.5), (20, float("nan"))],
        mini_batch_size=64,
        best_step=10,
        selection_curve=[(10, 0.7), (20, 0.6)],
    )
    return Results(
        run=run,
        sources=Sources("sha256:base", "sha256:train", 1000, 7, "registry/trainer@sha256:0"),
        training=training,
        measured=measured,
        gates=judge_gates(spec, measured),
        notes=["an overlap", *measurement_notes(measured)],
        seconds={"Training": 12.34567},
        device="cpu",
        finished="2026-01-01T00:00:00.000+00:00",
    )
