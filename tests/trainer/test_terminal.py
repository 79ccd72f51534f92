import io
import logging

import pytest
from rich.console import Console

from finetune_trainer.terminal import Bars, Lines
from finetune_trainer.training_types import TrainingProgress


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


def test_a_terminal_shows_a_bar_for_each_phase() -> None:
    shown = io.StringIO()
    bars = Bars(Console(file=shown, force_terminal=True, width=120, color_system=None))
    bars.begin("Baseline")
    bars.encoded(10, 20)
    bars.begin("Training")
    bars.trained(progress(50))
    bars.note("[not markup]")
    bars.close()
    text = shown.getvalue()
    assert "Measuring the base model" in text
    assert "50/100, loss 0.2500, 31.2 rows/s, 2:05 left" in text
    assert "note: [not markup]" in text
