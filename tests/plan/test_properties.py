"""What holds whatever is observed: there is a plan, it is a valid one, and once applied it is empty."""

import json
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from finetune_api.report import Report
from finetune_api.status import RUNNING_PHASES, FinetuneStatus, Progress
from finetune_operator.decisions.observed import LiveProgress, Observed, PostedReport
from finetune_operator.decisions.runs import is_settled
from tests.plan import world

SPECS = [
    world.SPEC,
    world.changed(world.SPEC, "training", {"seed": 1}),
    world.changed(world.SPEC, "limits.pendingSeconds", 60),
    world.changed(world.SPEC, "evaluation.gates", [{"evaluator": "pages", "minimum": "0.99"}]),
    world.changed(
        world.SPEC, "evaluation.gates", [{"evaluator": "pages", "metric": "map@9", "minimum": "0.1"}]
    ),
    world.changed(world.SPEC, "output", None),
    world.changed(world.SPEC, "suspend", True),
    world.changed(world.changed(world.SPEC, "suspend", True), "training", {"seed": 1}),
    world.changed(world.SPEC, "runtime", {"checkpoints": {"claim": "scratch"}, "queueName": "team-a"}),
    world.changed(world.SPEC, "limits", {"keepJobSeconds": 0, "activeSeconds": 600}),
    world.changed(world.SPEC, "rerun", "again"),
    world.changed(world.SPEC, "training", {"epochs": "-1"}),
]
OUTCOMES = ["Succeeded", "GateFailed", "Failed"]
LETTERS = st.text(max_size=20) | st.sampled_from(
    [
        "Evicted",
        "OOMKilled",
        "ErrImagePull",
        "FailedMount",
        'secret "x" not found',
        "exceeded quota: x",
        "Error",
    ]
)
TIMES = st.none() | st.integers(0, 8000).map(world.time) | st.just("yesterday")

REPORTS = st.builds(world.a_report, st.sampled_from(OUTCOMES), run=st.integers(1, 3))
LOGS = LETTERS | REPORTS.map(json.dumps)


def _optional(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=fields)


CONTAINER_STATES = st.one_of(
    st.none(),
    st.just({}),
    _optional(running=_optional(startedAt=TIMES)),
    _optional(waiting=_optional(reason=LETTERS, message=LETTERS)),
    _optional(
        terminated=_optional(exitCode=st.integers(0, 255), reason=LETTERS, message=LOGS, finishedAt=TIMES)
    ),
)
CONTAINERS = st.none() | st.lists(
    st.fixed_dictionaries(
        {"name": st.sampled_from(["trainer", "injected"])}, optional={"state": CONTAINER_STATES}
    ),
    max_size=2,
)
CONDITIONS = st.none() | st.lists(
    st.fixed_dictionaries(
        {
            "type": st.sampled_from(
                ["PodScheduled", "DisruptionTarget", "Complete", "Failed", "FailureTarget"]
            ),
            "status": st.sampled_from(["True", "False", "Unknown"]),
        },
        optional={
            "reason": LETTERS | st.just("Unschedulable"),
            "message": LETTERS,
            "lastTransitionTime": TIMES,
        },
    ),
    max_size=3,
)
META = _optional(deletionTimestamp=st.just(world.time(1)), creationTimestamp=TIMES)


@st.composite
def _pods(draw: st.DrawFn) -> world.Object:
    phases = st.sampled_from(["Pending", "Running", "Succeeded", "Failed", "Unknown"])
    fields = {"phase": phases, "reason": LETTERS, "message": LETTERS, "conditions": CONDITIONS}
    status = draw(st.none() | _optional(**fields, containerStatuses=CONTAINERS))
    name = draw(st.sampled_from(["vdr-1-a", "vdr-1-b", "vdr-1-c"]))
    return {"metadata": {"name": name, "uid": f"uid-of-{name}", **draw(META)}, "status": status}


@st.composite
def _children(draw: st.DrawFn) -> world.Object:
    """A Job or ConfigMap under one of our names, in any state, of any owner."""
    counts = _optional(active=st.integers(0, 3), failed=st.none() | st.integers(0, 9), conditions=CONDITIONS)
    owners = draw(st.sampled_from([[world.OWNER], [], None, [{**world.OWNER, "uid": "x"}]]))
    job = world.a_job(spec=draw(st.sampled_from(SPECS[:2])), ownerReferences=owners, **draw(META))
    data = draw(st.sampled_from([None, {}, {"run.json": "{"}]))
    held = draw(st.sampled_from([None, {}, {"suspend": True}]))
    return {**job, "spec": held, "status": draw(st.none() | counts), "data": data}


EVENTS = _optional(
    type=st.sampled_from(["Warning", "Normal"]),
    reason=LETTERS,
    message=LETTERS,
    lastTimestamp=TIMES,
    involvedObject=_optional(uid=st.sampled_from(["uid-of-vdr-1", "uid-of-vdr-1-a"])),
)
UIDS = st.sampled_from(["uid-of-vdr-1-a", "uid-of-vdr-1-b", "uid-of-a-pod-that-is-gone"])
LIVE = st.none() | st.builds(
    LiveProgress,
    phase=st.sampled_from(RUNNING_PHASES),
    progress=st.none()
    | st.builds(Progress, percent=st.integers(0, 100), step=st.none() | st.integers(0, 100)),
    received_at=st.integers(0, 8000).map(world.at),
    pod_uid=UIDS,
    changed_at=st.integers(0, 8000).map(world.at),
    resumed_step=st.none() | st.integers(0, 100),
    checkpoint_step=st.none() | st.integers(0, 100),
    checkpoint_at=st.none() | st.integers(0, 8000).map(world.at),
)


