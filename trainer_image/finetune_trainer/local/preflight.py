"""Everything about a run that can be known without training: what `finetune-trainer check` does.

One look after the other, and none ends the others: a person wants every problem at once. What stands on
something that has failed is not looked at. Weights are not loaded, and of a hub's model not even fetched.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from finetune_api.exit_codes import ExitCode
from finetune_api.results import Failure
from finetune_api.run_file import RunFile
from finetune_api.spec import FinetuneSpec
from finetune_trainer.failures import as_trainer_error
from finetune_trainer.local.preflight_checks import (
    check_arguments,
    check_batches,
    check_gates,
    check_inputs,
    check_losses,
    check_model,
    check_negatives,
    check_overlap,
    check_target,
    other_models,
    rows_in_words,
    sets_in_words,
)
from finetune_trainer.places import Places

if TYPE_CHECKING:
    from finetune_trainer.data.inputs import EvaluationData, TrainingData
    from finetune_trainer.sources.model_files import ModelFiles

Found = TypeVar("Found")


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. found: in words; failure: None where all is well; code: of the failure.

    skipped: it could not be looked at, because something before it failed.
    """

    what: str
    found: str = ""
    failure: Failure | None = None
    code: ExitCode = ExitCode.DONE
    skipped: bool = False


@dataclass
class Preflight:
    """Findings so far. on_look: told what is looked at next."""

    on_look: Callable[[str], None] = lambda _what: None
    findings: list[Finding] = field(default_factory=list)

    def look(self, what: str, check: Callable[[], tuple[Found, str]]) -> Found | None:
        """Note what `check` finds: (value, words). None when it failed, which is noted too."""
        self.on_look(what)
        try:
            value, words = check()
        except Exception as error:  # noqa: BLE001 - whatever is wrong is one finding among others
            known = as_trainer_error(error)
            self.findings.append(Finding(what, failure=known.as_failure(), code=known.exit_code))
            return None
        self.findings.append(Finding(what, words))
        return value

    def skip(self, what: str, because: str) -> None:
        self.findings.append(Finding(what, because, skipped=True))

    @property
    def exit_code(self) -> ExitCode:
        """Of the first failure."""
        return next((f.code for f in self.findings if f.failure is not None), ExitCode.DONE)


def check_run(run: RunFile, places: Places, preflight: Preflight) -> None:
    """Look at spec, data, model and target of a run, in the order in which a run would meet them."""
    spec = run.spec
    arguments = preflight.look("arguments", lambda: check_arguments(run))
    preflight.look("target", lambda: check_target(run, places))
    training = _train_sets(spec, places, preflight)
    evaluation = _eval_sets(spec, places, preflight)
    models = _models(spec, places, preflight)
    if training is None or evaluation is None:
        for what in ("overlap", "gates", "inputs of the model", "losses"):
            preflight.skip(what, "not looked at: some data could not be read")
        return
    kept = preflight.look("overlap", lambda: check_overlap(spec, training, evaluation))
    if spec.evaluation.gates:
        preflight.look("gates", lambda: check_gates(spec, evaluation))
    if models is None:
        for what in ("inputs of the model", "losses"):
            preflight.skip(what, "not looked at: the model could not be read")
        return
    preflight.look("inputs of the model", lambda: check_inputs(models, training, evaluation))
    rows = kept or training
    if spec.data.hard_negatives is not None:
        preflight.look("hard negatives", lambda: check_negatives(spec, rows, places))
    if arguments is None:
        preflight.skip("losses", "not looked at: the arguments are wrong")
        return
    from finetune_trainer.mining.pool import as_trained

    expected = as_trained(rows, spec)
    losses = preflight.look("losses", lambda: check_losses(spec, models[0], expected))
    if losses is not None:
        preflight.look("batches", lambda: check_batches(spec, losses, expected))


def _train_sets(spec: FinetuneSpec, places: Places, preflight: Preflight) -> "TrainingData | None":
    from finetune_trainer.data.inputs import TrainingData
    from finetune_trainer.data.loading import load_training_data

    sets = []
    for source in spec.data.train:
        alone = _with(spec, "data", train=[source])

        def load(alone: FinetuneSpec = alone) -> "tuple[TrainingData, str]":
            data = load_training_data(alone, places)
            return data, rows_in_words(data)

        found = preflight.look(f"train set {source.name}", load)
        sets.append(found)
    read = [one for found in sets if found is not None for one in found.sets]
    return TrainingData(tuple(read)) if len(read) == len(spec.data.train) else None


def _eval_sets(
    spec: FinetuneSpec, places: Places, preflight: Preflight
) -> "dict[str, EvaluationData] | None":
    from finetune_trainer.data.loading import load_evaluation_data

    loaded: dict[str, EvaluationData] = {}
    for name in dict.fromkeys(e.data for e in spec.evaluation.evaluators):
        readers = [e for e in spec.evaluation.evaluators if e.data == name]
        alone = _with(spec, "evaluation", evaluators=readers)

        def load(alone: FinetuneSpec = alone) -> "tuple[dict[str, EvaluationData], str]":
            data = load_evaluation_data(alone, places)
            return data, sets_in_words(alone.evaluation.evaluators, data)

        loaded |= preflight.look(f"eval set {name}", load) or {}
    return loaded if len(loaded) == len(spec.evaluation.evaluators) else None


def _with(spec: FinetuneSpec, part: str, **changes: Any) -> FinetuneSpec:
    return spec.model_copy(update={part: getattr(spec, part).model_copy(update=changes)})


def _models(spec: FinetuneSpec, places: Places, preflight: Preflight) -> "list[ModelFiles] | None":
    from finetune_trainer.sources.model_files import read_model_files

    parts: list[tuple[str, Any]] = [(f"encoder {e.route}", e) for e in spec.model.encoders or []]
    parts = parts or [("model", spec.model)]
    found = []
    for what, part in parts:

        def read(part: Any = part) -> "tuple[ModelFiles, str]":
            files = read_model_files(part, places, trusted=spec.model.trust_remote_code)
            if part is spec.model:
                check_model(spec, files)
            return files, files.in_words()

        found.append(preflight.look(what, read))
    for what, part in other_models(spec):

        def read_other(part: Any = part) -> "tuple[ModelFiles, str]":
            files = read_model_files(part, places)
            return files, files.in_words()

        preflight.look(what, read_other)
    known = [files for files in found if files is not None]
    return known if len(known) == len(parts) else None
