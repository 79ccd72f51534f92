"""What must hold whatever went wrong, checked on everything that was seen of a namespace."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from finetune_operator.decisions.jobs import end_of
from tests.faults.recorder import Change, Recorder

Object = dict[str, Any]


def violations(recorder: Recorder, namespace: str) -> list[str]:
    """What did not hold, as sentences."""
    finetunes = recorder.of(namespace, "finetune")
    return [
        *_never_two(recorder.of(namespace, "job"), "active Jobs", lambda job: end_of(job) is None),
        *_never_two(recorder.of(namespace, "pod"), "pods at work", _is_at_work),
        *_steps_that_go_back(finetunes),
        *_ends_that_were_left(finetunes),
        *_times_that_cannot_be(finetunes),
    ]


def _is_at_work(pod: Object) -> bool:
    return pod["status"].get("phase") not in {"Succeeded", "Failed"}


def _never_two(changes: Sequence[Change], what: str, is_active: Callable[[Object], bool]) -> Iterator[str]:
    """What is being deleted counts until it is gone."""
    active: dict[str, set[str]] = defaultdict(set)
    for change in changes:
        metadata = change.thing["metadata"]
        there = active[metadata["labels"]["embeddings.dev/finetune"]]
        if change.type == "DELETED" or not is_active(change.thing):
            there.discard(metadata["name"])
        else:
            there.add(metadata["name"])
        if len(there) > 1:
            yield f"two {what} at a time: {sorted(there)}"


def _statuses(changes: Sequence[Change]) -> Iterator[tuple[str, int, Object]]:
    """uid, generation and status after each change of a finetune."""
    for change in changes:
        metadata = change.thing["metadata"]
        if change.type != "DELETED":
            yield metadata["uid"], metadata["generation"], change.thing.get("status") or {}


def _steps_that_go_back(changes: Sequence[Change]) -> Iterator[str]:
    """Within one attempt: the next one goes on from a checkpoint."""
    furthest: dict[tuple[Any, ...], int] = {}
    for uid, _, status in _statuses(changes):
        run = status.get("run") or {}
        step = (status.get("progress") or {}).get("step")
        attempt = uid, run.get("number"), run.get("attempt"), run.get("pod")
        if step is None:
            continue
        if step < furthest.get(attempt, 0):
            yield f"the step went back from {furthest[attempt]} to {step} in attempt {attempt[1:]}"
        furthest[attempt] = max(step, furthest.get(attempt, 0))


def _ends_that_were_left(changes: Sequence[Change]) -> Iterator[str]:
    """A generation that has come to an end stays there."""
    ends: dict[tuple[str, int], tuple[Any, ...]] = {}
    for uid, generation, status in _statuses(changes):
        if status.get("observedGeneration") != generation:
            continue
        before, now = ends.get((uid, generation)), _end(status)
        if before is not None and now != before:
            yield f"generation {generation} left its end {before} for {now or status.get('phase')}"
        if now is not None:
            ends[uid, generation] = now


def _end(status: Object) -> tuple[Any, ...] | None:
    """What a generation ended with, None while it has not."""
    found = {c["type"]: c for c in status.get("conditions") or []}
    for type_ in ("Ready", "Stalled"):
        if (said := found.get(type_)) and said["status"] == "True" and said["reason"] != "NameTaken":
            return type_, said["reason"], (status.get("run") or {}).get("number")
    return None


def _times_that_cannot_be(changes: Sequence[Change]) -> Iterator[str]:
    for _, _, status in _statuses(changes):
        run = status.get("run") or {}
        start, end = run.get("startTime"), run.get("completionTime")
        if start and end and end < start:
            yield f"run {run['number']} ended at {end}, before its start at {start}"
        if run.get("activeSeconds", 0) < run.get("podSeconds", 0):
            yield f"run {run['number']} was active for less than its newest pod: {run}"


def masked(status: Object, *, attempts: bool = False) -> Object:
    """The status without what differs from run to run: times, names of pods, seconds, steps.

    attempts: also without how many pods it took, where the fault takes some of them.
    """
    out = {
        "progress",
        "startTime",
        "completionTime",
        "checkpointTime",
        "lastTransitionTime",
        "pod",
        "podTime",
    }
    out |= {"activeSeconds", "podSeconds", "wastedSeconds", "lostSteps", "lastStep"}
    if attempts:
        out |= {"attempt", "attempts", "retries", "interruptions", "vainInterruptions"}
    masked: Object = _without(status, out)
    return masked


def _without(thing: Any, keys: set[str]) -> Any:
    if isinstance(thing, list):
        return [_without(part, keys) for part in thing]
    if isinstance(thing, dict):
        return {key: _without(part, keys) for key, part in thing.items() if key not in keys}
    return thing


def difference(found: Any, wanted: Any, path: str = "status") -> list[str]:
    """Where two masked statuses differ, as `path: found, wanted`."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        keys = sorted(found.keys() | wanted.keys())
        return [text for key in keys for text in difference(found.get(key), wanted.get(key), f"{path}.{key}")]
    if isinstance(found, list) and isinstance(wanted, list) and len(found) == len(wanted):
        pairs = enumerate(zip(found, wanted, strict=True))
        return [text for n, (a, b) in pairs for text in difference(a, b, f"{path}[{n}]")]
    return [] if found == wanted else [f"{path}: found {found!r}, wanted {wanted!r}"]
