"""The single looks of `preflight`: each checks one thing, and says in words what it has found.

What they check with is what a run itself checks with, so that the two cannot tell different things.
"""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from finetune_api.evaluation import Evaluator
from finetune_api.run_file import RunFile
from finetune_api.spec import FinetuneSpec
from finetune_api.uris import PvcUri, parse_target
from finetune_trainer.errors import StorageFailed
from finetune_trainer.places import Places

if TYPE_CHECKING:
    from finetune_trainer.data.inputs import EvaluationData, TrainingData
    from finetune_trainer.losses.chosen import ChosenLoss
    from finetune_trainer.sources.model_files import ModelFiles


def check_arguments(run: RunFile) -> tuple[bool, str]:
    from finetune_trainer.models import check_trust
    from finetune_trainer.training.checks import check_spec

    spec = run.spec
    check_trust(spec.model, allowed=run.allow_remote_code)
    check_spec(spec)
    count = len(spec.training.args) + len(spec.loss.args)
    return True, f"{count} further arguments are as the library wants them" if count else "no further ones"


def check_target(run: RunFile, places: Places) -> tuple[bool, str]:
    from finetune_trainer.publishing import target_of
    from finetune_trainer.publishing.target import read_latest

    target = target_of(run, places)
    if target is None:
        return True, "none: the run measures and publishes nothing"
    with target.store.errors("opening"):
        latest = read_latest(target)
    _require_writable(target.uri, places)
    return True, f"{target.uri}, with run {latest['run']} in it" if latest else f"{target.uri}, empty"


def _require_writable(uri: str, places: Places) -> None:
    """Of a volume; other places show it when they are published to."""
    parsed = parse_target(uri)
    if not isinstance(parsed, PvcUri):
        return
    folder = places.volume(parsed.claim) / parsed.path
    nearest = next(p for p in (folder, *folder.parents) if p.exists())
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise StorageFailed(
            "StorageFailed",
            f"{uri} cannot be written: no right to write to {nearest}",
            "change its owner or mode",
        )


def rows_in_words(data: "TrainingData") -> str:
    from finetune_trainer.data.features import modalities

    (one,) = data.sets
    kinds = [
        f"{column} ({' and '.join(modalities(one.rows.features[column]))})" for column in one.input_columns
    ]
    return f"{len(one.rows):,} rows: {', '.join([*kinds, *(['label'] if one.label else [])])}"


def sets_in_words(evaluators: Sequence[Evaluator], data: "dict[str, EvaluationData]") -> str:
    from finetune_trainer.data.inputs import RetrievalData

    words = []
    for evaluator in evaluators:
        one = data[evaluator.name]
        if isinstance(one, RetrievalData):
            text = f"{len(one.queries):,} queries, {len(one.corpus):,} documents"
            text += f", {one.unjudged_queries:,} queries without an answer" if one.unjudged_queries else ""
        else:
            text = f"{len(one):,} rows"
        words.append(text)
    return "; ".join(dict.fromkeys(words))


def other_models(spec: FinetuneSpec) -> list[tuple[str, Any]]:
    """Models that help and are not tuned."""
    settings = spec.data.hard_negatives
    named: list[tuple[str, Any]] = []
    if settings is not None:
        named += [("retriever", settings.retriever), ("cross-encoder", settings.cross_encoder)]
    named += [("guide", loss.guide) for loss in (spec.loss, *(s.loss for s in spec.data.train)) if loss]
    return [(what, part) for what, part in named if part is not None]


def check_overlap(
    spec: FinetuneSpec, training: "TrainingData", evaluation: "dict[str, EvaluationData]"
) -> "tuple[TrainingData, str]":
    from finetune_trainer.data.overlap import resolve_overlap

    kept, notes = resolve_overlap(training, evaluation, spec.data.overlap)
    return kept, "; ".join(notes) or "no train row has a query of an eval set"


def check_gates(spec: FinetuneSpec, evaluation: "dict[str, EvaluationData]") -> tuple[bool, str]:
    from finetune_trainer.comparison.measurement import check_gates

    check_gates(spec, evaluation)
    gates = spec.evaluation.gates
    named = ", ".join(f"{g.evaluator} {spec.evaluation.metric(g)}" for g in gates)
    return True, f"{len(gates)} can be judged: {named}"


def check_inputs(
    models: "list[ModelFiles]", training: "TrainingData", evaluation: "dict[str, EvaluationData]"
) -> tuple[bool, str]:
    from finetune_trainer.data.fitting import check_modalities
    from finetune_trainer.sources.model_files import Readable

    readable = Readable.of_all(models)
    if readable is None:
        return True, "not known without loading the model"
    check_modalities(cast("Any", readable), training, list(evaluation.values()))
    return True, f"every column is something that it reads: {', '.join(readable.modalities)}"


def check_negatives(spec: FinetuneSpec, training: "TrainingData", places: Places) -> tuple[bool, str]:
    from finetune_trainer.mining.negatives import count_documents

    counts = count_documents(spec, training, places)
    return True, "; ".join(f"{n:,} documents to search for {name}" for name, n in counts.items())


def check_model(spec: FinetuneSpec, files: "ModelFiles") -> None:
    """Raises InvalidModel when the checkpoint is of another type, and the spec asks for no new layers."""
    model = spec.model
    asked = any(part is not None for part in (model.pooling, model.dense, model.head))
    files.checkpoint.is_ready_as(model.type, new_layers=asked)


def check_losses(
    spec: FinetuneSpec, files: "ModelFiles", training: "TrainingData"
) -> "tuple[list[ChosenLoss], str]":
    """The loss of every set."""
    from finetune_trainer.losses.choice import choose_loss
    from finetune_trainer.losses.chosen import ModelFacts

    facts = ModelFacts(
        type=spec.model.type,
        static="StaticEmbedding" in files.module_types,
        csr="SparseAutoEncoder" in files.module_types or spec.model.dense is not None,
        outputs=files.outputs if spec.model.head is None else 1,
    )
    chosen = [choose_loss(one, facts, spec) for one in training.sets]
    return chosen, "; ".join(c.note or f"{c.name} fits train set {c.data!r}" for c in chosen)


def check_batches(
    spec: FinetuneSpec, losses: "list[ChosenLoss]", training: "TrainingData"
) -> tuple[bool, str]:
    from finetune_trainer.losses.labels import prepare_rows
    from finetune_trainer.training.batches import notes_on_batches, plan_batches

    size = spec.training.batch_size
    plan = plan_batches(training.sets, losses, spec)
    for one, loss in zip(training.sets, losses, strict=True):
        prepare_rows(one, loss)
    notes = notes_on_batches(training.sets, plan, size)
    mined = ", fewer where hard negatives repeat" if spec.data.hard_negatives else ""
    return True, "; ".join([f"{plan.total_steps:,} steps of {size} rows{mined}", *notes])
