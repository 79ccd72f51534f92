"""Which report is newer, and what is known after it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune_api.status import RUNNING_PHASES, Progress
from finetune_operator.decisions.observed import LiveProgress
from finetune_operator.identity import Sender
from finetune_operator.memory import Key
from finetune_operator.progress import follow
from finetune_operator.wire import TrainerStatus, WireMetric

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
OLD_POD = Sender(Key("team", "one"), "u1", 1, "pod-1", ("2026-01-01T11:00:00Z", "one-1-z"))
POD = Sender(Key("team", "one"), "u1", 1, "pod-2", ("2026-01-01T11:30:00Z", "one-1-a"))


def after(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


class Run:
    """What is known of a run while its pods report."""

    def __init__(self) -> None:
        self.known: LiveProgress | None = None

    def hear(
        self,
        step: int | None = None,
        *,
        said: float,
        came: float | None = None,
        pod: Sender = POD,
        remaining: int | None = None,
        **metrics: object,
    ) -> bool:
        """Whether that report was taken. said, came: seconds after noon; it comes at once unless told."""
        if step is not None:
            metrics = {"current_step": step, "total_steps": 100, **metrics}
        status = TrainerStatus(
            progressPercentage=step,
            estimatedRemainingSeconds=remaining,
            lastUpdatedTime=after(said),
            metrics=[WireMetric(name=name, value=str(value)) for name, value in metrics.items()],
        )
        live = follow(status, pod, after(said if came is None else came), self.known)
        self.known = live or self.known
        return live is not None

    @property
    def live(self) -> LiveProgress:
        assert self.known is not None
        return self.known

    @property
    def step(self) -> int | None:
        return self.live.progress.step if self.live.progress else None


@pytest.fixture
def run() -> Run:
    return Run()


def test_a_report_that_was_overtaken_changes_nothing(run: Run) -> None:
    run.hear(20, said=10)
    before = run.live
    assert not run.hear(10, said=5, came=11)
    assert run.live is before


def test_a_report_that_is_sent_once_more_does_not_look_like_work(run: Run) -> None:
    run.hear(20, said=10)
    run.hear(20, said=10, came=600)
    assert (run.step, run.live.changed_at) == (20, after(10))


def test_the_newer_of_two_reports_at_one_step_counts(run: Run) -> None:
    run.hear(20, said=10, loss="0.5")
    run.hear(20, said=11, loss="0.4")
    assert run.live.progress is not None
    assert run.live.progress.loss == "0.4"


def test_the_step_never_goes_back_within_a_pod(run: Run) -> None:
    run.hear(20, said=10, phase="Training")
    assert run.hear(3, said=15, phase="Training")
    assert run.step == 20
    assert run.hear(21, said=20, phase="Training")
    assert run.step == 21


def test_the_phase_never_goes_back_within_a_pod(run: Run) -> None:
    run.hear(100, said=10, phase="Evaluating")
    run.hear(100, said=15, phase="Training")
    assert run.live.phase == "Evaluating"


def test_a_time_in_the_future_does_not_hold_up_later_reports(run: Run) -> None:
    run.hear(20, said=86_400, came=10)
    assert run.hear(20, said=15, loss="0.4")
    assert run.hear(21, said=16)
    assert run.step == 21


def test_a_pod_whose_clock_was_set_back_is_heard_with_its_next_step_or_phase(run: Run) -> None:
    run.hear(20, said=3600)
    assert not run.hear(20, said=5, came=3605)
    assert run.hear(21, said=10, came=3610)
    assert run.hear(21, said=15, came=3615, phase="Evaluating")
    assert (run.step, run.live.phase) == (21, "Evaluating")


def test_pods_are_heard_whatever_our_own_clock_does(run: Run) -> None:
    """It steps an hour ahead and then back by two, while the pod evaluates and its clock is right."""
    for second, step in enumerate([0, 3600, 3600, -3600, -3600, 0], start=1):
        assert run.hear(None, said=second, came=second + step, phase="Evaluating", encoded_inputs=second)
        assert run.live.changed_at == after(second + step)


def test_what_a_report_leaves_out_stays(run: Run) -> None:
    run.hear(20, said=10, resumed_step=5, checkpoint_step=15)
    run.hear(None, said=20, phase="Evaluating", encoded_inputs=100)
    assert (run.step, run.live.resumed_step, run.live.checkpoint_step) == (20, 5, 15)


def test_the_newer_pod_of_a_run_begins_anew(run: Run) -> None:
    run.hear(90, said=10, pod=OLD_POD, checkpoint_step=80)
    assert run.hear(None, said=20, phase="Preparing")
    assert (run.live.pod_uid, run.step, run.live.checkpoint_step) == ("pod-2", None, None)


def test_an_older_pod_is_not_heard_after_a_newer_one(run: Run) -> None:
    run.hear(1, said=10)
    assert not run.hear(99, said=20, pod=OLD_POD)
    assert run.step == 1


def test_of_pods_made_in_the_same_second_the_name_decides(run: Run) -> None:
    twin = Sender(POD.key, POD.uid, 1, "pod-3", (POD.pod_order[0], "one-1-b"))
    run.hear(1, said=10)
    assert run.hear(1, said=11, pod=twin)
    assert not run.hear(2, said=12)


@pytest.mark.parametrize(
    ("metrics", "is_work"),
    [
        pytest.param({"fetched_bytes": 2048}, True, id="a download goes on"),
        pytest.param({"encoded_inputs": 64}, True, id="an encoding goes on"),
        pytest.param({"loss": "nan"}, True, id="any other metric"),
        pytest.param({"samples_per_second": "31.1"}, False, id="a rate alone"),
        pytest.param({}, False, id="nothing"),
    ],
)
def test_a_pod_is_at_work_while_it_says_what_it_had_not_said_before(
    run: Run, metrics: dict[str, Any], is_work: bool
) -> None:
    run.hear(None, said=10, phase="Baseline", fetched_bytes=1024, remaining=60)
    run.hear(None, said=20, remaining=50, **{"phase": "Baseline", "fetched_bytes": 1024, **metrics})
    assert (run.live.changed_at == after(20)) is is_work
    assert run.live.received_at == after(20)


def test_a_checkpoint_is_as_old_as_the_report_that_first_told_of_it(run: Run) -> None:
    run.hear(20, said=10, checkpoint_step=15)
    run.hear(25, said=20, checkpoint_step=15)
    assert (run.live.checkpoint_step, run.live.checkpoint_at) == (15, after(10))
    run.hear(31, said=30, checkpoint_step=30)
    run.hear(32, said=40, checkpoint_step=15)
    assert (run.live.checkpoint_step, run.live.checkpoint_at) == (30, after(30))


NUMBERS = st.one_of(
    st.sampled_from(["nan", "inf", "-inf", "1e400", "-0", "1_000", " 7 ", "٣", "-1", "0x10", "1e308"]),
    st.floats().map(str), st.integers().map(lambda n: str(n)[:64]), st.text(min_size=1, max_size=64),
)  # fmt: skip
NAMES = st.sampled_from(
    ["current_step", "total_steps", "current_epoch", "loss", "samples_per_second", "checkpoint_step", "x"]
)
METRICS = st.lists(st.builds(WireMetric, name=NAMES, value=NUMBERS), max_size=8)
STATUSES = st.builds(
    TrainerStatus,
    progressPercentage=st.none() | st.integers(0, 100),
    estimatedRemainingSeconds=st.none() | st.integers(0, 10**30),
    lastUpdatedTime=st.datetimes(timezones=st.timezones()),
    metrics=METRICS,
)


@given(
    st.lists(
        st.tuples(STATUSES, st.sampled_from(RUNNING_PHASES), st.sampled_from([OLD_POD, POD])), max_size=12
    )
)
def test_whatever_comes_nothing_goes_back_and_all_of_it_fits_into_a_status(
    reports: list[tuple[TrainerStatus, str, Sender]],
) -> None:
    known: LiveProgress | None = None
    for second, (said, phase, pod) in enumerate(reports):
        phased = [WireMetric(name="phase", value=phase), *said.metrics]
        status = said.model_copy(update={"metrics": phased})
        live = follow(status, pod, after(second), known)
        if live is None:
            continue
        if live.progress is not None:
            Progress.model_validate(live.progress.to_dict())
            assert (live.progress.remaining_seconds or 0) <= 2**53
        if known is not None:
            assert live.pod_order >= known.pod_order
            if live.pod_uid == known.pod_uid:
                assert _position(live) >= _position(known)
        known = live


def _position(live: LiveProgress) -> tuple[int, int, int]:
    step = (live.progress.step if live.progress else 0) or 0
    return RUNNING_PHASES.index(live.phase), step, live.checkpoint_step or 0
