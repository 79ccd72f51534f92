"""The files that stand beside a published model."""

from finetune_api.report import Report
from finetune_api.results import Artifact
from finetune_trainer.publishing.store import REPORT
from finetune_trainer.reporting.card import PAGE, PICTURE, write_card
from finetune_trainer.reporting.full_report import build_full_report, to_bytes
from finetune_trainer.reporting.page import Samples, no_samples, render_page
from finetune_trainer.reporting.pictures import draw_results
from finetune_trainer.reporting.results import Results
from finetune_trainer.reporting.samples import samples_of


def files_beside(results: Results, report: Report, artifact: Artifact) -> dict[str, bytes]:
    """Name -> content, given where the model will be."""
    full = build_full_report(results, report.model_copy(update={"artifact": artifact}))
    samples = _samples(results)
    return {
        REPORT: to_bytes(full),
        "README.md": write_card(full, samples).encode(),
        PICTURE: draw_results(results),
        PAGE: render_page(full, samples).encode(),
    }


def files_without_model(results: Results, report: Report) -> dict[str, bytes]:
    """What is left of a run that publishes nothing: name -> content."""
    full = build_full_report(results, report)
    return {REPORT: to_bytes(full), PAGE: render_page(full, _samples(results)).encode()}


def _samples(results: Results) -> Samples:
    """Of the data, where the spec lets them be shown."""
    output = results.run.spec.output
    return samples_of(results.measured) if output is not None and output.samples else no_samples
