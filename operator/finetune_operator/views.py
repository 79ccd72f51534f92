"""Finetunes that go on, with their children, as watches, reads and own writes have shown them last.

A look at one of them needs no reads as long as this is all that there is to know. It may lag behind the API
server, and after a broken watch even hold what is gone. So `reconcile` reads the API server itself before it
decides anything that cannot be taken back, when a write was refused, mostly when nothing was heard that would
explain the look, and every `REREAD_SECONDS` anyway.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, NamedTuple

from finetune_api import names
from finetune_operator.decisions.objects import is_being_deleted, name_of, uid_of
from finetune_operator.decisions.observed import Object
from finetune_operator.decisions.pods import is_finished
from finetune_operator.versions import essence, is_newer, newer

REREAD_SECONDS = 3600.0
TOLD_SECONDS = 10.0
"""A watch that has told something so lately tells the rest as well."""
JOB_NAME_LABEL = "batch.kubernetes.io/job-name"


class Key(NamedTuple):
    """Of a finetune: what the queue holds."""

    namespace: str
    name: str


@dataclass(frozen=True)
class View:
    """What is known of one finetune when a look at it begins."""

    finetune: Object
    children: dict[tuple[str, str], Object]
    """By kind and name: Jobs, pods and ConfigMaps."""
    complete: frozenset[str]
    """Jobs about which all is known: what is not in `children` was not there."""
    events: tuple[Object, ...]
    """About what did not start when it was last read."""
    gone_pod: Object | None
    """The last one that ended and went."""
    jobs_are_told: bool
    """Of Jobs something was heard just now: what was not is still to come."""
    has_news: bool

    def child(self, kind: str, name: str) -> Object | None:
        return self.children.get((kind, name))

    def pods_of(self, job: str) -> tuple[Object, ...]:
        pods = (thing for (kind, _), thing in self.children.items() if kind == "Pod")
        return tuple(pod for pod in pods if (pod["metadata"].get("labels") or {}).get(JOB_NAME_LABEL) == job)


@dataclass
class _Entry:
    finetune: Object | None = None
    children: dict[tuple[str, str], Object] = field(default_factory=dict)
    complete: set[str] = field(default_factory=set)
    events: tuple[Object, ...] = ()
    gone_pod: Object | None = None
    has_news: bool = False
    is_doubted: bool = False
    """A write was refused or got lost: only reading tells."""
    read_at: float = float("-inf")

    def keep(self, thing: Object) -> None:
        """In place of an older state of the same child."""
        place = thing["kind"], name_of(thing)
        self.children[place] = newer(self.children.get(place), thing)


class Views:
    """Shared among the event loop and the reconciling threads. Objects come `trimmed`, and never change."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._lock = Lock()
        self._entries: dict[Key, _Entry] = {}
        self._settled: dict[Key, Object] = {}
        """Metadata of finetunes that nothing is left to do for: their children are of no interest."""
        self._job_told_at = float("-inf")

    def knows(self, kind: str, key: Key, thing: Mapping[str, Any]) -> bool:
        """Whether it is no newer than what is kept, as the echo of an own write: not worth to be trimmed."""
        with self._lock:
            entry, settled = self._entries.get(key), self._settled.get(key)
            if kind == names.KIND:
                known = (entry.finetune if entry else None) or settled
            elif settled is not None:
                return True
            else:
                known = entry.children.get((kind, thing["metadata"]["name"])) if entry else None
        return known is not None and not is_newer(thing, known)

    def told_of_a_job(self) -> None:
        """The watch of Jobs has brought one, whatever it says."""
        with self._lock:
            self._job_told_at = self._monotonic()

    def saw(self, kind: str, key: Key, thing: Object) -> bool:
        """A watch has shown the object; whether it says something new, so that somebody should look."""
        with self._lock:
            return self._saw_finetune(key, thing) if kind == names.KIND else self._saw_child(kind, key, thing)

    def lost(self, kind: str, key: Key, thing: Object) -> bool:
        """A watch has told that a child was deleted; whether that is new."""
        with self._lock:
            entry, place = self._entries.get(key), (kind, name_of(thing))
            known = entry.children.get(place) if entry else None
            if entry is None or known is None or uid_of(known) != uid_of(thing):
                return False
            del entry.children[place]
            if kind == "Pod" and is_finished(thing):
                entry.gone_pod = thing
            entry.has_news = True
            if entry.finetune is None and not entry.children:
                del self._entries[key]
            return entry.finetune is not None

    def heard(self, key: Key) -> None:
        """Its pods reported something: a reason to look that calls for no reads."""
        with self._lock:
            if entry := self._entries.get(key):
                entry.has_news = True

    def wrote(self, key: Key, thing: Object, *, is_whole: bool = False) -> None:
        """Keep what a write of the operator's own was answered with; its echo is no news then.

        is_whole: a Job was made by this write, so that its pods can only come later.
        """
        with self._lock:
            entry = self._entries.setdefault(key, _Entry())
            if thing["kind"] == names.KIND:
                entry.finetune = newer(entry.finetune, thing)
            else:
                entry.keep(thing)
            if is_whole:
                entry.complete.add(name_of(thing))
                entry.read_at = self._monotonic()

    def read(
        self,
        key: Key,
        finetune: Object,
        job: str,
        children: Sequence[Object],
        events: tuple[Object, ...] = (),
    ) -> None:
        """Replace what was known by what the API server answered: all there is of this Job.

        What watches told meanwhile may be newer, so then the next look reads once more.
        """
        with self._lock:
            entry = self._entries.setdefault(key, _Entry())
            entry.finetune = newer(entry.finetune, finetune)
            entry.is_doubted, entry.events = entry.has_news, events
            if not entry.has_news:
                entry.children, entry.complete, entry.read_at = {}, {job}, self._monotonic()
            for thing in children:
                entry.keep(thing)

    def doubt(self, key: Key) -> bool:
        """The next look is to read, whatever is heard until then; whether there is anything to look at."""
        with self._lock:
            if entry := self._entries.get(key):
                entry.is_doubted = True
            return entry is not None

    def take(self, key: Key) -> View | None:
        """What is known, for one look; None when it has to read."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                return None
            had_news, entry.has_news = entry.has_news, False
            is_new = entry.read_at == float("-inf")
            is_old = not is_new and self._monotonic() - entry.read_at >= REREAD_SECONDS
            if entry.finetune is None or entry.is_doubted or is_old:
                return None
            children, complete = dict(entry.children), frozenset(entry.complete)
            return View(
                entry.finetune, children, complete, entry.events, entry.gone_pod,
                jobs_are_told=self._monotonic() - self._job_told_at < TOLD_SECONDS, has_news=had_news,
            )  # fmt: skip

    def pods(self, key: Key) -> tuple[Object, ...]:
        """Those that are known, of whatever Job."""
        with self._lock:
            entry = self._entries.get(key)
            children = entry.children.items() if entry else ()
            return tuple(thing for (kind, _), thing in children if kind == "Pod")

    def gone_pod(self, key: Key) -> Object | None:
        """The last pod that ended and went: reading no longer tells how it ended."""
        with self._lock:
            entry = self._entries.get(key)
            return entry.gone_pod if entry else None

    def find(self, kind: str, namespace: str, name: str, uid: str) -> Object | None:
        """A Job or pod of a finetune that goes on, by the name that it has from it; None when not known."""
        finetune = name.rsplit("-", 1 if kind == "Job" else 2)[0]
        with self._lock:
            entry = self._entries.get(Key(namespace, finetune))
            thing = entry.children.get((kind, name)) if entry else None
        return thing if thing is not None and uid_of(thing) == uid else None

    def settle(self, key: Key, finetune: Object) -> None:
        """Nothing is left to do for it: keep no more than what tells its next change.

        Of one that is being deleted children are kept, as `forget` does.
        """
        if is_being_deleted(finetune):
            return
        with self._lock:
            entry = self._entries.pop(key, None)
            newest = newer(entry.finetune if entry else None, finetune)
            metadata = {part: newest["metadata"].get(part) for part in ("name", "uid", "resourceVersion")}
            self._settled[key] = {"metadata": metadata}

    def forget(self, key: Key, uid: str | None = None) -> None:
        """It is deleted; uid: unless another one has its name by now.

        Its children go one by one: pods that are still ending matter to a next one of that name.
        """
        with self._lock:
            entry, settled = self._entries.get(key), self._settled.get(key)
            if settled is not None and uid in {None, uid_of(settled)}:
                del self._settled[key]
            if entry is None or (entry.finetune is not None and uid not in {None, uid_of(entry.finetune)}):
                return
            self._entries[key] = _Entry(
                children={place: c for place, c in entry.children.items() if place[0] != "ConfigMap"}
            )
            if not self._entries[key].children:
                del self._entries[key]

    def _saw_finetune(self, key: Key, thing: Object) -> bool:
        entry = self._entries.get(key)
        known = (entry.finetune if entry else None) or self._settled.get(key)
        if known is not None and not is_newer(thing, known):
            return False
        self._settled.pop(key, None)
        entry = self._entries.setdefault(key, _Entry())
        entry.finetune, entry.has_news = thing, True
        return True

    def _saw_child(self, kind: str, key: Key, thing: Object) -> bool:
        if key in self._settled:
            return False
        entry, place = self._entries.setdefault(key, _Entry()), (kind, name_of(thing))
        known = entry.children.get(place)
        if known is not None and not is_newer(thing, known):
            return False
        entry.children[place] = thing
        if known is not None and essence(known) == essence(thing):
            return False
        entry.has_news = True
        # Before its finetune was seen, nobody can say what it means; that event will come.
        return entry.finetune is not None
