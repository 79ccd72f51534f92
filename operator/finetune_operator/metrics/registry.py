"""A registry that remembers what its metrics are called, for the documentation."""

from collections.abc import Callable, Iterator, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from typing_extensions import override

from finetune_operator.metrics.family import PREFIX, Family

Counted = Callable[[], dict[tuple[str, ...], float]]


class Registry:
    """Makes metrics whose names begin with `family.PREFIX`."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.client = CollectorRegistry()
        self.families: list[Family] = []

    def counter(self, name: str, text: str, *labels: str) -> Counter:
        """name: without `_total`."""
        family = self._describe(Family(f"{PREFIX}{name}_total", "counter", text, labels))
        return Counter(family.name, text, labels, registry=self.client)

    def gauge(self, name: str, text: str, *labels: str) -> Gauge:
        family = self._describe(Family(f"{PREFIX}{name}", "gauge", text, labels))
        return Gauge(family.name, text, labels, registry=self.client)

    def histogram(self, name: str, text: str, *labels: str, buckets: Sequence[float]) -> Histogram:
        family = self._describe(Family(f"{PREFIX}{name}", "histogram", text, labels))
        return Histogram(family.name, text, labels, buckets=buckets, registry=self.client)

    def computed(self, name: str, text: str, *labels: str, by: Counted) -> None:
        """A gauge that is computed when it is scraped; by: gives label values and their value."""
        family = self._describe(Family(f"{PREFIX}{name}", "gauge", text, labels))
        self.client.register(_Computed(family, by))

    def _describe(self, family: Family) -> Family:
        self.families.append(family)
        return family


class _Computed(Collector):
    def __init__(self, family: Family, by: Counted) -> None:
        self._family = family
        self._by = by

    @override
    def collect(self) -> Iterator[GaugeMetricFamily]:
        found = GaugeMetricFamily(self._family.name, self._family.help, labels=self._family.labels)
        for labels, value in self._by().items():
            found.add_metric(labels, value)
        yield found
