"""The stages between target and publishing, each as one function over the run and what came before."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from finetune_trainer.comparison.measurement import (
    Measurement,
    check_gates,
    judge_gates,
    wanted_dimensions,
)
from finetune_trainer.comparison.measuring import Baselines
from finetune_trainer.data.fitting import fit_to_model
from finetune_trainer.data.inputs import EvaluationData, TrainingData
from finetune_trainer.data.labelled_pairs import with_labelled_pairs
from finetune_trainer.data.loading import load_evaluation_data, load_training_data
from finetune_trainer.data.overlap import resolve_overlap
from finetune_trainer.digests import content_digest
from finetune_trainer.evaluation import EvaluatorResult, evaluate
from finetune_trainer.evaluation.requirements import Facts, fit_evaluators
from finetune_trainer.mining.negatives import mine_negatives
from finetune_trainer.mining.pool import as_trained
from finetune_trainer.models import (
    check_dimensions,
    check_trust,
    embedding_dimension,
    has_new_head,
    load_model,
    make_trainable,
)
from finetune_trainer.reporting.results import (
    Results,
    Sources,
    device_name,
    measurement_notes,
    setting_of,
)
from finetune_trainer.run import Run
from finetune_trainer.sources.fetch import Fetched, fetch_model
from finetune_trainer.training.guides import fetch_guides, load_guides
from finetune_trainer.training.saving import Resuming
from finetune_trainer.training.train import TrainingResult, check_training, train

if TYPE_CHECKING:
    from finetune_trainer.models.kinds import AnyModel


@dataclass(frozen=True)
class Material:
    """What the sources gave.

    revision, folders: of the base model; model: as loaded, training changes it in place; evaluation: by
    evaluator; dimensions: headline first; guides: folders of the models that guide losses; has_new_head:
    whether the base model's scores are random.
    """

    revision: str
    folders: Mapping[str, Path]
    model: "AnyModel"
    training: TrainingData
    evaluation: dict[str, EvaluationData]
    dimensions: tuple[int | None, ...]
    guides: Mapping[str, Path]
    has_new_head: bool = False


def prepare(run: Run) -> Material:
    """Data and model, both checked: whatever the spec has wrong ends the run here."""
    spec = run.file.spec
    check_trust(spec.model, allowed=run.file.allow_remote_code)
    training = load_training_data(spec, run.places)
    evaluation = load_evaluation_data(spec, run.places)
    training, overlaps = resolve_overlap(training, evaluation, spec.data.overlap)
    for note in overlaps:
        run.note(note)
    check_gates(spec, evaluation)
    run.stop.check()
    fetched = {
        route: fetch_model(part, run.places, trusted=spec.model.trust_remote_code)
        for route, part in spec.model.sources.items()
    }
    guides = fetch_guides(spec, run.places)
    run.stop.check()
    folders = {route: one.path for route, one in fetched.items()}
    model = load_model(
        folders, spec.model, seed=spec.training.seed, allow_remote_code=run.file.allow_remote_code
    )
    check_dimensions(model, spec)
    revision = _revision(fetched)
    fitted = fit_to_model(model, training, evaluation)
    if spec.data.hard_negatives is not None:
        # A loss that has no use for them is told before they are looked for.
        check_training(model, as_trained(fitted.training, spec), spec)
    training, mined = mine_negatives(
        model,
        spec,
        fitted.training,
        list(fitted.evaluation.values()),
        run.places,
        revision=revision,
        heartbeat=run.heartbeat,
    )
    training = with_labelled_pairs(training, spec)
    for note in (*fitted.notes, *mined, *check_training(model, training, spec)):
        run.note(note)
    full = embedding_dimension(model)
    facts = Facts(full, classes=getattr(model, "num_labels", 1))
    measured = fit_evaluators(spec, fitted.evaluation, facts)
    dimensions = wanted_dimensions(spec, full)
    new_head = has_new_head(folders, spec.model)
    return Material(revision, folders, model, training, measured, dimensions, guides, new_head)


def _revision(fetched: Mapping[str, Fetched]) -> str:
    """Of the base model; of several encoders, a digest over all of theirs."""
    if len(fetched) == 1:
        return next(iter(fetched.values())).revision
    return content_digest(part for route, one in fetched.items() for part in (route, one.revision))


def tune(run: Run, material: Material, scratch: Path) -> TrainingResult:
    """Train the model in place. Raises Interrupted when a stop was asked for meanwhile."""
    make_trainable(material.model, run.file.spec.model, seed=run.file.spec.training.seed)
    result = train(
        material.model,
        material.training,
        run.file.spec,
        work=scratch,
        on_progress=run.reporter.trained,
        evaluate=_selection(run, material),
        stop=run.stop,
        guides=load_guides(material.guides, run.file.spec),
        resuming=_resuming(run, material),
    )
    if result.resumed_at:
        steps = ", ".join(map(str, result.resumed_at))
        run.note(f"the training was interrupted, and went on from checkpoints after these steps: {steps}")
    run.stop.check()
    return result


def _resuming(run: Run, material: Material) -> Resuming | None:
    if run.checkpoints is None:
        return None
    return Resuming(
        checkpoints=run.checkpoints,
        spec_hash=run.file.spec_hash,
        model=material.revision,
        data=material.training.digest,
        setting=setting_of(material.model),
        on_resumed=run.reporter.resumed,
        on_checkpoint=run.reporter.checkpointed,
        note=run.note,
    )


def _selection(run: Run, material: Material) -> "Callable[[AnyModel], float] | None":
    """What judges the model while it is trained; at the headline dimension, as users will have it."""
    spec = run.file.spec
    if (selection := spec.training.selection) is None:
        return None
    evaluator = spec.evaluation.evaluator(selection.evaluator)
    metric = spec.evaluation.metric(selection)

    def value(model: "AnyModel") -> float:
        result = evaluate(
            model,
            material.evaluation[evaluator.name],
            evaluator,
            metrics=(metric,),
            dimensions=material.dimensions[:1],
            similarity=spec.model.similarity_name,
            autocast=spec.training.autocast,
        )
        return result.scores.value(metric)

    return value


def judge(
    run: Run,
    material: Material,
    training: TrainingResult,
    *,
    baselines: Baselines,
    tuned: Mapping[str, EvaluatorResult],
) -> Results:
    """All models side by side, and what the gates say."""
    spec, data = run.file.spec, material.training
    measured = [
        Measurement(
            evaluator=e,
            data=material.evaluation[e.name],
            base=baselines.base.get(e.name),
            tuned=tuned[e.name],
            published=baselines.published.get(e.name),
        )
        for e in spec.evaluation.evaluators
    ]
    for note in measurement_notes(measured):
        run.note(note)
    if data.dropped_rows:
        run.note(f"{data.dropped_rows} train rows were left out, since an eval set has their query")
    return Results(
        run=run.file,
        sources=Sources(material.revision, data.digest, data.row_count, data.dropped_rows, run.image),
        training=training,
        measured=measured,
        gates=judge_gates(spec, measured),
        notes=run.notes,
        seconds=run.seconds,
        device=device_name(material.model),
        finished=datetime.now(UTC).isoformat(timespec="milliseconds"),
    )
