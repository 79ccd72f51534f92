"""The life of one pod, on a thread of its own.

Reads from top to bottom: fill the volumes, run the init containers one after the other, run the containers,
report the end, wait to be deleted. Whatever is heard from outside comes through an inbox and interrupts any
wait: a deletion as `_Deleted`, an object that vanished as `_Gone`.
"""

import queue
import shutil
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from tests.cluster.client import ApiError, Client, Dict, Unreachable
from tests.cluster.node.container import KILLED, ContainerRun
from tests.cluster.node.environment import MissingReference
from tests.cluster.node.launch import Launcher, Refused
from tests.cluster.node.objects import PodObjects
from tests.cluster.node.report import Reporter
from tests.cluster.node.slot import MESSAGE_BYTES, POD_MESSAGE_BYTES, Slot
from tests.cluster.node.status import phase_of
from tests.cluster.node.volumes import Volumes

RETRY_SECONDS = 1.0
REFRESH_SECONDS = 5.0
# After SIGKILL a process is gone at once, unless it hangs in the kernel.
KILL_SECONDS = 30.0


@dataclass(frozen=True)
class _Deletion:
    grace_seconds: float


class _Deleted(Exception):
    def __init__(self, grace_seconds: float) -> None:
        self.grace_seconds = grace_seconds


class _Gone(Exception):
    pass


