import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console, RenderableType

from demo.examples import Searched, draw_examples, render_examples, telling_queries
from demo.pages import draw_page, plan_pages
from demo.results import Result, keep_model, render_result
from demo.tasks import TASKS, Collection
from demo.watching import Finetune
from tests.demo.builders import ARTIFACT, EVALUATION, GATE, PRIMARY, a_finetune, a_ready_one, condition

TASK = TASKS[0]
MODEL = Path("demo-results/visual-documents")


def printed(thing: RenderableType) -> str:
    console = Console(width=200, file=io.StringIO())
    with console.capture() as capture:
        console.print(thing)
    return capture.get()


def a_result(finetune: Finetune | None = None, **others: Any) -> Result:
    return Result(TASK, finetune or a_ready_one(), **{"model": MODEL, **others})


def test_a_result_tells_metric_interval_gate_and_where_the_model_is() -> None:
    text = printed(render_result(a_result()))
    assert "NDCG@10  0.027 -> 0.942" in text
    assert "+0.915, 95 % interval +0.887 to +0.936; of 200 queries 194 better, 5 the same, 1 worse" in text
    assert "passed  0.9419 is at least 0.90" in text
    assert "pvc://published/visual-documents/1-0123456789ab, copied to demo-results/visual-documents" in text


def test_a_good_result_has_no_shortfall() -> None:
    assert a_result().shortfall is None


def low() -> Finetune:
    return a_ready_one(evaluation={"primary": {**PRIMARY, "tuned": "0.8"}, "gates": [GATE]})


@pytest.mark.parametrize(
    ("result", "message"),
    [
        pytest.param(a_result(low()), "visual-documents reached 0.800, expected at least 0.90", id="too low"),
        pytest.param(
            Result(
                TASK, a_finetune(phase="GateFailed", conditions=[condition("Stalled", message="0.8 < 0.9")])
            ),
            "visual-documents is not Ready: 0.8 < 0.9",
            id="the gate said no",
        ),
        pytest.param(a_result(model=None), "no evaluation or no artifact", id="nothing published"),
    ],
)
def test_a_result_below_the_promise_says_so(result: Result, message: str) -> None:
    assert message in (result.shortfall or "")
    assert message in printed(render_result(result))


def test_a_failed_run_shows_its_message_and_the_next_step() -> None:
    failure = {
        "reason": "BadData",
        "message": "no column 'query'.",
        "hint": "Correct it.",
        "retryable": False,
    }
    finetune = a_finetune(phase="Failed", failure=failure, conditions=[condition("Stalled")])
    text = printed(render_result(Result(TASK, finetune)))
    assert "no column 'query'." in text
    assert "Correct it." in text


def test_a_gate_that_says_no_is_shown_as_such() -> None:
    gates = [{**GATE, "passed": False, "message": "0.94 is below 0.99"}]
    finetune = a_ready_one(evaluation={**EVALUATION, "gates": gates})
    assert "not passed  0.94 is below 0.99" in printed(render_result(a_result(finetune)))


def test_the_published_model_outlives_its_volume(tmp_path: Path) -> None:
    version = tmp_path / "claims" / ARTIFACT["uri"].removeprefix("pvc://")
    version.mkdir(parents=True)
    (version / "modules.json").write_text("[]")
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "of-an-earlier-demo").touch()
    assert keep_model(a_ready_one(), tmp_path / "claims", kept) == kept
    assert [file.name for file in kept.iterdir()] == ["modules.json"]


def test_nothing_published_is_nothing_kept(tmp_path: Path) -> None:
    assert keep_model(a_finetune(phase="GateFailed"), tmp_path, tmp_path / "kept") is None


COLLECTION = Collection(
    queries=("stays", "right", "wrong", "right too"),
    captions=("zero", "one", "two", "three"),
    answers=(0, 1, 2, 3),
)
SEARCHED = Searched(
    COLLECTION,
    base=[[0, 1, 2, 3], [0, 2, 1, 3], [2, 1, 0, 3], [0, 1, 2, 3]],
    tuned=[[0, 1, 2, 3], [1, 0, 2, 3], [0, 1, 2, 3], [3, 0, 1, 2]],
)


def test_examples_show_one_that_got_right_one_that_stayed_and_one_that_got_wrong() -> None:
    three = [(1, "now right"), (0, "as before"), (2, "now wrong")]
    assert telling_queries(SEARCHED, 3) == three
    assert telling_queries(SEARCHED, 9) == [*three, (3, "now right")]


def test_examples_mark_what_is_right_and_say_where_the_right_one_was() -> None:
    lines = [" ".join(line.split()) for line in printed(render_examples(SEARCHED)).splitlines()]
    assert lines[:3] == [
        "query right (now right)",
        "wrong base zero (the right one is number 3)",
        "right tuned one",
    ]


def test_a_long_document_is_shortened_to_a_line() -> None:
    long = replace(COLLECTION, captions=("word " * 60, *COLLECTION.captions[1:]))
    for line in printed(render_examples(replace(SEARCHED, collection=long))).splitlines():
        assert len(line.rstrip()) < 140


def test_the_contact_sheet_has_a_row_for_each_query() -> None:
    pages = tuple(draw_page(page) for page in plan_pages(train=1, test=4).test)
    searched = replace(SEARCHED, collection=replace(COLLECTION, pages=pages))
    assert draw_examples("title", searched).height > 4 * 128
