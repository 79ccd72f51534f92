"""report.html: it says what the full report says, shows nothing it must not, and loads nothing."""

import html.parser
import json
import re
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typing_extensions import override

from finetune_trainer.reporting.charts import Line, gain_chart, line_chart, ticks
from finetune_trainer.reporting.full_report import build_full_report, to_bytes
from finetune_trainer.reporting.page import Sample, render_page
from finetune_trainer.reporting.samples import LONGEST_TEXT, samples_of, show
from finetune_trainer.reporting.summary import build_report
from tests.trainer.results_builder import a_gated_spec, some_results

HOSTILE = "<script>alert('x')</script><img src=https://elsewhere/x onerror=alert(1)>"


def a_full_report(**changes: Any) -> Any:
    results = some_results(**changes)
    return json.loads(to_bytes(build_full_report(results, build_report(results))))


class Elements(html.parser.HTMLParser):
    """Every element with its attributes, and all text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    @override
    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    @override
    def handle_data(self, data: str) -> None:
        self.text += f"{data} "


def test_the_page_has_headline_interval_gates_dimensions_notes_recipe_and_lineage() -> None:
    full = a_full_report()
    text = " ".join(Elements(render_page(full)).text.split())
    primary = full["report"]["measured"]["primary"]
    for wanted in (
        primary["tuned"],
        f"+{primary['gain']}",
        f"95 % interval +{primary['gainLow']} to +{primary['gainHigh']}",
        "better on 110 queries",
        "worse on 10 queries",
        "vdr mrr@10",
        "passed",
        "an overlap",
        "20 steps over 1,000 rows, 7 more left out for overlap; kept: the weights of step 10.",
        "Where it gained most",
        "Where it lost most",
        "sha256:train",
        '"matryoshkaDims"',
        "Training 12.3 s",
        "recall@10",
    ):
        assert wanted in text
    for dimension in ("16", "32", "64"):
        assert f" {dimension} 0." in text


def test_the_page_loads_and_runs_nothing() -> None:
    page = render_page(a_full_report())
    elements = Elements(page).elements
    assert not {"script", "link", "iframe", "object", "base", "form"} & {tag for tag, _ in elements}
    for _, attributes in elements:
        assert not {"src", "href"} & {k for k, v in attributes.items() if not (v or "").startswith("data:")}
        assert not [name for name in attributes if name.startswith("on")]
    assert "url(" not in page
    assert "default-src 'none'" in page


def test_names_and_contents_of_the_data_are_text_and_never_markup() -> None:
    full = a_full_report()
    full["name"] = full["device"] = HOSTILE
    full["notes"] = [HOSTILE]
    full["evaluators"] = {HOSTILE: full["evaluators"]["vdr"], "dev": full["evaluators"]["dev"]}
    one = full["evaluators"][HOSTILE]
    values = one["dimensions"]["32"]["ndcg@10"]
    one["groups"] = {HOSTILE: {"queries": 1, "clusters": 1, "metrics": {HOSTILE: values}}}
    one["data"]["name"] = HOSTILE
    one["details"] = {HOSTILE: {HOSTILE: 0.5}}
    for example in (*one["examples"]["best"], *one["examples"]["worst"]):
        example |= {"query": HOSTILE, "foundByBase": [HOSTILE], "foundByTuned": [HOSTILE]}
    full["report"]["measured"]["gates"] = [
        {"evaluator": HOSTILE, "metric": HOSTILE, "group": HOSTILE, "passed": False, "message": HOSTILE}
    ]
    full["report"]["measured"]["primary"]["name"] = HOSTILE
    full["report"]["lineage"]["image"] = HOSTILE
    full["spec"]["training"] = {"selection": {"evaluator": HOSTILE, "metric": HOSTILE}}
    full["seconds"] = {HOSTILE: 3.0}
    page = render_page(full, lambda *_: [Sample(text=HOSTILE)])
    assert "<script" not in page
    assert "<img" not in page
    assert Elements(page).text.count(HOSTILE) > 20


def test_texts_and_pictures_are_shown_only_where_they_are_given() -> None:
    results = some_results()
    full = a_full_report()
    assert "secret text" not in render_page(full)
    page = render_page(full, samples_of(results.measured))
    assert "secret text q" in page


def test_secrets_are_not_named() -> None:
    full = a_full_report()
    full["spec"]["model"]["secretRef"] = {"name": "my-token"}
    full["spec"]["data"]["train"][0]["secretRef"] = {"name": "my-token"}
    assert "my-token" not in render_page(full)


def test_a_run_without_baseline_gates_or_selection_has_its_page_too() -> None:
    full = a_full_report(spec=a_gated_spec(compareTo="None", gates=[]), with_base=False)
    full["training"] |= {"bestStep": None, "selectionCurve": [], "lossCurve": []}
    text = Elements(render_page(full)).text
    assert "The base model was not measured, so there is no gain to tell." in text
    assert "No gates" in text
    assert "nothing was recorded" in text


def test_an_evaluator_of_rows_without_dimensions_has_its_part_too() -> None:
    full = a_full_report()
    values = {"tuned": 0.81, "baseline": 0.8, "gain": 0.01}
    full["evaluators"]["sts"] = {
        "type": "EmbeddingSimilarity", "unit": "rows", "similarity": "cosine", "comparedTo": "Published",
        "data": {"name": "sts", "digest": "d", "rows": 800, "clusters": 790}, "dimension": None,
        "metric": "spearman",
        "dimensions": {"": {"spearman": values, "pearson": {"tuned": None}}}, "groups": {}, "details": {},
        "rows": {"metric": "spearman", "ids": [], "clusters": [], "baseline": None, "tuned": None},
        "examples": {"best": [], "worst": [], "worstBefore": [], "worstAfter": [{"row": "7", "tuned": 0.1}]},
    }  # fmt: skip
    text = " ".join(Elements(render_page(full)).text.split())
    assert "800 rows, 790 independent groups, compared with the published model" in text
    assert "spearman 0.8000 0.8100 +0.0100 -" in text
    assert "Hardest now" in text


def test_inputs_are_shown_small_and_short() -> None:
    assert show("x" * 1000) == [Sample(text="x" * LONGEST_TEXT + "...")]
    (picture,) = show(Image.new("RGBA", (4000, 3000), "red"))
    assert picture.picture is not None
    assert picture.picture.startswith("data:image/jpeg;base64,")
    assert len(picture.picture) < 20_000
    sound = {"audio": {"array": np.zeros(24_000), "sampling_rate": 16_000}}
    assert show(sound) == [Sample(text="sound of 1.5 s")]
    frame, words = show({"video": {"array": np.zeros((8, 32, 32, 3), dtype=np.uint8)}})
    assert frame.picture is not None
    assert words == Sample(text="video of 8 frames")
    mixed = show({"text": "a title", "image": Image.new("RGB", (8, 8))})
    assert [bool(part.text) for part in mixed] == [True, False]


@pytest.mark.parametrize(
    ("low", "high", "wanted"),
    [(0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1.0]), (0, 157, [0, 50, 100, 150, 200]), (0.31, 0.33, None), (2, 2, [2])],
)
def test_ticks_are_round_and_span_the_values(low: float, high: float, wanted: list[float] | None) -> None:
    found = ticks(low, high)
    assert found == wanted or wanted is None
    assert found[0] <= low
    assert found[-1] >= high
    assert len(found) <= 8


def test_charts_bear_one_point_equal_points_and_thousands() -> None:
    one = line_chart([Line("loss", [(1, 2.0)], "tuned")], x_label="step", y_label="loss")
    equal = line_chart([Line("loss", [(1, 0.0), (2, 0.0)], "tuned")], x_label="step", y_label="loss", mark=1)
    for chart in (one, equal, gain_chart([0.0, 0.0]), gain_chart([0.1] * 5000)):
        assert "nan" not in chart
        assert not re.search(r"\binf\b", chart)
    assert gain_chart([0.1] * 5000).count("<rect") <= 240
