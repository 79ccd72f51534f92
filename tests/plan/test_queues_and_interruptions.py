"""Runs that pause because a queue or the cluster wants it so."""

from tests.plan import world
from tests.plan.test_suspension import HELD, KEPT, checkpointed, job_of, look, then

EVICTED = world.a_finished_pod(
    143, conditions=[{"type": "DisruptionTarget", "status": "True", "message": "evicted by hand"}]
)
NEXT = world.a_running_pod("vdr-1-fghij", started=595, created=592)


def test_a_job_that_a_queue_holds_back_waits_without_a_limit() -> None:
    decision = world.decide(look(world.started(), job=HELD, now=world.at(100_000)))
    assert (decision.status["phase"], decision.delete) == ("Pending", ())
    assert world.said(decision.status, "Reconciling") == (
        "True",
        "Queued",
        "Job vdr-1 is held back. Whoever has suspended it, a queue perhaps, decides when it begins.",
    )


def test_what_the_queue_says_about_the_job_is_told() -> None:
    spec = world.changed(world.SPEC, "runtime.queueName", "team-a")
    job = {**world.a_job(spec=spec), "spec": {"suspend": True}}
    own = {
        **world.an_event(job, "Suspended", "Job suspended", seconds=9),
        "source": {"component": "job-controller"},
    }
    events = (
        world.an_event(job, "Stopped", "Preempted to accommodate a workload", type_="Normal"),
        world.an_event(world.a_pod(), "Other", "of something else", seconds=8),
        own,
    )
    said = world.said(world.decide(look(world.started(spec), job=job, events=events)).status, "Reconciling")
    assert said is not None
    assert said[2] == (
        "Job vdr-1 is held back. Queue team-a (spec.runtime.queueName) decides when it begins."
        " It says: Preempted to accommodate a workload."
    )


def test_a_job_that_a_queue_takes_back_keeps_what_is_known() -> None:
    finetune = then(checkpointed(), job={**job_of(KEPT), "spec": {"suspend": True}})
    status = finetune["status"]
    assert (status["phase"], status["progress"]["percent"]) == ("Pending", 42)
    assert (status["run"]["interruptions"], status["run"]["checkpointStep"]) == (1, 50)


def test_the_time_in_the_queue_does_not_count_as_waiting_for_a_pod() -> None:
    job = world.a_job(status={"startTime": world.time(50_000)})
    event = world.an_event(job, "FailedCreate", "exceeded quota: none", seconds=50_001)
    finetune = then(world.started(), job=HELD)
    for seconds, stalled in ((53_599, None), (53_600, "True")):
        waiting = look(finetune, job=job, events=(event,), now=world.at(seconds))
        assert world.verdicts(world.decide(waiting).status, "Stalled") == [stalled]


def test_an_interruption_is_told_as_one_that_counts_no_retry() -> None:
    decision = world.decide(look(checkpointed(), job=job_of(KEPT), pods=(EVICTED,)))
    assert world.said(decision.status, "Reconciling") == (
        "True",
        "Interrupted",
        (
            "Pod vdr-1-abcde was taken off its node: evicted by hand. That counts as no retry."
            " The run goes on from the checkpoint of step 50, so that 34 steps are done again."
        ),
    )


def test_an_interruption_is_told_also_when_the_next_pod_runs_already() -> None:
    now = look(checkpointed(), job=job_of(KEPT), pods=(EVICTED, NEXT))
    told = world.decide(now)
    assert _reason(told.status) == "Interrupted"
    assert told.requeue_after_seconds == 0
    assert _reason(world.decide(world.applied(now, told)).status) == "Running"


def test_an_interruption_that_nobody_saw_is_told_before_the_next_pod_runs() -> None:
    """Of a pod that was evicted and collected while the operator was down, for instance."""
    now = look(checkpointed(), job=job_of(KEPT), pods=(NEXT,))
    told = world.decide(now)
    assert world.said(told.status, "Reconciling") == (
        "True",
        "Interrupted",
        (
            "Pod vdr-1-abcde is gone before anybody saw how it ended. That counts as no retry."
            " The run goes on from the checkpoint of step 50, so that 34 steps are done again."
        ),
    )
    assert _reason(world.decide(world.applied(now, told)).status) == "Running"


def test_an_interruption_that_nobody_saw_is_told_while_the_next_pod_is_awaited() -> None:
    now = look(checkpointed(), job=job_of(KEPT), pods=())
    told = world.decide(now)
    assert _reason(told.status) == "Interrupted"
    assert world.decide(world.applied(now, told)).status == told.status


def _reason(status: world.Object) -> str:
    found = world.condition(status, "Reconciling")
    assert found is not None
    return str(found["reason"])
