import io
import logging

import pytest
from rich.console import Console

from finetune_trainer.reporters.terminal import Bars, Lines
from finetune_trainer.training.outcome import TrainingProgress


def progress(step: int) -> TrainingProgress:
    return TrainingProgress(step, 100, step / 50, 0.25, 31.25, 125)


def test_lines_tell_phases_and_the_first_and_last_step(caplog: pytest.LogCaptureFixture) -> None:
    lines = Lines(interval=1000)
    with caplog.at_level(logging.INFO):
        lines.begin("Training")
        for step in range(1, 101):
            lines.trained(progress(step))
        lines.note("data overlap")
    assert [r.message for r in caplog.records] == [
        "Training: Training",
        "step 1 of 100, loss 0.2500, 31.2 rows/s, 2:05 left",
        "step 100 of 100, loss 0.2500, 31.2 rows/s, 2:05 left",
        "note: data overlap",
    ]


def test_lines_come_as_often_as_the_interval_lets_them(caplog: pytest.LogCaptureFixture) -> None:
    lines = Lines(interval=0)
    with caplog.at_level(logging.INFO):
        lines.begin("Baseline")
        lines.encoded(10, 20)
        lines.encoded(20, 20)
    assert [r.message for r in caplog.records][1:] == ["encoded 10 of 20 inputs", "encoded 20 of 20 inputs"]


def test_lines_tell_how_far_a_download_is(caplog: pytest.LogCaptureFixture) -> None:
    lines = Lines(interval=0)
    with caplog.at_level(logging.INFO):
        lines.fetched("s3://bucket/base", 1_500_000_000, 4_000_000_000)
        lines.fetched("https://host/a.csv", 2_000_000, 0)
    assert [r.message for r in caplog.records] == [
        "fetched 1,500 of 4,000 MB of s3://bucket/base",
        "fetched 2 MB of https://host/a.csv",
    ]


def shown_by(*, width: int = 120, failed: bool = False) -> str:
    """What a terminal got of two phases."""
    shown = io.StringIO()
    bars = Bars(Console(file=shown, force_terminal=True, width=width, color_system=None))
    bars.begin("Baseline")
    bars.encoded(10, 20)
    bars.begin("Training")
    bars.trained(progress(50))
    bars._progress.refresh()  # as it does by itself ten times a second
    bars.note("[not markup]")
    bars.close(failed=failed)
    return shown.getvalue()


def last_lines(text: str) -> list[str]:
    """The bars as they stay."""
    return [line.split("\x1b[2K")[-1].rstrip() for line in text.rstrip("\x1b[?25h\n").splitlines()[-2:]]


def test_a_terminal_shows_a_bar_for_each_phase() -> None:
    text = shown_by()
    assert "Measuring the base model" in text
    assert "loss 0.2500, 2:05 left, step 50 of 100, 31.2 rows/s" in text
    assert "note: [not markup]" in text


def test_a_finished_phase_keeps_what_it_did_and_no_remaining_time() -> None:
    base, training = last_lines(shown_by())
    assert base.startswith("✓ Measuring the base model")
    assert base.endswith("20 inputs")
    assert training.startswith("✓ Training")
    assert training.endswith("50 steps, loss 0.2500, 31.2 rows/s")


def test_a_failed_phase_is_not_shown_as_done() -> None:
    base, training = last_lines(shown_by(failed=True))
    assert base.startswith("✓")
    assert training.startswith("✗ Training")


def test_a_narrow_terminal_keeps_one_line_for_a_bar() -> None:
    base, training = last_lines(shown_by(width=80))
    assert base.startswith("✓")
    assert training.startswith("✓")
    assert len(training) <= 80


def test_a_training_that_goes_on_says_where_and_begins_its_bar_there(
    caplog: pytest.LogCaptureFixture,
) -> None:
    lines = Lines(interval=1000)
    with caplog.at_level(logging.INFO, "finetune_trainer"):
        lines.resumed(0, 200)
        lines.resumed(37, 200)
        lines.checkpointed(80)
    assert caplog.messages == ["going on after step 37 of 200", "checkpoint of step 80"]
    output = io.StringIO()
    bars = Bars(Console(file=output, force_terminal=True, width=120))
    bars.begin("Training")
    bars.resumed(50, 200)
    (task,) = bars._progress.tasks
    assert (task.completed, task.total) == (50, 200)
    bars.checkpointed(80)
    bars.close()
    assert "note: going on after step 50 of 200, from a checkpoint" in output.getvalue()
