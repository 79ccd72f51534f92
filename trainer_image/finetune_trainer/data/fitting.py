"""Data and model held against each other: what it can read, and how it wants recordings decoded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from finetune_trainer.data.duplicates import duplicate_notes
from finetune_trainer.data.inputs import Cells, Collection, EvaluationData, RetrievalData, TrainingData
from finetune_trainer.data.lengths import check_lengths
from finetune_trainer.data.media_formats import Modality
from finetune_trainer.data.recordings import Sampling
from finetune_trainer.errors import InvalidData
from finetune_trainer.models.routes import reads

if TYPE_CHECKING:
    from sentence_transformers.base.model import BaseModel

_ROLES = {"queries": "query", "corpus": "document"}
"""Of the parts of an eval set; inputs of other kinds have none."""


@dataclass(frozen=True)
class Fitted:
    """Data whose recordings are decoded as the model's processor wants them. notes: for people."""

    training: TrainingData
    evaluation: dict[str, EvaluationData]
    notes: tuple[str, ...] = ()


def fit_to_model(
    model: "BaseModel", training: TrainingData, evaluation: Mapping[str, EvaluationData]
) -> Fitted:
    """The data for this model.

    Raises InvalidData when it has inputs that the model cannot read, or media that it can read only in part.
    """
    check_modalities(model, training, list(evaluation.values()))
    sampling = _sampling_of(model)
    fitted = _sampled_training(training, sampling)
    measured = _sampled_evaluation(evaluation, sampling)
    notes = (*duplicate_notes(training), *check_lengths(model, fitted, measured))
    return Fitted(fitted, measured, notes)


def check_modalities(
    model: "BaseModel", training: TrainingData, evaluation: Sequence[EvaluationData]
) -> None:
    """Raises InvalidData for a column that the model cannot read. model: what has `supports` is enough."""
    from finetune_trainer.data.features import modalities

    for one in training.sets:
        for column in one.input_columns:
            where = f"column of role {column!r} in train set {one.name!r}"
            role = "query" if column == "query" else "document"
            _require_support(model, role, modalities(one.rows.features[column]), where)
    for data in evaluation:
        for role, items in collections_by_role(data).items():
            for feature in _cells(items).features:
                where = f"{role} of eval set {data.name!r}"
                _require_support(model, _ROLES.get(role), modalities(feature), where)


def collections_by_role(data: EvaluationData) -> dict[str, Collection]:
    if isinstance(data, RetrievalData):
        return {"queries": data.queries, "corpus": data.corpus}
    return {f"inputs {n}": items for n, items in enumerate(data.inputs)}


def _cells(items: Collection) -> Cells:
    assert isinstance(items.inputs, Cells)  # noqa: S101 - the data stage has made it
    return items.inputs


def _require_support(model: "BaseModel", role: str | None, kinds: tuple[Modality, ...], where: str) -> None:
    if reads(model, role, kinds):
        return
    found = ", ".join(" and ".join(m) if isinstance(m, tuple) else str(m) for m in model.modalities)
    raise InvalidData(
        "UnsupportedModality",
        f"{where} holds {' and '.join(kinds)} inputs; the model reads {found}",
        "take another model, or other columns",
    )


def _sampling_of(model: "BaseModel") -> Sampling:
    """How the processors of the model want recordings; of several, the first that says so."""
    found: dict[str, Any] = {}
    for processor in _processors(model):
        audio = getattr(processor, "feature_extractor", processor)
        video = getattr(processor, "video_processor", None)
        if rate := getattr(audio, "sampling_rate", None):
            found.setdefault("sampling_rate", int(rate))
        if video is not None:
            found = _frames_of(video) | found
    return Sampling(**found)


def _processors(model: "BaseModel") -> list[Any]:
    parts = (getattr(module, "processor", None) for module in model.modules())
    return [p for p in parts if p is not None]


def _frames_of(video: Any) -> dict[str, Any]:
    """A processor takes so many frames a second between two bounds, or always the same number."""
    if count := getattr(video, "num_frames", None):
        return {"min_frames": int(count), "max_frames": int(count)}
    wanted = {
        "frames_per_second": getattr(video, "fps", None),
        "min_frames": getattr(video, "min_frames", None),
        "max_frames": getattr(video, "max_frames", None),
    }
    return {name: value for name, value in wanted.items() if value}


def _sampled_training(training: TrainingData, sampling: Sampling) -> TrainingData:
    from finetune_trainer.data.features import sampled

    return TrainingData(tuple(replace(s, rows=sampled(s.rows, sampling)) for s in training.sets))


def _sampled_evaluation(
    evaluation: Mapping[str, EvaluationData], sampling: Sampling
) -> dict[str, EvaluationData]:
    """Evaluators that share their data go on sharing them."""
    different = {id(data): data for data in evaluation.values()}
    fitted = {key: _sampled_set(data, sampling) for key, data in different.items()}
    return {name: fitted[id(data)] for name, data in evaluation.items()}


def _sampled_set(data: EvaluationData, sampling: Sampling) -> EvaluationData:
    if isinstance(data, RetrievalData):
        return replace(
            data, queries=_sampled_items(data.queries, sampling), corpus=_sampled_items(data.corpus, sampling)
        )
    return replace(data, inputs=tuple(_sampled_items(items, sampling) for items in data.inputs))


def _sampled_items(items: Collection, sampling: Sampling) -> Collection:
    from finetune_trainer.data.features import sampled

    return replace(items, inputs=_cells(items).with_columns(partial(sampled, sampling=sampling)))
