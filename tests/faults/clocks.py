"""The operator's machine has another idea of the time than the cluster, and changes its mind."""

import secrets
import threading
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from tests.faults import plays
from tests.faults.laboratory import Experiment, Laboratory, Lives
from tests.faults.lanes import Arrange, Lane, Outcome, Scenario

HOUR = 3600
STEP_SECONDS = 2.0


def stepping(offsets: tuple[int, ...], path: Path) -> Arrange:
    """Begins with the first offset; the others follow while the first pod runs."""

    def step(offset: int) -> None:
        _set(path, offset)
        threading.Event().wait(STEP_SECONDS)

    def arrange(lane: Lane) -> None:
        lane.label = f"clock off by {', '.join(map(str, offsets))} s"
        steps = [lambda offset=offset: step(offset) for offset in offsets[1:]]
        lane.when("a pod runs", lambda: plays.running_pods(lane.finetunes), *steps)

    _set(path, offsets[0])
    return arrange


def _set(path: Path, offset: int) -> None:
    """In one step: the operator reads it all the time."""
    scratch = path.with_suffix(".new")
    scratch.write_text(str(offset))
    scratch.rename(path)


def takes_its_time(lane: Lane) -> None:
    """Trains for as long as the clock is busy, within limits of minutes; then it publishes."""
    limits: dict[str, Any] = {
        "limits_pendingSeconds": 600,
        "limits_activeSeconds": 600,
        "limits_stuckSeconds": 600,
    }
    folder = lane.finetunes.make_claim("models")
    lane.finetunes.apply("wait_for_a_file", output_uri="pvc://models/one", **limits, **plays.GRACE)
    plays.await_training(lane.finetunes)
    threading.Event().wait(4 * STEP_SECONDS)
    (folder / "go").touch()
    plays.await_end(lane.finetunes, "Ready")
    run = lane.finetunes.status()["run"]
    assert 0 < run["activeSeconds"] < 600, f"it ran for {run['activeSeconds']} s"


def _stepped(lab: Laboratory) -> Lives:
    lives = [
        _live(lab, takes_its_time, offsets) for offsets in ((0, HOUR, -HOUR, 0), (HOUR, -HOUR), (-HOUR, HOUR))
    ]
    return [(takes_its_time, life.result()) for life in lives]


def _live(lab: Laboratory, scenario: Scenario, offsets: tuple[int, ...]) -> Future[Outcome]:
    path = lab.folder / f"clock-{secrets.token_hex(4)}"
    settings = {"TEST_CLOCK_FILE": str(path)}
    return lab.live(scenario, stepping(offsets, path), nursery=lab.nursery_with_clock(), settings=settings)


CLOCKS = (Experiment("clock steps of an hour", _stepped),)