def _with_run(**numbers: Any) -> world.Object:
    status = world.started()["status"]
    return {**status, "run": {**status["run"], **numbers}}


SUSPENDED = world.decide(
    world.a_look(world.edited(world.started(), world.changed(world.SPEC, "suspend", True)))
).status
STATUSES = st.sampled_from(
    [
        None,
        {"observedGeneration": -1},
        {"observedGeneration": "one", "run": 7, "conditions": [{"type": "Ready"}]},
        world.started()["status"],
        *(world.concluded(world.a_report(outcome))["status"] for outcome in OUTCOMES),
        {**world.started()["status"], "conditions": []},
        SUSPENDED,
        _with_run(vainInterruptions=4, interruptions=4, attempt=4, pod="vdr-1-a", podTime=world.time(90)),
        _with_run(reportLost=True, activeSeconds=500, podSeconds=500, pod="vdr-1-gone", lastStep=9),
        {**SUSPENDED, "observedGeneration": 0},
        {"observedGeneration": 1, "run": {"number": 2, "specHash": "v1:old", "job": "vdr-2"}},
        {
            "observedGeneration": 1,
            "run": {**world.started()["status"]["run"], "completionTime": world.time(9)},
        },
    ]
)


@st.composite
def looks(draw: st.DrawFn) -> Observed:
    finetune = world.a_finetune(draw(st.sampled_from(SPECS)), generation=draw(st.integers(1, 2)))
    finetune["status"] = draw(STATUSES)
    if draw(st.integers(0, 9)) == 0:
        finetune["metadata"]["deletionTimestamp"] = world.time(1)
    return Observed(
        finetune=finetune,
        job=draw(st.none() | _children()),
        config=draw(st.none() | _children() | st.just(world.a_config())),
        previous_job=draw(st.none() | _children()),
        pods=tuple(draw(st.lists(_pods(), max_size=3))),
        events=tuple(draw(st.lists(EVENTS, max_size=3))),
        report=draw(st.none() | st.builds(PostedReport, REPORTS.map(Report.model_validate), UIDS)),
        live=draw(LIVE),
        ca_certificate=world.CA,
        listening_since=world.at(0),
        now=world.at(draw(st.integers(0, 8000))),
    )


MANY = settings(max_examples=80, deadline=None)


@MANY
@given(looks())
def test_whatever_is_observed_there_is_a_plan_with_a_valid_status(observed: Observed) -> None:
    decision = world.decide(observed)
    assert decision.requeue_after_seconds is None or decision.requeue_after_seconds >= 0
    for condition in decision.status.get("conditions", []):
        assert condition.get("reason", "Broken").isalpha()


@MANY
@given(looks())
def test_a_plan_once_applied_settles_down_without_a_write(observed: Observed) -> None:
    """Each step changes what the next one sees; with the world as it is, it must come to rest."""
    for _ in range(6):
        decision = world.decide(observed)
        if _is_empty(decision, observed):
            return
        observed = replace(world.applied(observed, decision), refusal=None)
    raise AssertionError(f"still at work: {decision}")


def _is_empty(decision: Any, observed: Observed) -> bool:
    unchanged = decision.status == (observed.finetune.get("status") or {})
    return unchanged and not decision.create and not decision.delete


@MANY
@given(looks())
def test_transition_times_move_only_when_a_status_flips(observed: Observed) -> None:
    before = {c["type"]: c for c in (observed.finetune.get("status") or {}).get("conditions", [])}
    for condition in world.decide(observed).status.get("conditions", []):
        earlier = before.get(condition["type"])
        if earlier is None or "lastTransitionTime" not in earlier:
            continue
        moved = condition["lastTransitionTime"] != earlier["lastTransitionTime"]
        assert not moved or condition["status"] != earlier["status"]


@MANY
@given(looks())
def test_nothing_that_is_not_ours_is_deleted(observed: Observed) -> None:
    ours = {
        thing["metadata"]["uid"]
        for thing in (observed.job, observed.config, observed.previous_job)
        if thing is not None and world.OWNER in (thing["metadata"].get("ownerReferences") or [])
    }
    assert {deletion.uid for deletion in world.decide(observed).delete} <= ours


@MANY
@given(looks())
def test_no_job_is_made_while_another_of_ours_is_there(observed: Observed) -> None:
    decision = world.decide(observed)
    if any(thing["kind"] == "Job" for thing in decision.create):
        assert observed.job is None
        run = (observed.finetune["status"] or {}).get("run")
        if isinstance(run, dict) and run["number"] > 1:
            previous = observed.previous_job
            assert previous is None or world.OWNER not in (previous["metadata"].get("ownerReferences") or [])


@MANY
@given(looks())
def test_only_another_spec_takes_a_finetune_out_of_an_end(observed: Observed) -> None:
    """Suspended is no end, but nothing else happens in it either."""
    if is_settled(observed.finetune) and "deletionTimestamp" not in observed.finetune["metadata"]:
        decision = world.decide(observed)
        before, after = observed.finetune["status"], decision.status
        assert after["conditions"] == before["conditions"]
        assert {**after["run"], "jobRemoved": None, "gatesHash": None} == {
            **before["run"], "jobRemoved": None, "gatesHash": None,
        }  # fmt: skip
        assert decision.create == ()


@MANY
@given(looks())
def test_a_suspended_finetune_gets_no_job(observed: Observed) -> None:
    if observed.finetune["spec"].get("suspend"):
        assert not any(thing["kind"] == "Job" for thing in world.decide(observed).create)


@MANY
@given(looks())
def test_a_published_model_is_never_forgotten(observed: Observed) -> None:
    stored = (observed.finetune["status"] or {}).get("artifact")
    if stored is not None:
        assert FinetuneStatus.model_validate(world.decide(observed).status).artifact is not None
