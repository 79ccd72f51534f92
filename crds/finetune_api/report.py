"""The Report: what a run leaves behind for the operator, as termination message and as its last POST.

At most 2,048 bytes: the 12 KiB of a pod's termination messages are shared among all its containers.
"""

import json
from typing import Annotated, Literal

from pydantic import Field

from finetune_api.fields import ApiModel
from finetune_api.results import Artifact, Failure, Lineage, Measured

MAX_REPORT_BYTES = 2048

Outcome = Literal["Succeeded", "GateFailed", "Failed"]


class Report(ApiModel):
    """How a run ended. The full report beside the model has what does not fit in here."""

    version: Literal[1] = 1
    uid: str
    """Of the finetune."""
    run: Annotated[int, Field(ge=1)]
    outcome: Outcome
    measured: Measured | None = None
    artifact: Artifact | None = None
    lineage: Lineage | None = None
    failure: Failure | None = None
    checkpoint_step: Annotated[int, Field(ge=0)] | None = None
    """Training step of the newest checkpoint that another attempt can go on from."""

    def to_json(self) -> str:
        """The Report in at most MAX_REPORT_BYTES, by leaving out what matters least.

        Metrics go first, from the end (put gated ones first); then library versions, long texts, the names
        of image and losses; then gates, those that hold before those that do not.
        """
        report = self
        while report.size > MAX_REPORT_BYTES and report.measured and report.measured.metrics:
            report = report.with_measured(metrics=report.measured.metrics[:-1])
        for shorten in (_without_versions, _with_short_messages, _without_names):
            if report.size > MAX_REPORT_BYTES:
                report = shorten(report)
        while report.size > MAX_REPORT_BYTES and report.measured and report.measured.gates:
            report = report.with_measured(gates=sorted(report.measured.gates, key=lambda g: g.passed)[:-1])
        return report.as_bytes().decode()

    @property
    def size(self) -> int:
        """Bytes of the whole Report."""
        return len(self.as_bytes())

    def with_measured(self, **changes: object) -> "Report":
        """A copy with a part of `measured` changed."""
        measured = self.measured.model_copy(update=changes) if self.measured else None
        return self.model_copy(update={"measured": measured})

    def as_bytes(self) -> bytes:
        """The whole Report, of any length."""
        return self.model_dump_json(by_alias=True, exclude_none=True).encode()


def _without_versions(report: Report) -> Report:
    if report.lineage is None:
        return report
    return report.model_copy(update={"lineage": report.lineage.model_copy(update={"versions": {}})})


def _without_names(report: Report) -> Report:
    if report.lineage is None:
        return report
    lineage = report.lineage.model_copy(update={"image": None, "losses": None})
    return report.model_copy(update={"lineage": lineage})


def _with_short_messages(report: Report) -> Report:
    if report.measured is not None:
        report = report.with_measured(
            gates=[g.model_copy(update={"message": ""}) for g in report.measured.gates]
        )
    if report.failure is None:
        return report
    texts = {"message": _cut(report.failure.message, 400), "hint": _cut(report.failure.hint, 160)}
    return report.model_copy(update={"failure": report.failure.model_copy(update=texts)})


def _cut(text: str, length: int) -> str:
    """At most `length` bytes as JSON writes it: a control character takes six there."""
    cut = text
    while len(json.dumps(cut, ensure_ascii=False).encode()) - 2 > length:
        cut = cut[: len(cut) * 3 // 4]
    return cut
