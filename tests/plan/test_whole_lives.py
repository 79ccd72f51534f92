"""Whole lives of a finetune: whatever happens to it, in whatever order, it comes to an end that adds up.

A cluster in a few lines: it makes pods for Jobs, counts their failures, and lets things go when they are
deleted; after everything that happens the operator looks until nothing changes any more.
"""

import json
from dataclasses import dataclass, field
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from finetune_api.status import Progress
from finetune_operator.decisions.jobs import end_of
from finetune_operator.decisions.observed import LiveProgress, Observed
from finetune_operator.decisions.runs import awaits_previous_job, children_name, is_settled, run_number
from tests.plan import world

SPEC = world.changed(world.SPEC, "runtime", {"checkpoints": {"claim": "scratch"}})
SECONDS = 30
HAPPENINGS = [
    *("start", "start", "start", "fail", "fail", "stop", "stop", "evict", "report", "save"),
    *("hold", "release", "suspend", "resume", "resume", "rerun", "delete job"),
]


@dataclass
class Life:
    """One finetune and its cluster."""

    finetune: world.Object = field(default_factory=lambda: world.a_finetune(SPEC))
    jobs: dict[str, world.Object] = field(default_factory=dict)
    configs: dict[str, world.Object] = field(default_factory=dict)
    pods: dict[str, list[world.Object]] = field(default_factory=dict)
    made: dict[int, int] = field(default_factory=dict)
    """Pods that were made, by run."""
    ran: dict[int, int] = field(default_factory=dict)
    """Seconds that they ran, by run."""
    failed: dict[int, int] = field(default_factory=dict)
    """Pods that failed without being asked to go, by run."""
    live: LiveProgress | None = None
    seconds: int = 0

    @property
    def run(self) -> int:
        return run_number(self.finetune)

    @property
    def job(self) -> world.Object | None:
        return self.jobs.get(children_name(self.finetune))

    @property
    def pod(self) -> world.Object | None:
        """The one that has not ended."""
        pods = self.pods.get(children_name(self.finetune), [])
        return next((p for p in pods if p["status"]["phase"] in {"Pending", "Running"}), None)

    def look(self) -> None:
        """Until nothing changes. A plan that is applied twice does nothing the second time."""
        for _ in range(8):
            if is_settled(self.finetune):
                return
            decision = world.decide(self._seen())
            before = self.finetune["status"]
            for deletion in decision.delete:
                self._delete(deletion.kind, deletion.name)
            for thing in decision.create:
                self._create(thing)
            self.finetune = {**self.finetune, "status": decision.status}
            if decision.status == before and not decision.create and not decision.delete:
                return
        raise AssertionError(f"still at work: {self.finetune['status']}")

    def let_time_pass(self) -> None:
        """And let the cluster do what it does by itself."""
        self.seconds += SECONDS
        if self.pod is not None and self.pod["status"]["phase"] == "Running":
            self.ran[self.run] = self.ran.get(self.run, 0) + SECONDS
        for name, going in list(self.jobs.items()):
            if "deletionTimestamp" in going["metadata"]:
                del self.jobs[name]
                self.pods.pop(name, None)
        job = self.job
        if job is not None and self.pod is None and not end_of(job) and not job["spec"].get("suspend"):
            self._make_a_pod(job)

    def happen(self, what: str) -> None:
        """It does if it can."""
        job, pod = self.job, self.pod
        running = pod if pod is not None and pod["status"]["phase"] == "Running" else None
        match what:
            case "suspend" | "resume":
                self._edit({**self.finetune["spec"], "suspend": what == "suspend"})
            case "rerun":
                self._edit({**self.finetune["spec"], "rerun": str(self.seconds)})
            case "delete job" if job is not None:
                self._delete("Job", job["metadata"]["name"])
            case "hold" if job is not None and not end_of(job):
                job["spec"]["suspend"] = True
                self._drop(pod)
            case "release" if job is not None:
                job["spec"]["suspend"] = False
            case "evict":
                self._drop(pod)
            case "start" if pod is not None and running is None:
                pod["status"] = world.a_running_pod(started=self.seconds)["status"]
            case "fail" | "stop" | "succeed" if running is not None and job is not None:
                self._end(job, running, {"fail": 1, "stop": 143, "succeed": 0}[what])
            case "report" | "save" if running is not None:
                self._report(running, saves=what == "save")

    def _seen(self) -> Observed:
        name = children_name(self.finetune)
        previous = children_name(self.finetune, max(1, self.run - 1))
        return world.a_look(
            self.finetune,
            job=self.job,
            config=self.configs.get(name),
            pods=tuple(self.pods.get(name, [])),
            previous_job=self.jobs.get(previous) if awaits_previous_job(self.finetune) else None,
            live=self.live,
            now=world.at(self.seconds),
        )

    def _create(self, thing: world.Object) -> None:
        name, kept = thing["metadata"]["name"], self.jobs if thing["kind"] == "Job" else self.configs
        assert name not in kept, "made although it was there"
        if thing["kind"] == "Job":
            assert not self.jobs, f"{name} was made beside {list(self.jobs)}"
            assert not self.finetune["spec"].get("suspend"), "made although suspended"
        metadata = {"uid": f"{name}-{self.seconds}", "creationTimestamp": world.time(self.seconds)}
        kept[name] = {**thing, "metadata": {**thing["metadata"], **metadata}, "status": {}}

    def _delete(self, kind: str, name: str) -> None:
        if kind == "ConfigMap":
            self.configs.pop(name, None)
        elif name in self.jobs:
            self.jobs[name]["metadata"]["deletionTimestamp"] = world.time(self.seconds)
            for pod in self.pods.get(name, []):
                pod["metadata"]["deletionTimestamp"] = world.time(self.seconds)

    def _make_a_pod(self, job: world.Object) -> None:
        name = job["metadata"]["name"]
        self.made[self.run] = number = self.made.get(self.run, 0) + 1
        self.pods.setdefault(name, []).append(world.a_pod(f"{name}-{number:03}", created=self.seconds))

    def _drop(self, pod: world.Object | None) -> None:
        if pod is not None:
            self.pods[children_name(self.finetune)].remove(pod)

    def _end(self, job: world.Object, pod: world.Object, code: int) -> None:
        report = json.dumps(world.a_report(run=self.run)) if code == 0 else ""
        started = pod["status"]["containerStatuses"][1]["state"]["running"]["startedAt"]
        pod["status"] = world.a_finished_pod(code, report, ended=self.seconds)["status"]
        pod["status"]["containerStatuses"][1]["state"]["terminated"]["startedAt"] = started
        if code == 1 and "deletionTimestamp" not in pod["metadata"]:
            self.failed[self.run] = self.failed.get(self.run, 0) + 1
        status = job["status"]
        status["failed"] = status.get("failed", 0) + (code == 1)
        if code == 0:
            job["status"] = {**world.complete(job, self.seconds)["status"], **status}
        elif status["failed"] > job["spec"]["backoffLimit"]:
            job["status"] = {**world.failed(job, self.seconds)["status"], **status}

    def _report(self, pod: world.Object, *, saves: bool) -> None:
        step, saved = self.seconds, {}
        if saves:
            saved = {"checkpoint_step": step, "checkpoint_at": world.at(self.seconds)}
        progress = Progress(percent=1, step=step)
        self.live = world.live("Training", progress, self.seconds, pod_uid=pod["metadata"]["uid"], **saved)

    def _edit(self, spec: world.Object) -> None:
        if spec != self.finetune["spec"]:
            self.finetune = world.edited(self.finetune, spec)


