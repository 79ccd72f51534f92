"""The Report: what a run leaves behind for the operator, as termination message and as its last POST.

At most 2,048 bytes: the 12 KiB of a pod's termination messages are shared among all its containers.
"""

from typing import Annotated, Literal

from pydantic import Field

from finetune_api.fields import ApiModel
from finetune_api.status import Artifact, Failure, Lineage, Measured

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

    def to_json(self) -> str:
        """The Report in at most MAX_REPORT_BYTES, by leaving out what matters least.

        Metrics go from the end (put gated ones first), then library versions, then texts are shortened.
        """
        report = self
        text = report.as_bytes()
        while len(text) > MAX_REPORT_BYTES and report.measured and report.measured.metrics:
            fewer = report.measured.model_copy(update={"metrics": report.measured.metrics[:-1]})
            report = report.model_copy(update={"measured": fewer})
            text = report.as_bytes()
        for shorten in (_without_versions, _with_short_messages):
            if len(text) > MAX_REPORT_BYTES:
                report = shorten(report)
                text = report.as_bytes()
        return text.decode()

    def as_bytes(self) -> bytes:
        """The whole Report, of any length."""
        return self.model_dump_json(by_alias=True, exclude_none=True).encode()


def _without_versions(report: Report) -> Report:
    if report.lineage is None:
        return report
    return report.model_copy(update={"lineage": report.lineage.model_copy(update={"versions": {}})})


def _with_short_messages(report: Report) -> Report:
    updates: dict[str, object] = {}
    if report.failure is not None:
        updates["failure"] = report.failure.model_copy(
            update={"message": _cut(report.failure.message, 400), "hint": _cut(report.failure.hint, 160)}
        )
    if report.measured is not None:
        gates = [g.model_copy(update={"message": ""}) for g in report.measured.gates]
        updates["measured"] = report.measured.model_copy(update={"gates": gates[:4]})
    return report.model_copy(update=updates)


def _cut(text: str, length: int) -> str:
    """At most `length` bytes of JSON: a character may take up to 12 there."""
    cut = text
    while len(cut.encode("unicode_escape")) > length:
        cut = cut[: len(cut) * 3 // 4]
    return cut
