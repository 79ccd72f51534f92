"""One life under a fault: a namespace with an operator of its own behind a proxy, and what came of it."""

import contextlib
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.cluster import Cluster
from tests.cluster.waiting import eventually
from tests.faults.calls import Call, count
from tests.faults.faults import Fault
from tests.faults.invariants import violations
from tests.faults.proxy import Proxy
from tests.faults.recorder import Recorder
from tests.faults.replicas import LEASE_LOST, Replica
from tests.operator.conftest import Finetunes

QUIET_SECONDS = 2.0
SETTLE_SECONDS = 30.0
# The garbage collector looks every 30 s for kinds that are new in the cluster.
GONE_SECONDS = 120.0
WHEN_SECONDS = 60.0
SIGNS_OF_TROUBLE = ("Traceback", "broke down", "never retrieved", "Unhandled")


@dataclass
class Lane:
    """What a scenario and a fault have to do with."""

    cluster: Cluster
    recorder: Recorder
    finetunes: Finetunes
    proxy: Proxy
    replica: Replica
    another: "Callable[[], Lane]"
    """Another operator for the same finetunes, behind a proxy of its own; not started yet."""
    notes: list[str] = field(default_factory=list)
    """What is worth telling in the table."""
    troubles: list[str] = field(default_factory=list)
    """What went wrong with the fault itself."""
    label: str = ""
    """What tells this life from others of its scenario, such as a seed."""

    def when(self, what: str, probe: Callable[[], object], *acts: Callable[[], object]) -> None:
        """Do these one after the other, in another thread, as soon as the probe says so."""

        def run() -> None:
            try:
                eventually(probe, what, seconds=WHEN_SECONDS)
                for act in acts:
                    act()
            except Exception as error:  # noqa: BLE001 - told with everything else
                self.troubles.append(f"when {what}: {error!r}")

        threading.Thread(target=run, name=what, daemon=True).start()

    def await_new_leader(self) -> None:
        """After the present one was killed: the next one takes the Lease and lists."""
        began = time.monotonic()

        def has_listed() -> bool:
            return any(call.verb == "list" and call.at > began for call in tuple(self.proxy.calls))

        eventually(has_listed, "another operator leads", seconds=WHEN_SECONDS)

    @property
    def namespace(self) -> str:
        return self.finetunes.namespace

    @property
    def writes(self) -> list[Call]:
        """The operator's, without Lease and reviews of tokens."""
        return [call for call in self.proxy.calls if call.is_write]


Scenario = Callable[[Lane], None]
"""What people do with finetune `one`, until it has come to its end."""
Arrange = Callable[[Lane], Fault | None]
"""Called before the operator starts; the fault to begin with."""


@dataclass
class Outcome:
    """What was seen."""

    name: str
    """Of the scenario and the namespace: the log is named so."""
    status: dict[str, Any]
    """The last one of finetune `one`."""
    problems: list[str]
    writes: list[Call]
    calls: Counter[tuple[str, str]]
    exits: list[int]
    """Codes with which the operator ended, SIGTERM in the end included."""
    seconds: float
    """From the finetune's creation to its end."""
    notes: list[str]


def live(lane: Lane, scenario: Scenario, arrange: Arrange) -> Outcome:
    """One life, and everything that must hold after it."""
    lane.proxy.fault = arrange(lane) or Fault()
    lane.replica.start()
    began = time.monotonic()
    problems: list[str] = []
    try:
        scenario(lane)
    except (AssertionError, TimeoutError) as error:
        problems.append(f"no end: {error}")
    seconds = time.monotonic() - began
    lane.proxy.fault = Fault()
    problems += [] if problems else _unquiet(lane.proxy)
    found = lane.finetunes.client.get(f"{lane.finetunes.path}/one")
    writes = lane.writes
    problems += [*lane.troubles, *_left_behind(lane)]
    problems += violations(lane.recorder, lane.namespace)
    problems += _end(lane.replica)
    name = f"{scenario.__name__} in {lane.namespace} {lane.label}".strip()
    return Outcome(
        name=name,
        status=(found or {}).get("status") or {},
        problems=[f"{name}: {problem}" for problem in problems],
        writes=writes,
        calls=count(lane.proxy.calls),
        exits=lane.replica.exits,
        seconds=seconds,
        notes=lane.notes,
    )


def _unquiet(proxy: Proxy) -> list[str]:
    """Nothing may be asked once all is settled, but for watches and the Lease."""

    def work() -> list[Call]:
        since = time.monotonic() - QUIET_SECONDS
        return [call for call in tuple(proxy.calls) if call.at > since and not call.is_upkeep]

    try:
        eventually(lambda: not work(), "quiet", seconds=SETTLE_SECONDS)
    except TimeoutError:
        return [f"still at work {SETTLE_SECONDS:g} s after the end: {dict(count(work()))}"]
    return []


def _left_behind(lane: Lane) -> list[str]:
    """Deleting takes everything along."""
    kinds = ("jobs", "pods", "configmaps")
    for found in lane.finetunes.client.list(lane.finetunes.path)["items"]:
        lane.finetunes.delete(found["metadata"]["name"])

    def there() -> dict[str, list[str]]:
        found = {kind: [x["metadata"]["name"] for x in lane.finetunes.children(kind)] for kind in kinds}
        return {kind: names for kind, names in found.items() if names}

    try:
        eventually(lambda: not there(), "all is gone", seconds=GONE_SECONDS)
    except TimeoutError:
        return [f"left behind: {there()}"]
    return []


def _end(replica: Replica) -> list[str]:
    """It ends when asked to, and its log tells of nothing that nobody foresaw."""
    problems = []
    try:
        # On a machine that is too busy for a Lease of 3 s it may be lost meanwhile, which is as good an end.
        if (code := replica.stop()) not in {0, LEASE_LOST}:
            problems.append(f"SIGTERM ended the operator with {code}")
    except TimeoutError as error:
        problems.append(str(error))
    lines = replica.log.read_text(errors="replace").splitlines()
    strange = [line for line in lines if any(sign in line for sign in SIGNS_OF_TROUBLE)]
    return [*problems, *(f"the log says: {line[:200]} ... {line[-400:]}" for line in strange[:3])]


@contextlib.contextmanager
def fresh_namespace(cluster: Cluster) -> Iterator[str]:
    """A namespace in which pods can be made; it is deleted without waiting for its end."""
    name, client = f"fault-{secrets.token_hex(4)}", cluster.client
    client.create("/api/v1/namespaces", {"metadata": {"name": name}})
    eventually(
        lambda: client.get(f"/api/v1/namespaces/{name}/serviceaccounts/default"), "its service account"
    )
    yield name
    client.delete(f"/api/v1/namespaces/{name}")


def settings_of(namespace: str, kubeconfig: Path) -> Mapping[str, str]:
    """Quick, and for one namespace alone, so that lanes do not see each other."""
    return {
        "KUBECONFIG": str(kubeconfig),
        "FINETUNE_WATCH_NAMESPACES": namespace,
        "FINETUNE_LEASE_NAME": f"operator-of-{namespace}",
        "FINETUNE_PROGRESS_INTERVAL_SECONDS": "1",
        "FINETUNE_POD_START_GRACE_SECONDS": "1",
        "FINETUNE_LEASE_DURATION_SECONDS": "3",
        "FINETUNE_LEASE_DEADLINE_SECONDS": "2.5",
        "FINETUNE_LEASE_RENEW_SECONDS": "0.5",
    }