def _lived(happenings: list[str]) -> Life:
    life = Life()
    life.look()
    for what in happenings:
        life.let_time_pass()
        life.look()
        life.happen(what)
        life.look()
    return life


def _to_the_end(life: Life) -> None:
    for _ in range(8):
        for what in ("resume", "release", "start", "succeed"):
            life.let_time_pass()
            life.look()
            life.happen(what)
            life.look()
        if is_settled(life.finetune):
            return
    raise AssertionError(f"no end: {life.finetune['status']}")


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sampled_from(HAPPENINGS), max_size=40))
def test_whatever_happens_a_run_comes_to_an_end_that_adds_up(happenings: list[str]) -> None:
    life = _lived(happenings)
    _to_the_end(life)
    status: dict[str, Any] = life.finetune["status"]
    run = status["run"]
    reason = (status.get("failure") or {}).get("reason")
    assert status["phase"] == "Ready" or reason in {"NoProgress", "InternalError"}
    assert run.get("attempt", 0) == life.made.get(life.run, 0)
    # What a pod that vanished ran since the last write is not known, but at least a second of each.
    assert run.get("activeSeconds", 0) <= life.ran.get(life.run, 0) + run.get("attempt", 0)
    assert run.get("wastedSeconds", 0) <= run.get("activeSeconds", 0)
    assert run.get("retries", 0) == life.failed.get(life.run, 0)
    assert [past["number"] for past in status.get("history", [])] == list(range(life.run - 1, 0, -1))[:10]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from([h for h in HAPPENINGS if h != "fail"]), max_size=20))
def test_what_nobody_can_help_uses_up_no_retry(happenings: list[str]) -> None:
    life = _lived(happenings)
    assert life.finetune["status"]["run"].get("retries", 0) == 0
