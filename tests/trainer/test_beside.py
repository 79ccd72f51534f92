import io
import json
from dataclasses import replace

from PIL import Image

from finetune_api.report import Report
from finetune_api.results import Artifact
from finetune_trainer.evaluation import EvaluatorResult
from finetune_trainer.reporting.beside import files_beside
from finetune_trainer.reporting.full_report import build_full_report, to_bytes
from finetune_trainer.reporting.results import Results
from finetune_trainer.reporting.summary import build_report
from tests.trainer.results_builder import a_gated_spec, some_results

ARTIFACT = Artifact(
    uri="pvc://models/search/3-0123", digest="sha256:0123", run=3, report="pvc://x/report.json"
)


def files_of(results: Results) -> dict[str, bytes]:
    return files_beside(results, build_report(results), ARTIFACT)


def test_report_card_and_picture_stand_beside_a_model() -> None:
    files = files_of(some_results())
    assert set(files) == {"report.json", "report.html", "README.md", "training.png"}
    assert Image.open(io.BytesIO(files["training.png"])).size == (1200, 480)


def test_the_full_report_has_every_dimension_with_intervals_for_what_decides() -> None:
    full = json.loads(files_of(some_results())["report.json"])
    dimensions = full["evaluators"]["vdr"]["dimensions"]
    assert set(dimensions) == {"32", "64", "16"}
    for metrics in dimensions.values():
        assert metrics["mrr@10"]["interval"]["method"] == "BCa"
        assert metrics["ndcg@10"]["interval"]["low"] < metrics["ndcg@10"]["gain"]
        assert "interval" not in metrics["recall@3"]
        assert "baseline" in metrics["recall@3"]


def test_the_full_report_has_every_query_and_examples_by_id_alone() -> None:
    files = files_of(some_results())
    vdr = json.loads(files["report.json"])["evaluators"]["vdr"]
    assert (
        len(vdr["queries"]["ids"]) == len(vdr["queries"]["tuned"]) == len(vdr["queries"]["baseline"]) == 120
    )
    assert len(vdr["examples"]["worst"]) == len(vdr["examples"]["best"]) == 5
    worst = vdr["examples"]["worst"][0]
    assert worst["tuned"] < worst["baseline"]
    assert worst["foundByTuned"][1] == "d0"
    assert all(b"secret text" not in content for content in files.values())


def test_the_report_inside_is_what_a_later_attempt_repeats() -> None:
    results = some_results()
    full = json.loads(files_of(results)["report.json"])
    report = Report.model_validate(full["report"])
    assert report == build_report(results).model_copy(update={"artifact": ARTIFACT})
    assert (full["namespace"], full["name"], full["uid"], full["run"]) == ("team", "search", "u-1", 3)


def test_a_loss_that_is_not_a_number_is_null() -> None:
    results = some_results()
    full = json.loads(to_bytes(build_full_report(results, build_report(results))))
    assert full["training"]["lossCurve"] == [[1, 3.0], [10, 1.5], [20, None]]


def test_the_card_has_numbers_interval_recipe_and_lineage() -> None:
    results = some_results()
    card = files_of(results)["README.md"].decode()
    primary = build_report(results).measured.primary  # type: ignore[union-attr]
    assert card.startswith("---\nlibrary_name: sentence-transformers\n")
    for text in (
        f"**{primary.tuned}** on 120 queries at 32 dimensions",
        f"95 % interval {primary.gain_low} to {primary.gain_high}",
        '"matryoshkaDims"',
        "pvc://models/base",
        "sha256:train",
        "an overlap",
        "Gate vdr mrr@10 passed",
    ):
        assert text in card


def test_a_run_without_a_base_has_its_files_too() -> None:
    results = some_results(a_gated_spec(compareTo="None", gates=[]), with_base=False)
    files = files_of(results)
    assert "The base model was not measured." in files["README.md"].decode()
    vdr = json.loads(files["report.json"])["evaluators"]["vdr"]
    assert vdr["queries"]["baseline"] is None
    assert (vdr["examples"]["best"], vdr["examples"]["worst"]) == ([], [])
    assert vdr["examples"]["worstAfter"][0]["ranksByTuned"] == {"d0": 1}


def test_a_model_without_dimensions_to_choose_has_its_files_too() -> None:
    results = some_results()

    def flat(result: EvaluatorResult | None) -> EvaluatorResult:
        assert result is not None
        return replace(result, by_dimension={None: result.scores}, headline=None)

    measured = [replace(m, base=flat(m.base), tuned=flat(m.tuned)) for m in results.measured]
    files = files_of(replace(results, measured=measured))
    assert Image.open(io.BytesIO(files["training.png"])).size == (1200, 480)
    assert "| vdr | ndcg@10 | 0." in files["README.md"].decode()
    assert "dimensions" not in files["README.md"].decode().partition("## Recipe")[0]
    assert b"embedding dimensions" not in files["report.html"]
