"""The faults that are tried, each on lives of one scenario or more."""

from collections.abc import Iterable
from concurrent.futures import Future

from tests.faults import plays
from tests.faults.faults import Fault, KillAfterWrites
from tests.faults.laboratory import Experiment, Laboratory
from tests.faults.lanes import Arrange, Lane, Outcome, Scenario

Lives = list[tuple[Scenario, Outcome]]


def gathered(lives: Iterable[tuple[Scenario, Future[Outcome]]]) -> Lives:
    return [(scenario, outcome.result()) for scenario, outcome in tuple(lives)]


def without_fault(lab: Laboratory) -> Lives:
    return gathered((scenario, lab.reference(scenario)) for scenario in plays.EVERY_SCENARIO)


def killed_after_each_write(scenario: Scenario) -> Experiment:
    """As many lives as a life has writes, each with one kill."""

    def run(lab: Laboratory) -> Lives:
        writes = len(lab.reference(scenario).result().writes)
        return gathered((scenario, lab.live(scenario, _kill(range(n, n + 1)))) for n in range(1, writes + 1))

    return Experiment(f"killed after write 1, 2, ... of a run that {_said(scenario)}", run)


def _kill(numbers: range) -> Arrange:
    def arrange(lane: Lane) -> Fault:
        return KillAfterWrites(lane.replica.kill, numbers)

    return arrange


def _said(scenario: Scenario) -> str:
    return scenario.__name__.replace("_", " ")


EXPERIMENTS = (
    Experiment("none", without_fault),
    *(killed_after_each_write(scenario) for scenario in plays.EVERY_SCENARIO),
)
