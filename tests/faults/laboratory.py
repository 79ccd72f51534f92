"""Runs many lives side by side on one cluster: most of the time each of them waits."""

import contextlib
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.cluster import Cluster
from tests.cluster.ports import reserve
from tests.faults.faults import Fault
from tests.faults.invariants import difference, masked
from tests.faults.lanes import Arrange, Lane, Outcome, Scenario, fresh_namespace, live, settings_of
from tests.faults.proxy import ProxyHost
from tests.faults.recorder import Recorder
from tests.faults.replicas import Nursery, Replica
from tests.operator.conftest import Finetunes
from tests.operator.process import NAMESPACE, RELEASE, environment

LANES = 5
ROLE = "leases-of-lanes"


Lives = list[tuple[Scenario | None, Outcome]]
"""Each with the scenario whose end it must have come to, if there is one without the fault."""


@dataclass
class Result:
    """Of one experiment: a row of the table."""

    problems: list[str]
    lives: int
    exits: dict[int, int]
    slowest_seconds: float
    """The longest life."""
    slower_seconds: float
    """How much longer that was than without the fault."""
    requests: int
    seconds: float
    """Of the whole experiment, beside others."""
    notes: list[str]


@dataclass(frozen=True)
class Experiment:
    """A fault, tried on lives of one scenario or more."""

    name: str
    run: "Callable[[Laboratory], Lives]"
    attempts_differ: bool = False
    """Whether the fault takes attempts, so that their number is not compared."""
    prepare: Callable[[], object] = lambda: None
    """Called in the main thread before any experiment begins."""


@dataclass
class Laboratory:
    """Everything that lives share."""

    cluster: Cluster
    folder: Path
    recorder: Recorder
    proxies: ProxyHost
    nursery: Nursery
    lanes: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(LANES, "lane"))

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._with_clock: Nursery | None = None
        self._references: dict[Scenario, Future[Outcome]] = {}
        self._tls = ssl.create_default_context(cafile=str(self.cluster.folder.pki / "ca.crt"))
        self._kubeconfig = json.loads(self.cluster.kubeconfig_for(NAMESPACE, RELEASE).read_text())

    def nursery_with_clock(self) -> Nursery:
        """Of operators whose clock is off by what a file says; started when first asked for."""
        with self._lock:
            self._with_clock = self._with_clock or Nursery(self.folder / "clock.log", with_clock=True)
            return self._with_clock

    def close(self) -> None:
        self.lanes.shutdown(cancel_futures=True)
        self.nursery.close()
        if self._with_clock is not None:
            self._with_clock.close()
        self.proxies.close()

    def reference(self, scenario: Scenario) -> Future[Outcome]:
        """How it goes without a fault; lived once."""
        with self._lock:
            if scenario not in self._references:
                self._references[scenario] = self.live(scenario)
            return self._references[scenario]

    def live(
        self,
        scenario: Scenario,
        arrange: Arrange = lambda _: Fault(),
        *,
        nursery: Nursery | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> Future[Outcome]:
        """One life, as soon as a lane is free."""
        return self.lanes.submit(self._live, scenario, arrange, nursery or self.nursery, settings or {})

    def _live(
        self, scenario: Scenario, arrange: Arrange, nursery: Nursery, settings: Mapping[str, str]
    ) -> Outcome:
        with fresh_namespace(self.cluster) as namespace, contextlib.ExitStack() as stack:
            lane = self._lane(namespace, nursery, settings, stack)
            stack.callback(self.recorder.forget, namespace)
            return live(lane, scenario, arrange)

    def _lane(
        self, namespace: str, nursery: Nursery, settings: Mapping[str, str], stack: contextlib.ExitStack
    ) -> Lane:
        """With an operator that is ended when the stack is."""
        proxy = stack.enter_context(self.proxies.proxy(self.cluster.server, self._tls))
        health, reports = stack.enter_context(reserve(2))
        kubeconfig = self._write_kubeconfig(f"{namespace}.{health}", proxy.url)
        own = {**settings_of(namespace, kubeconfig), **settings}
        log = self.folder / f"{namespace}.{health}.log"
        replica = Replica(nursery, environment(self.cluster, health, reports, own), log)
        stack.callback(replica.end)
        return Lane(
            cluster=self.cluster,
            recorder=self.recorder,
            finetunes=Finetunes(self.cluster, namespace),
            proxy=proxy,
            replica=replica,
            another=lambda: self._lane(namespace, nursery, settings, stack),
        )

    def _write_kubeconfig(self, name: str, server: str) -> Path:
        config: dict[str, Any] = json.loads(json.dumps(self._kubeconfig))
        config["clusters"][0]["cluster"] = {"server": server}
        path = self.folder / f"{name}.kubeconfig"
        path.write_text(json.dumps(config))
        return path

    def carry_out(self, experiment: Experiment) -> Result:
        """All lives of an experiment, compared with those without a fault."""
        began = time.monotonic()
        lives = experiment.run(self)
        problems, slower = [], 0.0
        for scenario, outcome in lives:
            problems += outcome.problems
            if scenario is not None:
                reference = self.reference(scenario).result()
                slower = max(slower, outcome.seconds - reference.seconds)
                problems += _other_end(outcome, reference, attempts=experiment.attempts_differ)
        outcomes = [outcome for _, outcome in lives]
        return Result(
            problems=problems,
            lives=len(lives),
            exits=_counted([code for outcome in outcomes for code in outcome.exits[:-1]]),
            slowest_seconds=max(outcome.seconds for outcome in outcomes),
            slower_seconds=slower,
            requests=sum(sum(outcome.calls.values()) for outcome in outcomes),
            seconds=time.monotonic() - began,
            notes=sorted({note for outcome in outcomes for note in outcome.notes}),
        )


def _other_end(outcome: Outcome, reference: Outcome, *, attempts: bool) -> list[str]:
    """Where it differs from the end without a fault."""
    found, wanted = (masked(each.status, attempts=attempts) for each in (outcome, reference))
    return [f"{outcome.name}: {text}" for text in difference(found, wanted)]


def _counted(codes: list[int]) -> dict[int, int]:
    return {code: codes.count(code) for code in sorted(set(codes))}


@contextlib.contextmanager
def laboratory(cluster: Cluster, folder: Path) -> Iterator[Laboratory]:
    """On a cluster with the chart installed."""
    _allow_leases(cluster)
    proxies, nursery = ProxyHost(), Nursery(folder / "nursery.log")
    lab = Laboratory(cluster, folder, Recorder(cluster.client), proxies, nursery)
    try:
        yield lab
    finally:
        lab.close()


def _allow_leases(cluster: Cluster) -> None:
    """The chart's role knows one Lease; here each lane has its own."""
    path = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{NAMESPACE}"
    rule = {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "update"]}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": ROLE}
    subject = {"kind": "ServiceAccount", "name": RELEASE, "namespace": NAMESPACE}
    cluster.client.create(f"{path}/roles", {"metadata": {"name": ROLE}, "rules": [rule]})
    cluster.client.create(
        f"{path}/rolebindings", {"metadata": {"name": ROLE}, "roleRef": role, "subjects": [subject]}
    )
