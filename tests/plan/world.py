"""A cluster in dicts, as the API server would return it, and a look at it for `plan`."""

import json
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from finetune_api import names
from finetune_api.spec import FinetuneSpec
from finetune_api.spec_hash import spec_hash
from finetune_api.status import FinetuneStatus, Phase, Progress
from finetune_operator.decisions.objects import format_time
from finetune_operator.decisions.observed import LiveProgress, Observed
from finetune_operator.decisions.plan import Plan, plan
from finetune_operator.settings import Settings
from finetune_operator.trimming import trimmed

Object = dict[str, Any]

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
UID = "5f2c0e5e-0000-4000-8000-000000000001"
CA = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
SETTINGS = Settings(namespace="operators", trainer_image="images.example/trainer@sha256:1234")

SPEC: Object = {
    "model": {"uri": "pvc://models/tiny"},
    "data": {
        "train": [
            {"name": "pages", "uri": "pvc://data/pages", "columns": {"query": "query", "positive": "image"}}
        ],
        "eval": [
            {"name": "unseen", "uri": "pvc://data/pages", "columns": {"query": "query", "positive": "image"}}
        ],
    },
    "evaluation": {
        "evaluators": [{"name": "pages", "data": "unseen"}],
        "primary": {"evaluator": "pages", "metric": "ndcg@10"},
        "gates": [{"evaluator": "pages", "metric": "ndcg@10", "minimum": "0.90", "minimumGain": "0"}],
    },
    "output": {"uri": "pvc://published/vdr"},
    "limits": {"retries": 3, "pendingSeconds": 3600},
}


def changed(spec: Object, path: str, value: Any) -> Object:
    """A copy of the spec with the field at `a.b.c` set, or removed with None."""
    spec = deepcopy(spec)
    *parents, last = path.split(".")
    part = spec
    for parent in parents:
        part = part.setdefault(parent, {})
    if value is None:
        del part[last]
    else:
        part[last] = value
    return spec


def at(seconds: float) -> datetime:
    """`seconds` after NOW."""
    return NOW + timedelta(seconds=seconds)


def time(seconds: float) -> str:
    return format_time(at(seconds))


def hash_of(spec: Object) -> str:
    return spec_hash(FinetuneSpec.model_validate(spec))


def a_finetune(
    spec: Object = SPEC, *, generation: int = 1, status: Object | None = None, **meta: Any
) -> Object:
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.KIND,
        "metadata": {"name": "vdr", "namespace": "team-a", "uid": UID, "generation": generation, **meta},
        "spec": spec,
        "status": status or {"observedGeneration": -1},
    }


OWNER = {"apiVersion": names.API_VERSION, "kind": names.KIND, "name": "vdr", "uid": UID, "controller": True}


def a_job(name: str = "vdr-1", *, spec: Object = SPEC, status: Object | None = None, **meta: Any) -> Object:
    return {
        "metadata": {
            "name": name,
            "namespace": "team-a",
            "uid": f"uid-of-{name}",
            "creationTimestamp": time(0),
            "annotations": {names.ANNOTATION_SPEC_HASH: hash_of(spec)},
            "ownerReferences": [OWNER],
            **meta,
        },
        "status": status or {},
    }


def complete(job: Object, seconds: float = 600) -> Object:
    return _ended(job, "Complete", seconds, succeeded=1)


def failed(
    job: Object, seconds: float = 600, *, reason: str = "BackoffLimitExceeded", message: str = ""
) -> Object:
    return _ended(job, "Failed", seconds, failed=1, reason=reason, message=message)


def _ended(
    job: Object, type_: str, seconds: float, reason: str = "", message: str = "", **counts: int
) -> Object:
    condition = {
        "type": type_,
        "status": "True",
        "lastTransitionTime": time(seconds),
        "reason": reason,
        "message": message,
    }
    return {**job, "status": {**counts, "conditions": [condition]}}


def a_pod(name: str = "vdr-1-abcde", *, created: float = 0, **status: Any) -> Object:
    metadata = {
        "name": name,
        "namespace": "team-a",
        "uid": f"uid-of-{name}",
        "creationTimestamp": time(created),
    }
    limits = {"memory": "16Gi", "nvidia.com/gpu": "1"}
    container = {"name": "trainer", "image": "images.example/trainer", "resources": {"limits": limits}}
    spec = {"containers": [{"name": "injected"}, container]}
    return {"kind": "Pod", "metadata": metadata, "spec": spec, "status": {"phase": "Pending", **status}}


