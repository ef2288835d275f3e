"""What an endpoint tells Prometheus."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from trackbed.serving.follow import Follower
from trackbed.serving.revisions import Revisions

# Seconds: a small model answers in a millisecond, a large one may take a minute.
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """The metrics of one endpoint, in a registry of their own.

    Args:
        revisions: what is served.
        follower: what follows the registry.
    """

    def __init__(self, revisions: Revisions, follower: Follower) -> None:
        self._registry = CollectorRegistry()
        labels = ["protocol", "alias", "version"]
        self._requests = Counter(
            "trackbed_endpoint_requests",
            "Requests for predictions.",
            [*labels, "status"],
            registry=self._registry,
        )
        self._seconds = Histogram(
            "trackbed_endpoint_request_seconds",
            "From the whole body read to the answer ready.",
            labels,
            buckets=BUCKETS,
            registry=self._registry,
        )
        self._registry.register(_State(revisions, follower))

    def answered(self, *, protocol: str, alias: str, version: str, status: int, seconds: float) -> None:
        """Count a request.

        Args:
            protocol: `invocations`, `v1` or `v2`.
            alias: the alias it was answered for; empty when it was refused before one was chosen.
            version: the version that answered; empty likewise.
            status: HTTP status of the answer.
            seconds: how long it took.
        """
        self._requests.labels(protocol, alias, version, str(status)).inc()
        self._seconds.labels(protocol, alias, version).observe(seconds)

    def text(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self._registry)


class _State(Collector):
    """Read at each scrape, so that a version that is gone leaves no series behind."""

    def __init__(self, revisions: Revisions, follower: Follower) -> None:
        self._revisions = revisions
        self._follower = follower

    def collect(self) -> Iterator[Metric]:
        table = self._revisions.table
        loaded = GaugeMetricFamily(
            "trackbed_endpoint_loaded_version_info",
            "1 for the version that serves an alias.",
            labels=["alias", "version"],
        )
        in_flight = GaugeMetricFamily(
            "trackbed_endpoint_in_flight", "Requests being answered.", labels=["alias", "version"]
        )
        for alias, revision in table.serving.items():
            loaded.add_metric([alias, revision.version], 1)
            in_flight.add_metric([alias, revision.version], revision.in_flight)
        yield loaded
        yield in_flight
        weights = GaugeMetricFamily("trackbed_endpoint_weight", "Share of an alias in percent.", labels=["alias"])
        behind = GaugeMetricFamily(
            "trackbed_endpoint_alias_behind",
            "1 while an alias is not served by the version it names.",
            labels=["alias"],
        )
        for alias, weight in table.weights.items():
            weights.add_metric([alias], weight)
            behind.add_metric([alias], int(alias in table.problems))
        yield weights
        yield behind
        failures = CounterMetricFamily("trackbed_endpoint_load_failures", "Attempts to load a version that failed.")
        failures.add_metric([], self._follower.load_failures)
        yield failures
        reachable = GaugeMetricFamily("trackbed_endpoint_registry_up", "Whether the model registry answered last.")
        reachable.add_metric([], int(self._follower.registry_problem is None))
        yield reachable
