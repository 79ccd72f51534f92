"""What processes and the API server have spent so far; two readings make a cost."""

import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.cluster import Cluster
from tests.operator.process import Operator

TICKS = os.sysconf("SC_CLK_TCK")
MIB = 1024 * 1024
_OURS = "embedding_finetune_operator_api_requests_total"


@dataclass(frozen=True)
class Reading:
    """Totals at one time."""

    at: float
    cpu_seconds: Mapping[str, float]
    """By component."""
    requests: Mapping[str, float]
    """By kind and verb, as the operator counts its own: everything but watches."""
    server_requests: Mapping[str, float]
    """By resource and verb, as the API server counts those of everybody."""


@dataclass(frozen=True)
class Cost:
    """Between two readings."""

    seconds: float
    cpu_seconds: Mapping[str, float]
    requests: Mapping[str, float]
    server_requests: Mapping[str, float]

    def own_requests(self) -> dict[str, float]:
        """Without renewals of the lease, which come whether there is a finetune or not."""
        return {what: count for what, count in self.requests.items() if not what.startswith("Lease ")}


def read(cluster: Cluster, operator: Operator, others: Mapping[str, int]) -> Reading:
    """others: name and process id of what else is to be watched."""
    assert operator.process is not None
    processes = {**cluster.components, **others, "operator": operator.process.pid, "benchmark": os.getpid()}
    return Reading(
        at=time.monotonic(),
        cpu_seconds={name: _cpu_seconds(pid) for name, pid in processes.items()},
        requests=_sums(operator.metrics(), _OURS, "kind", "verb"),
        server_requests=_sums(
            cluster.client.raw("GET", "/metrics").decode(),
            "apiserver_request_total",
            "resource",
            "subresource",
            "verb",
        ),
    )


def between(first: Reading, last: Reading) -> Cost:
    """What was spent from one reading to the other."""
    return Cost(
        seconds=last.at - first.at,
        cpu_seconds=_differences(first.cpu_seconds, last.cpu_seconds),
        requests=_differences(first.requests, last.requests),
        server_requests=_differences(first.server_requests, last.server_requests),
    )


def memory_mib(pid: int) -> tuple[float, float]:
    """Resident memory of a process now, and the most that it ever was."""
    status = Path(f"/proc/{pid}/status").read_text()
    now, most = (re.search(rf"^{name}:\s+(\d+) kB", status, re.MULTILINE) for name in ("VmRSS", "VmHWM"))
    assert now
    assert most
    return int(now[1]) * 1024 / MIB, int(most[1]) * 1024 / MIB


def load_average() -> float:
    """Of the last minute: above the number of cores, others were waiting too."""
    return os.getloadavg()[0]


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def _sums(text: str, metric: str, *labels: str) -> dict[str, float]:
    """Totals of a counter by these labels."""
    sums: dict[str, float] = {}
    for line in text.splitlines():
        if line.startswith(metric + "{"):
            series, _, value = line.rpartition(" ")
            found = dict(re.findall(r'(\w+)="([^"]*)"', series))
            key = " ".join(filter(None, (found.get(label, "") for label in labels)))
            sums[key] = sums.get(key, 0.0) + float(value)
    return sums


def _differences(first: Mapping[str, float], last: Mapping[str, float]) -> dict[str, float]:
    return {key: value - first.get(key, 0.0) for key, value in last.items() if value != first.get(key, 0.0)}
