"""The faults that are tried, each on lives of one scenario or more."""

from tests.faults import plays
from tests.faults.by_hand import BY_HAND
from tests.faults.clocks import CLOCKS
from tests.faults.kills import KILLS
from tests.faults.laboratory import Experiment, Laboratory, Lives
from tests.faults.leaders import LEADERS
from tests.faults.misuse import MISUSE
from tests.faults.network import NETWORK


def _without_fault(lab: Laboratory) -> Lives:
    lives = [(scenario, lab.reference(scenario)) for scenario in plays.EVERY_SCENARIO]
    return [(scenario, outcome.result()) for scenario, outcome in lives]


EXPERIMENTS = (Experiment("none", _without_fault), *KILLS, *NETWORK, *BY_HAND, *LEADERS, *CLOCKS, *MISUSE)
