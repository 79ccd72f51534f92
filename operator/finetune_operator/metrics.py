"""Every metric, on one screen: those of finetunes, computed when they are scraped, and the operator's own.

The collector reads the memory, so the series of a deleted finetune vanish with the next scrape. No label
holds a text that an error made.
"""

import contextlib
from collections.abc import Callable, Iterator
from importlib.metadata import version
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector
from typing_extensions import override

from finetune_api.evaluator_types import name_parts
from finetune_operator.decisions.objects import parse_time
from finetune_operator.memory import Known, Memory

X = "embedding_finetune_"
OF = ("namespace", "embeddingfinetune")
CONDITIONS = ("Ready", "Reconciling", "Stalled", "GatePassed", "Published")
# A reconcile is a handful of requests: milliseconds when idle, seconds when the API server is busy.
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class OperatorMetrics:
    """The operator's own, and the registry that has all."""

    def __init__(self, memory: Memory, queue_depth: Callable[[], float]) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self.registry.register(FinetuneCollector(memory))
        ProcessCollector(registry=self.registry)
        own, registry = f"{X}operator_", self.registry
        self.reconciles = Counter(
            f"{own}reconcile_total", "Looks at a finetune.", ["result"], registry=registry
        )
        self.reconcile_seconds = Histogram(
            f"{own}reconcile_duration_seconds", "Time of one look.", buckets=BUCKETS, registry=registry
        )
        depth = Gauge(f"{own}queue_depth", "Finetunes waiting for a worker.", registry=registry)
        depth.set_function(queue_depth)
        self.api_requests = Counter(
            f"{own}api_requests_total",
            "Requests to the API server, watches left out.",
            ["verb", "code"],
            registry=registry,
        )
        self.status_reports = Counter(
            f"{own}status_report_requests_total", "Reports from pods, by answer.", ["code"], registry=registry
        )
        self.leader = Gauge(f"{own}leader", "1 on the replica that acts.", registry=registry)
        build = Gauge(f"{own}build_info", "The operator's version.", ["version"], registry=registry)
        build.labels(version("embedding-finetune-operator")).set(1)

    @contextlib.contextmanager
    def counting_result(self) -> Iterator[None]:
        """Count a look at a finetune by whether it rose an error."""
        result = "error"
        try:
            yield
            result = "success"
        finally:
            self.reconciles.labels(result).inc()

    def count_api_request(self, verb: str, code: str) -> None:
        self.api_requests.labels(verb, code).inc()

    def count_report(self, code: str) -> None:
        self.status_reports.labels(code).inc()


class FinetuneCollector(Collector):
    """Of every finetune in the memory, at most 30 series."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory

    @override
    def collect(self) -> Iterator[GaugeMetricFamily | InfoMetricFamily]:
        families = _Families()
        for known in self._memory.known():
            families.add(known)
        yield from families.all()


class _Families:
    """One scrape."""

    def __init__(self) -> None:
        score = ("evaluator", "metric")
        self.info = InfoMetricFamily(f"{X[:-1]}", "What is tuned.", labels=[*OF, "uid", "base_model", "loss"])
        self.condition = _family(
            "status_condition", "1 for the status the condition has.", "condition", "status"
        )
        self.progress = _family("progress_ratio", "Share of the training steps of the present run.")
        self.score = _family("evaluation_score", "Primary metric of base and tuned model.", *score, "model")
        self.gain = _family(
            "evaluation_gain", "Primary metric, tuned minus what it is compared with.", *score
        )
        self.gain_low = _family("evaluation_gain_low", "Lower end of the gain's 95 % interval.", *score)
        self.gain_high = _family("evaluation_gain_high", "Upper end of the gain's 95 % interval.", *score)
        self.loss = _family("training_loss", "Last training loss of the present run.")
        self.start = _family("start_timestamp_seconds", "When the run's Job was made.")
        self.completion = _family("completion_timestamp_seconds", "When the run ended.")
        self.last_progress = _family("last_progress_timestamp_seconds", "When its pod last reported.")

    def all(self) -> Iterator[GaugeMetricFamily | InfoMetricFamily]:
        return (family for family in vars(self).values() if family.samples)

    def add(self, known: Known) -> None:
        labels = list(known.key)
        self.info.add_metric([*labels, known.uid, known.base_model, known.loss], {})
        self._add_conditions(labels, known.status)
        self._add_run(labels, known)
        self._add_evaluation(labels, known.status)

    def _add_conditions(self, labels: list[str], status: dict[str, Any]) -> None:
        found = {c.get("type"): c.get("status") for c in status.get("conditions") or []}
        for condition in CONDITIONS:
            for value in ("True", "False", "Unknown"):
                if condition in found:
                    self.condition.add_metric([*labels, condition, value], float(found[condition] == value))

    def _add_run(self, labels: list[str], known: Known) -> None:
        run = known.status.get("run") or {}
        _add_time(self.start, labels, run.get("startTime"))
        _add_time(self.completion, labels, run.get("completionTime"))
        progress = known.status.get("progress") or {}
        if known.live is not None:
            self.last_progress.add_metric(labels, known.live.received_at.timestamp())
            progress = known.live.progress.to_dict() if known.live.progress else progress
        if "percent" in progress:
            self.progress.add_metric(labels, progress["percent"] / 100)
        _add_decimal(self.loss, labels, progress.get("loss"))

    def _add_evaluation(self, labels: list[str], status: dict[str, Any]) -> None:
        primary = (status.get("evaluation") or {}).get("primary")
        if not primary:
            return
        parts = name_parts(primary["name"])  # the labels are the words of the spec
        labels = [*labels, parts.evaluator, parts.metric]
        _add_decimal(self.score, [*labels, "base"], primary.get("baseline"))
        _add_decimal(self.score, [*labels, "tuned"], primary.get("tuned"))
        _add_decimal(self.gain, labels, primary.get("gain"))
        _add_decimal(self.gain_low, labels, primary.get("gainLow"))
        _add_decimal(self.gain_high, labels, primary.get("gainHigh"))


def _family(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"{X}{name}", text, labels=[*OF, *labels])


def _add_decimal(family: GaugeMetricFamily, labels: list[str], text: str | None) -> None:
    try:
        value = float(text) if text is not None else None
    except ValueError:
        return
    if value is not None:
        family.add_metric(labels, value)


def _add_time(family: GaugeMetricFamily, labels: list[str], text: str | None) -> None:
    time = parse_time(text)
    if time is not None:
        family.add_metric(labels, time.timestamp())
