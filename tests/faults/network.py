"""The way to the API server is bad, or there is nothing at its end."""

import threading
from collections.abc import Callable, Mapping

from tests.faults import plays
from tests.faults.faults import (
    CutWatches,
    DisturbEvents,
    Errors,
    ExpireWatches,
    Fault,
    HangAfterWrites,
    LoseAnswers,
    StaleLists,
    StallWatches,
)
from tests.faults.laboratory import Experiment, Laboratory, Lives
from tests.faults.lanes import Arrange, Lane, Scenario

# The chart's: with shorter ones every longer outage would end the operator.
USUAL_LEASE = {
    "FINETUNE_LEASE_DURATION_SECONDS": "15",
    "FINETUNE_LEASE_DEADLINE_SECONDS": "10",
    "FINETUNE_LEASE_RENEW_SECONDS": "2",
}
SEEDS = (1, 2, 3)
RATE = 0.1
ALL = range(1, 1000)
STALE_SECONDS = 4.0


def trying(
    name: str, arrange: Arrange, *scenarios: Scenario, settings: Mapping[str, str] | None = None
) -> Experiment:
    """The same fault in a life of each scenario."""

    def run(lab: Laboratory) -> Lives:
        lives = [(each, lab.live(each, arrange, settings=settings or USUAL_LEASE)) for each in scenarios]
        return [(scenario, life.result()) for scenario, life in lives]

    return Experiment(name, run)


def seeded(
    name: str, make: Callable[[int], Fault], *scenarios: Scenario, seeds: tuple[int, ...] = SEEDS
) -> Experiment:
    """A life of each scenario for each seed."""

    def run(lab: Laboratory) -> Lives:
        lives = [
            (scenario, lab.live(scenario, _drawing(make, seed), settings=USUAL_LEASE))
            for scenario in scenarios
            for seed in seeds
        ]
        return [(scenario, life.result()) for scenario, life in lives]

    return Experiment(f"{name}, seeds {', '.join(map(str, seeds))}", run)


def _drawing(make: Callable[[int], Fault], seed: int) -> Arrange:
    def arrange(lane: Lane) -> Fault:
        lane.label = f"seed {seed}"
        return make(seed)

    return arrange


def gone_for(seconds: float) -> Arrange:
    """From the moment at which the first pod runs."""

    def arrange(lane: Lane) -> None:
        lane.when(
            "a pod runs",
            lambda: plays.running_pods(lane.finetunes),
            lane.proxy.go_away,
            lambda: threading.Event().wait(seconds),
            lane.proxy.come_back,
        )

    return arrange


def _apply_first(fault: Fault) -> Arrange:
    """So that the operator's first list has it as it was made."""

    def arrange(lane: Lane) -> Fault:
        plays.apply_one_that_publishes(lane.finetunes)
        return fault

    return arrange


def publishes_as_it_did(lane: Lane) -> None:
    plays.await_end(lane.finetunes, "Ready")


def is_seen_as_it_was_in_the_beginning(lane: Lane) -> None:
    """It is over and what it had made is gone, but the lists that an operator starts with tell of neither."""
    finetunes, fault = lane.finetunes, lane.proxy.fault
    assert isinstance(fault, StaleLists)
    plays.await_end(finetunes, "Ready")
    plays.delete_job(finetunes, "one-1")
    plays.delete_config(finetunes, "one-1")
    fault.is_frozen = True
    lane.replica.kill()
    lane.await_new_leader()
    threading.Event().wait(STALE_SECONDS)
    fault.is_frozen = False
    jobs = {change.thing["metadata"]["uid"] for change in lane.recorder.of(lane.namespace, "job")}
    assert len(jobs) == 1, f"{len(jobs)} Jobs for one run"


def _stale(lab: Laboratory) -> Lives:
    life = lab.live(is_seen_as_it_was_in_the_beginning, _apply_first(StaleLists()))
    return [(plays.publishes, life.result())]


def _stalled(lab: Laboratory) -> Lives:
    """What is applied to an API server whose watches say nothing is not seen at all; what is listed is."""
    life = lab.live(publishes_as_it_did, _apply_first(StallWatches()), settings=USUAL_LEASE)
    return [(plays.publishes, life.result())]


def _disturbing(seed: int) -> Fault:
    return DisturbEvents(seed, rate=0.4, watch_seconds=4)


TWO = (plays.publishes, plays.gets_another_spec)
NETWORK = (
    trying("API server gone for 5 s", gone_for(5), *TWO),
    trying("API server gone for 60 s", gone_for(60), *TWO),
    seeded(f"{RATE:.0%} of all calls fail", lambda seed: Errors(RATE, seed), *TWO, plays.is_evicted),
    trying("all answers to writes are lost", lambda _: LoseAnswers(ALL), plays.publishes),
    trying("no answer to the second write", lambda _: HangAfterWrites(range(2, 3)), plays.publishes),
    trying("watches break in their second line", lambda _: CutWatches(2), *TWO),
    trying("watches expire at their second line", lambda _: ExpireWatches(2), *TWO),
    Experiment("watches stall", _stalled),
    seeded("events dropped, repeated, swapped", _disturbing, *TWO),
    Experiment("started on stale lists", _stale),
)
