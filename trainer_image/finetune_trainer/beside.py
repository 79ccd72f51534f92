"""The files that stand beside a published model."""

from finetune_api.report import Report
from finetune_api.status import Artifact
from finetune_trainer.full_report import build_full_report, to_bytes
from finetune_trainer.model_card import PICTURE, write_card
from finetune_trainer.pictures import draw_results
from finetune_trainer.publishing.store import REPORT
from finetune_trainer.results import Results


def files_beside(results: Results, report: Report, artifact: Artifact) -> dict[str, bytes]:
    """Name -> content, given where the model will be."""
    published = report.model_copy(update={"artifact": artifact})
    return {
        REPORT: to_bytes(build_full_report(results, published)),
        "README.md": write_card(results, published, artifact).encode(),
        PICTURE: draw_results(results),
    }