class PodWorker:
    """Runs one pod. `run` is the thread; everything else public is called from other threads."""

    def __init__(self, pod: Dict, client: Client, launcher: Launcher, folder: Path) -> None:
        self.pod = pod
        self.namespace, self.name = pod["metadata"]["namespace"], pod["metadata"]["name"]
        self._client = client
        self._launcher = launcher
        self._folder = folder
        self._inbox: queue.Queue[_Deletion | type[_Gone] | None] = queue.Queue()
        self._volumes = Volumes(pod, folder / "volumes", PodObjects(client, pod))
        spec = pod["spec"]
        policy = spec.get("restartPolicy", "Always")
        count = len(spec["containers"]) + len(spec.get("initContainers", ()))
        share = min(MESSAGE_BYTES, POD_MESSAGE_BYTES // count)
        init_policy = "Never" if policy == "Never" else "OnFailure"
        self._inits = [self._slot(each, share, init_policy) for each in spec.get("initContainers", ())]
        self._mains = [self._slot(each, share, policy) for each in spec["containers"]]
        self._reporter = Reporter(client, pod)
        self._volumes_ready = False

    def _slot(self, container: Dict, share: int, policy: str) -> Slot:
        folder = self._folder / "logs" / container["name"]
        folder.mkdir(parents=True, exist_ok=True)
        return Slot(container, folder, share, policy)

    def terminate(self, grace_seconds: float) -> None:
        """The object is being deleted."""
        self._inbox.put(_Deletion(grace_seconds))

    def vanish(self) -> None:
        """The object is no more: nothing can be reported, nothing may stay."""
        self._inbox.put(_Gone)

    def find_slot(self, container: str) -> Slot | None:
        """For the logs."""
        return next((slot for slot in (*self._inits, *self._mains) if slot.name == container), None)

    def run(self) -> None:
        """From being bound to this node until the object is gone."""
        try:
            try:
                self._live()
                self._stay()
            except _Deleted as deletion:
                self._end(deletion.grace_seconds)
                self._reporter.confirm_deletion()
                self._stay_gone()
        except _Gone:
            self._kill_all()
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _live(self) -> None:
        phase = self.pod.get("status", {}).get("phase", "Pending")
        if phase in ("Succeeded", "Failed"):
            return None
        if phase == "Running" and self.pod["spec"].get("restartPolicy") == "Never":
            # The processes of an agent that was killed have died with it.
            self._abandon_all("ContainerStatusUnknown", "the node's agent was started again")
            return self._publish()
        self._publish()
        self._fill_volumes()
        for slot in self._inits:
            self._supervise([slot])
            if not slot.view().has_succeeded:
                break
        else:
            self._supervise(self._mains)
        self._tear_down()
        return None

    def _fill_volumes(self) -> None:
        while True:
            try:
                self._volumes.fill()
            except (MissingReference, ApiError, Unreachable) as error:
                self._reporter.warn("FailedMount", f"MountVolume.SetUp failed: {error}")
                self._wait(RETRY_SECONDS)
            else:
                self._volumes_ready = True
                return

    def _supervise(self, slots: Sequence[Slot]) -> None:
        """Until each of them has ended for good."""
        while True:
            for slot in slots:
                if slot.due is not None and slot.due <= time.monotonic():
                    self._attempt(slot)
            self._publish()
            if all(slot.is_finished for slot in slots):
                return
            self._await_change(slots)

    def _attempt(self, slot: Slot) -> None:
        try:
            invocation = self._launcher.prepare(self.pod, slot, self._volumes)
        except Refused as refusal:
            slot.wait(refusal.reason, str(refusal), RETRY_SECONDS)
            self._reporter.warn(refusal.event, str(refusal))
        except (ApiError, Unreachable) as error:
            slot.wait("ContainerCreating", str(error), RETRY_SECONDS)
        else:
            slot.begin(ContainerRun(invocation, on_exit=lambda: self._inbox.put(None)))

    def _await_change(self, slots: Sequence[Slot]) -> None:
        dues = [slot.due for slot in slots if slot.due is not None]
        seconds = max(min((due - time.monotonic() for due in dues), default=REFRESH_SECONDS), 0.0)
        self._wait(min(seconds, REFRESH_SECONDS))
        for slot in slots:
            slot.settle()
        if not dues:
            self._refresh()

    def _refresh(self) -> None:
        """Bring new versions of ConfigMaps and tokens into the running pod; trouble can wait."""
        try:
            self._volumes.refresh(every_seconds=REFRESH_SECONDS)
        except (MissingReference, ApiError, Unreachable) as error:
            print(f"{self.namespace}/{self.name}: volumes not refreshed: {error}", flush=True)

    def _wait(self, seconds: float | None) -> None:
        """Until a container ends or time is up; raises what was heard from outside."""
        try:
            self._hear(self._inbox.get(timeout=seconds))
        except queue.Empty:
            return

    def _hear(self, message: _Deletion | type[_Gone] | None) -> None:
        if isinstance(message, _Deletion):
            raise _Deleted(message.grace_seconds)
        if message is not None:
            raise message

    def _stay(self) -> NoReturn:
        while True:
            self._wait(None)

    def _stay_gone(self) -> NoReturn:
        """Finalizers may keep the object for a while; another deletion of it asks for nothing new."""
        while True:
            try:
                self._wait(None)
            except _Deleted:
                self._reporter.confirm_deletion()

    def _end(self, grace_seconds: float) -> None:
        """SIGTERM, the grace, SIGKILL; the last status is written before the object goes."""
        deadline = time.monotonic() + grace_seconds
        for slot in self._running():
            slot.signal(signal.SIGTERM)
        while self._running() and time.monotonic() < deadline:
            try:
                self._wait(deadline - time.monotonic())
            except _Deleted as sooner:
                deadline = min(deadline, time.monotonic() + sooner.grace_seconds)
            self._settle_finally()
        self._kill_all()
        self._abandon_all("ContainerStatusUnknown", "the pod was deleted before this container ended")
        self._publish()
        self._tear_down()

    def _kill_all(self) -> None:
        deadline = time.monotonic() + KILL_SECONDS
        for slot in self._running():
            slot.signal(signal.SIGKILL)
        while self._running() and time.monotonic() < deadline:
            try:
                self._wait(0.1)
            except (_Deleted, _Gone):
                continue
            self._settle_finally()

    def _settle_finally(self) -> None:
        """No restart any more, whatever the policy."""
        for slot in self._running():
            slot.restart_policy = "Never"
            slot.settle()

    def _abandon_all(self, reason: str, message: str) -> None:
        for slot in (*self._inits, *self._mains):
            slot.abandon(KILLED, reason, message)

    def _running(self) -> list[Slot]:
        return [slot for slot in (*self._inits, *self._mains) if slot.run is not None]

    def _tear_down(self) -> None:
        """Volumes go with the last process; logs stay until the object is gone."""
        shutil.rmtree(self._folder / "volumes", ignore_errors=True)
        shutil.rmtree(self._folder / "scratch", ignore_errors=True)

    def _publish(self) -> None:
        inits, mains = [slot.view() for slot in self._inits], [slot.view() for slot in self._mains]
        self._reporter.publish(inits, mains, phase=phase_of(inits, mains), volumes_ready=self._volumes_ready)