def being_deleted(thing: Object, seconds: float = 1) -> Object:
    """By whoever, and to be gone at that time."""
    return {**thing, "metadata": {**thing["metadata"], "deletionTimestamp": time(seconds)}}


def a_waiting_pod(reason: str, message: str = "", **more: Any) -> Object:
    return a_pod(containerStatuses=_container(waiting={"reason": reason, "message": message}), **more)


def an_unschedulable_pod(message: str, **more: Any) -> Object:
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    return a_pod(conditions=[condition], **more)


def a_running_pod(name: str = "vdr-1-abcde", *, started: float = 10, created: float = 0) -> Object:
    return a_pod(
        name,
        created=created,
        phase="Running",
        containerStatuses=_container(running={"startedAt": time(started)}),
    )


def a_finished_pod(
    code: int = 0,
    message: str = "",
    *,
    name: str = "vdr-1-abcde",
    ended: float = 590,
    reason: str = "",
    **status: Any,
) -> Object:
    terminated = {
        "exitCode": code,
        "message": message,
        "finishedAt": time(ended),
        "reason": reason or ("Completed" if code == 0 else "Error"),
    }
    phase = "Succeeded" if code == 0 else "Failed"
    return a_pod(name, phase=phase, containerStatuses=_container(terminated=terminated), **status)


def _container(**state: Object) -> list[Object]:
    sidecar = {"name": "injected", "state": {"running": {"startedAt": time(1)}}}
    return [sidecar, {"name": "trainer", "state": state}]


def an_event(
    about: Object, reason: str, message: str, *, seconds: float = 6, type_: str = "Warning"
) -> Object:
    return {
        "type": type_,
        "reason": reason,
        "message": message,
        "lastTimestamp": time(seconds),
        "involvedObject": {"uid": about["metadata"]["uid"]},
    }


MEASURED: Object = {
    "primary": {
        "name": "pages_cosine_ndcg@10",
        "dimension": 64,
        "queries": 200,
        "clusters": 200,
        "comparedTo": "Base",
        "baseline": "0.016",
        "tuned": "0.940",
        "gain": "0.924",
        "gainLow": "0.901",
        "gainHigh": "0.944",
        "wins": 190,
        "ties": 10,
        "losses": 0,
    },
    "metrics": [{"name": "pages_cosine_mrr@10", "baseline": "0.01", "tuned": "0.92"}],
    "gates": [
        {
            "evaluator": "pages",
            "metric": "ndcg@10",
            "passed": True,
            "message": "found 0.940, wanted at least 0.90",
        }
    ],
}
ARTIFACT: Object = {
    "uri": "pvc://published/vdr/1-0123456789ab",
    "digest": "sha256:0123456789ab",
    "run": 1,
    "report": "pvc://published/vdr/1-0123456789ab/report.json",
}
LINEAGE: Object = {
    "model": "sha256:aa",
    "trainData": "sha256:bb",
    "evalData": "sha256:cc",
    "image": "images.example/trainer@sha256:1234",
    "seed": 42,
    "miniBatchSize": 64,
    "versions": {"torch": "2.13.0"},
}


def a_report(outcome: str = "Succeeded", *, run: int = 1, uid: str = UID, **parts: Any) -> Object:
    """A Report as JSON object; parts replace or, with None, remove what such a Report has."""
    usual: dict[str, Any] = {"measured": MEASURED, "lineage": LINEAGE}
    if outcome == "Succeeded":
        usual["artifact"] = {**ARTIFACT, "run": run}
    if outcome == "GateFailed":
        gate = {
            "evaluator": "pages",
            "metric": "ndcg@10",
            "passed": False,
            "message": "found 0.850, wanted at least 0.90",
        }
        usual["measured"] = changed(changed(MEASURED, "gates", [gate]), "primary.tuned", "0.850")
    if outcome == "Failed":
        failure = {
            "reason": "ColumnMissing",
            "message": "column 'image' is not in pages",
            "hint": "Name one that is.",
        }
        usual = {"failure": {**failure, "retryable": False}}
    report = {"version": 1, "uid": uid, "run": run, "outcome": outcome, **usual, **parts}
    return {key: value for key, value in report.items() if value is not None}


