import io
import queue
from typing import Any

import pytest
from rich.console import Console

from demo.errors import DemoError
from demo.live_table import Row, plain_line, render, show_until_settled, updated
from demo.watching import Events, Finetune
from tests.cluster.client import ApiError
from tests.demo.builders import EVALUATION, a_finetune, a_ready_one, condition


def a_row(finetune: Finetune | None = None, *, at: float = 10) -> Row:
    row = Row("visual-documents", started_at=0)
    return updated(row, finetune, at) if finetune else row


def training(**progress: Any) -> Finetune:
    return a_finetune(
        phase="Training", progress={"percent": 42, "loss": "3.14159", "remainingSeconds": 60, **progress}
    )


def on_screen(*rows: Row, now: float = 10) -> str:
    console = Console(width=120, file=io.StringIO())
    with console.capture() as capture:
        console.print(render(rows, now))
    return capture.get()


def test_a_training_finetune_shows_phase_progress_loss_and_what_is_left() -> None:
    text = on_screen(a_row(training()))
    for part in ("visual-documents", "Training", "42 %", "3.142", "1:00"):
        assert part in text


def test_what_is_left_counts_down_between_two_messages_but_not_below_zero() -> None:
    row = a_row(training(), at=10)
    assert row.remaining_seconds(25) == 45
    assert row.remaining_seconds(500) == 0


def test_a_finetune_of_which_nothing_was_heard_has_its_line() -> None:
    assert "Applied" in on_screen(a_row())


def test_the_clock_of_a_finetune_stops_when_it_is_settled() -> None:
    row = updated(a_row(a_ready_one(), at=70), a_ready_one(), 90)
    assert row.elapsed_seconds(200) == 70


def test_a_ready_finetune_shows_the_metric_before_and_after() -> None:
    text = on_screen(a_row(a_ready_one()))
    assert "0.027 -> 0.942" in text
    assert "100 %" in text


def test_a_metric_without_a_baseline_stands_alone() -> None:
    primary = {k: v for k, v in EVALUATION["primary"].items() if k not in {"baseline", "gain"}}
    assert a_row(a_ready_one(evaluation={"primary": primary})).metric == "0.942"


def test_what_holds_a_finetune_up_is_shown_below_the_table() -> None:
    waits = condition("Reconciling", reason="VolumeMissing", message="claim data does not exist")
    text = on_screen(a_row(a_finetune(phase="Pending", conditions=[waits])))
    assert "VolumeMissing: claim data does not exist" in text


@pytest.mark.parametrize(("message", "shown"), [("first\nsecond", "Failed: first"), ("", "Failed: ")])
def test_of_a_long_message_the_first_line_is_shown(message: str, shown: str) -> None:
    stalled = condition("Stalled", reason="Failed", message=message)
    assert a_row(a_finetune(phase="Failed", conditions=[stalled])).trouble == shown


def test_progress_as_usual_is_not_trouble() -> None:
    going = condition("Reconciling", reason="Training", message="step 3")
    assert a_row(a_finetune(phase="Training", conditions=[going])).trouble == ""


def test_a_plain_line_says_the_same() -> None:
    assert (
        plain_line(a_row(training()), 10)
        == " 0:10  visual-documents  Training     42 %  loss 3.142  1:00 left"
    )


def shown(*events: Finetune, seconds: float = 60) -> tuple[list[Finetune], list[str]]:
    heard: Events = queue.SimpleQueue()
    for event in events:
        heard.put(event)
    console = Console(file=io.StringIO(), width=200)
    with console.capture() as capture:
        ended = show_until_settled(
            heard, ["visual-documents"], console=console, check=lambda: None, seconds=seconds
        )
    return ended, capture.get().splitlines()


def test_without_a_terminal_there_is_a_line_for_every_phase_and_every_ten_per_cent() -> None:
    steps = [training(percent=percent) for percent in (1, 2, 9, 10, 19, 20)]
    ended, lines = shown(a_finetune(phase="Starting"), *steps, a_ready_one())
    assert [line.split()[2:4] for line in lines] == [
        ["Starting", "0"],
        ["Training", "1"],
        ["Training", "10"],
        ["Training", "20"],
        ["Ready", "100"],
    ]
    assert ended == [a_ready_one()]


def test_finetunes_of_others_are_not_shown() -> None:
    _, lines = shown(a_finetune("somebody-elses", phase="Training"), a_ready_one())
    assert len(lines) == 1


def test_waiting_has_an_end_that_says_what_was_waited_for() -> None:
    with pytest.raises(DemoError, match=r"not done within 0:00 minutes:\n.*visual-documents  Training"):
        shown(training(), seconds=0)


def test_a_dead_operator_ends_the_waiting() -> None:
    def check() -> None:
        raise DemoError("the operator ended with 1")

    with pytest.raises(DemoError, match="the operator ended"):
        show_until_settled(queue.SimpleQueue(), ["a"], console=Console(), check=check, seconds=60)


def test_a_watch_that_is_refused_ends_the_waiting() -> None:
    heard: Events = queue.SimpleQueue()
    heard.put(ApiError(403, "Forbidden", "no"))
    with pytest.raises(DemoError, match="can no longer be watched: 403 Forbidden"):
        show_until_settled(heard, ["a"], console=Console(), check=lambda: None, seconds=60)


def test_on_a_terminal_the_table_is_drawn_in_place() -> None:
    heard: Events = queue.SimpleQueue()
    heard.put(a_ready_one())
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    show_until_settled(heard, ["visual-documents"], console=console, check=lambda: None, seconds=60)
    assert isinstance(console.file, io.StringIO)
    assert "0.027 -> 0.942" in console.file.getvalue()
