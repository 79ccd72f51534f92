"""What the operator knows without asking: finetunes as last seen, and what their pods reported.

Filled by `handlers`, `reconcile` and `reports`, read by `reconcile` and by the metrics at scrape time.
Nothing here is the truth: a restart empties it, and the API server and the pods' termination messages
fill in.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from threading import Lock
from typing import Any

from finetune_operator.decisions.observed import LiveProgress, PostedReport
from finetune_operator.views import Key, Views

__all__ = ["Key", "Known", "Memory", "key_of"]


@dataclass(frozen=True)
class Known:
    """The parts of a finetune that metrics need; the rest would only fill memory."""

    key: Key
    uid: str
    resource_version: str
    base_model: str
    loss: str
    model_type: str
    gpus: int
    gpu_resource: str
    created: str
    status: dict[str, Any]


@dataclass(frozen=True)
class _Reported:
    """By the pods of one run."""

    run: int
    live: LiveProgress | None = None
    report: PostedReport | None = None


class Memory:
    """Shared among the event loop and the reconciling threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._known: dict[Key, Known] = {}
        self._reported: dict[str, _Reported] = {}
        self.views = Views()

    def observe(self, finetune: dict[str, Any]) -> None:
        """Remember it; what was reported about an earlier one of the same name goes."""
        key, metadata = key_of(finetune), finetune["metadata"]
        with self._lock:
            former = self._known.get(key)
            if former is not None and former.uid != metadata["uid"]:
                self._reported.pop(former.uid, None)
            elif former is not None and former.resource_version == metadata["resourceVersion"]:
                return
            self._known[key] = _known(finetune)

    def forget(self, key: Key) -> None:
        """Of a deleted finetune nothing is kept: its series vanish with the next scrape."""
        with self._lock:
            known = self._known.pop(key, None)
            if known is not None:
                self._reported.pop(known.uid, None)

    def expects(self, key: Key, uid: str, run: int) -> bool:
        """Whether there is such a finetune, and that run of it was not followed by another."""
        with self._lock:
            return self._expects(key, uid, run)

    def _expects(self, key: Key, uid: str, run: int) -> bool:
        known, kept = self._known.get(key), self._reported.get(uid)
        if known is None or known.uid != uid:
            return False
        stored: int = (known.status.get("run") or {}).get("number", 0)
        return run >= max(stored, kept.run if kept else 0)

    def report(self, key: Key, uid: str, run: int, said: LiveProgress | PostedReport) -> bool:
        """Keep what a pod said in place of what was kept before. False when nobody expects it."""
        with self._lock:
            if not self._expects(key, uid, run):
                return False
            kept = self._reported.get(uid)
            kept = kept if kept is not None and kept.run == run else _Reported(run)
            live, report = (said, kept.report) if isinstance(said, LiveProgress) else (kept.live, said)
            self._reported[uid] = _Reported(run, live, report)
            return True

    def reported(self, uid: str, run: int) -> tuple[LiveProgress | None, PostedReport | None]:
        """What the pods of that run said last."""
        with self._lock:
            kept = self._reported.get(uid)
        return (kept.live, kept.report) if kept is not None and kept.run == run else (None, None)

    def known(self) -> Iterator[tuple[Known, LiveProgress | None]]:
        """Every finetune, with the live progress of its present run; the same objects until they change."""
        with self._lock:
            all_known, reported = list(self._known.values()), dict(self._reported)
        for known in all_known:
            yield known, _live(known, reported.get(known.uid))


def key_of(finetune: dict[str, Any]) -> Key:
    return Key(finetune["metadata"]["namespace"], finetune["metadata"]["name"])


def _live(known: Known, reported: _Reported | None) -> LiveProgress | None:
    """Of the present run, while it goes on."""
    run = known.status.get("run") or {}
    if reported is None or reported.run != run.get("number") or run.get("completionTime"):
        return None
    return reported.live


def _known(finetune: dict[str, Any]) -> Known:
    """The API server has validated the spec; an object older than a field may still lack it."""
    metadata, spec = finetune["metadata"], finetune.get("spec") or {}
    model, runtime = spec.get("model") or {}, spec.get("runtime") or {}
    return Known(
        key=key_of(finetune),
        uid=metadata["uid"],
        resource_version=metadata["resourceVersion"],
        base_model=_base_model(model),
        loss=str((spec.get("loss") or {}).get("name", "")),
        model_type=str(model.get("type", "Embedding")),
        gpus=gpus_of(spec),
        gpu_resource=str(runtime.get("gpuResourceName", "nvidia.com/gpu")),
        created=str(metadata.get("creationTimestamp", "")),
        status=finetune.get("status") or {},
    )


def gpus_of(spec: dict[str, Any]) -> int:
    """GPUs that the pods of a run hold."""
    return int((spec.get("runtime") or {}).get("gpusPerNode", 1))


def _base_model(model: dict[str, Any]) -> str:
    """Its URI, or those of its encoders."""
    return ", ".join(str(part.get("uri", "")) for part in model.get("encoders") or [model])
