"""The operator's own work, and the text of all metrics."""

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterator
from importlib.metadata import version

from prometheus_client.exposition import generate_latest
from prometheus_client.process_collector import ProcessCollector

from finetune_operator.errors import Stalled, Waiting
from finetune_operator.kube import ApiFailure, Conflict
from finetune_operator.memory import Memory
from finetune_operator.metrics.exposition import FinetuneText
from finetune_operator.metrics.registry import Registry
from finetune_operator.metrics.runs import RunMetrics

# A reconcile is a handful of requests: milliseconds when idle, seconds when the API server is busy.
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
WAITING_BUCKETS = (0.001, 0.01, 0.1, 0.5, 1.0, 5.0, 20.0, 60.0, 300.0)
FORESEEN = (ApiFailure, Conflict, Stalled, Waiting)
UNFORESEEN = "Unexpected"


class OperatorMetrics:
    """Everything that /metrics says."""

    def __init__(
        self, memory: Memory, queue_depth: Callable[[], float], *, per_resource: bool = True
    ) -> None:
        """per_resource: whether each finetune has series of its own."""
        self.registry = Registry()
        self.runs = RunMetrics(self.registry)
        self._finetunes = FinetuneText(memory) if per_resource else None
        ProcessCollector(registry=self.registry.client)
        self.registry.computed(
            "resources", "Finetunes by phase.", "namespace", "phase", by=lambda: count_phases(memory)
        )
        self._describe_the_queue(queue_depth)
        self._describe_requests()
        self._describe_the_process()

    def _describe_the_queue(self, depth: Callable[[], float]) -> None:
        registry = self.registry
        self.reconciles = registry.counter("operator_reconcile", "Looks at a finetune.", "result")
        self.reconcile_errors = registry.counter(
            "operator_reconcile_errors",
            f"Looks that broke off, by class of error; {UNFORESEEN} is a bug.",
            "reason",
        )
        self.reconcile_seconds = registry.histogram(
            "operator_reconcile_duration_seconds", "Time of one look.", buckets=BUCKETS
        )
        self.queue_seconds = registry.histogram(
            "operator_queue_waiting_seconds",
            "Time that a finetune waited for a worker.",
            buckets=WAITING_BUCKETS,
        )
        registry.gauge("operator_queue_depth", "Finetunes waiting for a worker.").set_function(depth)

    def _describe_requests(self) -> None:
        registry = self.registry
        self.api_requests = registry.counter(
            "operator_api_requests",
            "Requests to the API server, watches left out. Updates of EmbeddingFinetune are writes of status,"
            " creations of Job begin a run, those of Event tell people.",
            "verb", "kind", "code",
        )  # fmt: skip
        self.api_seconds = registry.histogram(
            "operator_api_request_duration_seconds",
            "Time until the API server answered.",
            "verb",
            buckets=BUCKETS,
        )
        self.status_reports = registry.counter(
            "operator_status_report_requests", "Reports from pods, by answer.", "code"
        )
        self.watch_events = registry.counter(
            "operator_watch_events", "Objects that watches brought, by kind.", "kind"
        )
        self.last_watch_event = registry.gauge(
            "operator_last_watch_event_timestamp_seconds", "When a watch last brought one.", "kind"
        )

    def _describe_the_process(self) -> None:
        self.leader = self.registry.gauge("operator_leader", "1 on the replica that acts.")
        self.lease_transitions = self.registry.gauge(
            "operator_lease_transitions", "How often the Lease has gone from one replica to another."
        )
        build = self.registry.gauge("operator_build_info", "The operator's version: always 1.", "version")
        build.labels(version("embedding-finetune-operator")).set(1)

    def render(self) -> Iterator[bytes]:
        """The text of all, in pieces."""
        yield generate_latest(self.registry.client)
        if self._finetunes is not None:
            yield from self._finetunes.render()

    @contextlib.contextmanager
    def counting_result(self) -> Iterator[None]:
        """Count a look at a finetune by whether it rose an error."""
        result = "success"
        try:
            yield
        except Exception as error:
            result = "error"
            self.reconcile_errors.labels(class_of(error)).inc()
            raise
        finally:
            self.reconciles.labels(result).inc()

    def count_api_request(self, verb: str, kind: str, code: str, seconds: float) -> None:
        self.api_requests.labels(verb, kind, code).inc()
        self.api_seconds.labels(verb).observe(seconds)

    def count_report(self, code: str) -> None:
        self.status_reports.labels(code).inc()

    def count_watch_event(self, kind: str) -> None:
        self.watch_events.labels(kind).inc()
        self.last_watch_event.labels(kind).set(time.time())


def count_phases(memory: Memory) -> dict[tuple[str, ...], float]:
    """Namespace and phase to the number of finetunes; one that was never looked at is Pending."""
    return dict(
        Counter(
            (known.key.namespace, str(known.status.get("phase") or "Pending")) for known, _ in memory.known()
        )
    )


def class_of(error: Exception) -> str:
    """A word of ours for what went wrong."""
    return next((known.__name__ for known in FORESEEN if isinstance(error, known)), UNFORESEEN)
