"""What a run has found out when it is judged: input of full report, Report, card and picture."""

import importlib.metadata
import platform
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from finetune_api.results import GateResult, Lineage
from finetune_api.run_file import RunFile
from finetune_trainer.comparison.measurement import Measurement
from finetune_trainer.comparison.statistics import LOW_POWER
from finetune_trainer.data.inputs import RetrievalData
from finetune_trainer.digests import content_digest
from finetune_trainer.training.outcome import TrainingResult

if TYPE_CHECKING:
    from finetune_trainer.models.kinds import AnyModel

_LIBRARIES = ("torch", "transformers", "sentence-transformers", "datasets", "accelerate", "tokenizers")


@dataclass(frozen=True)
class Sources:
    """What the run was made from. model: commit or digest; train_rows: after `dropped_rows` were left out."""

    model: str
    train_digest: str
    train_rows: int
    dropped_rows: int
    image: str | None


@dataclass(frozen=True)
class Results:
    """Everything found out. seconds: by stage; finished: ISO 8601, UTC; notes: for people."""

    run: RunFile
    sources: Sources
    training: TrainingResult
    measured: Sequence[Measurement]
    gates: list[GateResult]
    notes: list[str]
    seconds: dict[str, float]
    device: str
    finished: str

    @property
    def primary(self) -> Measurement:
        name = self.run.spec.evaluation.primary.evaluator
        return next(m for m in self.measured if m.evaluator.name == name)

    @property
    def lineage(self) -> Lineage:
        spec = self.run.spec
        return Lineage(
            model=self.sources.model,
            train_data=self.sources.train_digest,
            eval_data=self._gate_data(),
            image=self.sources.image,
            seed=spec.training.seed,
            mini_batch_size=self.training.mini_batch_size,
            losses="; ".join(self.training.losses)[:256] or None,
            versions=library_versions(),
        )

    def _gate_data(self) -> str:
        """Digest of what decides: the gates' eval sets, or the headline's without gates."""
        names = {g.evaluator for g in self.run.spec.evaluation.gates} or {self.primary.evaluator.name}
        digests = sorted({m.data.digest for m in self.measured if m.evaluator.name in names})
        return digests[0] if len(digests) == 1 else content_digest(digests)


def library_versions() -> dict[str, str]:
    """Of Python and of the libraries that decide the numbers."""
    versions = {name: importlib.metadata.version(name) for name in _LIBRARIES}
    return {"python": platform.python_version()} | {name: text[:24] for name, text in versions.items()}


def setting_of(model: "AnyModel") -> dict[str, str]:
    """Device and versions, which numbers may depend on."""
    return {"device": device_name(model), **library_versions()}


def device_name(model: "AnyModel") -> str:
    """Of the GPU, as its maker calls it, or `cpu`."""
    import torch

    device = model.device
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def measurement_notes(measured: Sequence[Measurement]) -> list[str]:
    """What a reader of the numbers must know."""
    notes = [note for one in measured for note in _notes_of(one)]
    units = sorted({one.unit_name for one in measured if one.baseline is not None})
    if units:
        notes.append(f"the intervals cover the choice of {' and '.join(units)}, not the training seed")
    return notes


def _notes_of(one: Measurement) -> Iterator[str]:
    name = one.evaluator.name
    if isinstance(one.data, RetrievalData) and one.data.unjudged_queries:
        yield f"{name}: {one.data.unjudged_queries} queries have no relevant document and were left out"
    if one.baseline is not None and one.clusters < LOW_POWER:
        share = "document" if one.unit_name == "queries" else "content"
        yield (
            f"LowPower: {name} has {one.clusters} groups of {one.unit_name} that share no {share}; below"
            f" {LOW_POWER} an interval is wide, and covers the truth less often than it says"
        )
    few = [f"{g} ({n})" for g in one.groups if (n := one.clusters_of(g)) < LOW_POWER]
    if one.baseline is not None and few and one.clusters >= LOW_POWER:
        where = ", ".join(few[:8])
        yield f"LowPower: {name} has below {LOW_POWER} independent {one.unit_name} in groups {where}"
    if one.baseline is not None and one.tuned.headline not in one.baseline.by_dimension:
        yield f"{name}: no gain, since what it is compared with has no {one.tuned.headline} dimensions"
