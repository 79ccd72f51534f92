"""The operator goes by the cluster's time, not by that of the machine it happens to run on."""

from datetime import UTC, datetime, timedelta

import pytest

from finetune_operator.clock import ClusterClock

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Ticks:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def ticks() -> Ticks:
    return Ticks()


@pytest.fixture
def clock(ticks: Ticks) -> ClusterClock:
    clock = ClusterClock(ticks)
    clock.heard("Sun, 01 Mar 2026 12:00:00 GMT")
    return clock


def test_before_the_first_answer_the_machines_own_time_has_to_do() -> None:
    assert abs(ClusterClock().now() - datetime.now(UTC)) < timedelta(minutes=1)


def test_it_says_what_was_told_and_goes_on_by_itself(clock: ClusterClock, ticks: Ticks) -> None:
    assert clock.now() == NOON + timedelta(seconds=0.5)
    ticks.now += 90
    assert clock.now() == NOON + timedelta(seconds=90.5)


def test_it_does_not_waver_with_every_answer(clock: ClusterClock, ticks: Ticks) -> None:
    ticks.now += 0.9
    before = clock.now()
    clock.heard("Sun, 01 Mar 2026 12:00:00 GMT")
    assert clock.now() == before


def test_a_step_of_the_clusters_clock_is_followed(clock: ClusterClock) -> None:
    clock.heard("Sun, 01 Mar 2026 13:00:00 GMT")
    assert clock.now() == NOON + timedelta(hours=1, seconds=0.5)
    clock.heard("Sun, 01 Mar 2026 11:00:00 GMT")
    assert clock.now() == NOON - timedelta(hours=1) + timedelta(seconds=0.5)


@pytest.mark.parametrize("date", [None, "", "yesterday"])
def test_what_is_no_date_says_nothing(clock: ClusterClock, date: str | None) -> None:
    before = clock.now()
    clock.heard(date)
    assert clock.now() == before
