"""Two operators at a time, of which one must not act."""

import signal

from tests.cluster.waiting import eventually
from tests.faults import plays
from tests.faults.laboratory import Experiment, Laboratory, Lives
from tests.faults.lanes import Lane
from tests.faults.replicas import LEASE_LOST

TAKE_OVER_SECONDS = 30.0


def is_finished_by_another_operator(lane: Lane) -> None:
    """The leader is stopped as a whole for longer than its Lease lasts, and wakes up when all is done."""
    folder = plays.begin_one_that_waits(lane.finetunes)
    other = lane.another()
    other.replica.start()
    lane.replica.signal(signal.SIGSTOP)
    eventually(lambda: _acts(other), "the other one leads", seconds=TAKE_OVER_SECONDS)
    (folder / "go").touch()
    plays.await_end(lane.finetunes, "Ready")
    before = len(lane.writes)
    lane.replica.signal(signal.SIGCONT)
    eventually(lambda: lane.replica.exits, "the former leader has ended", seconds=TAKE_OVER_SECONDS)
    assert lane.replica.exits[0] == LEASE_LOST, f"it ended with {lane.replica.exits[0]}"
    assert len(lane.writes) == before, f"it wrote on: {lane.writes[before:]}"
    other.replica.stop()


def _acts(lane: Lane) -> bool:
    return any(call.verb == "list" for call in tuple(lane.proxy.calls))


def _paused(lab: Laboratory) -> Lives:
    return [(plays.goes_on_when_told, lab.live(is_finished_by_another_operator).result())]


LEADERS = (Experiment("leader paused beyond its lease", _paused),)