def a_look(finetune: Object | None = None, **parts: Any) -> Observed:
    """What was observed, ten minutes after NOW unless told."""
    seen: dict[str, Any] = {
        "job": None,
        "config": None,
        "previous_job": None,
        "pods": (),
        "events": (),
        "report": None,
        "live": None,
        "ca_certificate": CA,
        "now": at(600),
        "listening_since": at(0),
    }
    return Observed(finetune=finetune or a_finetune(), **{**seen, **parts})


def live(phase: Phase, progress: Progress | None, seconds: float, **parts: Any) -> LiveProgress:
    """What a pod reported at that time."""
    then = at(seconds)
    usual = {"received_at": then, "changed_at": then, "pod_uid": "uid-of-vdr-1-abcde"}
    return LiveProgress(phase=phase, progress=progress, **{**usual, **parts})


def decide(observed: Observed, settings: Settings = SETTINGS) -> Plan:
    """The plan. A status that it would write is one that the API server accepts.

    What is kept in memory is enough to decide by.
    """
    decision = plan(observed, settings)
    assert plan(_remembered(observed), settings) == decision
    if decision.status != (observed.finetune.get("status") or {}):
        FinetuneStatus.model_validate(decision.status)
    return decision


def _remembered(observed: Observed) -> Observed:
    """The look, had watches told of all that it found."""

    def kept(thing: Object | None) -> Object | None:
        return trimmed(thing) if thing else thing

    return replace(
        observed,
        finetune=trimmed(observed.finetune),
        job=kept(observed.job),
        config=kept(observed.config),
        previous_job=kept(observed.previous_job),
        pods=tuple(map(trimmed, observed.pods)),
        pods_of_others=tuple(map(trimmed, observed.pods_of_others)),
    )


def applied(observed: Observed, decision: Plan) -> Observed:
    """The same look with the plan's creations, deletions and status in place."""
    gone = {d.uid for d in decision.delete}
    made = {thing["kind"]: _as_created(thing) for thing in decision.create}

    def kept(thing: Object | None) -> Object | None:
        return None if thing is None or thing["metadata"]["uid"] in gone else thing

    return replace(
        observed,
        finetune={**observed.finetune, "status": decision.status},
        job=made.get("Job", kept(observed.job)),
        config=made.get("ConfigMap", kept(observed.config)),
        previous_job=kept(observed.previous_job),
    )


def _as_created(manifest: Object) -> Object:
    uid = f"uid-of-{manifest['kind']}-{manifest['metadata']['name']}"
    metadata = {**manifest["metadata"], "uid": uid, "creationTimestamp": time(0)}
    return {**manifest, "metadata": metadata, "status": {}}


def a_config(spec: Object = SPEC, name: str = "vdr-1") -> Object:
    """The ConfigMap that a first look makes for this spec."""
    (config, _) = decide(a_look(a_finetune(spec))).create
    config["metadata"]["name"] = name
    return _as_created(config)


def started(spec: Object = SPEC, **meta: Any) -> Object:
    """A finetune after its first look."""
    finetune = a_finetune(spec, **meta)
    return {**finetune, "status": decide(a_look(finetune, now=at(0))).status}


def concluded(report: Object, finetune: Object | None = None, *, spec: Object = SPEC) -> Object:
    """A finetune after its Job ended with this Report."""
    finetune = finetune or started(spec)
    name = finetune["status"]["run"]["job"]
    pods = (a_finished_pod(message=json.dumps(report)),)
    look = a_look(
        finetune, job=complete(a_job(name, spec=finetune["spec"])), config=a_config(spec), pods=pods
    )
    return {**finetune, "status": decide(look).status}


def edited(finetune: Object, spec: Object) -> Object:
    """The finetune with another spec, not yet seen by the operator."""
    metadata = {**finetune["metadata"], "generation": finetune["metadata"]["generation"] + 1}
    return {**finetune, "metadata": metadata, "spec": spec}


def condition(status: Object, type_: str) -> Object | None:
    return next((c for c in status["conditions"] if c["type"] == type_), None)


def said(status: Object, type_: str) -> tuple[str, str, str] | None:
    """Status, reason and message of a condition."""
    found = condition(status, type_)
    return (found["status"], found["reason"], found["message"]) if found else None


def verdicts(status: Object, *types: str) -> list[str | None]:
    """Statuses of the conditions, None where there is none."""
    return [found["status"] if (found := condition(status, type_)) else None for type_ in types]


def all_objects(things: Sequence[Object]) -> list[str]:
    return [f"{thing['kind']}/{thing['metadata']['name']}" for thing in things]
