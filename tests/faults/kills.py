"""The operator ends in the middle of its work."""

import signal
from collections.abc import Callable

from tests.faults import plays
from tests.faults.faults import Fault, KillAfterWrites
from tests.faults.laboratory import Experiment, Laboratory, Lives
from tests.faults.lanes import Arrange, Lane, Scenario

ALL = range(1, 1000)


def after_each_write(scenario: Scenario) -> Experiment:
    """As many lives as a life has writes, each with one kill."""

    def run(lab: Laboratory) -> Lives:
        writes = len(lab.reference(scenario).result().writes)
        lives = [lab.live(scenario, _killing(range(n, n + 1))) for n in range(1, writes + 1)]
        return [(scenario, life.result()) for life in lives]

    # What a pod did while no operator looked is not in the account of its run.
    takes_attempts = scenario not in plays.OF_ONE_ATTEMPT
    name = f"killed after write 1, 2, ... of a run that {_said(scenario)}"
    return Experiment(name, run, attempts_differ=takes_attempts)


def after_every_write(*scenarios: Scenario) -> Experiment:
    """One life each, in which no operator lives for longer than a write."""

    def run(lab: Laboratory) -> Lives:
        lives = [(scenario, lab.live(scenario, _killing(ALL))) for scenario in scenarios]
        return [(scenario, life.result()) for scenario, life in lives]

    return Experiment("killed after every write", run, attempts_differ=True)


def asked_to_stop_after_every_write(scenario: Scenario) -> Experiment:
    def run(lab: Laboratory) -> Lives:
        return [(scenario, lab.live(scenario, _stopping).result())]

    return Experiment("SIGTERM after every write", run)


def _killing(numbers: range) -> Arrange:
    return lambda lane: KillAfterWrites(lane.replica.kill, numbers)


def _stopping(lane: Lane) -> Fault:
    return KillAfterWrites(_terminate(lane), ALL, is_answered=True)


def _terminate(lane: Lane) -> Callable[[], None]:
    return lambda: lane.replica.signal(signal.SIGTERM)


def _said(scenario: Scenario) -> str:
    return scenario.__name__.replace("_", " ")


KILLS = (
    *(after_each_write(scenario) for scenario in plays.EVERY_SCENARIO),
    after_every_write(plays.publishes, plays.gets_another_spec),
    asked_to_stop_after_every_write(plays.publishes),
)
